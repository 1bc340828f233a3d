"""Kills runs at random moments, takes them up again, and sees that nothing is lost or doubled.

    python tests/kill_loop.py --kills 100 --seed 1

One line a kill; `--seed` draws the same kills again, as far as the machine keeps time.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from gemmbench.records.reader import read
from gemmbench.records.schema import Line, Record
from gemmbench.runner.resume import finished

RUN = (sys.executable, "-m", "gemmbench", "run", "--quiet")
SMALL = (
    *("--device", "cpu", "--preset", "quick", "--kernel", "torch"),
    *("--shape", "32x32x32", "--shape", "48x48x48", "--max-time", "0.2s", "--target", "90%"),
    *("--precision", "fp32", "--precision", "int8", "--precision", "tf32"),  # the last: unsupported
)
TOKEN = "GEMMBENCH_KILL_LOOP"
ENDS = ("supervisor", "worker", "both", "SIGTERM", "SIGINT", "SIGINT x2", "SIGINT x3")
LATE_S = 60.0
"""What a dying run may take at most, on a machine that does other things, too."""


class LostError(AssertionError):
    """Something was lost, doubled or left behind."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise LostError(what)


@dataclass(frozen=True)
class Held:
    """The whole lines of a run file, and whether the run has come to its end."""

    data: bytes = b""
    complete: bool = False

    def __str__(self) -> str:
        lines = len(self.data.splitlines())
        return f"{lines} lines, complete" if self.complete else f"{lines} lines"


class Victim:
    """One run, in a folder of its own: killed and taken up again until it is complete."""

    def __init__(self, folder: Path, *, out: Path | None = None) -> None:
        self.folder = folder
        self._out = out or folder
        self.held = Held()
        self._token = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None
        self._said = folder.with_suffix(".stderr")

    def start(self) -> None:
        """Begin the run, or take it up again; one that still goes on is let be."""
        if self.goes_on():
            return
        path = self.path()
        how = ("--resume", str(path)) if path else (*SMALL, "--out", str(self._out))
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [*RUN, *how],
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**os.environ, TOKEN: self._token},
            )

    def goes_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def path(self) -> Path | None:
        found = list(self.folder.glob("*.jsonl"))
        expect(len(found) <= 1, f"one run, and {len(found)} files")
        return found[0] if found else None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        """What the run has written to its standard error."""
        return self._said.read_text()

    def until(self, lines: int) -> Held:
        """Wait for that many whole lines in the file."""
        deadline_s = time.monotonic() + 2 * LATE_S
        while len(self.check().data.splitlines()) < lines:
            expect(self.goes_on(), f"it ended before line {lines}: {self.said()}")
            expect(time.monotonic() < deadline_s, f"no line {lines} in time")
            time.sleep(0.02)
        return self.held

    def hit(self, end: str) -> None:
        pid = self.pid
        if end.startswith("SIG"):
            name, _, times = end.partition(" x")
            for _ in range(int(times or 1)):
                os.kill(pid, signal.Signals[name])
                time.sleep(0.02)
            return
        workers = self.workers()
        for victim in {"supervisor": [pid], "worker": workers, "both": [pid, *workers]}[end]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

    def workers(self) -> list[int]:
        return [pid for pid in self._alive() if "gemmbench.runner.worker" in _command(pid)]

    def wait(self) -> int:
        """The exit code, once nothing of the run is left."""
        assert self._process is not None
        code = self._process.wait(LATE_S)
        deadline_s = time.monotonic() + LATE_S
        while left := self._alive():
            expect(time.monotonic() < deadline_s, f"left behind: {[_command(p) for p in left]}")
            time.sleep(0.02)
        return code

    def check(self) -> Held:
        """Every line that was whole is still there, and the file loads."""
        path = self.path()
        if path is None:
            expect(not self.held.data, "the file is gone")
            return self.held
        data = path.read_bytes()
        expect(data.startswith(self.held.data), "a line that was whole has changed")
        whole = data[: data.rfind(b"\n") + 1]
        records = [line for line in _lines(whole) if isinstance(line, Record)]
        run = read(path)
        expect({r.case for r in run.records} >= {r.case for r in records}, "a record is not loaded")
        kept = {record.case for record in run.records if finished(record)}
        expect(kept >= {r.case for r in records if finished(r)}, "a finished case no longer counts")
        doubled = [
            case for case, n in Counter(r.case for r in records if finished(r)).items() if n > 1
        ]
        expect(not doubled, f"finished more than once: {doubled}")
        complete = run.footer is not None and kept >= set(run.header.plan)
        if complete:
            expect(len(kept) == len(run.header.plan) + 2, "an unsupported case is not there")
            expect(not run.warnings, f"it is complete, and yet: {run.warnings}")
        self.held = Held(whole, complete)
        return self.held

    def _alive(self) -> list[int]:
        """All processes of the run, whoever their parent is by now."""
        mark = f"{TOKEN}={self._token}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def _lines(data: bytes) -> list[Line]:
    return [msgspec.json.decode(line, type=Line) for line in data.splitlines()]


def healthy(folder: Path) -> float:
    """Seconds from the start of a run that nobody kills to its last line."""
    victim = Victim(folder)
    began_s = time.monotonic()
    victim.start()
    while victim.goes_on() and not victim.check().complete:
        time.sleep(0.05)
    took_s = time.monotonic() - began_s
    expect(victim.wait() == 0, "a run that nobody killed failed")
    expect(victim.check().complete, "a run that nobody killed is not complete")
    return took_s


def loop(folder: Path, *, kills: int, seed: int, say: Callable[[str], None] = print) -> int:
    """Kill that often; the number of runs that were brought to their end. Raises LostError."""
    whole_s = healthy(folder / "healthy")
    say(f"a healthy run takes {whole_s:.1f} s")
    runs, done = 1, 0
    victim = Victim(folder / f"run-{runs}")
    while done < kills or not victim.held.complete:
        draw = random.Random(f"{seed}:{done}:{len(victim.held.data)}")
        end, after_s = draw.choice(ENDS), draw.uniform(0, whole_s)
        if victim.held.complete:
            victim.wait()
            runs += 1
            victim = Victim(folder / f"run-{runs}")
        fresh = victim.path() is None and not victim.goes_on()
        victim.start()
        began_s = time.monotonic()
        late_s = after_s if done < kills else 10 * LATE_S
        while victim.goes_on() and time.monotonic() - began_s < late_s:
            time.sleep(0.005)
        if victim.goes_on():
            done += 1
            under_way = bool(victim.workers())
            victim.hit(end)
            code = victim.wait() if end != "worker" else None
            held = victim.check()
            say(
                f"kill {done}/{kills} of seed {seed}: {end} after {after_s:.2f} s of run {runs}: "
                f"exit {code}, {held}"
            )
            if under_way and end.startswith("SIG") and not held.complete:
                # To a shell both are 130; the second, of a signal while Python itself leaves.
                expect(code in (130, -signal.SIGINT), f"exit code {code} after {end}")
                expect("Traceback" not in victim.said(), f"a traceback after {end}")
        else:
            if fresh and victim.check().complete:  # the first was slow: the machine was busy
                whole_s = min(whole_s, time.monotonic() - began_s)
            code = victim.wait()
            say(f"run {runs} ended by itself: exit {code}, {victim.check()}")
    victim.wait()
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    asked = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        runs = loop(Path(folder), kills=asked.kills, seed=asked.seed)
    took_s = time.monotonic() - began_s
    print(f"{asked.kills} kills, {runs} runs complete, nothing lost or doubled, in {took_s:.0f} s")


if __name__ == "__main__":
    main()
