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
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import has_neighbour, stalls

TIMEOUT_S = 10
pytestmark = pytest.mark.xdist_group("faults")  # one run for all of them
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
    "raises-in-bind": ("failed", "ValueError: no such tile"),
    "raises-when-asked": ("failed", "ZeroDivisionError: tiles of nothing"),
    "raises": ("failed", "RuntimeError: the tile fell off"),
    "raises-in-turn": ("failed", "RuntimeError: the tile fell off"),
    "leaves": ("failed", "SystemExit: 0"),
    "leaves-at-once": ("failed", "in verify: it ended its process with exit code 0"),
    "interrupts": ("failed", "KeyboardInterrupt"),
    "allocates": ("failed", "out of memory: "),
    "wrong": ("wrong", "element (0, 0)"),
    "wrong-on-third": ("wrong", "element (0, 0)"),
    "wrong-at-the-end": ("wrong", "element (0, 0)"),
    "aborts": ("failed", "in verify: killed by SIGABRT at planted.py:"),
    "aborts-in-turn": ("failed", "in turn: killed by SIGABRT at planted.py:"),
    "segfaults": ("failed", "in verify: killed by SIGSEGV at planted.py:"),
    "babbles": ("failed", "in verify: what came from the worker cannot be read: "),
    "closes-all": ("failed", "in verify: it closed what it did not open"),
    "hangs": ("timeout", "in verify: no answer within 10 s at planted.py:"),
    "hangs-in-c": ("timeout", "in verify: no answer within 10 s at planted.py:"),
}


def test_every_fault_has_its_end() -> None:
    assert set(ENDS) == {kernel.name for kernel in planted.FAULTY}


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


def test_nothing_of_theirs_reaches_the_terminal(planted_run: Done) -> None:
    shown = planted_run.out + planted_run.error
    assert "xxxx" not in shown
    assert "eeee" not in shown
    assert "Traceback" not in shown
    assert len(shown) < 20_000


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
    done = carry_out(tmp_path / "out", "--kernel", str(leaky), "--kernel", str(nosy))
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
        "3",
        "--timeout",
        "4",
    )
    ends = {(r.kernel, r.repeat): (r.status, r.reason) for r in done.run.records}
    assert len(ends) == 9
    for repeat in range(3):
        assert ends["torch", repeat][0] == "ok"
        assert ends["hangs", repeat][0] == "timeout"
        assert ends["wrong", repeat][0] == "wrong"
        again = ends["hangs", repeat][1].startswith("as in repeat 1, not tried again: in verify")
        assert again == (repeat > 0)


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
