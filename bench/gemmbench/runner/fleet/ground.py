"""Where agents can be: what the driver needs of this machine, or of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gemmbench.records.schema import Place
from gemmbench.runner.fleet.messages import Charge, FromAgent, Gone


@dataclass(frozen=True, kw_only=True)
class Site:
    """One device: its place, and what an agent there calls it (`cuda:3`, `cpu:0`)."""

    place: Place
    device: str


class Ground(Protocol):
    """Agents, each known by the number of its unit. Only the driver's thread calls it."""

    def sites(self) -> Sequence[Site]:
        """The devices, in the order of their units. Raises GemmbenchError where there is none."""
        ...

    def start(self, unit: int, site: Site, charge: Charge) -> None:
        """Start an agent. That it could not be is told as `Gone`, by `receive`."""
        ...

    def receive(self, timeout_s: float) -> Sequence[tuple[int, FromAgent | Gone]]:
        """What agents have said, each one's in order; nothing where all are silent so long.

        After `Ended`, `Refused` or `Gone` the unit's agent is no more.
        """
        ...

    def interrupt(self) -> None:
        """As Ctrl-C does: each agent ends its run, and says `Ended`."""
        ...

    def close(self) -> None:
        """End all agents now."""
        ...
