"""What a worker is asked to do with several cases or probes, until each has its status."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from gemmbench.records.schema import Status
from gemmbench.runner.crew import Crew, DeviceGoneError
from gemmbench.runner.listener import Listener
from gemmbench.runner.messages import (
    Afresh,
    Bound,
    DeviceLost,
    Doing,
    Done,
    Ended,
    FromWorker,
    Probing,
    Ready,
    Refused,
    Took,
    Work,
)
from gemmbench.runner.process import UnkillableError, WorkerDiedError
from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError


class SpentError(Exception):
    """The time for it ran out; the worker was ended."""


class Piece(Protocol):
    """A case or a probe in a worker's hands: what is known of it so far."""

    turns: list[Turn]
    status: Status | None

    @property
    def called(self) -> tuple[str, str]:
        """The kernel or the probe, and the precision."""
        ...

    def begin(self) -> None:
        """Forget what a worker said that is no more."""
        ...

    def hear(self, message: Bound | Ready | Ended) -> None: ...

    def end(self, status: Status, reason: str) -> None: ...


_Piece = TypeVar("_Piece", bound=Piece)


class Exchange:
    """Has a crew carry out work, whatever a piece of it does to its worker.

    `timed_s` and `compile_s` are what went into that so far.
    """

    def __init__(self, crew: Crew, listener: Listener, *, timeout_s: float) -> None:
        self._crew = crew
        self._listener = listener
        self._timeout_s = timeout_s
        self.timed_s = 0.0
        self.compile_s = 0.0

    def _carry_out(
        self,
        pieces: Sequence[_Piece],
        ask: Callable[[Sequence[_Piece]], Work | Probing],
        *,
        until_s: float = math.inf,
    ) -> None:
        """Until each piece has its status.

        A death ends one piece, and a fresh worker takes up the others from their beginning. Raises
        SpentError at `until_s` of the monotonic clock, and DeviceGoneError.
        """
        while remaining := [piece for piece in pieces if piece.status is None]:
            for piece in remaining:
                piece.begin()
            self._attempt(remaining, ask(remaining), until_s)

    def _attempt(self, remaining: Sequence[Piece], asked: Work | Probing, until_s: float) -> None:
        worker = self._crew.present()
        at, phase = remaining[0], "start"
        try:
            worker.send(asked)
            while True:
                left_s = until_s - time.monotonic()
                message = worker.receive(max(0.0, min(self._timeout_s, left_s)))
                match message:
                    case Done():
                        return
                    case Refused():
                        raise GemmbenchError(message.error)
                    case DeviceLost():
                        _end(remaining[message.case], "failed", message.reason)
                        self._crew.stop()
                        return
                    case Doing():
                        at, phase = remaining[message.case], message.phase
                        self._listener.doing(*at.called, phase)
                    case _:
                        self._hear(remaining, message)
        except WorkerDiedError as error:
            self._crew.died()
            if error.timed_out and time.monotonic() >= until_s:
                raise SpentError from None
            _end(at, "timeout" if error.timed_out else "failed", f"in {phase}: {error}")
        except UnkillableError as error:
            self._crew.died()
            _end(at, "timeout", f"in {phase}: {error}")
            raise DeviceGoneError(str(error)) from None

    def _hear(self, remaining: Sequence[Piece], message: FromWorker) -> None:
        match message:
            case Bound() | Ready():
                remaining[message.case].hear(message)
                self.compile_s += message.setup_s
            case Took():
                piece = remaining[message.case]
                piece.turns.append(message.turn)
                self.timed_s += timed_s(message.turn)
                self._listener.took(*piece.called, message.turn)
            case Afresh():
                for piece in remaining:
                    piece.turns.clear()
            case Ended():
                piece = remaining[message.case]
                piece.hear(message)
                _end(piece, message.status, message.reason)  # type: ignore[arg-type]
            case _:
                raise GemmbenchError(f"a worker said {type(message).__name__} out of turn")


def _end(piece: Piece, status: Status, reason: str) -> None:
    """A process that dies after a piece has ended takes nothing of it along."""
    if piece.status is None:
        piece.end(status, reason)


def timed_s(turn: Turn) -> float:
    """Seconds of launches in a turn's timed windows."""
    return sum(turn.samples_ns or ()) * turn.launches / 1e9
