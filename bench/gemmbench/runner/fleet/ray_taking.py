"""Taking the devices of a Ray cluster: all that are free, and those that become so in time."""

import contextlib
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from gemmbench.runner.fleet.ray_cluster import ask_software, check_kind, check_software, nodes
from gemmbench.runner.fleet.ray_devices import RayDevice, devices_of, reserved
from gemmbench.runner.fleet.ray_messages import Connect, Found, FromBridge, Note
from gemmkernels.errors import GemmbenchError

Events = queue.SimpleQueue[Callable[[], None]]
"""What happens, as calls for the one thread that may do them."""

TICK_S = 1.0
NOTE_S = 5.0
START_S = 60.0
"""How long a device that Ray has given may take to start its actor, and a node to answer."""


def take_all(
    wants: Connect, events: Events, send: Callable[[FromBridge], None]
) -> tuple[RayDevice, ...]:
    """Find the devices of the cluster, take what is free, and tell which there are.

    Raises GemmbenchError where there is none, or where gemmbench is not the same on all nodes.
    """
    import ray

    address = ray.get_runtime_context().gcs_address  # also where the user has said auto
    found = check_kind(nodes(ray.nodes()), wants.kind, address)
    has = ask_software(found, START_S, lambda: send(Note(text="")))
    for text in check_software(found, has, wants.version):
        send(Note(text=text))
    answered = [node for node in found if node.id in has]
    devices = devices_of(answered, has, kind=wants.kind, threads=wants.threads)
    _Taking(devices, events, send, wants.wait_s).carry_out()
    if not any(one.ready for one in devices):
        raise GemmbenchError(_why_none(devices, wants))
    _name_the_rest(devices)
    send(Found(devices=tuple(one.spot for one in devices)))
    return devices


class _Taking:
    """Waits for devices as long as there is progress."""

    def __init__(
        self,
        devices: Sequence[RayDevice],
        events: Events,
        send: Callable[[FromBridge], None],
        wait_s: float,
    ) -> None:
        self._devices = devices
        self._events = events
        self._send = send
        self._wait_s = wait_s
        self._progress_s = 0.0
        self._noted = False

    def carry_out(self) -> None:
        told_s = time.monotonic()
        for one in self._devices:
            call(one, one.take(), self._events, self._is_there)
            if time.monotonic() - told_s > TICK_S:  # of thousands it takes long
                told_s = time.monotonic()
                self._send(Note(text=""))
        began_s = told_s = self._progress_s = time.monotonic()
        while left := [one for one in self._devices if not one.ready and not one.gone]:
            with contextlib.suppress(queue.Empty):
                self._events.get(timeout=TICK_S)()
            now_s = time.monotonic()
            if now_s - told_s < TICK_S:
                continue
            told_s = now_s
            self._send(Note(text=""))
            if now_s - began_s > NOTE_S:
                self._give_up(left, now_s - self._progress_s)

    def _give_up(self, left: Sequence[RayDevice], idle_s: float) -> None:
        """What takes too long, by whose fault it does."""
        given = reserved()
        held = [one for one in left if one.group.id.hex() not in given]
        if held and not self._noted and self._wait_s > NOTE_S:
            self._noted = True
            text = f"{len(held)} of {len(self._devices)} devices are held by other Ray jobs"
            self._send(Note(text=f"{text}: waiting up to {self._wait_s:g} s for them"))
        for one in left:
            if one in held and idle_s > self._wait_s:
                one.give_up(f"other Ray jobs hold it: it was not free within {self._wait_s:g} s")
            elif one not in held and idle_s > START_S:
                one.give_up(f"Ray did not start a process for it within {START_S:g} s")

    def _is_there(self, one: RayDevice, future: "Future[tuple[str, ...]]") -> None:
        self._progress_s = time.monotonic()
        try:
            number = number_of(future.result())
        except Exception as error:
            lines = str(error).strip().splitlines()
            one.give_up(f"Ray could not start a process for it: {lines[-1][:300] if lines else ''}")
            return
        one.index = one.index if number is None else number
        one.ready = True


def call(one: RayDevice, ref: Any, events: Events, then: Callable[[RayDevice, Any], None]) -> None:
    """Do `then` with what the device's actor answers, unless it has another one by then."""
    actor = one.actor

    def done(future: "Future[Any]") -> None:
        events.put(lambda: then(one, future) if one.actor is actor else None)

    ref.future().add_done_callback(done)


def number_of(ids: Sequence[str]) -> int | None:
    """Which of its node's GPUs an actor has; None of a CPU, or where Ray does not count them."""
    return int(ids[0]) if len(ids) == 1 and ids[0].isdecimal() else None


def _why_none(devices: Sequence[RayDevice], wants: Connect) -> str:
    if devices:
        return f"no device is free: of {devices[0].node}, {devices[0].gone}; try a longer --wait"
    if wants.threads is not None and wants.kind == "cpu":
        return f"no node offers {wants.threads} CPUs at once: choose fewer with --threads"
    return "no node of the cluster answers: see what ray status says"


def _name_the_rest(devices: Sequence[RayDevice]) -> None:
    """Those that were not to be had go by the numbers that are left on their nodes."""
    used = {(one.node, one.index) for one in devices if one.ready}
    for one in devices:
        if not one.ready and one.index is not None:
            free = (at for at in range(len(devices)) if (one.node, at) not in used)
            one.index = next(free)
            used.add((one.node, one.index))
