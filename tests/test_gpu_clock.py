"""The GPU's clock against a device whose time is known: every launch takes what we say."""

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from gemmbench.timing.gpu import GpuClock, GpuTiming, first_steady
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Launch


class FakeCuda:
    """torch.cuda's part that the clock uses, with a device time of its own in seconds."""

    def __init__(self, *, capture_fails: bool = False, host_s: float = 0.0) -> None:
        self.now = 0.0
        self.host_s = host_s  # what a launch that is in no graph takes of the host, at least
        self.captures = 0
        self.log: list[str] = []
        self.capturing: list[float] | None = None
        self.capture_fails = capture_fails
        self.elsewhere_until = 0.0  # when another stream's work will have ended
        self.current: object = "the user's"
        fake = self

        class Event:
            def __init__(self, enable_timing: bool = False) -> None:
                assert enable_timing
                self.at: float | None = None

            def record(self, stream: object) -> None:
                fake.log.append("event")
                self.at = fake.now

            def synchronize(self) -> None:
                assert self.at is not None

            def elapsed_time(self, other: "Event") -> float:
                assert self.at is not None
                assert other.at is not None
                return (other.at - self.at) * 1e3

        class Graph:
            def __init__(self) -> None:
                self.work: list[float] = []

            def replay(self) -> None:
                fake.log.append("replay")
                fake.now += sum(self.work)

        class Stream:
            def synchronize(self) -> None: ...

        self.Event, self.CUDAGraph, self.Stream = Event, Graph, Stream

    @contextlib.contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def graph(self, graph: object, *, stream: object) -> Iterator[None]:
        if self.capture_fails:
            self.current = stream  # as torch leaves it
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        self.capturing = []
        self.captures += 1
        yield
        graph.work, self.capturing = self.capturing, None  # type: ignore[attr-defined]
        if not graph.work:  # type: ignore[attr-defined]
            warnings.warn("The CUDA Graph is empty. This usually means that ...", stacklevel=2)

    def current_stream(self) -> object:
        return self.current

    def set_stream(self, stream: object) -> None:
        self.current = stream

    def launch(self, seconds: float | Callable[[], float]) -> Launch:
        def run() -> None:
            took = seconds if isinstance(seconds, float) else seconds()
            if self.capturing is not None:
                self.capturing.append(took)
                return
            self.log.append("launch")
            self.now += max(took, self.host_s)

        return Launch(run=run)

    def launch_elsewhere(self, seconds: float, *, host_s: float = 4e-6) -> Launch:
        """On a stream of its own, which no event of the clock's sees."""

        def run() -> None:
            if self.capturing is None:
                self.now += host_s
                self.elsewhere_until = max(self.elsewhere_until, self.now) + seconds

        return Launch(run=run)

    def synchronize(self) -> None:
        self.log.append("synchronize")
        self.now = max(self.now, self.elsewhere_until)

    def _sleep(self, cycles: int) -> None:
        self.log.append("spin")
        self.now += cycles / 2e9


class FakeFlush:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def zero_(self) -> None:
        self.cuda.log.append("flush")
        self.cuda.now += 1e-4


def timing_of(launch: str) -> GpuTiming:
    return GpuTiming(settle_s=0.01, turn_s=0.04, sample_s=0.002, launch=launch)


@pytest.mark.parametrize("launch", ["graph", "stream"])
@pytest.mark.parametrize("seconds", [3e-6, 1e-4, 0.7])
@pytest.mark.parametrize("sets", [1, 2, 5, 700])
def test_a_turn_reads_the_time_of_a_launch(launch: str, seconds: float, sets: int) -> None:
    cuda = FakeCuda()
    clock = GpuClock(timing_of(launch), cuda=cuda)
    subject = clock.subject([cuda.launch(seconds) for _ in range(sets)])
    subject.calibrate()
    found = clock.take_turn(subject, 3)
    assert subject.mode == launch
    assert subject.launch_s == pytest.approx(seconds)
    assert found.round == 3
    assert found.median_ns == pytest.approx(seconds * 1e9)
    assert found.samples_ns is not None
    assert found.n_samples == len(found.samples_ns) > 0
    if seconds < 0.002:
        assert found.settle_s >= 0.01
        assert found.settle_s + sum(found.samples_ns) * 1e-9 * found.launches >= 0.049


@pytest.mark.parametrize("launch", ["graph", "stream"])
def test_every_operand_set_has_its_turn(launch: str) -> None:
    """Sets of different cost: the mean over whole rotations is the mean of the sets."""
    cuda = FakeCuda()
    clock = GpuClock(timing_of(launch), cuda=cuda)
    subject = clock.subject([cuda.launch(1e-5 * (1 + i)) for i in range(4)])
    subject.calibrate()
    found = clock.take_turn(subject, 0)
    assert found.median_ns == pytest.approx(2.5e4, rel=0.05)


def test_a_graph_holds_whole_rotations_of_a_sample_s_length() -> None:
    cuda = FakeCuda()
    subject = GpuClock(timing_of("graph"), cuda=cuda).subject([cuda.launch(1e-5)] * 3)
    subject.calibrate()
    assert subject.per_sample >= 200
    assert subject.per_sample % 3 == 0


