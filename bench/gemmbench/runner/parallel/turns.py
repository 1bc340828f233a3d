"""Turns that all ranks take together: a sample's time is the slowest rank's.

Whatever decides how many launches and samples there are is agreed on, so that no rank is ever in
another collective than the rest.
"""

import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gemmbench.devices.cpu import allowed_cpus
from gemmbench.runner.parallel.ranks import Ranks
from gemmbench.timing.contention import LostTime
from gemmbench.timing.gpu import AHEAD, STEADY, first_steady
from gemmbench.timing.host import (
    LEAST_SAMPLES,
    LONG_LOST_SHARE,
    LONGEST_TURN,
    LOST_SHARE,
    SELF_SETTLING,
)
from gemmbench.timing.method import LEAST_SAMPLE_S, Timing
from gemmbench.timing.turn import Turn
from gemmkernels.kernel import Launch

MOST_LAUNCHES = 1 << 20
TRIES = 3


@dataclass(kw_only=True)
class Subject:
    """A kernel bound to its operand sets, launched in rotation; as many in each sample."""

    launches: Sequence[Launch]
    per_sample: int = 1
    launch_s: float = 0.0

    def __post_init__(self) -> None:
        self._cycle = itertools.cycle(self.launches)

    def prepare(self) -> None:
        """Before a turn or a check, never in a timed window."""
        for launch in self.launches:
            if launch.prepare:
                launch.prepare()

    def enqueue(self) -> None:
        """One sample's launches."""
        for launch in itertools.islice(self._cycle, self.per_sample):
            launch.run()


