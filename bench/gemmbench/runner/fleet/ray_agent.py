"""What holds one device of a Ray cluster: an actor, and the agent that it starts there."""

import contextlib
import os
import threading
from collections import deque

import msgspec
import psutil

from gemmbench.runner.fleet.agent import AgentProcess
from gemmbench.runner.fleet.messages import Charge, Ended, FromAgent, Refused
from gemmbench.runner.fleet.ray_messages import Fell
from gemmbench.runner.process import UnkillableError, WorkerDiedError

MOST_BYTES = 1 << 18
"""An agent whose messages nobody fetches is held back here, by its pipe."""

BATCH_BYTES = 1 << 16

HEAR_S = 20.0
"""A call is answered after so long, even where there is nothing to tell."""

_THREADS = "OMP_NUM_THREADS"


class RayAgent:
    """An actor: as long as it lives, Ray gives its device to nobody else.

    Its methods are called from several threads at once.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._batch: tuple[bytes, ...] = ()
        self._batches = 0
        self._agent: AgentProcess | None = None
        self._stopped = False

    def where(self) -> tuple[str, ...]:
        """What Ray calls the GPUs that it has given to this actor."""
        import ray

        if _THREADS in os.environ and _THREADS not in _raylet_environment():
            del os.environ[_THREADS]  # Ray's, by the CPUs that an actor asks for
        ids = ray.get_runtime_context().get_accelerator_ids()
        return tuple(str(one) for one in ids.get("GPU", ()))

    def start(self, charge: bytes) -> None:
        """Start an agent with that charge; what it says is to be heard."""
        # The agent ends with the thread that starts it: this one lives as long as the agent.
        threading.Thread(target=self._carry_out, args=(charge,), daemon=True).start()

    def hear(self, batches: int) -> tuple[bytes, ...]:
        """The next messages; none where there is none for long. `batches` are those that arrived.

        A caller whose answer was lost on the way asks again, and is told the same: also where the
        lost call still waits, and takes what comes first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._lines or batches < self._batches, HEAR_S)
            if batches < self._batches:
                return self._batch
            if not self._lines:
                return ()
            batch: list[bytes] = []
            size = 0
            while self._lines and size < BATCH_BYTES:
                batch.append(self._lines.popleft())
                size += len(batch[-1])
            self._bytes -= size
            self._batch = tuple(batch)
            self._batches += 1
            self._changed.notify_all()
            return self._batch

    def interrupt(self) -> None:
        """As Ctrl-C does; to an agent that has not begun, too."""
        with self._changed:
            self._stopped = True
            if self._agent is not None:
                self._agent.interrupt()

    def _carry_out(self, charge: bytes) -> None:
        try:
            self._listen(charge)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            self._put(Fell(reason=reason or type(error).__name__, returns=False))

    def _listen(self, charge: bytes) -> None:
        try:
            with self._changed:
                agent = self._agent = None if self._stopped else AgentProcess()
        except OSError as error:
            self._put(Fell(reason=f"cannot start a process: {error.strerror or error}"))
            return
        if agent is None:
            self._put(Fell(reason="stopped by the user", returns=False))
            return
        with contextlib.suppress(WorkerDiedError):  # what is received says how
            agent.charge(msgspec.json.decode(charge, type=Charge))
        message: FromAgent | Fell | None = None
        while not isinstance(message, Ended | Refused | Fell):
            try:
                message = agent.hear()
            except (WorkerDiedError, UnkillableError) as error:
                message = Fell(reason=str(error), returns=isinstance(error, WorkerDiedError))
            if isinstance(message, Ended | Refused):
                with contextlib.suppress(UnkillableError):
                    agent.close()
            self._put(message)

    def _put(self, message: FromAgent | Fell) -> None:
        line = msgspec.json.encode(message)
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < MOST_BYTES)
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify_all()


def _raylet_environment() -> dict[str, str]:
    """That of the process which Ray's workers on a node are started by."""
    try:
        parent = psutil.Process().parent()
        return parent.environ() if parent else {}
    except psutil.Error:
        return {}