@pytest.mark.parametrize("sets", [1, 3, 40, 1600])
def test_a_graph_is_as_long_as_a_sample_though_the_host_launches_slowly(sets: int) -> None:
    cuda = FakeCuda(host_s=4e-5)
    clock = GpuClock(timing_of("graph"), cuda=cuda)
    subject = clock.subject([cuda.launch(2e-6) for _ in range(sets)])
    subject.calibrate()
    assert subject.launch_s == pytest.approx(2e-6)
    assert subject.per_sample * 2e-6 >= 0.0013
    found = clock.take_turn(subject, 0)
    assert found.median_ns == pytest.approx(2e3)
    cuda.log.clear()
    subject.run_all()  # every set is in a graph, and in one only
    assert cuda.log.count("replay") == max(1, -(-sets // 1000))


def test_a_launch_that_the_device_paces_is_captured_once() -> None:
    cuda = FakeCuda(host_s=4e-5)
    subject = GpuClock(timing_of("graph"), cuda=cuda).subject([cuda.launch(1e-3)] * 4)
    subject.calibrate()
    assert cuda.captures == 2  # four sets, two a graph


def test_few_launches_of_a_slow_kernel_are_queued() -> None:
    cuda = FakeCuda()
    clock = GpuClock(timing_of("stream"), cuda=cuda)
    subject = clock.subject([cuda.launch(1.5)] * 2)
    subject.calibrate()
    cuda.log.clear()
    found = clock.take_turn(subject, 0)
    assert cuda.log.count("launch") == 3
    assert found.n_samples == 2
    assert found.median_ns == pytest.approx(1.5e9)


def test_a_turn_waits_for_what_other_streams_do() -> None:
    cuda = FakeCuda()
    clock = GpuClock(timing_of("stream"), cuda=cuda)
    subject = clock.subject([cuda.launch(1e-4)])
    subject.calibrate()
    cuda.log.clear()
    clock.take_turn(subject, 0)
    assert cuda.log[0] == "synchronize"


def test_a_capture_that_fails_falls_back_and_says_so() -> None:
    cuda = FakeCuda(capture_fails=True)
    clock = GpuClock(timing_of("graph"), cuda=cuda)
    subject = clock.subject([cuda.launch(1e-4)])
    subject.calibrate()
    assert subject.mode == "stream"
    assert subject.warning == (
        "graph capture failed, timed by stream: operation not permitted when stream is capturing"
    )
    assert clock.take_turn(subject, 0).median_ns == pytest.approx(1e5)
    assert cuda.current == "the user's"


def test_what_no_graph_can_hold_is_never_captured() -> None:
    """A capture that fails leaves the process unfit for those of the kernels after it."""
    cuda = FakeCuda()
    clock = GpuClock(timing_of("graph"), cuda=cuda)
    subject = clock.subject([replace(cuda.launch(1e-4), capturable=False)])
    subject.calibrate()
    assert (subject.mode, cuda.captures) == ("stream", 0)
    assert subject.warning == "cannot be captured into a graph: timed by stream"


def test_cold_launches_are_flushed_hidden_and_alone() -> None:
    cuda = FakeCuda()
    clock = GpuClock(
        GpuTiming(settle_s=0.0, turn_s=0.0, sample_s=0.0, launch="single"),
        cuda=cuda,
        flush=FakeFlush(cuda),
    )
    subject = clock.subject([cuda.launch(5e-6)])
    subject.calibrate()
    cuda.log.clear()
    found = clock.take_turn(subject, 0)
    start = cuda.log.index("flush")
    assert cuda.log[start : start + 5] == ["flush", "spin", "event", "launch", "event"]
    assert found.median_ns == pytest.approx(5e3)
    assert found.n_samples == cuda.log.count("flush") - 1  # the first is dropped
    assert found.launches == 1


def test_the_first_launch_after_a_change_of_kernel_is_dropped() -> None:
    cuda = FakeCuda()
    pace = iter([*[5e-6] * 4, 1.0, *[5e-6] * 1000])
    clock = GpuClock(
        GpuTiming(settle_s=0.0, turn_s=0.0, sample_s=0.0, launch="single"),
        cuda=cuda,
        flush=FakeFlush(cuda),
    )
    subject = clock.subject([cuda.launch(lambda: next(pace))])
    subject.mode = "single"
    for _ in range(3):
        subject.launches[0].run()
    found = clock.take_turn(subject, 0)
    assert found.samples_ns is not None
    assert max(found.samples_ns) == pytest.approx(5e3)


def test_a_clock_that_falls_is_waited_for() -> None:
    cuda = FakeCuda()
    began = cuda.now

    def heating() -> float:
        return 1e-4 if cuda.now - began < 0.021 else 1.3e-4

    clock = GpuClock(timing_of("stream"), cuda=cuda)
    subject = clock.subject([cuda.launch(heating)])
    subject.calibrate()
    began = cuda.now
    found = clock.take_turn(subject, 0)
    assert found.samples_ns is not None
    assert found.median_ns == pytest.approx(1.3e5)
    assert sum(ns < 1.29e5 for ns in found.samples_ns) <= 1  # the one across the change
    assert found.settle_s >= 0.018


def test_at_most_half_of_a_turn_is_dropped() -> None:
    rising = [float(i) for i in range(1, 101)]
    assert first_steady(rising, [0.001] * 100, 0.01) == 50
    assert first_steady([1.0] * 100, [0.001] * 100, 0.01) == 10
    assert first_steady([1.0] * 100, [0.001] * 100, 0.0) == 0
    assert first_steady([1.0, 1.0], [0.5, 0.5], 0.1) == 1
    assert first_steady([1.0], [0.5], 0.1) == 0
    assert first_steady(rising, [0.001] * 100, 0.01, tolerance=math.inf) == 10


def test_what_a_kernel_returns_is_held_for_its_graph() -> None:
    cuda = FakeCuda()
    made: list[object] = []

    def run() -> object:
        cuda.launch(1e-3).run()
        made.append(object())
        return made[-1]

    subject = GpuClock(timing_of("graph"), cuda=cuda).subject(
        [Launch(run=run, returns_output=True)]
    )
    subject.calibrate()
    captured = made[-subject.per_sample]
    assert subject.run_all() is captured


def test_prepare_is_called_before_every_turn_and_run() -> None:
    cuda = FakeCuda()
    prepared: list[float] = []
    launch = Launch(
        run=cuda.launch(1e-4).run,
        prepare=lambda: prepared.append(cuda.now),
    )
    clock = GpuClock(timing_of("stream"), cuda=cuda)
    subject = clock.subject([launch])
    subject.calibrate()
    clock.take_turn(subject, 0)
    subject.run_all()
    assert len(prepared) == 3


def test_every_set_is_prepared_and_waited_for_before_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is derived from one set's inputs says nothing of another's."""
    cuda = FakeCuda()
    told: list[str] = []
    launches = [
        Launch(run=cuda.launch(1e-4).run, prepare=partial(told.append, f"set {index}"))
        for index in range(3)
    ]
    monkeypatch.setattr(cuda, "synchronize", lambda: told.append("wait"))
    subject = GpuClock(timing_of("stream"), cuda=cuda).subject(launches)
    subject.prepare()
    assert told == ["set 0", "set 1", "set 2", "wait"]


def host_in_device_time(monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda) -> None:
    """The host's clock is the device's: a call that waits for the device is seen to wait."""
    host = SimpleNamespace(perf_counter=lambda: cuda.now, monotonic=time.monotonic)
    monkeypatch.setattr("gemmbench.timing.gpu.time", host)


@pytest.mark.parametrize("launch", ["graph", "stream"])
@pytest.mark.parametrize("seconds", [2e-5, 1e-3, 0.5])
def test_work_on_a_stream_of_its_own_is_refused(
    monkeypatch: pytest.MonkeyPatch, launch: str, seconds: float
) -> None:
    cuda = FakeCuda()
    host_in_device_time(monkeypatch, cuda)
    subject = GpuClock(timing_of(launch), cuda=cuda).subject([cuda.launch_elsewhere(seconds)])
    with pytest.raises(GemmbenchError, match=r"stream of its own: launch on torch.cuda.current_s"):
        subject.calibrate()


def test_work_that_was_there_before_is_not_the_kernel_s(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    host_in_device_time(monkeypatch, cuda)
    cuda.elsewhere_until = 3.0  # inputs that are being filled on the default stream
    subject = GpuClock(timing_of("stream"), cuda=cuda).subject([cuda.launch(1e-3)])
    subject.calibrate()
    assert subject.launch_s == pytest.approx(1e-3)
    assert cuda.log.index("synchronize") < cuda.log.index("event")


def test_a_host_that_is_held_up_once_is_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    host_in_device_time(monkeypatch, cuda)
    held_up = [0.0, 1.0]  # the wait before the first sample, and the one after it

    def synchronize() -> None:
        cuda.now += held_up.pop(0) if held_up else 0.0

    monkeypatch.setattr(cuda, "synchronize", synchronize)
    subject = GpuClock(timing_of("stream"), cuda=cuda).subject([cuda.launch(1e-2)])
    subject.calibrate()
    assert not held_up
    assert subject.launch_s == pytest.approx(1e-2)


def test_an_empty_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes no longer than its launch is done when the host looks: the graph tells."""
    cuda = FakeCuda()
    host_in_device_time(monkeypatch, cuda)
    subject = GpuClock(timing_of("graph"), cuda=cuda).subject([cuda.launch_elsewhere(3e-6)])
    with pytest.raises(GemmbenchError, match=r"graph is empty: launch on torch.cuda.current_s"):
        subject.calibrate()


def test_other_warnings_of_a_capture_are_heard() -> None:
    cuda = FakeCuda()

    def run() -> None:
        if cuda.capturing is not None:
            warnings.warn("another library is used", stacklevel=1)
        cuda.launch(1e-2).run()

    subject = GpuClock(timing_of("graph"), cuda=cuda).subject([Launch(run=run)])
    with pytest.warns(UserWarning, match="another library"):
        subject.calibrate()
    assert subject.mode == "graph"
