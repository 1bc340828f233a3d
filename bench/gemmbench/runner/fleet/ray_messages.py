"""What a ground on Ray and its bridge say to each other: one JSON object a line, each way."""

from typing import Literal

import msgspec

from gemmbench.records.schema import Place
from gemmbench.runner.fleet.messages import FromAgent


class Connect(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first message: which cluster, and which of its devices.

    `version` is the driver's gemmbench. A device that another job holds is waited for as long as
    `wait_s`; a node that was lost, to come back, for `comes_back_s`.
    """

    version: str
    address: str
    kind: Literal["gpu", "cpu"]
    threads: int | None
    wait_s: float
    comes_back_s: float


class Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Start an agent for a unit, at the device with that number."""

    unit: int
    device: int
    charge: msgspec.Raw


class Interrupt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The user stops the run."""


ToBridge = Connect | Start | Interrupt


class Connected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The cluster has answered."""


class Note(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that the user should know, or "": it is still at it."""

    text: str


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A device of the cluster, and what an agent there calls it."""

    place: Place
    device: str


class Found(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All devices, in the order of their numbers."""

    devices: tuple[Spot, ...]


class Wrong(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A mistake of the user's, in one line. The bridge ends."""

    error: str


class Said(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What came from a unit's agent: a `FromAgent | Fell`, as JSON."""

    unit: int
    message: msgspec.Raw


FromBridge = Connected | Note | Found | Wrong | Said


class Fell(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An agent is no more, without a word of its own: what `Gone` says, on its way to a driver."""

    reason: str
    returns: bool = True


LAST = msgspec.json.Decoder(FromAgent | Fell)
