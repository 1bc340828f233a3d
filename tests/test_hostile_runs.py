"""A run file made to do harm does none, whatever command it is given to.

The files are in hostile_runs.py; the commands, and what is checked of each, in hostile_commands.py.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import hostile
import hostile_commands
import hostile_inputs
import hostile_runs
import msgspec
import pytest
from hostile_commands import MADE, call, check, check_made
from hypothesis import HealthCheck, given, settings

from gemmbench.analysis.overview import overview
from gemmbench.records.fleet import MAX_LINE_BYTES
from gemmbench.records.reader import read
from gemmkernels.errors import GemmbenchError

COMMANDS = hostile_commands.read_by()
PAGES = tuple(name for name in COMMANDS if name.split()[0] in ("plot", "report"))
TABLES = tuple(name for name in COMMANDS if name not in PAGES)
KEPT = Path(__file__).parent.parent / "results" / "amd-epyc"

pytestmark = pytest.mark.filterwarnings("default::gemmbench.records.reader.RunFileWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Deep within a tree, of which nothing is to change but what is in the folder `MADE`."""
    found = tmp_path / "deep" / "er" / "here"
    (found / MADE).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    before = hostile_commands.state(tmp_path)
    yield found
    after = hostile_commands.state(tmp_path)
    assert {path for path in after if path.parent != found} == set(before)


def _put(folder: Path, *, words: bool, names: Sequence[str] = ("a", "b")) -> None:
    """Two runs, of which every text is a weapon; one is the path of a folder that is there."""
    texts = (*hostile_runs.TEXTS, str(folder.parents[2] / "elsewhere" / "evil"))
    for index, name in enumerate(names):
        lines = hostile_runs.poisoned(texts=texts, words=words, factor=1.0 + index / 2)
        (folder / f"{name}.jsonl").write_bytes(hostile_runs.data_of(lines))


def _use(folder: Path, names: Sequence[str] = tuple(COMMANDS)) -> list[int]:
    codes = []
    for name in names:
        done = call(*COMMANDS[name], cwd=folder)
        check(COMMANDS[name], done)
        codes.append(done.code)
    return codes


@pytest.mark.parametrize("words", [False, True], ids=["texts", "words too"])
def test_no_text_harms_a_table(words: bool, folder: Path) -> None:
    _put(folder, words=words)
    codes = _use(folder, TABLES)
    assert codes.count(0) > (len(codes) / 2 if words else len(codes) - 8)
    assert not [*(folder / MADE).glob("*.html")]


@pytest.mark.slow
@pytest.mark.parametrize("words", [False, True], ids=["texts", "words too"])
def test_no_text_harms_a_picture_or_a_page(words: bool, folder: Path) -> None:
    _put(folder, words=words)
    codes = _use(folder, PAGES)
    assert codes.count(0) >= (2 if words else len(codes) - 1)
    found = check_made(folder / MADE)
    for path in (folder / MADE).iterdir():
        path.unlink()
    for name in ("a", "b"):
        (folder / f"{name}.jsonl").write_bytes(hostile_runs.data_of(hostile_runs.sound()))
    _use(folder, [name for name in PAGES if name.startswith("report")])
    assert check_made(folder / MADE) == found, "a text brought an element that acts"


@pytest.mark.parametrize("name", ["=a\u202e<evil-tag>", "a\x1b[31m\nb", "-a b'\"&", "a%s{0}$1"])
def test_no_name_of_a_file_does_harm(name: str, folder: Path) -> None:
    data = hostile_runs.data_of(hostile_runs.sound())
    for one in (f"./{name}.jsonl", f"./{name}2.jsonl"):
        (folder / one).write_bytes(data)
    for arguments in COMMANDS.values():
        if arguments[0] in ("show", "claims", "roofs", "explain", "compare", "cost"):
            own = {"a.jsonl": f"./{name}.jsonl", "b.jsonl": f"./{name}2.jsonl"}
            asked = [own.get(one, one) for one in arguments]
            check(asked, call(*asked, cwd=folder))


def test_a_picture_is_written_beside_its_file_whatever_the_file_says(folder: Path) -> None:
    _put(folder, words=False)
    check((), call("plot", "a.jsonl", "--kind", "ladder", cwd=folder))
    found = {path.name for path in folder.iterdir()}
    assert found == {MADE, "a.jsonl", "b.jsonl", "a-ladder.png", "a-ladder.svg"}


# Numbers, depth, repetition: one fault at a time.

BRIEF = ("show a.jsonl --unsupported -f json", "explain a.jsonl --roofs b.jsonl -f json")


def _brief(folder: Path, data: bytes) -> None:
    (folder / "a.jsonl").write_bytes(data)
    _use(folder, BRIEF)
    try:
        overview([folder / "a.jsonl"])
    except GemmbenchError as error:
        hostile.check_error(error)


@pytest.fixture
def brief(folder: Path) -> Path:
    (folder / "b.jsonl").write_bytes(hostile_runs.data_of(hostile_runs.sound()))
    return folder


@pytest.mark.parametrize(
    "field",
    [
        "median_ns",
        "samples_ns",
        "start_s",
        "clock_mhz",
        "power_w",
        "work",
        "error",
        "units",
        "power_limit_w",
        "target",
    ],
)
def test_no_number_does_harm(field: str, brief: Path) -> None:
    for value in (b"1e308", b"-1", b"5e-324", b"NaN"):
        _brief(brief, hostile_runs.with_number(value, of=[field]))


