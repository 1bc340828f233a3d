"""Kills, cuts, full disks, lost folders: what is finished stays, and is not done again."""

import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from kill_loop import RUN, Victim, loop
from synthetic import footer

from gemmbench.records.frame import load
from gemmbench.records.journal import Journal
from gemmbench.records.reader import RunFileWarning, read
from gemmbench.records.schema import Footer, Header, Line, Record, SelfTest
from gemmbench.runner.request import Request
from gemmbench.runner.resume import finished, of_run
from gemmbench.runner.stopping import SIGNALS, Stop
from gemmbench.runner.supervisor import Supervisor
from gemmbench.show.progress import Quiet
from gemmkernels.errors import GemmbenchError

# Killed at random.


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    loop(tmp_path, kills=5, seed=int(time.time()))


# Cut, damaged, taken up again.


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Of a real run: its header, 2 unsupported cases, a self-test, 4 measured cases, a footer."""
    request = Request(
        device="cpu",
        preset="quick",
        shapes=("32x32x32", "16x16x16"),
        precisions=("fp32", "int8", "tf32"),
        kernels=("torch",),
        max_time_s=0.2,
        out=str(tmp_path_factory.mktemp("whole")),
    )
    outcome = Supervisor(request, Quiet()).run()
    assert outcome.exit_code == 0
    assert outcome.path is not None
    found = outcome.path.read_bytes().splitlines(keepends=True)
    assert [type(decoded(line)) for line in found] == [
        *[Header, Record, Record, SelfTest, Record, Record, Record, Record, Footer]
    ]
    return found


def decoded(line: bytes) -> Line:
    found: Line = msgspec.json.decode(line, type=Line)
    return found


def test_a_file_cut_at_any_byte_loads_what_is_whole(lines: list[bytes], tmp_path: Path) -> None:
    lines = [*lines[:5], lines[-1]]
    data = b"".join(lines)
    path = tmp_path / "run.jsonl"
    known = {line: decoded(line) for line in lines}
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        if cut < len(lines[0]) - 1:
            with pytest.raises(GemmbenchError) as seen:
                read(path)
            assert str(path) in str(seen.value)
            assert "\n" not in str(seen.value)
            with pytest.raises(GemmbenchError):
                Journal.resume(path)
            assert path.stat().st_size == cut
            continue
        whole = [line for line in (data[:cut] + b"\n").splitlines(keepends=True) if line in known]
        size = min(cut, sum(map(len, whole)))  # the last newline alone may be missing
        run = read(path)
        assert run.records == tuple(
            known[line] for line in whole if isinstance(known[line], Record)
        )
        told = []
        if cut > size:
            told.append(f"the last line is cut: its {cut - size} bytes were not loaded")
        missing = 4 - sum(record.status == "ok" for record in run.records)
        told.append(f"{missing} of 4 planned cases have no record")
        assert len(run.warnings) == len(told)
        assert all(map(str.startswith, run.warnings, told))
        Journal.resume(path).close()
        assert path.read_bytes() == b"".join(whole)


def test_a_cut_file_becomes_a_table(lines: list[bytes], tmp_path: Path) -> None:
    data = b"".join(lines)
    path = tmp_path / "run.jsonl"
    for cut in (len(lines[0]), len(b"".join(lines[:5])) + 100, len(data) - 7):
        path.write_bytes(data[:cut])
        with pytest.warns(RunFileWarning):
            table = load(path)
        assert len(table) == len(read(path).records)


def changed(line: bytes, **changes: object) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(decoded(line), **changes)) + b"\n"


def cut_short(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], lines[5][:300]]


def without_self_test_and_last_newline(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[4:6], lines[6][:-1]]


def damaged_in_the_middle(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b"\xff" + lines[1][1:], *lines[2:5], lines[5][:50] + b"\n", *lines[6:]]


def of_a_lost_device(lines: list[bytes]) -> list[bytes]:
    return [
        *lines[:4],
        changed(lines[4], status="failed", reason="RuntimeError: the tile fell off", turns=()),
        changed(lines[5], status="failed", reason="device lost: the worker could not start"),
        changed(lines[6], status="interrupted", reason="stopped by the user"),
        changed(lines[7], status="timeout", reason="in verify: no answer within 8 s", turns=()),
        msgspec.json.encode(footer([])) + b"\n",
    ]


def all_but_the_footer(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


@pytest.mark.parametrize(
    ("spoil", "again", "exit_code"),
    [
        (cut_short, 3, 0),
        (without_self_test_and_last_newline, 1, 0),
        (damaged_in_the_middle, 2, 0),
        (of_a_lost_device, 2, 1),
        (all_but_the_footer, 0, 0),
    ],
)
def test_only_what_is_not_finished_is_done_again(
    lines: list[bytes],
    tmp_path: Path,
    spoil: Callable[[list[bytes]], list[bytes]],
    again: int,
    exit_code: int,
) -> None:
    path = tmp_path / "run.jsonl"
    before = b"".join(spoil(lines))
    path.write_bytes(before)
    request, run = of_run(path, Request())
    outcome = Supervisor(request, Quiet(), resume=run).run()
    assert (outcome.path, outcome.exit_code) == (path, exit_code)
    after = path.read_bytes()
    kept = before if before.endswith((b"\n", b"}")) else before[: before.rfind(b"\n") + 1]
    assert after.startswith(kept)
    new = [decoded(line) for line in after[len(kept) :].splitlines() if line]
    assert sum(isinstance(line, Record) for line in new) == again
    assert isinstance(new[-1], Footer)
    final = read(path)
    plan = set(final.header.plan)
    assert {r.case for r in final.records} > plan
    assert all(finished(r) for r in final.records)
    assert final.footer is not None
    assert final.footer.statuses == Counter(r.status for r in final.records) == outcome.statuses
    whole = [line for line in after.splitlines() if line.startswith(b'{"type":"record"')]
    records = [
        one for line in whole if len(line) > 100 and isinstance(one := decoded(line), Record)
    ]
    assert max(Counter(r.case for r in records if finished(r)).values()) == 1
    if not final.warnings:
        with pytest.raises(GemmbenchError, match="is complete: nothing is left to do"):
            Supervisor(request, Quiet(), resume=final).run()


def test_a_run_that_was_finished_meanwhile_is_not_done_again(
    lines: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"".join(lines[:5]))
    request, run = of_run(path, Request())
    path.write_bytes(b"".join(lines))  # by another, between our reading it and locking it
    with pytest.raises(GemmbenchError, match="is complete"):
        Supervisor(request, Quiet(), resume=run).run()
    assert path.read_bytes() == b"".join(lines)


# The disk and the folder.


def test_a_full_disk_ends_a_run_that_goes_on_later(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "run")
    victim.start()
    size = len(victim.until(lines=4).data)
    # A footer would fit into that, a record of a measured case does not.
    psutil.Process(victim.pid).rlimit(psutil.RLIMIT_FSIZE, (size + 400, resource.RLIM_INFINITY))
    assert victim.wait() == 2
    (said,) = victim.said().splitlines()[-1:]
    assert "Traceback" not in victim.said()
    assert f"cannot write to {victim.path()}: File too large; its last" in said
    assert f"go on with: gemmbench run --resume {victim.path()}" in said
    held = victim.check()
    path = victim.path()
    assert path is not None
    assert path.read_bytes() == held.data  # nothing of a line in it
    assert read(path).footer is None
    victim.start()
    assert victim.wait() == 0
    assert victim.check().complete


def test_a_folder_that_vanishes_or_moves_takes_nothing_along(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "run")
    victim.start()
    held = victim.until(lines=4).data
    shutil.rmtree(victim.folder)
    while victim.path() is None and victim.goes_on():
        time.sleep(0.02)
    held = victim.check().data
    was = victim.folder
    victim.folder = was.rename(tmp_path / "moved")
    assert victim.wait() == 0
    assert len(victim.check().data) > len(held)
    assert victim.check().complete
    assert not was.exists()
    said = " ".join(victim.said().split())
    assert "was removed while the run went on: all of it is now in" in said
    assert f"was moved: the run goes on in {victim.path()}" in said


# Two at once, and signals.


def test_two_runs_in_one_folder_and_two_that_take_one_up(tmp_path: Path) -> None:
    one, other = Victim(tmp_path / "one"), Victim(tmp_path / "two", out=tmp_path / "one")
    one.start()
    one.until(lines=4)
    one.hit("SIGINT x3")
    assert one.wait() in (130, -2)  # of the third one, in its last instants
    assert "Traceback" not in one.said()
    path = one.path()
    assert path is not None
    stopped = read(path)
    assert stopped.footer is not None
    assert stopped.footer.interrupted
    assert {record.case for record in stopped.records} > set(stopped.header.plan)
    taking = [
        subprocess.Popen([*RUN, "--resume", str(path)], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    other.start()
    codes = {}
    for process in taking:
        _, said = process.communicate(timeout=120)
        codes[process.returncode] = said
    assert set(codes) == {0, 2}
    refused = f"{path} is being written by another run: wait for it, or end it"
    assert codes[2] == f"gemmbench: {refused}\n"
    assert other.wait() == 0
    first, second = sorted(one.folder.glob("*.jsonl"), key=lambda found: found != path)
    for found in (first, second):
        run = read(found)
        assert not run.warnings
        assert run.footer is not None
        assert {r.case for r in run.records if finished(r)} > set(run.header.plan)


@pytest.fixture
def delivered() -> list[int]:
    return []


def test_the_first_signal_stops_and_no_other(delivered: list[int]) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with Stop():
        for one in (*SIGNALS, *SIGNALS):
            try:
                signal.raise_signal(one)
            except KeyboardInterrupt:
                delivered.append(one)
    assert delivered == [signal.SIGINT]
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_a_signal_waits_for_what_is_written(delivered: list[int]) -> None:
    with Stop() as stop:

        def write() -> None:
            with stop.held():
                with stop.held():
                    signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGINT)
                delivered.append(1)

        with pytest.raises(KeyboardInterrupt):
            write()
        with stop.held():
            delivered.append(2)
    assert delivered == [1, 2]


def test_what_is_ignored_or_taken_is_left_alone() -> None:
    taken = signal.signal(signal.SIGTERM, lambda *_: None)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Stop():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
    except KeyboardInterrupt:
        pytest.fail("a signal that was not ours stopped the run")
    finally:
        signal.signal(signal.SIGTERM, taken)
        signal.signal(signal.SIGHUP, ignored)


def test_a_thread_that_is_not_the_main_one_leaves_signals_alone() -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            with Stop():
                pass
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not raised


def test_an_end_that_takes_too_long_can_be_ended() -> None:
    code = (
        "import signal; from gemmbench.runner import stopping\n"
        "stopping.PATIENCE_S = 0.0\n"
        "with stopping.Stop() as stop, stop.held():\n"
        "    signal.raise_signal(signal.SIGINT); signal.raise_signal(signal.SIGINT); print('on')\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "")
