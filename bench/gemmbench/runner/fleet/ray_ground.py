"""The devices of a Ray cluster, each with an agent where Ray has placed it."""

import contextlib
import queue
import threading
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec

from gemmbench._version import __version__
from gemmbench.runner.fleet.ground import Site
from gemmbench.runner.fleet.messages import Charge, Ended, FromAgent, Gone, Refused
from gemmbench.runner.fleet.ray_cluster import check_address
from gemmbench.runner.fleet.ray_messages import (
    LAST,
    Connect,
    Connected,
    Fell,
    Found,
    FromBridge,
    Interrupt,
    Note,
    Said,
    Start,
    Wrong,
)
from gemmbench.runner.process import ChildProcess, UnkillableError, WorkerDiedError
from gemmbench.runner.request import Request
from gemmkernels.errors import GemmbenchError

CONNECT_S = 20.0
SILENCE_S = 120.0
"""Ray may think for long, but the bridge says now and then that it is still there."""

MOST_WAITING = 1000
"""Messages that the driver has not taken yet: beyond that the agents are held back."""

_FOREVER_S = 1e9
Heard = tuple[int, FromAgent | Gone]


class RayGround:
    """The GPUs of a Ray cluster, or its CPUs: one worker a node, or of `threads` CPUs each.

    Devices that other jobs hold are waited for, `wait_s` after the last one that became free. A
    lost node may come back for as long as `comes_back_s`; where that is 0, its units are moved.
    """

    def __init__(
        self,
        address: str = "auto",
        *,
        kind: Literal["gpu", "cpu"] = "gpu",
        threads: int | None = None,
        wait_s: float = 60.0,
        comes_back_s: float = 60.0,
    ) -> None:
        self._wants = Connect(
            version=__version__,
            address=address,
            kind=kind,
            threads=threads,
            wait_s=wait_s,
            comes_back_s=comes_back_s,
        )
        self._bridge: ChildProcess[FromBridge] | None = None
        self._numbers: dict[_Key, int] = {}
        self._at_work: set[int] = set()
        self._heard: queue.Queue[Said | str] = queue.Queue(MOST_WAITING)
        self._lost = ""

    def sites(self) -> Sequence[Site]:
        """The devices, once Ray has given those that are free.

        Raises GemmbenchError where Ray, the cluster, or what is installed there, does not allow it.
        """
        if find_spec("ray") is None:
            raise GemmbenchError("a fleet needs Ray: pip install 'gemmbench[cluster]'")
        address = check_address(self._wants.address)
        try:
            found = self._find(msgspec.structs.replace(self._wants, address=address))
        except (WorkerDiedError, UnkillableError) as error:
            if getattr(error, "timed_out", False):
                raise GemmbenchError(
                    f"the Ray cluster at {address} did not answer in time: is it one, and this "
                    "machine one of its nodes (ray start --address=…)? From outside say "
                    "ray://HOST:10001"
                ) from None
            raise GemmbenchError(f"the connection to the Ray cluster broke: {error}") from None
        sites = [Site(place=one.place, device=one.device) for one in found.devices]
        self._numbers = {_key(site): number for number, site in enumerate(sites)}
        # Here, and not before: the bridge ends with the thread that started it.
        threading.Thread(target=self._listen, daemon=True).start()
        return sites

    def start(self, unit: int, site: Site, charge: Charge) -> None:
        self._at_work.add(unit)
        assert self._bridge is not None
        charge = msgspec.structs.replace(charge, request=_absolute(charge.request))
        raw = msgspec.Raw(msgspec.json.encode(charge))
        try:
            self._bridge.send(Start(unit=unit, device=self._numbers[_key(site)], charge=raw))
        except (WorkerDiedError, UnkillableError) as error:
            self._lost = self._lost or str(error)

    def receive(self, timeout_s: float) -> Sequence[Heard]:
        if self._lost:
            gone = Gone(reason=f"the connection to Ray broke: {self._lost}", returns=False)
            units, self._at_work = sorted(self._at_work), set()
            return [(unit, gone) for unit in units]
        found: list[Heard] = []
        try:
            said = self._heard.get(timeout=timeout_s)
            while True:
                if isinstance(said, str):
                    self._lost = said
                    break
                found.append((said.unit, self._taken(said)))
                said = self._heard.get_nowait()
        except queue.Empty:
            pass
        return found

    def interrupt(self) -> None:
        if self._bridge is not None:
            with contextlib.suppress(WorkerDiedError, UnkillableError):
                self._bridge.send(Interrupt())

    def close(self) -> None:
        if self._bridge is not None:
            with contextlib.suppress(UnkillableError):
                self._bridge.close()
            self._bridge = None

    def _find(self, wants: Connect) -> Found:
        bridge: ChildProcess[FromBridge]
        bridge = self._bridge = ChildProcess("gemmbench.runner.fleet.ray_bridge", FromBridge)
        bridge.send(wants)
        limit_s = CONNECT_S
        while not isinstance(message := bridge.receive(limit_s), Found):
            match message:
                case Connected():
                    limit_s = SILENCE_S
                case Wrong():
                    raise GemmbenchError(message.error)
                case Note() if message.text:
                    warnings.warn(message.text, stacklevel=2)
        return message

    def _taken(self, said: Said) -> FromAgent | Gone:
        """What an agent said, decoded."""
        message: FromAgent | Fell = LAST.decode(said.message)
        if isinstance(message, Ended | Refused | Fell):
            self._at_work.discard(said.unit)
        if isinstance(message, Fell):
            return Gone(reason=message.reason, returns=message.returns)
        return message

    def _listen(self) -> None:
        """In a thread of its own: the bridge waits where the driver does not keep up."""
        assert self._bridge is not None
        bridge = self._bridge
        try:
            while True:
                message = bridge.receive(_FOREVER_S)
                if isinstance(message, Said):
                    self._heard.put(message)
        except (WorkerDiedError, UnkillableError) as error:
            self._heard.put(str(error))
        except (OSError, ValueError):  # it was ended, and its pipe closed
            return


_Key = tuple[str, int | None, str]


def _key(site: Site) -> _Key:
    """What a device goes by, whatever else is said of its place."""
    return site.place.node, site.place.index, site.place.cores


def _absolute(request: Request) -> Request:
    """The user's files by their whole paths: an agent stands in another folder."""

    def whole(names: Sequence[str], suffix: str) -> tuple[str, ...]:
        return tuple(
            str(Path(name).absolute()) if name.endswith(suffix) or "/" in name else name
            for name in names
        )

    return replace(
        request,
        kernels=whole(request.kernels, ".py"),
        suites=whole(request.suites, ".toml"),
        shape_files=tuple(str(Path(name).absolute()) for name in request.shape_files),
        spec=request.spec and str(Path(request.spec).absolute()),
    )