@pytest.mark.parametrize(("kind", "field"), hostile_runs.FREE_FORM)
def test_no_depth_does_harm(kind: str, field: str, brief: Path) -> None:
    for depth, opened, closed in (
        (900, b'{"a":', b"}"),  # what parsers take, and Python's own recursion does not
        (100_000, b'{"a":', b"}"),
        (100_000, b"[", b"]"),
    ):
        data = hostile_runs.with_depth(field, kind=kind, opened=opened, closed=closed, depth=depth)
        _brief(brief, data)


@pytest.mark.parametrize(("what", "make"), hostile_runs.FAULTS.items(), ids=hostile_runs.FAULTS)
def test_no_damage_does_harm(what: str, make: hostile_runs.Make, brief: Path) -> None:
    _brief(brief, make())


@pytest.mark.parametrize("time_ns", ["1e308", "5e-324", "1e-7", "2e18", "0", "-1"])
@pytest.mark.parametrize("kind", ["record", "roof", "selftest"])
def test_a_time_that_no_launch_takes_is_damage(kind: str, time_ns: str, tmp_path: Path) -> None:
    """Else sums of it overflow, and its inverse divides by zero."""
    lines = hostile_runs.sound()
    which = next(line for line in lines if line["type"] == kind)
    turns = which["less"] if kind == "selftest" else which["turns"]
    turns[0]["median_ns"] = hostile_inputs.MARK
    mark = msgspec.json.encode(hostile_inputs.MARK)
    path = tmp_path / "run.jsonl"
    path.write_bytes(hostile_runs.data_of(lines).replace(mark, b"1e6"))
    assert read(path).warnings == ()
    path.write_bytes(hostile_runs.data_of(lines).replace(mark, time_ns.encode()))
    assert f"a turn of {float(time_ns):g} ns" in read(path).warnings[0]


# What is no file, and what is far too large.


@pytest.mark.parametrize("what", ["fifo", "device", "link to a device", "compressed"])
def test_what_is_no_run_is_refused_by_every_command(what: str, brief: Path) -> None:
    """`history` goes on with the runs that are left."""
    path = brief / "a.jsonl"
    match what:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "link to a device":
            (brief / "link").symlink_to("/dev/zero")
            path.symlink_to("link")
        case "compressed":
            path.write_bytes(hostile_runs.FAULTS["compressed"]())
    for name, arguments in COMMANDS.items():
        done = call(*arguments, cwd=brief)
        assert done.code == (0 if name.startswith("history") else 2), name
        assert "a.jsonl" in done.err
        check(arguments, done)
    assert {path.stem for path in (brief / MADE).iterdir()} <= {"history"}


PEAK = """
import re, sys
from gemmbench.cli.app import main
try:
    main()
finally:
    # Of this program alone: ru_maxrss counts what its parent held as it was forked, too.
    (peak,) = re.findall(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())
    print("PEAK", int(peak) >> 10, file=sys.stderr)
"""


def _peak_mib(*arguments: str, cwd: Path) -> tuple[int, str, int]:
    """(exit code, standard error, MiB at most)."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=280,
    )
    err, _, peak = done.stderr.rpartition("PEAK ")
    return done.returncode, err, int(peak)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("explain",), ("report", "-o", f"{MADE}/x.html")])
def test_a_gigabyte_without_an_end_is_refused_by_what_reads_whole_runs(
    command: tuple[str, ...], folder: Path
) -> None:
    with (folder / "a.jsonl").open("wb") as stream:
        stream.truncate(2**30)
    code, err, peak = _peak_mib(command[0], "a.jsonl", *command[1:], cwd=folder)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert peak < 1024


@pytest.mark.slow
def test_many_long_lines_that_are_damaged_take_no_memory(folder: Path) -> None:
    """Each just short enough to be read; a gigabyte in all."""
    data = hostile_runs.data_of(hostile_runs.sound())
    with (folder / "a.jsonl").open("wb") as stream:
        stream.write(data)
        for _ in range(24):
            stream.truncate(stream.tell() + MAX_LINE_BYTES - 2)
            stream.seek(0, os.SEEK_END)
            stream.write(b"\n")
    code, err, peak = _peak_mib("show", "a.jsonl", cwd=folder)
    assert code == 0
    assert "24 damaged line(s)" in err
    assert peak < 1024


# Anything: a real run with a few changes.


def _real() -> list[hostile_runs.Line]:
    """The first lines of each kind of a run that was measured."""
    path = min(KEPT.glob("*.jsonl"))
    found: dict[str, list[hostile_runs.Line]] = {}
    for data in path.read_bytes().splitlines():
        line = msgspec.json.decode(data)
        known = found.setdefault(line["type"], [])
        if len(known) < 12:
            known.append(line)
    found["run"][0]["plan"] = []
    return [line for lines in found.values() for line in lines]


REAL = _real()


def test_the_real_run_is_sound(brief: Path) -> None:
    """Else nothing would be learnt from its mutations."""
    (brief / "a.jsonl").write_bytes(hostile_runs.data_of(REAL))
    assert read(brief / "a.jsonl").warnings == ()
    assert len(read(brief / "a.jsonl").records) == 12
    assert _use(brief, BRIEF[:1]) == [0]
    assert overview([brief / "a.jsonl"]).runs[0].cases


def test_a_real_run_with_a_few_changes_does_no_harm(brief: Path) -> None:
    drawn = 0

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(hostile_inputs.run_files_of(REAL))
    def one(data: bytes) -> None:
        nonlocal drawn
        _brief(brief, data)
        drawn += 1
        if drawn == 15:
            _use(brief, [name for name in COMMANDS if name.startswith(("report", "history"))])
            check_made(brief / MADE)

    one()
