"""What kernels with faults do to a run: each costs its own case, and no other."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import planted
import pytest

from gemmbench.records.reader import Run, read
from gemmbench.records.schema import Record
from gemmbench.runner import crew
from gemmbench.runner.process import UnkillableError, WorkerProcess, _last_line, _place
from gemmbench.runner.request import Request
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import has_neighbour, stalls
from gemmkernels.errors import GemmbenchError

STACK = (
    "Current thread 0x1 [python] (most recent call first):\n"
    '  File "/lib/python3.11/a.py", line 1 in b\n'
    '  File "/home/planted.py", line 5 in abort\n\nExtension modules: numpy, torch (total: 2)\n'
)
PLACE = " at planted.py:5 in abort"
TIMEOUT_S = 10
FEW_ROUNDS = ("--max-time", "0.2s")
"""For runs that show nothing by the number of their rounds."""

ONE_RUN = pytest.mark.xdist_group("faults")  # for all of the tests that look at it
IN_ORDER = ("healthy", *(k.name for k in planted.FAULTY), *(k.name for k in planted.LEAKY))


@dataclass(frozen=True)
class Done:
    run: Run
    code: int
    out: str
    error: str
    took_s: float

    def record(self, kernel: str) -> Record:
        (found,) = (record for record in self.run.records if record.kernel == kernel)
        return found


def carry_out(folder: Path, *options: str) -> Done:
    command = [sys.executable, "-m", "gemmbench", "run", "--device", "cpu", "--preset", "quick"]
    command += ["--precision", "fp32", "--shape", "32x32x32", "--timeout", str(TIMEOUT_S)]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--out", str(folder), *options], capture_output=True, text=True, timeout=280
    )
    (path,) = folder.glob("*.jsonl")
    return Done(read(path), done.returncode, done.stdout, done.stderr, time.monotonic() - began)


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """All of the planted faults in one run, before and between healthy kernels."""
    return carry_out(
        tmp_path_factory.mktemp("planted"), "--kernel", planted.__file__, "--kernel", "torch"
    )


def processes_with(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


ENDS = {
    "raises-in-bind": ("failed", "ValueError: no such tile at planted.py:"),
    "raises-when-asked": ("failed", "ZeroDivisionError: tiles of nothing at planted.py:"),
    "raises": ("failed", "RuntimeError: the tile fell off at planted.py:"),
    "raises-in-turn": ("failed", "RuntimeError: the tile fell off"),
    "leaves": ("failed", "SystemExit: 0 at planted.py:"),
    "leaves-at-once": ("failed", "in verify: it ended its process with exit code 0"),
    "interrupts": ("failed", "KeyboardInterrupt"),
    "allocates": ("failed", "out of memory: "),
    "wrong": ("wrong", "element (0, 0)"),
    "wrong-on-third": ("wrong", "element (0, 0)"),
    "wrong-at-the-end": ("wrong", "element (0, 0)"),
    "aborts": ("failed", "in verify: killed by SIGABRT at planted.py:"),
    "aborts-in-turn": ("failed", "in turn: killed by SIGABRT at planted.py:"),
    "segfaults": ("failed", "in verify: killed by SIGSEGV at planted.py:"),
    "babbles": ("failed", "in verify: what came from the worker is no message of ours: "),
    "closes-all": ("failed", "in verify: it closed what it did not open"),
    "hangs": ("timeout", "in verify: no answer within 10 s at planted.py:"),
    "hangs-in-c": ("timeout", "in verify: no answer within 10 s at planted.py:"),
}


def test_every_fault_has_its_end() -> None:
    assert set(ENDS) == {kernel.name for kernel in planted.FAULTY}


@ONE_RUN
@pytest.mark.parametrize("kernel", ENDS)
def test_a_fault_costs_its_own_case_and_says_why(planted_run: Done, kernel: str) -> None:
    status, reason = ENDS[kernel]
    record = planted_run.record(kernel)
    assert (record.status, reason in record.reason) == (status, True), record.reason
    assert not record.turns
    assert "\n" not in record.reason


LEAVES = {
    "closes-output": "changed standard output, and left it so: set back",
    "prints-much": None,
    "fills-stderr": None,
    "forks-away": "left 1 process(es) running: ended",
    "forks-and-returns": None,
    "changes-dtype": "changed torch's default dtype, and left it so: set back",
    "changes-threads": "changed torch's threads, and left it so: set back",
    "changes-precision": "changed torch's float32 precision, and left it so: set back",
    "sets-an-alarm": "changed a timer, and left it so: set back",
    "leaves-its-folder": "changed the working folder, and left it so: set back",
    "stalls": "of the samples took over twice the median",
}


def test_every_leak_is_told() -> None:
    assert set(LEAVES) == {kernel.name for kernel in planted.LEAKY}


@ONE_RUN
@pytest.mark.parametrize("kernel", LEAVES)
def test_what_a_kernel_leaves_behind_is_undone_and_told(planted_run: Done, kernel: str) -> None:
    record = planted_run.record(kernel)
    assert record.status == "ok", record.reason
    expected = LEAVES[kernel]
    if kernel == "stalls" and has_neighbour(record.turns):
        return  # it may have caused them
    assert expected is None or any(expected in told for told in record.warnings), record.warnings


def turns(*samples: float, disturbed: tuple[int, ...] = ()) -> Turn:
    return Turn(
        round=0,
        start_s=0,
        stop_s=1,
        settle_s=0,
        launches=1,
        n_samples=len(samples),
        disturbed=len(disturbed),
        disturbed_at=disturbed,
        median_ns=median(samples),
        samples_ns=samples,
    )


def test_a_stall_that_the_median_hides_is_counted() -> None:
    assert stalls([turns(*[10.0] * 49, 300.0)]) == 0.02
    assert stalls([turns(*[10.0] * 49, 300.0, disturbed=(49,))]) == 0
    assert stalls([turns(*[10.0] * 49, 300.0, disturbed=tuple(range(20)))]) == 0
    assert stalls([turns(*[10.0] * 25, *[19.0] * 25)]) == 0
    assert stalls([]) == 0


@ONE_RUN
def test_every_healthy_case_is_measured_among_them(planted_run: Done) -> None:
    for name in ("healthy", "torch"):
        record = planted_run.record(name)
        assert record.status == "ok"
        assert [turn.round for turn in record.turns] == list(range(10))
        assert not any("left" in told for told in record.warnings)
    assert planted_run.record("healthy").config == {"idea": "none"}
    assert planted_run.record("healthy").tile == (1, 2, 3)
    assert len(planted_run.run.records) == len(IN_ORDER) + 1
    assert planted_run.code == 1


@ONE_RUN
def test_nothing_of_theirs_reaches_the_terminal(planted_run: Done) -> None:
    shown = planted_run.out + planted_run.error
    assert "xxxx" not in shown
    assert "eeee" not in shown
    assert "Traceback" not in shown
    assert len(shown) < 20_000


@ONE_RUN
def test_no_process_of_theirs_outlives_the_run(planted_run: Done) -> None:
    assert not processes_with(planted.CHILD)


def test_a_switch_does_not_reach_the_next_case(tmp_path: Path) -> None:
    """A kernel that sees the leak of the one before it would raise."""
    nosy = tmp_path / "nosy.py"
    nosy.write_text(
        "import os, signal, sys, torch\n"
        "from gemmkernels import Kernel, Launch\n"
        "threads, folder = torch.get_num_threads(), os.getcwd()\n"
        "def look():\n"
        "    assert torch.get_default_dtype() == torch.float32\n"
        "    assert torch.get_num_threads() == threads\n"
        "    assert torch.get_float32_matmul_precision() == 'highest'\n"
        "    assert os.getcwd() == folder and os.environ['PATH'] != '/nowhere'\n"
        "    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0\n"
        "    print('stdout is open', flush=True)\n"
        "def bind(operands):\n"
        "    look()\n"
        "    def run():\n"
        "        look()\n"
        "        torch.mm(operands.a, operands.b, out=operands.out)\n"
        "    return Launch(run=run)\n"
        "KERNEL = Kernel(name='nosy', tier='library', backend='user', precisions=('fp32',),\n"
        "                summary='looks', bind=bind)\n"
    )
    leaky = tmp_path / "leaky.py"
    leaky.write_text(
        Path(planted.__file__).read_text() + "\nKERNELS = LEAKY[:-1]\n"  # the stalls leak nothing
    )
    done = carry_out(tmp_path / "out", "--kernel", str(leaky), "--kernel", str(nosy), *FEW_ROUNDS)
    record = done.record("nosy")
    assert record.status == "ok", record.reason
    assert not any("left it so" in told for told in record.warnings)


def test_what_fell_is_not_tried_again_in_the_next_repeat(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    text = Path(planted.__file__).read_text()
    mine.write_text(text + "\nKERNELS = tuple(k for k in FAULTY if k.name in ('hangs', 'wrong'))\n")
    done = carry_out(
        tmp_path / "out",
        "--kernel",
        str(mine),
        "--kernel",
        "torch",
        "--repeat",
        "2",
        "--timeout",
        "8",  # a loaded machine takes seconds to start torch
        *FEW_ROUNDS,
    )
    ends = {(r.kernel, r.repeat): (r.status, r.reason) for r in done.run.records}
    assert len(ends) == 6
    for repeat in range(2):
        assert ends["torch", repeat][0] == "ok"
        assert ends["hangs", repeat][0] == "timeout"
        assert ends["wrong", repeat][0] == "wrong"
        again = ends["hangs", repeat][1].startswith("as in repeat 1, not tried again: in verify")
        assert again == (repeat > 0)


MINE = """
import os, torch
from gemmkernels import Kernel, Launch
def bind(operands):
    return Launch(run=lambda: torch.mm(operands.a, operands.b, out=operands.out))
