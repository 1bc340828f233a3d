"""Kills parts of a fleet at random moments, takes it up again, and sees that nothing is lost.

    python tests/ray_kill_loop.py --kills 20 --seed 1

One line a kill. It starts a Ray cluster of two nodes on this machine.
"""

import argparse
import contextlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
from ray_cluster import RayCluster

from gemmbench.records.fleet import member
from gemmbench.records.reader import fleet_of, read
from gemmbench.records.schema import Record
from gemmbench.runner.resume import finished

SMALL = (
    *("--device", "cpu", "--preset", "quick", "--kernel", "torch", "--precision", "fp32"),
    *("--shape", "32x32x32", "--shape", "48x48x48", "--shape", "64x64x64"),
    *("--max-time", "0.2s", "--target", "90%", "--wait", "30s"),
)
CASES = 3
NODES = ("n1", "n2")
PARTS = {
    "worker": "gemmbench.runner.worker",
    "agent": "gemmbench.runner.fleet.agent",
    "actor": "ray::RayAgent",
    "bridge": "gemmbench.runner.fleet.ray_bridge",
}
ENDS = (*PARTS, "driver", "node", "node for good", "SIGINT")
OF = re.compile(rb'\{"type":"of","unit":(\d+),"line":(.*)\}')
LATE_S = 240.0
STOPS_S = 30.0
"""How long a run may take to end after Ctrl-C, each worker with a word of its own."""

BEGINS_S = 15.0
MEASURES_S = 4.0
"""About how long a run takes until its first record, and from there to its end."""


