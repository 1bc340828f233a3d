"""Probes in the worker: each tried alone, then all in turns, then checked again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from gemmbench.runner.messages import DeviceLost, Doing, Ended, FromWorker, Probing, Ready
from gemmbench.runner.reason import reason_of
from gemmbench.runner.taking import (
    DeviceLostError,
    Telling,
    give_back_memory,
    see_device,
    take_turns,
)
from gemmbench.runner.turners import Bench, Subject, make_bench
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.probes.roofs import BoundProbe, bind


@dataclass(frozen=True, kw_only=True)
class _Alive:
    """A probe that has passed its trial."""

    index: int
    bound: BoundProbe
    subject: Subject


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
        self._send = Telling(send)
        self._bind = bind
        self._benches: dict[str, Bench] = {}

    def run(self) -> None:
        try:
            self._run()
        except DeviceLostError as error:
            self._send(DeviceLost(case=self._send.doing, reason=str(error)))
            raise SystemExit(0) from None
        finally:
            for bench in self._benches.values():
                bench.close()
            give_back_memory(self._device)

    def _run(self) -> None:
        message = self._message
        alive = [one for index in range(len(message.probes)) for one in self._try(index)]
        for one in take_turns(
            alive, self._turn, timing=message.timing, seed=message.seed, send=self._send
        ):
            self._do(one.index, "check again")
            if self._guard(one.index, lambda one=one: self._check(one)):  # type: ignore[misc]
                self._send(Ended(case=one.index, status="ok"))

    def _do(self, index: int, phase: str) -> None:
        self._send(Doing(case=index, phase=phase))

    def _guard(self, index: int, work: Callable[[], str]) -> bool:
        """A part of a probe; what it says or raises ends the probe. True if it came through."""
        try:
            said = work()
        except BaseException as error:
            self._send(Ended(case=index, status="failed", reason=reason_of(error)))
            see_device(self._device)
            return False
        if said:
            self._send(Ended(case=index, status="wrong", reason=said))
        return not said

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

    def _turn(self, one: _Alive, number: int) -> Turn | None:
        taken: list[Turn] = []

        def work() -> str:
            taken.append(one.subject.turn(number))
            return ""

        return taken[0] if self._guard(one.index, work) else None
