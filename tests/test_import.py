"""Files of other tools become runs: recognised, kept once, marked, and used like any run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import CPU, H100, MI300X, ladder_run

from gemmbench.analysis.speedup import ladder
from gemmbench.records.frame import frame, load
from gemmbench.records.imports import FORMATS, Asked, keep, read_foreign
from gemmbench.records.imports.runs import NOT_VERIFIED
from gemmbench.records.imports.words import parse_map, plain
from gemmbench.records.reader import read
from gemmbench.show.exported import export
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.kernel import PLAIN

DATA = Path(__file__).parent / "data" / "import"
OF = {
    "nvbench.json": "nvbench",
    "hipblaslt.txt": "hipblaslt-bench",
    "rocblas.txt": "rocblas-bench",
    "cutlass.csv": "cutlass",
    "cutlass-console.txt": "cutlass",
    "mamf-v1.txt": "mamf-finder",
    "mamf-v2.txt": "mamf-finder",
    "mamf-v4.txt": "mamf-finder",
    "mamf-block.txt": "mamf-finder",
    "pytest-benchmark.json": "pytest-benchmark",
}


def gemmbench(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gemmbench", *command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(("name", "tool"), OF.items())
def test_the_content_tells_the_format(name: str, tool: str, tmp_path: Path) -> None:
    copy = tmp_path / "results.dat"
    copy.write_bytes((DATA / name).read_bytes())
    for run in read_foreign(copy):
        assert run.header.tool == tool
        assert run.header.method.preset.startswith(tool.partition("-")[0])
        assert run.header.started


def test_every_format_has_a_sample() -> None:
    assert {one.name for one in FORMATS} == set(OF.values())


def test_utf_16_as_a_windows_shell_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes((DATA / "hipblaslt.txt").read_text().encode("utf-16"))
    assert len(read_foreign(path)[0].records) == 2


def test_unknown_ambiguous_and_named(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("nothing of anyone's\n")
    with pytest.raises(GemmbenchError, match=r"of no known format \(nvbench: JSON with") as error:
        read_foreign(path)
    assert all(one.name in str(error.value) for one in FORMATS)
    with pytest.raises(GemmbenchError, match="nothing of cutlass in it: looked for a header"):
        read_foreign(path, tool="cutlass")
    with pytest.raises(UnknownNameError, match="did you mean cutlass"):
        read_foreign(path, tool="cutlas")
    path.write_text((DATA / "hipblaslt.txt").read_text() + (DATA / "rocblas.txt").read_text())
    with pytest.raises(GemmbenchError, match="hipblaslt-bench and of rocblas-bench: say which"):
        read_foreign(path)
    assert read_foreign(path, tool="rocblas-bench")[0].header.tool == "rocblas-bench"


@pytest.mark.parametrize("name", OF)
def test_a_run_file_is_kept_and_all_of_it_comes_back(name: str, tmp_path: Path) -> None:
    runs = read_foreign(DATA / name)
    paths = keep(runs, tmp_path)
    for run, path in zip(runs, paths, strict=True):
        back = read(path)
        assert not back.warnings
        assert back.header == run.header
        assert back.records == run.records
        assert back.footer is not None
    df = load(paths)
    ok = df[df["status"] == "ok"]
    assert len(ok)
    assert set(ok["verdict"]) == {"imported"}
    assert set(df["tool"]) == {OF[name]}
    rates = ok["tflops"].fillna(ok["sparse_tflops"])
    flop = 2 * ok["batch"] * ok["m"] * ok["n"] * ok["k"]
    assert list(rates) == pytest.approx(list(flop / ok["time_us"] / 1e6))
    again = read_foreign(DATA / name)
    with pytest.raises(GemmbenchError, match="was imported before, as "):
        keep(again, tmp_path)
    assert len(list(tmp_path.glob("*.jsonl"))) == len(runs)


@pytest.mark.parametrize("name", OF)
def test_nothing_is_paired(name: str, tmp_path: Path) -> None:
    paths = keep(read_foreign(DATA / name), tmp_path)
    df = load(paths)
    columns = (df[name].tolist() for name in ("run_id", "group", "turn_us"))
    rounds = [
        (run, group, number) for run, group, turns in zip(*columns, strict=True) for number in turns
    ]
    assert len(rounds) == len(set(rounds))
    assert ladder(df)["speedup"].isna().all()


def test_the_device_that_the_file_names_and_the_users_word() -> None:
    (run,) = read_foreign(DATA / "hipblaslt.txt")
    # Its name is on a sheet, but not how many units it has: a partition has the same name.
    assert run.header.device_id is None
    (run,) = read_foreign(DATA / "hipblaslt.txt", Asked(device_id="mi300x"))
    assert (run.header.device_id, run.header.device.units) == ("mi300x", 304)
    with pytest.raises(GemmbenchError, match="--device-id h100-sxm5 is not what the file names"):
        read_foreign(DATA / "hipblaslt.txt", Asked(device_id="h100-sxm5"))
    with pytest.raises(GemmbenchError, match=r"device h100-sxm5 \(NVIDIA H100 80GB HBM3\)"):
        read_foreign(DATA / "mamf-v1.txt", Asked(device_id="h200-sxm"))
    with pytest.raises(UnknownNameError):
        Asked(device_id="h1000")
    (run,) = read_foreign(DATA / "cutlass.csv")
    assert (run.header.device.name, run.header.device_id) == ("unknown (cutlass)", None)
    assert frame([run])["peak_tflops"].isna().all()


def test_a_word_against_the_file_is_refused() -> None:
    with pytest.raises(GemmbenchError, match="--precision fp16 is not what it tells itself, bf16"):
        read_foreign(DATA / "hipblaslt.txt", Asked(precision="fp16"))
    with pytest.raises(GemmbenchError, match="names its shapes itself: leave --map out"):
        read_foreign(DATA / "cutlass.csv", Asked(map=(("m", "M"),)))
    with pytest.raises(UnknownNameError):
        Asked(precision="bf61")


def test_the_map() -> None:
    assert parse_map("m=Rows, K=64") == (("m", "Rows"), ("k", "64"))
    assert parse_map(None) == ()
    for text, said in (
        ("m", "is no pair: write --map m=M"),
        ("m=", "is no pair"),
        ("rows=M", "unknown word in --map 'rows'"),
        ("m=M,M=N", "--map names m twice"),
    ):
        with pytest.raises(GemmbenchError, match=said):
            parse_map(text)


def test_names_made_plain() -> None:
    assert plain("my gemm<128, 256>", "x") == "my-gemm-128-256"
    assert plain("\x1b[31m…", "x") == "31m"
    assert plain("…", "nvbench") == "nvbench"
    long, other = plain("a" * 100, "x"), plain("a" * 101, "x")
    assert long != other
    assert all(PLAIN.fullmatch(name) for name in (long, other))


@pytest.mark.parametrize("device", [H100, MI300X, CPU], ids=lambda device: device.slug)
def test_our_own_export_comes_back(tmp_path: Path, device: Device) -> None:
    path = ladder_run(tmp_path / "own.jsonl", device=device)
    document = tmp_path / "bench.json"
    document.write_text(export(str(path), form="pytest-benchmark").text)
    (run,) = read_foreign(document)
    own, back = load(path), load(keep([run], tmp_path / "out"))
    shape = ["kernel", "m", "n", "k", "batch", "experts", "layout", "precision", "tier", "encoding"]
    assert back[shape].to_numpy().tolist() == own[shape].to_numpy().tolist()
    assert list(back["time_us"]) == pytest.approx(list(own["time_us"]), rel=1e-6)
    assert list(back["time_us_low"]) == pytest.approx(list(own["time_us_low"]), rel=1e-6)
    for theirs, ours in zip(back["turn_us"], own["turn_us"], strict=True):
        assert list(theirs.values()) == pytest.approx(list(ours.values()), rel=1e-9)
    for column in ("device", "device_id", "preset", "cache", "launch", "data"):
        assert back[column].tolist() == own[column].tolist()
    assert set(back["tool"]) == {"pytest-benchmark"}
    assert set(back["verdict"]) == {"imported"}
    assert list(back["pct_peak"].dropna()) == pytest.approx(list(own["pct_peak"].dropna()))


def test_what_the_fixture_wrote_is_one_turn_of_samples(tmp_path: Path) -> None:
    path = ladder_run(tmp_path / "own.jsonl", sizes=(512,), precisions=("bf16",), device=H100)
    document = json.loads(export(str(path), form="pytest-benchmark").text)
    for one in document["benchmarks"]:
        one["fullname"] = f"test_mine.py::test_{one['extra_info']['kernel']}"
    (tmp_path / "bench.json").write_text(json.dumps(document))
    (run,) = read_foreign(tmp_path / "bench.json")
    for record, one in zip(run.records, document["benchmarks"], strict=True):
        (turn,) = record.turns
        assert record.kernel == one["extra_info"]["kernel"]
        assert turn.samples_ns == pytest.approx([1e9 * time for time in one["stats"]["data"]])


def test_plain_functions_that_the_fixture_timed_are_one_run_of_its_device(tmp_path: Path) -> None:
    """They have no tier, and nothing verified them."""
    path = ladder_run(tmp_path / "own.jsonl", sizes=(512,), precisions=("bf16",), device=H100)
    document = json.loads(export(str(path), form="pytest-benchmark").text)
    for number, one in enumerate(document["benchmarks"]):
        info = one["extra_info"]
        one["fullname"] = f"test_mine.py::test_{info['kernel']}"
        if number:
            for name in ("tier", "backend", "error"):
                info.pop(name, None)
    (tmp_path / "bench.json").write_text(json.dumps(document))
    (run,) = read_foreign(tmp_path / "bench.json")
    assert run.header.device.name == H100.name
    first, *others = run.records
    assert first.check is not None
    assert all(NOT_VERIFIED in " ".join(one.warnings) for one in others)
    assert [one.kernel for one in run.records] == [
        one["extra_info"]["kernel"] for one in document["benchmarks"]
    ]


def test_the_command_says_what_came_and_what_did_not(tmp_path: Path) -> None:
    done = gemmbench(
        *("import", str(DATA / "nvbench.json"), str(DATA / "cutlass.csv"), "--out", "kept"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "nvbench.json: 4 records of nvbench (nvbench-cold) on NVIDIA H100 80GB HBM3, device 0: "
        "2 ok, 1 failed, 1 unsupported"
    )
    assert "  left out: 1 without a shape" in lines
    assert "  left out: 1 with an interleaved layout" in lines
    assert "  not verified by its tool (2)" in lines
    assert "  its layout is not told, nn is assumed (2)" in lines
    kept = [Path(line.partition(" ")[2].strip()) for line in lines if line.startswith("run: ")]
    assert len(kept) == 4
    header = read(tmp_path / kept[0]).header
    assert header.command[:3] == ("import", "nvbench.json", "cutlass.csv")  # no folders of anyone's
    assert str(DATA) not in json.dumps(header.command)
    shown = gemmbench("show", str(kept[0]), cwd=tmp_path)
    assert shown.returncode == 0
    assert "measured by nvbench" in shown.stdout
    assert "imported" in shown.stdout
    assert "speedup" not in shown.stdout
    drawn = gemmbench("plot", str(kept[0]), "--kind", "sweep", "--out", "picture", cwd=tmp_path)
    assert (drawn.returncode, drawn.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("no.json",), "cannot read 'no.json': No such file"),
        ((".",), "is a folder: expected a tool's results"),
        (("empty.json",), "empty.json is empty"),
        (("cut.json",), "it is not NVBench's JSON"),
        ((str(DATA / "cutlass.csv"), "--map", "m"), "--map 'm' is no pair"),
        ((str(DATA / "cutlass.csv"), "--from", "excel"), "unknown format 'excel': known: cutlass"),
        ((str(DATA / "cutlass.csv"), "--precision", "bf61"), "unknown precision 'bf61'"),
        ((str(DATA / "cutlass.csv"), "no.json"), "cannot read 'no.json'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_kept(
    tmp_path: Path, command: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty.json").touch()
    (tmp_path / "cut.json").write_bytes((DATA / "nvbench.json").read_bytes()[:-200])
    done = gemmbench("import", *command, "--out", "kept", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout
    assert not (tmp_path / "kept").exists()


def test_reading_is_light() -> None:
    code = "import sys, gemmbench.records.imports; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "scipy", "matplotlib"} & set(done.stdout.split())