class LostError(AssertionError):
    """Something was lost, doubled or left behind."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise LostError(what)


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def parts(cluster: RayCluster, name: str) -> list[psutil.Process]:
    """The processes of one kind that run for a fleet."""
    return [one for one in cluster.processes() if PARTS[name] in command_of(one)]


class FleetRun:
    """One run on a cluster, in a folder of its own: killed and taken up until it is complete."""

    def __init__(self, cluster: RayCluster, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._cluster = cluster
        self._options = options
        self._said = folder / "said.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self.data = b""
        self.complete = False

    def start(self) -> None:
        """Begin the run, or take it up again; one that still goes on is let be."""
        if self.goes_on():
            return
        path = self.path()
        how = ("--resume", str(path)) if path else (*SMALL, *self._options)
        out = () if path else ("--out", str(self.folder))
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gemmbench", "fleet", "run", "--quiet"),
                    *("--address", self._cluster.address, *how, *out),
                ],
                stdout=said,
                stderr=subprocess.STDOUT,
                env=self._cluster.environment,
            )

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def goes_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        return self._said.read_text()

    def last(self, span_s: float) -> None:
        """Let it go on for so long, if it does."""
        end_s = time.monotonic() + span_s
        while self.goes_on() and time.monotonic() < end_s:
            time.sleep(0.01)

    def until_it_keeps(self) -> None:
        """Let it go on until its file has grown."""
        while self.goes_on():
            path = self.path()
            if path and path.stat().st_size > len(self.data):
                return
            time.sleep(0.01)

    def path(self) -> Path | None:
        found = list(self.folder.glob("*.jsonl"))
        expect(len(found) <= 1, f"one run, and {len(found)} files")
        return found[0] if found else None

    def stop(self) -> int:
        """Ctrl-C: the exit code of a run that has told of every case which it leaves."""
        self.process.send_signal(signal.SIGINT)
        code = self.wait(STOPS_S)
        path = self.path()
        if code != 130 or path is None or path.stat().st_size == len(self.data):
            return code  # it was about to end, or nothing was begun
        index = fleet_of(path)
        assert index is not None
        expect(index.footer is not None and index.footer.interrupted, "no word on the end")
        for unit, spans in index.spans.items():
            if spans[-1][1] < len(self.data):
                continue  # not since it was taken up
            run = read(member(path, unit))
            expect(run.footer is not None, f"no word on the end of unit {unit}")
            left = {*run.header.plan} - {record.case for record in run.records}
            expect(not left, f"not a word on {sorted(left)} of unit {unit}")
        return code

    def wait(self, limit_s: float = LATE_S) -> int:
        """The exit code, once nothing of the run is left on any node."""
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise LostError(f"goes on after {limit_s:g} s") from None
        deadline_s = time.monotonic() + 60
        while left := [one for name in PARTS for one in parts(self._cluster, name)]:
            expect(time.monotonic() < deadline_s, f"left behind: {[*map(command_of, left)]}")
            time.sleep(0.05)
        return code

    def check(self) -> int:
        """How many records are finished. Every line that was whole is still there, and once."""
        path = self.path()
        if path is None:
            expect(not self.data, "the file is gone")
            return 0
        data = path.read_bytes()
        expect(data.startswith(self.data), "a line that was whole has changed")
        self.data = data[: data.rfind(b"\n") + 1]
        index = fleet_of(path)
        assert index is not None
        lines = Counter(self._finished_lines())
        doubled = [case for case, times in lines.items() if times > 1]
        expect(not doubled, f"finished more than once: {doubled}")
        done = {
            (unit, record.case)
            for unit in index.spans
            for record in read(member(path, unit)).records
            if finished(record)
        }
        expect(done >= lines.keys(), "a finished record is not loaded")
        self.complete = index.footer is not None and len(done) == CASES * len(index.fleet.places)
        return len(done)

    def _finished_lines(self) -> list[tuple[int, str]]:
        """(unit, case) of each finished record as it stands in the file."""
        found = []
        for line in self.data.splitlines():
            one = OF.fullmatch(line)
            if one and one[2].startswith(b'{"type":"record"'):
                record = msgspec.json.decode(one[2], type=Record)
                if finished(record):
                    found.append((int(one[1]), record.case))
        return found


def hit(run: FleetRun, cluster: RayCluster, end: str, draw: random.Random) -> str:
    """Kill that; what was hit, in words."""
    if end == "driver":
        run.process.kill()
        return end
    if end.startswith("node"):
        name = draw.choice(NODES)
        cluster.kill(name)
        if end == "node":
            time.sleep(draw.uniform(0, 3))
            cluster.add(name, cpus=2)
        else:
            run.process.kill()
            cluster.add(name, cpus=2)
            cluster.wait(*NODES)
        return f"{end} {name}"
    victims = parts(cluster, end)
    if not victims:
        return f"no {end}"
    with contextlib.suppress(psutil.Error):
        draw.choice(victims).kill()
    return end


def loop(folder: Path, *, kills: int, seed: int, say: Callable[[str], None] = print) -> int:
    """Kill that often; the number of runs that came to their end. Raises LostError."""
    runs = done = 0
    sizes = ((), ("--threads", "1"))  # two workers, and four
    order = random.Random(seed).sample(ENDS, len(ENDS))  # each kind as often
    run: FleetRun | None = None
    with RayCluster() as cluster:
        for name in NODES:
            cluster.add(name, cpus=2)
        while done < kills or (run is not None and not run.complete):
            if run is None or run.complete:
                run = FleetRun(cluster, folder / f"run-{runs}", *sizes[runs % 2])
                runs += 1
            draw = random.Random(f"{seed}:{done}:{len(run.data)}")
            end = order[done % len(order)]
            began_s = time.monotonic()
            run.start()
            if done >= kills:
                run.last(LATE_S)
            elif draw.random() < 0.3:  # while it begins
                run.last(draw.uniform(0, BEGINS_S))
            else:
                run.until_it_keeps()
                run.last(draw.uniform(0, MEASURES_S))
            after_s = time.monotonic() - began_s
            if run.goes_on():
                done += 1
                code: int | None = None
                if end == "SIGINT":
                    what, code = end, run.stop()
                else:
                    what = hit(run, cluster, end, draw)
                    if end in ("driver", "bridge", "node for good"):
                        code = run.wait()
                say(
                    f"kill {done}/{kills} of seed {seed}: {what} after {after_s:.1f} s of run "
                    f"{runs}: exit {code}, {run.check()} records"
                )
                expect("Traceback" not in run.said(), run.said())
            else:
                code = run.wait()
                say(f"run {runs} ended: exit {code}, {run.check()} records, {after_s:.1f} s")
                expect(code in (0, 1), f"exit {code}: {run.said()}")
                cluster.wait(*NODES)
        if run is not None and run.goes_on():
            run.wait()
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    asked = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        runs = loop(Path(folder), kills=asked.kills, seed=asked.seed)
    took_s = time.monotonic() - began_s
    print(f"{asked.kills} kills, {runs} runs complete, nothing lost or doubled, in {took_s:.0f} s")


if __name__ == "__main__":
    main()
