"""What is kept of the runs of a fleet: a few numbers a record, and what became of each device."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gemmbench.analysis.fleet.model import Case, Model
from gemmbench.analysis.fleet.rule import Ints
from gemmbench.records.schema import Place
from gemmbench.timing.statistics import Floats


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One run of a device, or one that was to be. `missing` is the planned cases without a record,
    `lost` why it did not come to its end."""

    file: str
    started: str = ""
    plan: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()
    lost: str = ""
    is_read: bool = True
    came_to_end: bool = False


@dataclass
class Gathered:
    """One device, as its files tell."""

    place: Place
    name: str
    model: Model | None = None
    facts: tuple[tuple[str, str], ...] = ()
    runs: list[Ran] = field(default_factory=list)

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(one.file for one in self.runs if one.is_read)

    @property
    def lost(self) -> tuple[Ran, ...]:
        """The runs that were lost, and that no later one makes good."""
        whole = max((one.started for one in self.runs if one.came_to_end), default="")
        return tuple(one for one in self.runs if one.lost and not one.started < whole)

    @property
    def unrecorded(self) -> dict[str, str]:
        """Planned cases that no run of the device has, and the file that should."""
        owed = {case: one.file for one in self.runs for case in one.missing}
        if not owed:
            return owed
        has = {case for one in self.runs for case in one.plan if case not in one.missing}
        return {case: file for case, file in owed.items() if case not in has}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A case of a device that is not ok."""

    device: int
    case: int
    repeat: int
    status: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Throttled:
    """A record in which a fault limited the clock, for that share of its turns' time."""

    device: int
    case: int
    reason: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What was read. An item a record that is ok and not contended, in the arrays; NaN is unseen.

    `contended` is (device, case, repeat) of records that others spoilt by using the cores.
    """

    sources: tuple[str, ...]
    devices: Sequence[Gathered]
    cases: list[Case]
    peaks: list[float]
    device: Ints
    case: Ints
    repeat: Ints
    time_us: Floats
    temperature_c: Floats
    clock_mhz: Floats
    power_w: Floats
    noisy: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"
    limited: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"
    faults: list[Fault]
    throttled: list[Throttled]
    contended: list[tuple[int, int, int]]
    warnings: tuple[str, ...]
    synthetic: bool
