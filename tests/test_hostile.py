"""Hostile input: one clear line and exit code 2, in bounded memory and time; nothing escapes.

The strategies and what follows each reader are in hostile.py, which also feeds 20,000 inputs.
"""

import contextlib
import csv
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hostile
import hostile_inputs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import CPU, footer, header, record, selftest, turns, write

from gemmbench.analysis.speedup import ladder
from gemmbench.records.fleet import MAX_LINE_BYTES
from gemmbench.records.frame import load
from gemmbench.records.reader import read
from gemmbench.runner.request import Request
from gemmbench.runner.resume import of_run
from gemmbench.show.style import dress, figure, save
from gemmbench.show.tables import Table, to_markdown
from gemmbench.suites.reader import load_suite
from gemmbench.suites.table import load_table
from gemmkernels.errors import GemmbenchError
from gemmkernels.userfile import load_file

GIB = 2**30
EXAMPLES = {"runs": 300, "kernel files": 300, "environment": 40}

NAMES = [text for text in hostile_inputs.EVIL if len(text) < 10_000]

pytestmark = pytest.mark.filterwarnings("default::gemmbench.records.reader.RunFileWarning")


@pytest.mark.parametrize("reader", hostile.READERS)
def test_any_input_is_taken_or_refused_in_one_line(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "deep" / "in" / "a folder"  # a text may be a path: "..", "*", "../.."
    here.mkdir(parents=True)
    monkeypatch.chdir(here)

    @settings(
        max_examples=EXAMPLES.get(reader, 200),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(hostile.READERS[reader].inputs)
    def one(value: Any) -> None:
        hostile.attempt(reader, value, tmp_path)

    one()


def test_what_the_inputs_are_made_of_is_sound(tmp_path: Path) -> None:
    """Else nothing would be learnt from its mutations."""
    run = b"\n".join(map(msgspec.json.encode, hostile_inputs.RUN[1:]))
    kernel = hostile_inputs.FILE.replace("{launch}", "").replace("{kernel}", "")
    assert hostile.attempt("runs", run, tmp_path) == "taken"
    assert hostile.attempt("suites", hostile_inputs.SUITE, tmp_path) == "taken"
    assert hostile.attempt("tables", hostile_inputs.TABLE, tmp_path) == "taken"
    assert hostile.attempt("ranges", ("1:4:x2", "m", "8"), tmp_path) == "taken"
    whole = kernel.replace("{end}", hostile_inputs.ENDS[0]).encode()
    assert hostile.attempt("kernel files", whole, tmp_path) == "taken"


def test_what_is_neither_taken_nor_refused_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(text: str, _: Path) -> None:
        if text == "several":
            raise type("Several", (GemmbenchError,), {"__str__": lambda _: "two\nlines"})
        if text == "escape":
            hostile.check_text("\x1b[31m")
        raise ValueError(text)

    reader = replace(hostile.READERS["texts"], feed=faulty)
    monkeypatch.setitem(hostile.READERS, "texts", reader)
    for text, error in (
        ("several", AssertionError),
        ("escape", AssertionError),
        ("", ValueError),
    ):
        with pytest.raises(error):
            hostile.attempt("texts", text, tmp_path)


@settings(deadline=None)
@given(st.text())
def test_an_error_is_one_printable_line_whatever_it_is_made_of(text: str) -> None:
    error = GemmbenchError(f"cannot read {text}: {text!r}")
    hostile.check_error(error)
    assert "\n" not in str(error)
    assert len(str(GemmbenchError(text * 10_000))) <= hostile.LONGEST_LINE


@pytest.mark.parametrize("field", [*hostile_inputs.KERNEL_FIELDS, *hostile_inputs.LAUNCH_FIELDS])
def test_each_field_of_a_kernel_by_each_value(field: str, tmp_path: Path) -> None:
    own = field in hostile_inputs.KERNEL_FIELDS
    for value in (*hostile_inputs.PYTHON, *map(repr, NAMES)):
        text = hostile_inputs.FILE.replace("{kernel}", f"{field}={value}" if own else "")
        text = text.replace("{launch}", "" if own else f"{field}={value}")
        data = text.replace("{end}", hostile_inputs.ENDS[0]).encode("utf-8", "surrogatepass")
        hostile.attempt("kernel files", data, tmp_path)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "é", "a\n", "x" * 61, "\u202ea", 7, None])
