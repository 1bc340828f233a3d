"""Turns on a CPU: batches of calls between two readings of the monotonic clock."""

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gemmbench.timing.contention import LostTime
from gemmbench.timing.method import LEAST_SAMPLE_S
from gemmbench.timing.turn import Turn

LEAST_SAMPLES = 5
LONGEST_TURN = 2.5
"""Times `turn_s`: past it a turn ends with fewer than five samples, but at least one."""

LOST_SHARE = 0.005
"""A sample that waited longer than this share of itself for a core is disturbed."""

LONG_LOST_SHARE = 0.02
"""The same of a launch longer than a turn: the machine's housekeeping takes 1% of any long stretch
on all cores, and there are no short samples to choose from."""

CLEARLY_LONG_NS = 50e6

SELF_SETTLING = 20
"""A launch this many times as long as the settling settles within itself, to 0.5% or better."""


@dataclass(frozen=True)
class HostTiming:
    """What a turn needs to know. Seconds."""

    settle_s: float
    turn_s: float
    sample_s: float


class HostSubject:
    """Something to call again and again: the operand sets of one kernel, in rotation."""

    def __init__(
        self, runs: Sequence[Callable[[], object]], *, prepare: Callable[[], None] | None = None
    ) -> None:
        self._next = itertools.cycle(runs)
        self.prepare = prepare
        self.launches = 1
        self.launch_s = 0.0

    def calls(self, count: int) -> Iterable[Callable[[], object]]:
        return itertools.islice(self._next, count)

    def batch_ns(self, count: int) -> int:
        """Nanoseconds that `count` calls took together."""
        calls = self.calls(count)
        start = time.perf_counter_ns()
        for call in calls:
            call()
        return time.perf_counter_ns() - start

    def calibrate(self, timing: HostTiming) -> None:
        """Choose how many launches make a sample of `sample_s` (at least 200 µs)."""
        if self.prepare:
            self.prepare()
        wanted_ns = max(timing.sample_s, LEAST_SAMPLE_S) * 1e9
        count, spent_ns = 1, self._best_ns(1)
        while spent_ns < wanted_ns / 4 and count < 1 << 24:
            count *= 2
            spent_ns = self._best_ns(count)
        self.launch_s = spent_ns / count / 1e9
        self.launches = max(1, round(wanted_ns / 1e9 / self.launch_s)) if spent_ns else count

    def _best_ns(self, count: int) -> int:
        """The best of some batches: a first call after another kernel can read 6 times slower."""
        best = self.batch_ns(count)
        for _ in range(4):
            if best > CLEARLY_LONG_NS:
                break
            best = min(best, self.batch_ns(count))
        return best


def take_turn(subject: HostSubject, *, number: int, timing: HostTiming, lost: LostTime) -> Turn:
    """One turn of a kernel alone: settle it, then sample. The garbage collector is held off."""
    if subject.prepare:
        subject.prepare()
    lost.refresh()
    collecting = gc.isenabled()
    gc.disable()
    try:
        start, machine, own = time.monotonic(), lost.machine_ns(), time.process_time()
        if subject.launch_s < SELF_SETTLING * timing.settle_s:
            end = start + timing.settle_s
            while time.monotonic() < end:
                subject.batch_ns(subject.launches)
        settled = time.monotonic()
        samples, waits = _sample(subject, timing, lost, settled)
        stop, machine_after, own_after = time.monotonic(), lost.machine_ns(), time.process_time()
    finally:
        if collecting:
            gc.enable()
    share = LOST_SHARE if subject.launch_s < timing.turn_s else LONG_LOST_SHARE
    spoilt = [w > share * s for s, w in zip(samples, waits, strict=True)]
    others_s = None
    if machine and machine_after:
        others_s = (machine_after[0] - machine[0]) / 1e9 - (own_after - own)
        if machine_after[1] - machine[1] > share * sum(samples):
            spoilt = [True] * len(samples)  # ticks of steal time cannot be laid to single samples
    clean = [s for s, gone in zip(samples, spoilt, strict=True) if not gone]
    per_launch = [round(s / subject.launches, 2) for s in samples]
    return Turn(
        round=number,
        start_s=start,
        stop_s=stop,
        settle_s=settled - start,
        launches=subject.launches,
        n_samples=len(samples),
        disturbed=len(samples) - len(clean),
        median_ns=statistics.median(clean) / subject.launches if clean else None,
        samples_ns=tuple(per_launch),
        disturbed_at=tuple(index for index, gone in enumerate(spoilt) if gone),
        others_s=others_s,
    )


def _sample(
    subject: HostSubject, timing: HostTiming, lost: LostTime, began: float
) -> tuple[list[int], list[int]]:
    samples: list[int] = []
    waits: list[int] = []
    before = lost.waited_ns()
    while True:
        samples.append(subject.batch_ns(subject.launches))
        after = lost.waited_ns()
        waits.append(after - before)
        before = after
        spent = time.monotonic() - began
        if spent < timing.turn_s:
            continue
        if len(samples) >= LEAST_SAMPLES or spent >= LONGEST_TURN * timing.turn_s:
            return samples, waits
