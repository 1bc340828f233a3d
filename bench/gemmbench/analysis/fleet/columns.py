"""What is kept of the runs of a fleet: a few numbers a record, and what became of each device."""

from dataclasses import dataclass, field

import numpy as np

from gemmbench.analysis.fleet.model import Case, Model
from gemmbench.analysis.fleet.rule import Ints
from gemmbench.records.schema import Place
from gemmbench.timing.statistics import Floats


@dataclass
class Gathered:
    """One device, as its files tell."""

    place: Place
    name: str
    model: Model | None = None
    files: list[str] = field(default_factory=list)
    facts: tuple[tuple[str, str], ...] = ()
    unrecorded: int = 0
    lost: str = ""


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
    devices: list[Gathered]
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