def test_names_of_kernels_are_plain(name: Any, tmp_path: Path) -> None:
    text = hostile_inputs.FILE.replace("{kernel}", f"name={name!r}").replace("{launch}", "")
    (tmp_path / "mine.py").write_text(text.replace("{end}", hostile_inputs.ENDS[0]))
    with pytest.raises(GemmbenchError, match=r"kernel name .* must begin with a letter or digit"):
        load_file(tmp_path / "mine.py")


# Each field of each kind of line by numbers that no DataFrame holds.

HEADER, FULL_RECORD, SELFTEST, FOOTER = 0, 3, 7, 8


@pytest.mark.parametrize("kind", [HEADER, FULL_RECORD, SELFTEST, FOOTER])
def test_no_number_is_too_large_for_a_field(kind: int, tmp_path: Path) -> None:
    lines = [hostile_inputs.RUN[0], *hostile_inputs.RUN[2:]]
    at = max(0, kind - 1)

    def mark(where: Any, key: Any) -> None:
        where[key] = hostile_inputs.MARK

    path = tmp_path / "run.jsonl"
    for number, place in hostile_inputs.PLACES:
        if number != kind:
            continue
        changed = [*lines]
        changed[at] = hostile_inputs.replaced(lines[at], place, mark)
        data = b"\n".join(map(msgspec.json.encode, changed))
        for value in (b"9223372036854775808", b"1" + b"0" * 400):
            path.write_bytes(data.replace(msgspec.json.encode(hostile_inputs.MARK), value))
            with contextlib.suppress(GemmbenchError), hostile.only_told():
                ladder(load(path))


# What loads must survive being shown.


def hostile_run(path: Path, *, factor: float = 1.0) -> Path:
    """A file that loads without a warning, and bears every evil name in every place for one."""
    found = [
        record(
            *(text,),
            precision=text if index % 3 == 0 else "fp32",
            tier=text,
            layout=text if index % 5 == 0 else "nn",
            took=turns(factor * (50.0 + index), rounds=7, seed=index),
            base=index == 0,
            label=text,
            modes={text: text},
            warnings=(text,),
            reason=text,
            backend=text,
            encoding=text,
            launch=text,
        )
        for index, text in enumerate(NAMES)
    ]
    found += [
        record(f"{index}{text}", size=64, status="failed", reason=text, took=())
        for index, text in enumerate(NAMES)
    ]
    evil = "".join(NAMES)
    first = header(
        replace(CPU, name=evil, architecture=evil),
        run_id=evil,
        software={text: text for text in NAMES},
        started=evil,
        version=evil,
    )
    first = msgspec.structs.replace(
        first, method=msgspec.structs.replace(first.method, preset=evil, data=evil, cache=evil)
    )
    return write(path, [first, selftest(), *found, footer(found)])


def call(*arguments: str, cwd: Path, code: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gemmbench", *arguments], capture_output=True, cwd=cwd, timeout=250
    )
    out, err = done.stdout.decode(), done.stderr.decode()  # UTF-8, or this raises
    assert done.returncode == code, err[-2000:]
    assert "Traceback" not in err
    hostile.check_text(out + err)
    return out, err


def test_no_name_escapes_into_a_terminal_or_breaks_a_table(tmp_path: Path) -> None:
    hostile_run(tmp_path / "a.jsonl")
    hostile_run(tmp_path / "b.jsonl", factor=1.5)
    shown, err = call("show", "a.jsonl", "--unsupported", cwd=tmp_path)
    assert not err
    assert "\\u202eevil" in shown
    assert "\\x1b[31mred" in shown
    for table in call("show", "a.jsonl", "-f", "markdown", cwd=tmp_path)[0].split("\n\n"):
        rows = [line for line in table.split("\n") if line.startswith("|")]
        plain = [row.replace("\\\\", "").replace("\\|", "") for row in rows]
        assert len({row.count("|") for row in plain}) <= 1, rows
    text, _ = call("show", "a.jsonl", "-f", "csv", cwd=tmp_path)
    kernels = [row["kernel"] for row in csv.DictReader(io.StringIO(text))]
    assert len(kernels) == 2 * len(NAMES)
    assert "'=cmd|' /C calc'!A0" in kernels  # text, to a spreadsheet
    listed = json.loads(call("show", "a.jsonl", "-f", "json", cwd=tmp_path)[0])
    told = [row["kernel"] for row in listed]
    assert [f"'{one}" if one[:1] in ("=", "-") else one for one in told] == kernels
    for form in ("table", "markdown", "csv", "json"):
        call("compare", "a.jsonl", "b.jsonl", "-f", form, cwd=tmp_path)


