"""A run exported for pytest-benchmark, and for the services that read its format."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_benchmark.stats
from hypothesis import given
from hypothesis import strategies as st
from synthetic import H100, header, ladder_run, method, record, turn, turns, write

from gemmbench.analysis.benchmarks import COLUMNS, stats
from gemmbench.records.frame import COLUMNS as OF_LOAD
from gemmbench.records.frame import MORE_COLUMNS, load
from gemmbench.records.reader import RunFileWarning
from gemmbench.show.exported import export
from gemmkernels import GemmbenchError, UnknownNameError

Stats: Any = pytest_benchmark.stats.Stats  # it has no types


def exported(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(export(str(path), form="pytest-benchmark").text)
    return found


def names(path: Path) -> list[str]:
    return [one["fullname"] for one in exported(path)["benchmarks"]]


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, timeout=120
    )


# Whole numbers: sums and quarters of them are exact, so that ties at the fences are, too.
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
def test_the_statistics_are_those_of_pytest_benchmark(data: list[int]) -> None:
    theirs = Stats()
    for one in data:
        theirs.update(float(one))
    ours = stats([float(one) for one in data])
    assert ours.keys() == {*Stats.fields, "data", "iterations"}
    assert {name: ours[name] for name in Stats.fields} == pytest.approx(theirs.as_dict())


def test_a_benchmark_holds_the_turns_and_the_figures_of_load(tmp_path: Path) -> None:
    path = ladder_run(tmp_path / "a.jsonl", sizes=(512,), precisions=("bf16",), device=H100)
    document = exported(path)
    benchmarks = document["benchmarks"]
    rows = load(path).set_index("kernel")
    assert [one["extra_info"]["kernel"] for one in benchmarks] == list(rows.index)
    assert len(benchmarks) == 4
    for one in benchmarks:
        info, row = one["extra_info"], rows.loc[one["extra_info"]["kernel"]]
        assert one["stats"]["data"] == [us / 1e6 for us in row["turn_us"].values()]
        assert one["stats"]["median"] * 1e6 == pytest.approx(row["time_us"])
        assert info["tflops"] == row["tflops"]
        assert info["pct_peak"] == row["pct_peak"] > 0
        assert info["peak_unit"] == "tensor core"
        assert info["device"] == H100.name
        assert info["shape"] == "512x512x512"
        assert info["verdict"] == "converged"
    assert document["datetime"] == "2026-01-01T00:00:00Z"
    assert set(OF_LOAD) | set(MORE_COLUMNS) >= set(COLUMNS)


def test_what_the_readers_need(tmp_path: Path) -> None:
    document = exported(ladder_run(tmp_path / "a.jsonl"))
    assert isinstance(document["machine_info"], dict)
    assert isinstance(document["commit_info"], dict)
    assert len(document["benchmarks"]) == 16
    for one in document["benchmarks"]:
        found = one["stats"]
        for name in ("ops", "mean", "stddev", "median", "iqr", "min", "max", "rounds"):
            assert math.isfinite(found[name])
        assert found["ops"] == pytest.approx(1 / found["mean"])
        assert 1 <= len(one["fullname"]) <= 1024
        assert one["name"] in one["fullname"]
        assert one["options"]
        assert one["params"]
        assert one["group"]
    assert len(set(names(tmp_path / "a.jsonl"))) == 16


def test_names_are_those_of_another_run_unless_it_is_not_comparable(tmp_path: Path) -> None:
    first = names(ladder_run(tmp_path / "a.jsonl", run_id="a"))
    later = ladder_run(tmp_path / "b.jsonl", run_id="b", noise=0.1, started="2026-02-02T00:00:00Z")
    assert first == names(later)
    assert first[0] == "gemmbench::sustained::naive[fp32-512x512x512-nn]"
    quick = ladder_run(tmp_path / "q.jsonl", method=method(preset="quick"))
    zeros = ladder_run(tmp_path / "z.jsonl", method=method(data="zeros"))
    assert not {*first} & {*names(quick), *names(zeros)}
    one = record(
        "mine", size=(1, 2, 3), batch=4, layout="nt", modes={"sum": "fast"}, took=turns(5.0)
    )
    alone = names(write(tmp_path / "c.jsonl", [header(), one]))
    assert alone == ["gemmbench::sustained::mine[fp32-4*1x2x3-nt-sum=fast]"]


def test_pytest_benchmark_compares_two_exports(tmp_path: Path) -> None:
    ladder_run(tmp_path / "a.jsonl", noise=0)
    ladder_run(tmp_path / "b.jsonl", noise=0, speed=lambda kernel, *_: 0.5)
    for name in ("a", "b"):
        command = ("export", "--format", "pytest-benchmark", f"{name}.jsonl", "-o", f"{name}.json")
        done = run("gemmbench", *command, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    files = ("./a.json", "./b.json")
    columns = "--columns=min,max,mean,stddev,median,iqr,outliers,ops,rounds,iterations"
    table = run("pytest_benchmark", "compare", *files, columns, "--csv=out", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "benchmark 'bf16-1024x1024x1024-nn': 8 tests" in table.stdout
    assert table.stdout.count("library[") == 8
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 33
    between = run("pytest_benchmark", "compare", *files, "--between=median", cwd=tmp_path)
    assert between.stdout.count("+100.0%") == 16, between.stdout
    grouped = run(
        "pytest_benchmark", "compare", "./a.json", "--group-by=param:kernel", cwd=tmp_path
    )
    assert "benchmark 'kernel=library': 4 tests" in grouped.stdout


def test_only_what_is_ok_is_in_it(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        [
            header(),
            record("good", took=turns(5.0)),
            record("no", status="unsupported", reason="it cannot"),
            record("bad", status="wrong", took=turns(5.0)),
            record("cut", status="interrupted"),
            record("lost", took=[turn(0, None, disturbed=10)]),
        ],
    )
    found = export(str(path), form="pytest-benchmark")
    assert [one["name"] for one in json.loads(found.text)["benchmarks"]] == [
        "good[fp32-1024x1024x1024-nn]"
    ]
    assert found.left_out == "1 unsupported, 1 wrong, 1 interrupted, 1 without a clean turn"
    done = run("gemmbench", "export", path.name, cwd=tmp_path)
    assert done.stdout == found.text
    assert done.stderr == f"gemmbench: left out: {found.left_out}\n"


def test_repeats_are_one_benchmark_without_the_contended(tmp_path: Path) -> None:
    spoilt = [turn(number, 9e3, disturbed=8 if number > 2 else 0) for number in range(10)]
    repeats = [
        record(repeat=0, took=turns(5.0, seed=1)),
        record(repeat=1, took=spoilt),
        record(repeat=2, took=turns(5.0, seed=2)),
    ]
    (one,) = exported(write(tmp_path / "a.jsonl", [header(), *repeats]))["benchmarks"]
    assert one["stats"]["rounds"] == 20
    assert one["stats"]["max"] < 6e-6
    failed = [*repeats[:1], record(repeat=1, status="failed", reason="it fell")]
    with pytest.raises(GemmbenchError, match=r"no case is ok \(1 failed\)"):
        export(str(write(tmp_path / "b.jsonl", [header(), *failed])), form="pytest-benchmark")


def test_hostile_names_and_numbers_do_no_harm(tmp_path: Path) -> None:
    name = 'evil\x1b[31m\u202e"\n\\' + "x" * 5000
    impossible = [turn(number, ns) for number, ns in enumerate((1e300, 5e-324) * 4)]
    path = write(
        tmp_path / "a.jsonl",
        [
            header(software={"torch": "2\x07"}, host={"machine": "\u202ex"}),
            record(name, took=turns(5.0), label="<b>\x00", modes={"a\n": "b" * 5000}),
            record("impossible", took=impossible),
        ],
    )
    with pytest.warns(RunFileWarning, match=r"1 damaged line\(s\) .* a turn of 1e\+300 ns"):
        found = export(str(path), form="pytest-benchmark")
    assert found.left_out == ""
    assert found.text.isascii()
    (one,) = json.loads(found.text)["benchmarks"]
    assert len(one["fullname"]) <= 1024

    def check(value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                check(key)
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)
        elif isinstance(value, str):
            assert value.isprintable()
        elif isinstance(value, float):
            assert math.isfinite(value)

    check(json.loads(found.text))
    shown = run("gemmbench", "export", path.name, "-o", "a.json", cwd=tmp_path)
    assert shown.returncode == 0
    table = run("pytest_benchmark", "compare", "./a.json", cwd=tmp_path)
    assert table.returncode == 0
    assert "\x1b[31m" not in table.stdout


def test_nothing_names_the_machine(tmp_path: Path) -> None:
    document = exported(ladder_run(tmp_path / "a.jsonl"))
    assert document["machine_info"]["node"] == ""
    assert str(tmp_path) not in json.dumps(document)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("a.jsonl", "-f", "xml"), "unknown format 'xml': known: pytest-benchmark"),
        (("no.jsonl",), "no.jsonl"),
        (("a.jsonl", "-o", "no/such/folder.json"), "cannot write no/such/folder.json: No such"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, command: tuple[str, ...], said: str) -> None:
    ladder_run(tmp_path / "a.jsonl")
    done = run("gemmbench", "export", *command, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_unknown_formats_and_damaged_files(tmp_path: Path) -> None:
    path = ladder_run(tmp_path / "a.jsonl")
    with pytest.raises(UnknownNameError):
        export(str(path), form="html")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(RunFileWarning):
        assert exported(path)["benchmarks"]
    only_header = write(tmp_path / "b.jsonl", [header()])
    with pytest.raises(GemmbenchError, match=r"no case is ok \(no records\)"):
        export(str(only_header), form="pytest-benchmark")
