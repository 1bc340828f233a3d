"""What cases and probes share in the worker: turns in rounds, and a device that is lost."""

import contextlib
import gc
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from gemmbench.runner.messages import Afresh, Doing, FromWorker, Took
from gemmbench.runner.reason import reason_of
from gemmbench.timing.method import Timing
from gemmbench.timing.rounds import rounds
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device


class DeviceLostError(Exception):
    """The device answers no more: this process must end."""


class Telling:
    """Sends to the supervisor; `doing` is the case that was last said to be at work."""

    def __init__(self, send: Callable[[FromWorker], None]) -> None:
        self._send = send
        self.doing = 0

    def __call__(self, message: FromWorker) -> None:
        if isinstance(message, Doing):
            self.doing = message.case
        self._send(message)


class Placed(Protocol):
    """A case or a probe by its place in what was asked for."""

    @property
    def index(self) -> int: ...


_Placed = TypeVar("_Placed", bound=Placed)


class _FellOutError(Exception):
    """One of them has ended in its turn."""


def take_turns(
    alive: Sequence[_Placed],
    take: Callable[[_Placed, int], Turn | None],
    *,
    timing: Timing,
    seed: int,
    send: Callable[[FromWorker], None],
) -> list[_Placed]:
    """Rounds of turns; returns those that came through.

    One whose `take` gives no turn of that number falls out, and the rest begin again.
    """
    left = list(alive)
    while left:
        fallen: list[int] = []

        def turner(one: _Placed, fallen: list[int] = fallen) -> Callable[[int], Turn]:
            def turn(number: int) -> Turn:
                taken = take(one, number)
                if taken is None:
                    fallen.append(one.index)
                    raise _FellOutError
                return taken

            return turn

        try:
            rounds(
                {str(one.index): turner(one) for one in left},
                min_rounds=timing.min_rounds,
                max_rounds=timing.max_rounds,
                max_time_s=timing.max_time_s,
                target=timing.target,
                seed=seed,
                least_rounds=timing.least_rounds,
                before_turn=lambda name: send(Doing(case=int(name), phase="turn")),
                on_turn=lambda name, turn: send(Took(case=int(name), turn=turn)),
            )
        except _FellOutError:
            left = [one for one in left if one.index not in fallen]
            send(Afresh())
            continue
        break
    return left


def see_device(device: Device) -> None:
    """After an exception: some CUDA errors spoil every later call of this process.

    Raises DeviceLostError where that is so.
    """
    if not device.is_gpu:
        return
    import torch

    try:
        torch.cuda.synchronize()
        torch.zeros(1, device=device.torch_device).add_(1).item()
    except Exception as error:
        raise DeviceLostError(reason_of(error)) from None


def give_back_memory(device: Device) -> None:
    """All that torch keeps of the device's memory for later."""
    gc.collect()
    if device.is_gpu:
        import torch

        with contextlib.suppress(RuntimeError):  # of a device that is lost
            torch.cuda.empty_cache()