class Clock(Protocol):
    """Times samples on one kind of device."""

    mode: str

    def samples(self, subject: Subject, count: int) -> "Samples": ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One rank's samples, and core time meanwhile: its own, that of all on its `cpus`, and what was
    stolen of those."""

    taken_ns: tuple[float, ...]
    own_s: float = 0.0
    busy_s: float | None = None
    stolen_s: float = 0.0
    cpus: tuple[int, ...] = ()


class HostClock:
    """A CPU's: the monotonic clock around batches of launches, each behind a barrier.

    Threads of one rank wait for one another's core as they exchange, so that a wait is no sign of a
    neighbour: the node's other core time is, and steal time.
    """

    mode = "loop"

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._lost = LostTime()

    def samples(self, subject: Subject, count: int) -> Samples:
        taken: list[float] = []
        machine, own = self._lost.machine_ns(), time.process_time()
        for _ in range(count):
            self._ranks.wait()
            start = time.perf_counter_ns()
            subject.enqueue()
            taken.append(float(time.perf_counter_ns() - start))
        after, own_after = self._lost.machine_ns(), time.process_time()
        busy, stolen = None, 0.0
        if machine and after:
            busy, stolen = ((after[i] - machine[i]) / 1e9 for i in range(2))
        return Samples(
            taken_ns=tuple(taken),
            own_s=own_after - own,
            busy_s=busy,
            stolen_s=stolen,
            cpus=allowed_cpus(),
        )

    def close(self) -> None:
        self._lost.close()


class DeviceClock:
    """A GPU's: its own events, behind a collective of one number, which all devices leave together.

    The host queues samples ahead, so that no device waits for it. `cuda` is torch.cuda.
    """

    mode = "stream"

    def __init__(self, ranks: Ranks, *, cuda: Any) -> None:
        import torch

        self._ranks = ranks
        self._cuda = cuda
        self._one = torch.zeros(1, device=ranks.device.torch_device)

    def samples(self, subject: Subject, count: int) -> Samples:
        import torch.distributed as dist

        taken: list[float] = []
        pending: list[tuple[Any, Any]] = []
        for _ in range(count):
            dist.all_reduce(self._one, group=self._ranks.group)
            start, stop = (self._cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            subject.enqueue()
            stop.record()
            pending.append((start, stop))
            if len(pending) > AHEAD:
                taken.append(_elapsed_ns(pending.pop(0)))
        taken += map(_elapsed_ns, pending)
        return Samples(taken_ns=tuple(taken))

    def close(self) -> None:
        """It holds nothing open."""


def _elapsed_ns(events: tuple[Any, Any]) -> float:
    start, stop = events
    stop.synchronize()
    return float(start.elapsed_time(stop)) * 1e6


def make_clock(ranks: Ranks) -> Clock:
    if not ranks.device.is_gpu:
        return HostClock(ranks)
    import torch

    return DeviceClock(ranks, cuda=torch.cuda)


def calibrate(subject: Subject, clock: Clock, ranks: Ranks, timing: Timing) -> None:
    """Choose how many launches make a sample of `sample_s` (at least 200 µs), the same everywhere.

    Of several tries the best counts: the first calls of a process are slow.
    """
    subject.prepare()
    wanted_ns = max(timing.sample_s, LEAST_SAMPLE_S) * 1e9
    subject.per_sample = 1
    while True:
        # All ranks have these figures, to the bit: they decide alike.
        spent_ns = min(ranks.largest(clock.samples(subject, TRIES).taken_ns))
        if spent_ns >= wanted_ns / 4 or subject.per_sample >= MOST_LAUNCHES:
            break
        subject.per_sample *= 2
    subject.launch_s = max(1.0, spent_ns) / subject.per_sample / 1e9
    subject.per_sample = max(1, min(MOST_LAUNCHES, round(wanted_ns / 1e9 / subject.launch_s)))


def counts(subject: Subject, timing: Timing) -> tuple[int, int]:
    """(samples to settle, samples to keep): at least five, or fewer of launches so long that five
    would take over 2.5 times the turn."""
    sample_s = subject.launch_s * subject.per_sample
    settle = math.ceil(timing.settle_s / sample_s)
    if subject.launch_s >= SELF_SETTLING * timing.settle_s:
        settle = 0
    most = max(1, int(LONGEST_TURN * timing.turn_s / sample_s))
    return settle, min(most, max(LEAST_SAMPLES, math.ceil(timing.turn_s / sample_s)))


def take_turn(subject: Subject, clock: Clock, ranks: Ranks, *, number: int, timing: Timing) -> Turn:
    """One turn of a kernel alone, the same on every rank but for when it was."""
    subject.prepare()
    settle, keep = counts(subject, timing)
    ranks.wait()
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.monotonic()
        mine = clock.samples(subject, settle + keep)
        stop = time.monotonic()
    finally:
        if collecting:
            gc.enable()
    taken = ranks.largest(mine.taken_ns)
    first = settle
    if ranks.device.is_gpu:
        first = first_steady(
            [ns / subject.per_sample for ns in taken],
            [ns / 1e9 for ns in taken],
            timing.settle_s,
            tolerance=math.inf if timing.unsettled else STEADY,
        )
    stolen, others_s = _disturbed(mine, ranks, subject, timing, sum(taken))
    kept = [round(ns / subject.per_sample, 2) for ns in taken[first:]]
    disturbed = tuple(range(len(kept))) if stolen else ()
    return Turn(
        round=number,
        start_s=start,
        stop_s=stop,
        settle_s=sum(taken[:first]) / 1e9,
        launches=subject.per_sample,
        n_samples=len(kept),
        disturbed=len(disturbed),
        median_ns=None if stolen else statistics.median(kept),
        samples_ns=tuple(kept),
        disturbed_at=disturbed,
        others_s=others_s,
    )


def _disturbed(
    mine: Samples, ranks: Ranks, subject: Subject, timing: Timing, taken_ns: float
) -> tuple[bool, float | None]:
    """(did any node lose time to other guests, core time that others used on the busiest node)."""
    if ranks.device.is_gpu:
        return False, None
    share = LOST_SHARE if subject.launch_s < timing.turn_s else LONG_LOST_SHARE
    nodes: dict[int, list[Samples]] = {}
    facts = replace(mine, taken_ns=())
    for node, one in ranks.every((ranks.node, facts)):
        nodes.setdefault(node, []).append(one)
    known = [found for local in nodes.values() if (found := others_on(local)) is not None]
    longest_s = max(one.stolen_s for local in nodes.values() for one in local)
    return longest_s * 1e9 > share * taken_ns, max(known, default=None)


def others_on(node: Sequence[Samples]) -> float | None:
    """Core time that others used on the CPUs of a node's ranks; None where nothing tells.

    Each rank sees its own CPUs, and those that have the same see the same.
    """
    found: float | None = None
    for cpus in {one.cpus for one in node}:
        alike = [one for one in node if one.cpus == cpus]
        busy = [one.busy_s for one in alike if one.busy_s is not None]
        if busy:
            rest = max(0.0, max(busy) - sum(one.own_s for one in alike))
            found = rest + (found or 0.0)
    return found


def led(
    ranks: Ranks, turners: dict[str, Callable[[int], Turn]]
) -> dict[str, Callable[[int], Turn]] | None:
    """Rank 0: turners that bring the others along. The others follow until rank 0 is `done`."""
    if ranks.leads:

        def leading(name: str) -> Callable[[int], Turn]:
            def turn(number: int) -> Turn:
                ranks.tell((name, number))
                return turners[name](number)

            return turn

        return {name: leading(name) for name in turners}
    asked: tuple[str, int] | None
    while (asked := ranks.tell(None)) is not None:
        name, number = asked
        turners[name](number)
    return None


def done(ranks: Ranks) -> None:
    """There are no more turns to follow."""
    ranks.tell(None)
