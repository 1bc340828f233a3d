"""Groups as workers carry them out: whatever a case does to its worker costs that case."""

import math
import time
from collections.abc import Sequence

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
    Refused,
    Took,
    Work,
)
from gemmbench.runner.process import UnkillableError, WorkerDiedError
from gemmbench.runner.recording import Progress
from gemmbench.runner.request import Request
from gemmbench.timing.method import Timing
from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError


class SpentError(Exception):
    """The time for it ran out; the worker was ended."""


class Attempts:
    """Has a crew carry out groups. `timed_s` and `compile_s` are what went into that so far."""

    def __init__(
        self, crew: Crew, listener: Listener, request: Request, *, verify_only: bool = False
    ) -> None:
        self._crew = crew
        self._listener = listener
        self._request = request
        self._verify_only = verify_only
        self.timed_s = 0.0
        self.compile_s = 0.0

    def carry_out(
        self, group: Sequence[Progress], how: Timing, *, until_s: float = math.inf
    ) -> None:
        """Until each case has its status.

        A death ends one case, and a fresh worker takes up the others from their beginning. Raises
        SpentError at `until_s` of the monotonic clock, and DeviceGoneError.
        """
        while remaining := [progress for progress in group if progress.status is None]:
            for progress in remaining:
                progress.bound, progress.turns = None, []
            self._attempt(remaining, how, until_s)

    def _attempt(self, remaining: list[Progress], how: Timing, until_s: float) -> None:
        worker = self._crew.present()
        at = remaining[0]
        phase = "start"
        try:
            worker.send(
                Work(
                    cases=tuple(progress.case for progress in remaining),
                    timing=how,
                    data=self._request.data,
                    seed=self._request.seed,
                    verify_only=self._verify_only,
                )
            )
            while True:
                left_s = until_s - time.monotonic()
                message = worker.receive(max(0.0, min(self._request.timeout_s, left_s)))
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
                        kernel = at.case
                        self._listener.doing(kernel.kernel, kernel.problem.precision, phase)
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

    def _hear(self, remaining: list[Progress], message: FromWorker) -> None:
        match message:
            case Bound():
                remaining[message.case].bound = message
                self.compile_s += message.setup_s
            case Took():
                progress = remaining[message.case]
                progress.turns.append(message.turn)
                self.timed_s += timed_s(message.turn)
                case = progress.case
                self._listener.took(case.kernel, case.problem.precision, message.turn)
            case Afresh():
                for progress in remaining:
                    progress.turns.clear()
            case Ended():
                progress = remaining[message.case]
                progress.ended = message
                progress.end(message.status, message.reason)  # type: ignore[arg-type]
            case _:
                raise GemmbenchError(f"a worker said {type(message).__name__} out of turn")


def _end(progress: Progress, status: Status, reason: str) -> None:
    """A process that dies after its case has ended takes nothing of it along."""
    if progress.status is None:
        progress.end(status, reason)


def timed_s(turn: Turn) -> float:
    """Seconds of launches in a turn's timed windows."""
    return sum(turn.samples_ns or ()) * turn.launches / 1e9
