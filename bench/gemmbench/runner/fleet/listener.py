"""What a run on several devices tells whoever shows its progress."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gemmbench.runner.fleet.ground import Site
from gemmbench.runner.fleet.messages import Measured, Planned


@dataclass(frozen=True, kw_only=True)
class FleetOutcome:
    """How it ended. `statuses` counts cases, `lost` names each unit that did not end, and why.

    `timed_s` and `setup_s` are sums over the devices.
    """

    path: Path | None
    statuses: dict[str, int]
    lost: dict[int, str]
    wall_s: float
    timed_s: float
    setup_s: float
    interrupted: bool
    exit_code: int


class FleetListener(Protocol):
    """Called by the driver; must return at once, and raise nothing."""

    def begins(self, sites: Sequence[Site]) -> None: ...

    def planned(self, unit: int, site: Site, plan: Planned) -> None: ...

    def measured(self, unit: int, site: Site, case: Measured) -> None: ...

    def warned(self, unit: int, site: Site, text: str) -> None: ...

    def ended(self, unit: int, site: Site) -> None: ...

    def lost(self, unit: int, site: Site, reason: str, *, again: bool) -> None: ...

    def finished(self, outcome: FleetOutcome) -> None: ...
