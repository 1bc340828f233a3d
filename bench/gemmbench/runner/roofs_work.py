"""Probes in the worker: each tried alone, then all in turns, then checked again."""

import contextlib
import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from gemmbench.runner.messages import (
    Afresh,
    DeviceLost,
    Doing,
    Ended,
    FromWorker,
    Probing,
    Ready,
    Took,
)
from gemmbench.runner.reason import reason_of
from gemmbench.runner.turners import Bench, Subject, make_bench
from gemmbench.timing.method import Timing
from gemmbench.timing.rounds import rounds
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.probes.roofs import BoundProbe, bind


@dataclass(frozen=True, kw_only=True)
class _Alive:
    """A probe that has passed its trial."""

    index: int
    bound: BoundProbe
    subject: Subject


class _FellOutError(Exception):
    """A probe has ended in its turn."""


class _LostError(Exception):
    """The device answers no more."""


class RoofWork:
    """Carries out one Probing message; every probe ends in an Ended message, or with the process.

    `bind` makes a probe of its name and precision.
    """

    def __init__(
        self,
        message: Probing,
        device: Device,
        send: Callable[[FromWorker], None],
        *,
        bind: Callable[[str, str, Device], BoundProbe] = bind,
    ) -> None:
        self._message = message
        self._device = device
        self._send = send
        self._bind = bind
        self._benches: dict[str, Bench] = {}

    def run(self) -> None:
        at = 0
        try:
            alive: list[_Alive] = []
            for at in range(len(self._message.probes)):
                alive += self._try(at)
            for one in self._turns(alive):
                at = one.index
                self._do(at, "check again")
                if self._guard(at, lambda one=one: self._check(one)):  # type: ignore[misc]
                    self._send(Ended(case=at, status="ok"))
        except _LostError as error:
            self._send(DeviceLost(case=at, reason=str(error)))
            raise SystemExit(0) from None
        finally:
            for bench in self._benches.values():
                bench.close()
            gc.collect()
            if self._device.is_gpu:
                import torch

                with contextlib.suppress(RuntimeError):  # of a device that is lost
                    torch.cuda.empty_cache()

    def _do(self, index: int, phase: str) -> None:
        self._send(Doing(case=index, phase=phase))

    def _guard(self, index: int, work: Callable[[], str]) -> bool:
        """A part of a probe; what it says or raises ends the probe. True if it came through."""
        try:
            said = work()
        except BaseException as error:
            self._send(Ended(case=index, status="failed", reason=reason_of(error)))
            self._see_device()
            return False
        if said:
            self._send(Ended(case=index, status="wrong", reason=said))
        return not said

    def _see_device(self) -> None:
        """After an exception: some CUDA errors spoil every later call of this process."""
        if not self._device.is_gpu:
            return
        import torch

        try:
            torch.cuda.synchronize()
            torch.zeros(1, device=self._device.torch_device).add_(1).item()
        except Exception as error:
            raise _LostError(reason_of(error)) from None

    def _bench(self, how: str) -> Bench:
        if how not in self._benches:
            timing = self._message.timing
            timing = msgspec.structs.replace(timing, launch=how or timing.launch)
            self._benches[how] = make_bench(self._device, timing)
        return self._benches[how]

    def _try(self, index: int) -> list[_Alive]:
        """Bind, calibrate, check the timed launch."""
        found: list[_Alive] = []

        def work() -> str:
            wanted = self._message.probes[index]
            began = time.monotonic()
            bound = self._bind(wanted.name, wanted.precision, self._device)
            self._do(index, "calibrate")
            subject = self._bench(bound.how).subject([bound.launch], ())
            subject.calibrate()
            setup_s = time.monotonic() - began
            if bound.how and subject.mode() != bound.how:
                raise RuntimeError(subject.warning() or f"no launch by {bound.how} here")
            alive = _Alive(index=index, bound=bound, subject=subject)
            self._do(index, "check")
            if said := self._check(alive):
                return said
            found.append(alive)
            self._send(
                Ready(
                    case=index,
                    setup_s=setup_s,
                    work=bound.work,
                    config={**bound.config, "launch": subject.mode()},
                )
            )
            return ""

        self._do(index, "bind")
        self._guard(index, work)
        return found

    def _check(self, one: _Alive) -> str:
        return one.bound.check(lambda: one.subject.run_checked())

    def _turns(self, alive: list[_Alive]) -> list[_Alive]:
        """Rounds of turns; a probe that raises in its turn falls out, and the rest begin again."""
        while alive:
            fallen: list[int] = []
            try:
                self._rounds(self._message.timing, {str(one.index): one for one in alive}, fallen)
            except _FellOutError:
                alive = [one for one in alive if one.index not in fallen]
                self._send(Afresh())
                continue
            return alive
        return alive

    def _rounds(self, timing: Timing, alive: Mapping[str, _Alive], fallen: list[int]) -> None:
        def turner(one: _Alive) -> Callable[[int], Turn]:
            def take(number: int) -> Turn:
                taken: list[Turn] = []

                def work() -> str:
                    taken.append(one.subject.turn(number))
                    return ""

                if not self._guard(one.index, work):
                    fallen.append(one.index)
                    raise _FellOutError
                return taken[0]

            return take

        rounds(
            {name: turner(one) for name, one in alive.items()},
            min_rounds=timing.min_rounds,
            max_rounds=timing.max_rounds,
            max_time_s=timing.max_time_s,
            target=timing.target,
            seed=self._message.seed,
            least_rounds=timing.least_rounds,
            before_turn=lambda name: self._do(int(name), "turn"),
            on_turn=lambda name, turn: self._send(Took(case=int(name), turn=turn)),
        )
