"""Any file of any format is taken, or refused in one line, in bounded memory and time."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import import_inputs
import pytest
from hypothesis import HealthCheck, given, settings
from import_inputs import DATA, Foreign

from gemmbench.records.imports import FORMATS, read_foreign
from gemmbench.records.imports.text import MAX_BYTES, number, whole
from gemmkernels.errors import GemmbenchError


@pytest.mark.parametrize("tool", import_inputs.SAMPLES)
def test_changed_samples(tool: str, tmp_path: Path) -> None:
    seen: Counter[bool] = Counter()

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(import_inputs.of(tool))
    def one(given: Foreign) -> None:
        seen[import_inputs.refused(given, tmp_path)] += 1

    one()
    assert seen[True]
    assert seen[False]


def test_every_format_is_fuzzed() -> None:
    assert import_inputs.SAMPLES.keys() == {one.name for one in FORMATS}


@pytest.mark.parametrize("form", [one.name for one in FORMATS])
@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 1000,
        b"[" * 100_000,
        b'{"benchmarks":' + b"[" * 100_000,
        b'{"benchmarks": [], "devices": [], "machine_info": {}}',
        b'{"benchmarks": [{}], "devices": [{}]}',
        b"\xff\xfe\x00",
        b"\r" * 100_000,
        b",".join([b"1"] * 100_000),
        b"transA," + b"hipblaslt-Gflops," * 10_000 + b"\n" + b"N," * 10_001,
        b"Problem,Provider,OperationKind," * 1000,
        b"** Dtype: torch.bfloat16\n" + b"1 | " + b"9" * 15_000 + b"(mean)\n",
        b"** Dtype: torch.bfloat16\n" + b"9x" * 7_000 + b"\n" + b"9" * 16_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_shapes_of_hostility(form: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.dat"
    path.write_bytes(data)
    with pytest.raises(GemmbenchError):
        read_foreign(path, tool=form)


@pytest.mark.parametrize("name", ["nvbench.json", "cutlass.csv", "hipblaslt.txt", "mamf-v2.txt"])
def test_a_cut_file_is_taken_or_refused(name: str, tmp_path: Path) -> None:
    whole_file = (DATA / name).read_bytes()
    tool = next(tool for tool, names in import_inputs.SAMPLES.items() if name in names)
    for stop in range(0, len(whole_file), max(1, len(whole_file) // 25)):
        import_inputs.refused((tool, whole_file[:stop]), tmp_path)


def test_too_large_and_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.csv"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(GemmbenchError, match="is over 64 MiB: split it"):
        read_foreign(path)
    monkeypatch.setattr("gemmbench.records.imports.words.MAX_ROWS", 3)
    with pytest.raises(GemmbenchError, match="it holds over 3 rows: split it"):
        read_foreign(DATA / "cutlass.csv")


def test_no_device_and_no_pipe_is_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(GemmbenchError, match="is no regular file"):
            read_foreign(path)


MEMORY = """
import re, sys
from pathlib import Path
from gemmbench.records.imports import Asked, read_foreign
from gemmkernels.errors import GemmbenchError
asked = Asked(precision="fp32")
try:
    read_foreign(Path(sys.argv[1]), asked, tool=sys.argv[2])
except GemmbenchError as error:
    print(error)
# Of this program alone: ru_maxrss counts what its parent held as it was forked, too.
(peak,) = re.findall(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())
print(int(peak) // 1024)
"""


@pytest.mark.parametrize(
    ("tool", "unit"),
    [
        ("pytest-benchmark", b'{"stats":{"median":1,"rounds":1}},'),
        ("cutlass", b","),
        ("mamf-finder", b"\n"),
    ],
)
def test_a_full_file_of_nothing_stays_within_a_gibibyte(
    tool: str, unit: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "full.dat"
    body = unit * (MAX_BYTES // 2 // len(unit))
    if tool == "pytest-benchmark":
        body = b'{"benchmarks":[' + body[:-1] + b"]}"
    path.write_bytes(body)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), tool],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    *told, peak = done.stdout.splitlines()
    assert len(told) == 1
    assert int(peak) < 1024


def test_values_that_are_no_time(tmp_path: Path) -> None:
    document = json.loads((DATA / "pytest-benchmark.json").read_text())
    for value in (0, -1.0, 1e300, float("nan"), float("inf")):
        document["benchmarks"][0]["stats"]["median"] = value
        path = tmp_path / "x.json"
        path.write_text(json.dumps(document))
        try:
            (run,) = read_foreign(path)
        except GemmbenchError as error:  # a median that is no number is none of the format's
            assert "it is not pytest-benchmark's JSON" in str(error)
            continue
        assert run.records[0].status == "failed"
        assert run.records[0].turns == ()


def test_a_rate_too_large_for_json_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text((DATA / "hipblaslt.txt").read_text().replace("537.109", "1e308"))
    (run,) = read_foreign(path)
    assert "told_gbps" not in run.records[0].config
    assert "told_gbps" in run.records[1].config


def test_numbers() -> None:
    assert [number(text) for text in ("1.30708e+06", " 10. ", ".5", "-nan", "", "1e999", None)] == [
        1.30708e06,
        10.0,
        0.5,
        None,
        None,
        None,
        None,
    ]
    assert number("1" * 5000) is whole("1" * 5000) is whole("4096.0") is whole("٤") is None
