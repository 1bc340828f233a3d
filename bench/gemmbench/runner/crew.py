"""The worker that is at work, and the fresh one that takes its place."""

import contextlib
import time
from collections.abc import Sequence

from gemmbench.runner.messages import Answer, Ask, Case, Hello, Open, Refused
from gemmbench.runner.process import UnkillableError, WorkerDiedError, WorkerProcess
from gemmbench.runner.request import Request
from gemmkernels.errors import GemmbenchError

START_S = 300.0
"""A fresh worker imports torch and starts the GPU's runtime; on a cold disk that takes minutes."""


class DeviceGoneError(Exception):
    """A fresh worker cannot use the device any more, or a worker cannot be ended."""


class Crew:
    """At most one worker at a time, for one request. `setup_s` is what their starts took."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.worker: WorkerProcess | None = None
        self.setup_s = 0.0

    def start(self) -> Hello:
        """A worker that has its device. Raises GemmbenchError where that cannot be."""
        began = time.monotonic()
        worker = self.worker = WorkerProcess()
        request = self._request
        try:
            worker.send(Open(device=request.device, threads=request.threads, files=request.files))
            message = worker.receive(START_S)
        except WorkerDiedError as error:
            self.worker = None
            raise GemmbenchError(f"the worker could not start: {error}") from None
        if isinstance(message, Refused):
            self.stop()
            raise GemmbenchError(message.error)
        assert isinstance(message, Hello)
        self.setup_s += time.monotonic() - began
        return message

    def ask(self, cases: Sequence[Case]) -> tuple[str | None, ...]:
        """For each case None, or why it cannot be done. Raises GemmbenchError."""
        assert self.worker is not None
        try:
            self.worker.send(Ask(cases=tuple(cases)))
            answer = self.worker.receive(self._request.timeout_s)
        except WorkerDiedError as error:
            raise GemmbenchError(
                f"the worker died while it was asked what it can do: {error}"
            ) from None
        if isinstance(answer, Refused):
            raise GemmbenchError(answer.error)
        assert isinstance(answer, Answer)
        return answer.reasons

    def present(self) -> WorkerProcess:
        """The worker, or a fresh one in the middle of a run: DeviceGoneError where none can be."""
        if self.worker is None:
            try:
                self.start()
            except GemmbenchError as error:
                raise DeviceGoneError(str(error)) from None
        assert self.worker is not None
        return self.worker

    def died(self) -> None:
        """The worker is no more: whoever spoke to it has seen that."""
        self.worker = None

    def stop(self) -> None:
        """Let the worker end. Raises DeviceGoneError for one that will not."""
        worker, self.worker = self.worker, None
        if worker is not None:
            try:
                worker.close()
            except UnkillableError as error:
                raise DeviceGoneError(str(error)) from None

    def kill(self) -> None:
        """End the worker now; one that will not is given up."""
        worker, self.worker = self.worker, None
        if worker is not None:
            with contextlib.suppress(UnkillableError):
                worker.kill()
