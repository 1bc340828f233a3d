"""The worker that is at work, and the fresh one that takes its place."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from gemmbench.devices.datasheet import Spec
from gemmbench.devices.own import own_specs
from gemmbench.runner.messages import (
    Answer,
    Ask,
    AskSpace,
    Case,
    FromWorker,
    Hello,
    Open,
    Refused,
    Space,
)
from gemmbench.runner.process import UnkillableError, WorkerDiedError, WorkerProcess
from gemmbench.runner.request import Request
from gemmkernels.errors import GemmbenchError

START_S = 300.0
"""A fresh worker imports torch and starts the GPU's runtime; on a cold disk that takes minutes."""

RESET_S = (5.0, 15.0, 30.0)
"""Waits before a GPU is given up: a hang ends in a reset of the device, which takes a while."""

ASKED_AT_ONCE = 10_000


class DeviceGoneError(Exception):
    """A fresh worker cannot use the device any more, or a worker cannot be ended."""


class ChangedError(Exception):
    """A fresh worker finds other kernels, or another device, than the first one did."""


class Crew:
    """At most one worker at a time, for one request, all alike.

    `setup_s` is what its `starts` took. A `tuning` writes tuned entries itself: elsewhere they are
    part of what a kernel is, and must stay as they are. `own` are the user's datasheets, by default
    those of the request.
    """

    def __init__(
        self, request: Request, *, tuning: bool = False, own: tuple[Spec, ...] | None = None
    ) -> None:
        self._request = request
        self.own = own_specs(request.spec) if own is None else own
        self._tuning = tuning
        self._first: Hello | None = None
        self.worker: WorkerProcess | None = None
        self.setup_s = 0.0
        self.starts = 0

    def start(self) -> Hello:
        """A worker that has its device. Raises GemmbenchError where that cannot be."""
        began = time.monotonic()
        request, first = self._request, self._first
        device = request.device
        if first is not None:  # "the first GPU" must not become the second one
            cpu = device if device.startswith("cpu") else "cpu"
            device = first.device.torch_device if first.device.is_gpu else cpu
        try:
            worker = self.worker = WorkerProcess()
            worker.send(
                Open(
                    device=device,
                    threads=request.threads,
                    files=request.files,
                    own=self.own,
                    tuning=self._tuning,
                    bind=request.bind,
                )
            )
            message = worker.receive(START_S)
        except (WorkerDiedError, UnkillableError) as error:
            self.worker = None
            raise GemmbenchError(f"the worker could not start: {error}") from None
        except OSError as error:
            raise GemmbenchError(
                f"cannot start a worker process: {error.strerror or error}"
            ) from None
        if isinstance(message, Refused):
            self.kill()
            if first is not None and any(message.error.startswith(file) for file in request.files):
                raise ChangedError(message.error)
            raise GemmbenchError(message.error)
        assert isinstance(message, Hello)
        self.setup_s += time.monotonic() - began
        self.starts += 1
        if first is None:
            self._first = message
        elif changed := _changed(first, message):
            raise ChangedError(f"{changed} has changed while the run went on")
        return message

    def ask(self, cases: Sequence[Case]) -> tuple[str | None, ...]:
        """For each case None, or why it cannot be done. Raises GemmbenchError."""
        parts = [cases[at : at + ASKED_AT_ONCE] for at in range(0, len(cases), ASKED_AT_ONCE)]
        return tuple(chain.from_iterable(self._ask(part) for part in parts))

    def space(self, case: Case) -> Space:
        """What may be tried of a kernel on a problem. Raises GemmbenchError, DeviceGoneError."""
        worker = self.present()
        try:
            worker.send(AskSpace(case=case))
            answer = worker.receive(self._request.timeout_s)
        except WorkerDiedError as error:  # a user's `space` may do anything
            self.worker = None
            return Space(error=f"its space was asked for: {error}")
        except UnkillableError as error:
            self.worker = None
            raise DeviceGoneError(str(error)) from None
        assert isinstance(answer, Space)
        return answer

    def _ask(self, cases: Sequence[Case]) -> tuple[str | None, ...]:
        answer = self._answer(Ask(cases=tuple(cases)))
        assert isinstance(answer, Answer)
        return answer.reasons

    def _answer(self, question: Ask) -> FromWorker:
        assert self.worker is not None
        try:
            self.worker.send(question)
            answer = self.worker.receive(self._request.timeout_s)
        except (WorkerDiedError, UnkillableError) as error:
            self.worker = None
            raise GemmbenchError(
                f"the worker died while it was asked what it can do: {error}"
            ) from None
        if isinstance(answer, Refused):
            raise GemmbenchError(answer.error)
        return answer

    def present(self) -> WorkerProcess:
        """The worker, or a fresh one in the middle of a run.

        Raises DeviceGoneError where none can be, and ChangedError where it is not like the first.
        """
        waits = list(RESET_S) if self._first and self._first.device.is_gpu else []
        while self.worker is None:
            try:
                self.start()
            except GemmbenchError as error:
                if not waits:
                    raise DeviceGoneError(str(error)) from None
                time.sleep(waits.pop(0))
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


def _changed(first: Hello, later: Hello) -> str:
    """What is not as it was: a kernel by its digest, or the device; "" if nothing."""
    digests = {info.name: info.digest for info in later.kernels}
    for info in first.kernels:
        if digests.get(info.name) != info.digest:
            return f"kernel {info.name}"
    # The memory of a cgroup comes and goes.
    devices = (replace(hello.device, memory_bytes=0) for hello in (first, later))
    same = next(devices) == next(devices) and first.target == later.target
    return "" if same else "the device"
