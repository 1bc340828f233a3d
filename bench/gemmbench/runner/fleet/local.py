"""Agents on this machine, one a device."""

import contextlib
import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from gemmbench.devices.place import cpus_of, spelt, visible_index
from gemmbench.records.schema import Fleet, Place
from gemmbench.runner.fleet.agent import AgentProcess
from gemmbench.runner.fleet.ground import Site
from gemmbench.runner.fleet.messages import Charge, Ended, FromAgent, Gone, Refused
from gemmbench.runner.messages import Count, Counted
from gemmbench.runner.messages import Refused as WorkerRefused
from gemmbench.runner.process import UnkillableError, WorkerDiedError, WorkerProcess
from gemmkernels.device import Vendor
from gemmkernels.errors import GemmbenchError

ALL = "all"
_COUNT_S = 300.0
MOST_AT_ONCE = 1000
"""Messages that are handed over together."""

Said = tuple[int, FromAgent | Gone]


class LocalGround:
    """The devices of this machine that were asked for: by torch's names, `cpu:0-3`, or `all`."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = tuple(devices)
        self._agents: dict[int, AgentProcess] = {}
        self._said: queue.SimpleQueue[Said] = queue.SimpleQueue()

    def sites(self) -> Sequence[Site]:
        """The devices. Raises GemmbenchError where there is none, or one is named twice."""
        rest = tuple(name for name in self._devices if name != ALL)
        devices = (*_all(), *rest) if ALL in self._devices else rest
        if twice := [name for at, name in enumerate(devices) if name in devices[:at]]:
            raise GemmbenchError(f"device {twice[0]!r} is named twice: once is enough")
        return tuple(Site(place=_place(name), device=name) for name in devices)

    def start(self, unit: int, site: Site, charge: Charge) -> None:  # noqa: ARG002
        try:
            agent = AgentProcess()
        except OSError as error:
            reason = f"cannot start a process: {error.strerror or error}"
            self._said.put((unit, Gone(reason=reason)))
            return
        self._agents[unit] = agent
        with contextlib.suppress(WorkerDiedError):  # the listener says how
            agent.charge(charge)
        threading.Thread(target=self._listen, args=(unit, agent), daemon=True).start()

    def receive(self, timeout_s: float) -> Sequence[Said]:
        found: list[Said] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._said.get(timeout=timeout_s))
            while len(found) < MOST_AT_ONCE:
                found.append(self._said.get_nowait())
        return found

    def interrupt(self) -> None:
        for agent in self._agents.values():
            agent.interrupt()

    def close(self) -> None:
        for agent in self._agents.values():
            with contextlib.suppress(UnkillableError):
                agent.kill()
        self._agents.clear()

    def _listen(self, unit: int, agent: AgentProcess) -> None:
        """What it says, until its last word; in a thread of its own."""
        message: FromAgent | Gone
        while True:
            try:
                message = agent.hear()
            except (WorkerDiedError, UnkillableError) as error:
                message = Gone(reason=str(error))
            except (OSError, ValueError):  # it was ended, and its pipe closed
                return
            self._said.put((unit, message))
            if isinstance(message, Ended | Refused | Gone):
                with contextlib.suppress(UnkillableError):
                    agent.close()
                return


def _place(device: str) -> Place:
    """What is known of it before its worker has it."""
    cpus = cpus_of(device)
    if cpus is not None:
        return Place(cores=spelt(cpus))
    if not device.startswith("cuda:"):
        return Place()
    vendor: Vendor = "amd" if Path("/dev/kfd").exists() else "nvidia"
    return Place(index=visible_index(device, vendor))


def devices_of(fleet: Fleet) -> tuple[str, ...]:
    """What to ask for again, so that the places of that file are among it."""
    on_cpus = tuple(f"cpu:{place.cores}" for place in fleet.places if place.cores)
    return on_cpus if len(on_cpus) == len(fleet.places) else (ALL, *on_cpus)


def _all() -> tuple[str, ...]:
    """The GPUs that torch can use; asked in a process of its own, as this one imports no torch."""
    try:
        worker = WorkerProcess()
        worker.send(Count())
        answer = worker.receive(_COUNT_S)
        worker.close()
    except (WorkerDiedError, UnkillableError) as error:
        raise GemmbenchError(f"cannot count the GPUs: {error}") from None
    if isinstance(answer, WorkerRefused):
        raise GemmbenchError(answer.error)
    assert isinstance(answer, Counted)
    return answer.devices
