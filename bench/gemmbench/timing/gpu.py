"""Turns on a GPU: launches between two events of the device's own clock, with none of the host's.

`cuda` is torch.cuda, which speaks both CUDA and HIP; tests give a stand-in with its own clock.
"""

import itertools
import math
import statistics
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Launch

AHEAD = 3
"""Samples queued ahead of the one being read, so that the device never waits for the host."""

LEAST_SAMPLES = 5
LONGEST_TURN = 4.0
STEADY = 0.005
UNSEEN_SHARE, UNSEEN_S = 0.2, 100e-6
"""The device may be busy so long after a sample, as a share of it and beside it: for the host to
learn that it is idle takes some 10 µs."""

UNSEEN_SAMPLES = 3
"""Of so many one passes: the host may have been held up as it waited."""

_REMEDY = "launch on torch.cuda.current_stream()"
UNKNOWN_LLC = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class GpuTiming:
    """What a turn needs to know. Seconds; `launch` is graph, stream or single.

    Unless `wait_for_steady`, only the settling time is dropped, steady or not.
    """

    settle_s: float
    turn_s: float
    sample_s: float
    launch: str
    wait_for_steady: bool = True
    llc_bytes: int | None = None


def first_steady(
    per_launch_ns: Sequence[float],
    spent_s: Sequence[float],
    settle_s: float,
    *,
    tolerance: float = STEADY,
) -> int:
    """Index of the first sample to keep: settling is over, and the clock has become steady.

    Steady: the median of the next twentieth of the samples lies within the tolerance, 0.5%, of the
    median of the second half. Drops at most half of the samples; `spent_s` is how long each took.
    """
    half = len(per_launch_ns) // 2
    ends = itertools.accumulate(spent_s)
    index = next((i for i, end in enumerate(ends, 1) if end >= settle_s), half)
    index = min(index if settle_s > 0 else 0, half)
    aim = statistics.median(per_launch_ns[half:])
    block = max(3, len(per_launch_ns) // 20)
    while index < half:
        if abs(statistics.median(per_launch_ns[index : index + block]) / aim - 1) <= tolerance:
            break
        index = min(half, index + block)
    return index


class GpuSubject:
    """The operand sets of one kernel, launched in rotation on one stream."""

    def __init__(
        self, launches: Sequence[Launch], *, timing: GpuTiming, cuda: Any, stream: Any
    ) -> None:
        self.launches = tuple(launches)
        self.timing = timing
        self.cuda = cuda
        self.stream = stream
        self.launch_s = 0.0
        self.per_sample = 1
        self.mode = timing.launch
        self.warning = ""
        self._unseen_s = 0.0  # how long the device went on after the last sample, if too long
        self._cycle: Iterator[Launch] = itertools.cycle(self.launches)
        self._graphs: list[tuple[Any, int]] = []
        self._next_graph: Iterator[tuple[Any, int]] = iter(())
        self._returned: list[object] = []  # held, so that a graph's pool gives each its own memory

    def prepare(self) -> None:
        """Of every set: what is derived from inputs is there before any launch."""
        for launch in self.launches:
            if launch.prepare:
                launch.prepare()
        self.cuda.synchronize()  # it was derived on another stream

    def calibrate(self) -> None:
        """Launch every set once, estimate a launch's time, and capture the graphs, if any.

        Everything that a capture forbids (compiling, library handles, first allocations) has
        happened by then, on the same stream. A capture that fails falls back to `stream`, and
        `warning` says so. Raises GemmbenchError for launches on another stream: the events would
        not see them.
        """
        self.prepare()
        with self.cuda.stream(self.stream):
            for launch in self.launches:
                launch.run()
            self.cuda.synchronize()  # inputs are filled on another stream
            self.launch_s = self._time()
            while self.launch_s * self.per_sample < 1e-3 and self.per_sample < 1 << 14:
                self.per_sample *= 2
                self.launch_s = self._time()
            self._check_stream()
        self.per_sample = 1 if self.mode == "single" else self._wanted()
        if self.mode == "graph" and not all(launch.capturable for launch in self.launches):
            self.mode = "stream"
            self.warning = "cannot be captured into a graph: timed by stream"
        if self.mode == "graph":
            self._capture()

    def _wanted(self) -> int:
        """Launches that fill a sample."""
        return max(1, round(self.timing.sample_s / max(self.launch_s, 1e-9)))

    def _check_stream(self) -> None:
        """After the last sample: it must have been all that the device had to do."""
        for _ in range(1, UNSEEN_SAMPLES):
            if self._unseen_s <= 0:
                return
            self._time()
        if self._unseen_s > 0:
            raise GemmbenchError(
                f"the device was busy for {self._unseen_s * 1e3:.3g} ms more after all launches "
                f"had ended: it works on a stream of its own: {_REMEDY}"
            )

    def _time(self) -> float:
        """Seconds a launch, of one sample."""
        start, stop = self.cuda.Event(enable_timing=True), self.cuda.Event(enable_timing=True)
        start.record(self.stream)
        count = self.enqueue()
        stop.record(self.stream)
        stop.synchronize()
        ended_s = time.perf_counter()
        self.cuda.synchronize()
        waited_s = time.perf_counter() - ended_s
        sample_s = float(start.elapsed_time(stop)) / 1e3
        self._unseen_s = waited_s if waited_s > UNSEEN_SHARE * sample_s + UNSEEN_S else 0.0
        return sample_s / count

    def _capture(self) -> None:
        """Graphs of a sample each; twice, where the host had set the pace of the estimate."""
        before = self.cuda.current_stream()
        try:
            for _ in range(2):
                wanted = self._wanted()
                self._record(wanted)
                with self.cuda.stream(self.stream):
                    self.enqueue()  # the first replay of a graph also uploads it
                    self.stream.synchronize()
                    if wanted > 1:
                        self.launch_s = self._time()
                if self._wanted() < 1.5 * wanted:
                    break
        except RuntimeError as error:
            self._graphs.clear()
            self._returned.clear()
            self.cuda.set_stream(before)  # a capture that cannot end leaves its own
            self.stream.synchronize()  # raises where the device itself is lost
            self.mode = "stream"
            self.warning = f"graph capture failed, timed by stream: {str(error).splitlines()[0]}"
            return
        self._next_graph = itertools.cycle(self._graphs)

    def _record(self, wanted: int) -> None:
        """Capture every set, `wanted` launches a graph, or whole rotations of at least as many."""
        self._graphs.clear()
        self._returned.clear()
        sets = len(self.launches)
        if wanted >= sets:  # one graph, of whole rotations
            chunks = [self.launches * -(-wanted // sets)]
        else:
            chunks = [self.launches[i : i + wanted] for i in range(0, sets, wanted)]
        for chunk in chunks:
            graph = self.cuda.CUDAGraph()
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                with self.cuda.graph(graph, stream=self.stream):
                    self._returned += [launch.run() for launch in chunk]
            for told in heard:
                if "graph is empty" in str(told.message).lower():  # torch says it, no call does
                    raise GemmbenchError(f"its graph is empty: {_REMEDY}")
                warnings.warn_explicit(told.message, told.category, told.filename, told.lineno)
            self._graphs.append((graph, len(chunk)))
        self.per_sample = self._graphs[0][1]
        self._next_graph = itertools.repeat(self._graphs[0])

    def enqueue(self) -> int:
        """Queue one sample on the current stream; returns how many launches it holds."""
        if self._graphs:
            graph, count = next(self._next_graph)
            graph.replay()
            return count
        for launch in itertools.islice(self._cycle, self.per_sample):
            launch.run()
        return self.per_sample

    def run_all(self) -> object:
        """Run every operand set once by the timed launch; returns what the first set's returned."""
        self.prepare()
        found: object = None
        with self.cuda.stream(self.stream):
            if self._graphs:
                for graph, _ in self._graphs:
                    graph.replay()
                found = self._returned[0]
            else:
                for index, launch in enumerate(self.launches):
                    got = launch.run()
                    found = got if index == 0 else found
            self.stream.synchronize()
        return found


class GpuClock:
    """Takes turns on one device."""

    def __init__(self, timing: GpuTiming, *, cuda: Any, flush: Any = None) -> None:
        self.timing = timing
        self.cuda = cuda
        self.stream = cuda.Stream()
        self._flush = flush
        self._cycles_per_s: float | None = None

    def subject(self, launches: Sequence[Launch]) -> GpuSubject:
        return GpuSubject(launches, timing=self.timing, cuda=self.cuda, stream=self.stream)

    def take_turn(self, subject: GpuSubject, number: int) -> Turn:
        """One turn of a kernel alone. The part until the clock is steady is dropped."""
        subject.prepare()
        start = time.monotonic()
        with self.cuda.stream(self.stream):
            if subject.mode == "single":
                taken = self._singles(subject)
                first = 1  # the first launch after a change of kernel
            else:
                taken = self._batches(subject)
                per_launch = [ns / count for ns, count in taken]
                first = first_steady(
                    per_launch,
                    [ns / 1e9 for ns, _ in taken],
                    self.timing.settle_s,
                    tolerance=STEADY if self.timing.wait_for_steady else math.inf,
                )
        stop = time.monotonic()
        kept = tuple(round(ns / count, 2) for ns, count in taken[first:])
        return Turn(
            round=number,
            start_s=start,
            stop_s=stop,
            settle_s=sum(ns for ns, _ in taken[:first]) / 1e9,
            launches=subject.per_sample,
            n_samples=len(kept),
            disturbed=0,
            median_ns=statistics.median(kept),
            samples_ns=kept,
        )

    def _event(self) -> Any:
        event = self.cuda.Event(enable_timing=True)
        event.record(self.stream)
        return event

    def _batches(self, subject: GpuSubject) -> list[tuple[float, int]]:
        """Samples end to end: each begins with the event that ended the one before."""
        wanted_s = self.timing.settle_s + self.timing.turn_s
        taken: list[tuple[float, int]] = []
        pending: deque[tuple[Any, Any, int]] = deque()
        spent_s, each_s = 0.0, subject.launch_s * subject.per_sample
        last = self._event()
        while True:
            # What is queued counts as if it were read: of a slow kernel each launch more is felt.
            samples, soon_s = len(taken) + len(pending), spent_s + len(pending) * each_s
            full = soon_s >= wanted_s and samples >= 2 * LEAST_SAMPLES
            full = full or (soon_s >= LONGEST_TURN * wanted_s and samples >= 3)
            if not full:
                count = subject.enqueue()
                now = self._event()
                pending.append((last, now, count))
                last = now
            if full and not pending:
                return taken
            if full or len(pending) >= AHEAD:
                before, after, count = pending.popleft()
                after.synchronize()
                ns = float(before.elapsed_time(after)) * 1e6
                taken.append((ns, count))
                each_s = ns / 1e9
                spent_s += each_s

    def _singles(self, subject: GpuSubject) -> list[tuple[float, int]]:
        """One launch a sample: caches flushed, the host's launch hidden behind a spin kernel."""
        host_s = self._host_s(subject)
        cycles = int(self._spin_cycles_per_s() * max(50e-6, 3 * host_s))
        taken: list[tuple[float, int]] = []
        pending: deque[tuple[Any, Any]] = deque()
        began = time.monotonic()
        while True:
            spent_s = time.monotonic() - began
            full = spent_s >= self.timing.turn_s and len(taken) > 2 * LEAST_SAMPLES
            full = full or (spent_s >= LONGEST_TURN * self.timing.turn_s and len(taken) >= 2)
            if not full:
                self._flush.zero_()
                self.cuda._sleep(cycles)
                before = self._event()
                subject.enqueue()
                pending.append((before, self._event()))
            if full and not pending:
                return taken
            if full or len(pending) >= AHEAD:
                before, after = pending.popleft()
                after.synchronize()
                taken.append((float(before.elapsed_time(after)) * 1e6, 1))

    def _host_s(self, subject: GpuSubject) -> float:
        self.stream.synchronize()
        start = time.perf_counter()
        subject.enqueue()
        host_s = time.perf_counter() - start
        self.stream.synchronize()
        return host_s

    def _spin_cycles_per_s(self) -> float:
        if self._cycles_per_s is None:
            cycles = 1_000_000
            self.cuda._sleep(10 * cycles)  # until the clock has come up
            before = self._event()
            self.cuda._sleep(cycles)
            after = self._event()
            after.synchronize()
            self._cycles_per_s = cycles / (float(before.elapsed_time(after)) / 1e3)
        return self._cycles_per_s


def clock_for(timing: GpuTiming, torch_device: str) -> GpuClock:
    """A clock on a real device, with a buffer to flush its caches where the method wants that."""
    import torch

    torch.cuda.set_device(torch.device(torch_device).index or 0)  # "cuda" alone is no index
    flush = None
    if timing.launch == "single":
        size = 2 * (timing.llc_bytes or UNKNOWN_LLC)
        flush = torch.empty(size, dtype=torch.uint8, device=torch_device)
    return GpuClock(timing, cuda=torch.cuda, flush=flush)


def turners_of_callables(
    functions: Mapping[str, Callable[[], object]], device: str
) -> tuple[str, dict[str, Callable[[int], Turn]], Callable[[], None]]:
    """Turns for functions that launch on the current stream: batches between two events."""
    timing = GpuTiming(settle_s=0.02, turn_s=0.05, sample_s=0.002, launch="stream")
    clock = clock_for(timing, device)

    def turner(function: Callable[[], object]) -> Callable[[int], Turn]:
        subject = clock.subject([Launch(run=function)])
        subject.calibrate()
        return lambda number: clock.take_turn(subject, number)

    turners = {name: turner(function) for name, function in functions.items()}
    return "cuda events", turners, lambda: None
