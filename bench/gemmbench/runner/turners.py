"""The same turns on either kind of device: what `rounds` calls, and what verification runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gemmbench.timing.contention import LostTime
from gemmbench.timing.gpu import GpuClock, GpuSubject, GpuTiming, clock_for
from gemmbench.timing.host import HostSubject, HostTiming, take_turn
from gemmbench.timing.method import Timing
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.kernel import Launch
from gemmkernels.operands import Operands

if TYPE_CHECKING:
    import torch

SLOW_LAUNCH_S = 0.1
"""A launch longer than this is verified on one operand set only."""


def take(device: Device) -> None:
    """Make torch and numba work on that device, a CPU with all the cores that the run uses."""
    import torch

    if device.is_gpu:
        torch.cuda.set_device(device.torch_device)
        return
    import numba

    torch.set_num_threads(device.units)
    numba.set_num_threads(min(device.units, numba.config.NUMBA_NUM_THREADS))


class Bench(Protocol):
    """Makes timed subjects of bound kernels; `close()` it after their last turn."""

    def subject(self, launches: Sequence[Launch], sets: Sequence[Operands]) -> "Subject": ...

    def close(self) -> None: ...


@dataclass(kw_only=True)
class Subject:
    """A kernel that is bound, ready to be timed and verified by the same launches.

    `calibrate()` must be called before `turn`. `run_checked()` runs it once and returns the outputs
    to check: those of all sets where that is cheap, else of the first. `mode`: how it runs.
    """

    turn: Callable[[int], Turn]
    calibrate: Callable[[], None]
    run_checked: "Callable[[], tuple[torch.Tensor, ...]]"
    launch_s: Callable[[], float]
    mode: Callable[[], str]
    warning: Callable[[], str]


class HostBench:
    """Turns on this machine's CPU."""

    def __init__(self, timing: Timing) -> None:
        self._timing = HostTiming(
            settle_s=timing.settle_s, turn_s=timing.turn_s, sample_s=timing.sample_s
        )
        self._lost = LostTime()

    def of_calls(
        self, runs: Sequence[Callable[[], object]], *, prepare: Callable[[], None] | None = None
    ) -> HostSubject:
        return HostSubject(runs, prepare=prepare)

    def turner(self, subject: HostSubject) -> Callable[[int], Turn]:
        return lambda number: take_turn(
            subject, number=number, timing=self._timing, lost=self._lost
        )

    def subject(self, launches: Sequence[Launch], sets: Sequence[Operands]) -> Subject:
        steps = [launch.prepare for launch in launches if launch.prepare]

        def prepare() -> None:
            for step in steps:
                step()

        host = self.of_calls([launch.run for launch in launches], prepare=prepare)

        def run_checked() -> "tuple[torch.Tensor, ...]":
            prepare()
            if not sets:  # a probe, which checks what it wrote itself
                launches[0].run()
                return ()
            # The first set and the last: an error that depends on the place shows in either.
            chosen = {0, len(sets) - 1} if 0 < host.launch_s < SLOW_LAUNCH_S else {0}
            return tuple(output_of(launches[i], sets[i]) for i in sorted(chosen))

        return Subject(
            turn=self.turner(host),
            calibrate=lambda: host.calibrate(self._timing),
            run_checked=run_checked,
            launch_s=lambda: host.launch_s,
            mode=lambda: "loop",
            warning=lambda: "",
        )

    def close(self) -> None:
        self._lost.close()


def output_of(launch: Launch, operands: Operands) -> "torch.Tensor":
    """Run a launch once; the tensor that it wrote or returned."""
    got = launch.run()
    return got if launch.returns_output else operands.out  # type: ignore[return-value]


class GpuBench:
    """Turns on a GPU, by its own events."""

    def __init__(self, timing: Timing, device: Device) -> None:
        self._clock: GpuClock = clock_for(
            GpuTiming(
                settle_s=timing.settle_s,
                turn_s=timing.turn_s,
                sample_s=timing.sample_s,
                launch=timing.launch,
                wait_for_steady=not timing.unsettled,
                llc_bytes=device.llc_bytes,
            ),
            device.torch_device,
        )

    def of_launches(self, launches: Sequence[Launch]) -> GpuSubject:
        return self._clock.subject(launches)

    def turner(self, subject: GpuSubject) -> Callable[[int], Turn]:
        return lambda number: self._clock.take_turn(subject, number)

    def subject(self, launches: Sequence[Launch], sets: Sequence[Operands]) -> Subject:
        gpu = self.of_launches(launches)

        def run_checked() -> "tuple[torch.Tensor, ...]":
            # Inputs were filled on the default stream, the launches run on the clock's.
            self._clock.cuda.synchronize()
            returned = gpu.run_all()
            if launches[0].returns_output:
                return (returned,)  # type: ignore[return-value]
            return tuple(operands.out for operands in sets)

        return Subject(
            turn=self.turner(gpu),
            calibrate=gpu.calibrate,
            run_checked=run_checked,
            launch_s=lambda: gpu.launch_s,
            mode=lambda: gpu.mode,
            warning=lambda: gpu.warning,
        )

    def close(self) -> None:
        """It holds nothing open."""


def make_bench(device: Device, timing: Timing) -> Bench:
    return GpuBench(timing, device) if device.is_gpu else HostBench(timing)


def make_turners_of_pair(
    device: Device, timing: Timing
) -> tuple[Mapping[str, Callable[[int], Turn]], Callable[[], None]]:
    """(turns of the self-test pair, what is to be called after the last one).

    `more` does `gemmkernels.probes.chain.WORK` times the work of `less`.
    """
    from gemmkernels.probes.chain import pair

    bench = make_bench(device, timing)
    turners: dict[str, Callable[[int], Turn]] = {}
    for name, run in zip(("less", "more"), pair(device), strict=True):
        subject = bench.subject([Launch(run=run)], ())
        subject.calibrate()
        turners[name] = subject.turn
    return turners, bench.close