@pytest.mark.parametrize("kind", ["ladder", "sweep", "compare"])
def test_no_name_stops_a_picture(kind: str, tmp_path: Path) -> None:
    runs = [hostile_run(tmp_path / "a.jsonl").name]
    if kind == "compare":
        runs.append(hostile_run(tmp_path / "b.jsonl", factor=1.5).name)
    out, _ = call("plot", *runs, "--kind", kind, "--out", "x\x1b[31m", cwd=tmp_path)
    assert "x\\x1b[31m.png" in out
    assert (tmp_path / "x\x1b[31m.png").stat().st_size > 1000


@pytest.mark.parametrize("time_us", [1e-305, 1e-20, 1e25, 1e299])
def test_no_time_stops_a_picture(time_us: float, tmp_path: Path) -> None:
    """A time such as only a damaged file has is not loaded."""
    found = [
        record("naive", tier="naive", base=True, took=turns(100.0, rounds=7)),
        record("tiled", took=turns(time_us, rounds=7)),
    ]
    write(tmp_path / "a.jsonl", [header(), *found])
    _, err = call("plot", "a.jsonl", "--kind", "sweep", cwd=tmp_path)
    assert "1 damaged line(s)" in err


def test_no_rate_stops_a_picture(tmp_path: Path) -> None:
    """The largest shape in the shortest time: no axis reaches so far."""
    found = [record("tiled", size=2**31 - 1, took=turns(2e-9, rounds=7))]
    write(tmp_path / "a.jsonl", [header(), *found])
    _, err = call("plot", "a.jsonl", "--kind", "sweep", cwd=tmp_path, code=2)
    assert "can't be drawn: no device does that" in err


@pytest.mark.parametrize("text", [text for text in NAMES if "$" in text])
def test_no_label_is_taken_for_a_formula(text: str, tmp_path: Path) -> None:
    made = figure(4, 3, caption=text)
    dress(made.subplots(), x=text, y=text, title=text)
    assert len(save(made, tmp_path / "picture")) == 2


def test_too_many_bars_are_refused(tmp_path: Path) -> None:
    found = [record(f"k{index}", took=turns(9.0, rounds=7)) for index in range(400)]
    write(tmp_path / "many.jsonl", [header(), *found])
    for kind, what in (("ladder", "bars"), ("sweep", "lines")):
        _, err = call("plot", "many.jsonl", "--kind", kind, cwd=tmp_path, code=2)
        assert f"400 {what} are too many to draw" in err


KERNEL = """
from gemmkernels import Kernel, Launch

def needs(problem, device):
    return "\\x1b[31m\\u202e\\ud800" * 100 if problem.m == 1 else None

def bind(operands):
    print("\\x1b]0;title\\x07")
    raise type("\\x1b[31m", (Exception,), {})("two\\nlines \\u202e \\ud800")

KERNEL = Kernel(name="mine", tier="library", backend="mine", precisions=("fp32",), summary="x",
                bind=bind, needs=needs)
"""