KERNEL = Kernel(name="mine", tier="library", backend="user", precisions=("fp32",),
                summary="mine", bind=bind)
"""


def test_a_file_that_changes_while_the_run_goes_on_ends_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(MINE + "open(__file__, 'a').write('# changed\\n')\n")
    done = carry_out(
        tmp_path / "out", "--kernel", str(mine), "--kernel", "torch", "--repeat", "2", *FEW_ROUNDS
    )
    ends = {(r.kernel, r.repeat): (r.status, r.reason) for r in done.run.records}
    changed = "kernel mine has changed while the run went on"
    assert ends["mine", 0][0] == ends["torch", 0][0] == "ok"
    assert ends["mine", 1] == ends["torch", 1] == ("interrupted", changed)
    assert done.code == 1


def test_a_process_that_dies_after_its_cases_takes_none_along(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    bomb = "class Bomb:\n    def __del__(self):\n        os._exit(9)\n"
    mine.write_text(
        MINE.replace("def bind(operands):", bomb + "def bind(operands):").replace(
            "lambda: torch", "lambda bomb=Bomb(): torch"
        )
    )
    done = carry_out(tmp_path / "out", "--kernel", str(mine), "--kernel", "torch", *FEW_ROUNDS)
    assert {r.kernel: r.status for r in done.run.records} == {"mine": "ok", "torch": "ok"}


def test_what_lies_in_the_users_folder_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "statistics.py").write_text("raise RuntimeError('mine')\n")
    (tmp_path / "tiles.py").write_text("SIZE = 3\n")
    (tmp_path / "mine.py").write_text(MINE + "from tiles import SIZE\n")
    command = [sys.executable, "-P", "-m", "gemmbench", "verify", "--device", "cpu", "--quiet"]
    done = subprocess.run(
        [*command, "--kernel", "./mine.py", "--shape", "16x16x16"],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_a_worker_that_cannot_be_ended_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise UnkillableError("a worker outlives SIGKILL by 30 s")

    monkeypatch.setattr(WorkerProcess, "receive", never)
    mine = crew.Crew(Request(device="cpu"))
    with pytest.raises(GemmbenchError, match="could not start: a worker outlives"):
        mine.start()
    assert mine.worker is None


@pytest.mark.parametrize(
    ("printed", "line", "place"),
    [
        ("a\nabout to abort\nFatal Python error: Aborted\n\n" + STACK, "about to abort", PLACE),
        (STACK, "", PLACE),
        # A thread of the driver's: Python knows no frame of it.
        (
            "Memory access fault by GPU node-4\nFatal Python error: Aborted\n\n"
            "<no Python frame>\n\nExtension modules: numpy (total: 1)\n",
            "<no Python frame>",
            "",
        ),
        ("Bad\nFatal Python error: Aborted\n\nExtension modules: numpy (total: 1)\n", "Bad", ""),
        ("x" * 20_000, "x" * 300, ""),
    ],
)
def test_what_a_dying_process_printed_is_told_apart(printed: str, line: str, place: str) -> None:
    assert (_last_line(printed), _place(printed)) == (line, place)


def test_a_file_that_crashes_as_it_is_loaded_is_a_mistake(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("import os\nos.abort()\n")
    command = [sys.executable, "-m", "gemmbench", "run", "--device", "cpu", "--kernel", str(mine)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "killed by SIGABRT at mine.py:2 in <module>" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not os.listdir(tmp_path / "local") if (tmp_path / "local").exists() else True  # noqa: PTH208
