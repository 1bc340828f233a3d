"""The process between a driver and Ray: it holds the connection, and one actor a device.

Ray prints what it likes, takes signals for itself, and ends or blocks its process where a cluster
is gone: none of it reaches the driver, which only sees messages.
"""

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgspec

from gemmbench.runner.fleet.messages import Ended, Refused, Warned
from gemmbench.runner.fleet.ray_cluster import how_it_died, nodes, unreachable
from gemmbench.runner.fleet.ray_devices import RayDevice
from gemmbench.runner.fleet.ray_messages import (
    LAST,
    Connect,
    Connected,
    Fell,
    FromBridge,
    Interrupt,
    Said,
    Start,
    ToBridge,
    Wrong,
)
from gemmbench.runner.fleet.ray_taking import START_S, Events, call, number_of, take_all
from gemmbench.runner.worker import PR_SET_PDEATHSIG
from gemmkernels.errors import GemmbenchError

Batch = tuple[bytes, ...]

TICK_S = 1.0
SILENCE_S = 60.0
"""How long an actor may be out of reach, before it is given up."""

FROZEN_S = 120.0
"""And how long it may owe an answer: it gives one every 20 s."""

END_S = 5.0


class Bridge:
    """One connection to a cluster. What happens comes as calls through one queue, to one thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._encoder = msgspec.json.Encoder()
        self._events: Events = queue.SimpleQueue()
        self._devices: tuple[RayDevice, ...] = ()
        self._wants: Connect | None = None
        self._waiting: list[RayDevice] = []
        self._look_s = 0.0

    def run(self) -> None:
        """Until the driver closes standard input."""
        wants = msgspec.json.decode(sys.stdin.buffer.readline(), type=Connect)
        self._wants = wants
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._connect(wants)
            self._devices = take_all(wants, self._events, self._send)
        except GemmbenchError as error:
            self._send(Wrong(error=str(error)))
            return
        while True:
            self._next()

    def _next(self) -> None:
        """Wait for what happens next; and now and then see what does not."""
        with contextlib.suppress(queue.Empty):
            self._events.get(timeout=TICK_S)()
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + TICK_S
        for one in self._devices:
            if one.unit is not None and one.asked_s and now_s - one.asked_s > FROZEN_S:
                self._freeze(one)
        self._waiting = [one for one in self._waiting if one.waits]
        if self._waiting:
            self._look()

    # The cluster.

    def _connect(self, wants: Connect) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.chdir("/")  # Ray has its workers import from the folder that it was started in
        import ray

        try:
            ray.init(address=wants.address, log_to_driver=False, configure_logging=False)
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            raise GemmbenchError(unreachable(wants.address, error)) from None
        self._send(Connected())

    def _take(self, one: RayDevice) -> None:
        self._call(one, one.take(), self._is_there)

    def _call(self, one: RayDevice, ref: Any, then: Callable[[RayDevice, Any], None]) -> None:
        call(one, ref, self._events, then)

    # One device.

    def _is_there(self, one: RayDevice, future: "Future[tuple[str, ...]]") -> None:
        """Its actor is up again: what it was taken for can begin."""
        try:
            ids = future.result()
        except Exception as error:
            self._fell(one, error)
            return
        number = number_of(ids)
        if number is not None and number != one.index:
            # The node has come back, and Ray has dealt its GPUs out in another order.
            other = next(
                (o for o in self._devices if o.node == one.node and o.index == number), one
            )
            if other is one or other.ready:
                self._lose(one, f"Ray gave GPU {number} of {one.node} in its place")
                return
            one.swap(other)
            one, other = other, one
            if other.actor is not None:
                self._call(other, other.actor.where.remote(), self._is_there)
        one.ready = True
        if one.unit is not None:
            self._launch(one)

    def _start(self, message: Start) -> None:
        one = self._devices[message.device]
        one.unit, one.charge = message.unit, bytes(message.charge)
        if one.gone:
            self._lose(one, one.gone)
        elif one.ready:
            self._launch(one)
        else:
            one.until_s = 0.0
            self._waiting.append(one)
            if not one.node_id:
                assert self._wants is not None
                back_s = self._wants.comes_back_s
                self._tell(one, Warned(text=f"waiting up to {back_s:g} s for its node to be back"))

    def _launch(self, one: RayDevice) -> None:
        one.actor.start.remote(one.charge)
        one.charge = b""
        self._hear(one)

    def _hear(self, one: RayDevice) -> None:
        one.asked_s = time.monotonic()
        self._call(one, one.actor.hear.remote(one.heard), self._heard)

    def _heard(self, one: RayDevice, future: "Future[Batch]") -> None:
        import ray

        one.asked_s = 0.0
        try:
            batch = future.result()
        except ray.exceptions.ActorUnavailableError as error:
            now_s = time.monotonic()
            one.silent_s = one.silent_s or now_s
            if now_s - one.silent_s > SILENCE_S:
                self._fell(one, error)
            else:
                timer = threading.Timer(TICK_S, self._events.put, [partial(self._hear, one)])
                timer.daemon = True
                timer.start()
            return
        except Exception as error:
            self._fell(one, error)
            return
        one.silent_s = 0.0
        if not batch:
            self._hear(one)
            return
        one.heard += 1
        assert one.unit is not None
        for line in batch:
            self._send(Said(unit=one.unit, message=msgspec.Raw(line)))
        if isinstance(LAST.decode(batch[-1]), Ended | Refused | Fell):
            one.unit = None
        else:
            self._hear(one)

    def _freeze(self, one: RayDevice) -> None:
        """Its actor neither answers nor dies: another is to take its place."""
        one.drop(node_lost=False)
        self._lose(one, f"no sign of life for {FROZEN_S:g} s", returns=True)

    def _fell(self, one: RayDevice, error: Exception) -> None:
        """Its actor is no more, or of no use."""
        import ray

        alive = {node.id for node in nodes(ray.nodes())}
        one.drop(node_lost=one.node_id not in alive)
        assert self._wants is not None
        if one.node_id:
            what, returns = how_it_died(str(error))
            self._lose(one, f"Ray's process for it on {one.node} {what}", returns=returns)
        else:
            returns = self._wants.comes_back_s > 0
            self._lose(one, f"node {one.node} was lost", returns=returns)

    def _lose(self, one: RayDevice, reason: str, *, returns: bool = False) -> None:
        if one.unit is not None:
            self._tell(one, Fell(reason=reason, returns=returns))
            one.unit = None

    def _tell(self, one: RayDevice, message: Fell | Warned) -> None:
        assert one.unit is not None
        self._send(Said(unit=one.unit, message=msgspec.Raw(msgspec.json.encode(message))))

    def _look(self) -> None:
        """Of the devices that a unit waits for: is its node back, has its time run out?"""
        import ray

        assert self._wants is not None
        comes_back_s = self._wants.comes_back_s
        now_s = time.monotonic()
        ids = {node.name: node.id for node in nodes(ray.nodes())}
        for one in self._waiting:
            if not one.node_id:
                one.until_s = one.until_s or now_s + comes_back_s
                one.node_id = ids.get(one.node, "")
            if one.node_id and one.actor is None:
                one.until_s = now_s + max(self._wants.wait_s, START_S)
                self._take(one)
            elif now_s > one.until_s:
                how = f"Ray did not start a process for it on {one.node} again"
                if not one.node_id:
                    how = f"node {one.node} was lost, and not back within {comes_back_s:g} s"
                one.drop(node_lost=not one.node_id)
                self._lose(one, how)

    # The driver.

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            message = msgspec.json.decode(line, type=ToBridge)
            match message:
                case Start():
                    self._events.put(partial(self._start, message))
                case Interrupt():
                    self._events.put(self._interrupt)
        self._events.put(_end)
        time.sleep(END_S)  # where Ray does not answer any more
        os._exit(0)

    def _interrupt(self) -> None:
        for one in self._devices:
            if one.unit is None:
                continue
            if one.ready:
                one.actor.interrupt.remote()
            else:
                self._lose(one, "stopped by the user")

    def _send(self, message: FromBridge) -> None:
        data = self._encoder.encode(message) + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]


def _end() -> None:
    import ray

    ray.shutdown()  # with it all actors end, and with them their agents
    os._exit(0)


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        Bridge(int(sys.argv[1])).run()
    finally:
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