@pytest.mark.parametrize("command", ["run", "verify"])
def test_what_a_kernel_says_is_escaped(command: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(KERNEL)
    what = ["--kernel", "./mine.py", "--kernel", "torch", "--device", "cpu"]
    what += ["--shape", "1x2x2", "--shape", "2x2x2", "--precision", "fp32"]
    kept = ["--out", "x\x1b[31m", "--preset", "quick"] if command == "run" else []
    out, err = call(command, *what, *kept, cwd=tmp_path, code=1)
    assert "unsupported: \\x1b[31m\\u202e\\ud800" in err
    assert "failed: \\x1b[31m: two lines \\u202e \\ud800" in err
    if command == "run":
        assert "run:  x\\x1b[31m/" in out
        (path,) = (tmp_path / "x\x1b[31m").glob("*.jsonl")
        call("show", str(path), "--unsupported", cwd=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("list", text) for text in NAMES[1:12] if "\0" not in text and text[:1] != "-"),
        ("list", "kernels", "--format", "\x1b[31m\u202e"),
        ("show", "\x1b[31m\u202e.jsonl"),
        ("show", "a\nb*.jsonl"),
        ("show", "x" * 5000),
        ("compare", "\u202e", "\x1b"),
        ("plot", "x", "--kind", "\x1b\u202e"),
        ("run", "--suite", "\x1b\u202e"),
        ("run", "--shapes", "\x1b\u202e.csv"),
        ("run", "--kernel", os.fsdecode(b"./\xff.py")),
        ("run", "--device", os.fsdecode(b"\xff\x1b")),
        ("run", "--m", "\x1b\u202e", "--n", "1", "--k", "1"),
        ("run", "--budget", "\x1b" * 100),
        ("run", "--\x1b\u202e"),
        ("\x1b\u202e",),
        ("run", "--threads", "1" * 5000),
        ("run", "--threads", "9" * 30),
        ("run", "--seed", "9" * 5000),
        ("run", "--repeat", "9" * 30),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_hostile_arguments_are_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    out, err = call(*arguments, cwd=tmp_path, code=2)
    assert not out
    assert len(err.splitlines()) == 1
    assert len(err) < hostile.LONGEST_LINE + 40


def test_markdown_cells_stay_in_their_cells() -> None:
    table = Table(columns=("a", "b"), rows=(("x|`y`", "*z*<b>\n|"),))
    last = to_markdown(table).split("\n")[-1]
    assert last == "| x\\|\\`y\\` | \\*z\\*&lt;b>\\\\n\\| |"


# What is no file at all, and what is far too large.

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "run": (".jsonl", read),
    "resumed run": (".jsonl", lambda path: of_run(path, Request())),
    "suite": (".toml", load_suite),
    "table": (".csv", load_table),
    "kernel file": (".py", load_file),
}


@pytest.fixture(params=["device", "fifo", "folder", "socket", "secret"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    sockets: list[socket.socket] = []

    def make(ending: str) -> Path:
        path = tmp_path / f"x{ending}"
        if request.param == "device":
            return Path("/dev/zero")
        if request.param == "fifo":
            os.mkfifo(path)
        elif request.param == "folder":
            path.mkdir()
        elif request.param == "socket":
            sockets.append(socket.socket(socket.AF_UNIX))
            sockets[0].bind(str(path))
        else:
            path.write_text("x")
            path.chmod(0)
        return path

    yield make
    for one in sockets:
        one.close()


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_not_waited_for(
    reader: str, no_file: Callable[[str], Path]
) -> None:
    ending, load = READERS[reader]
    path = no_file(ending)
    with pytest.raises(GemmbenchError) as seen:
        load(path)
    hostile.check_error(seen.value)
    assert path.name in str(seen.value)


GIGABYTES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "x.jsonl": (b"", ("show", "x.jsonl")),
    "y.jsonl": (b'{"type":"run","format":[1,0],"run_id":"', ("compare", "y.jsonl", "y.jsonl")),
    "x.toml": (b'name = "', ("run", "--device", "cpu", "--suite", "./x.toml")),
    "x.csv": (b"m,n,k\n", ("run", "--device", "cpu", "--shapes", "x.csv")),
    "x.py": (b"KERNEL = '", ("run", "--device", "cpu", "--kernel", "./x.py")),
}

PEAK = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "gemmbench", *sys.argv[1:]], timeout=200)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(done.returncode)
"""


def measured(*arguments: str, cwd: Path) -> tuple[int, str, int]:
    """(exit code, standard error, peak bytes of the largest process)."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, cwd=cwd
    )
    return done.returncode, done.stderr, int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", GIGABYTES)
def test_a_line_of_a_gigabyte_is_refused_in_bounded_memory(name: str, tmp_path: Path) -> None:
    begins, arguments = GIGABYTES[name]
    with (tmp_path / name).open("wb") as stream:
        stream.write(begins)
        stream.truncate(GIB)  # a hole: nothing of it is on the disk
    code, err, peak = measured(*arguments, cwd=tmp_path)
    assert code == 2, err
    assert len(err.splitlines()) == 1, err
    assert name in err
    assert peak < GIB


@pytest.mark.slow
def test_a_gigabyte_within_a_run_costs_only_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", [header(), record("one", took=turns(9.0))])
    with path.open("ab") as stream:
        stream.truncate(GIB)
    with path.open("ab") as stream:
        stream.write(b"\n" + msgspec.json.encode(record("two", took=turns(8.0))) + b"\n")
    code, err, peak = measured("show", path.name, cwd=tmp_path)
    assert code == 0, err
    assert f"longer than {MAX_LINE_BYTES >> 20} MiB" in err
    assert peak < GIB
