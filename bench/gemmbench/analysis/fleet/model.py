"""What a report on a fleet says: devices, cases, flags, nodes and racks."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gemmbench.timing.statistics import Floats
from gemmkernels.problem import shape_text

Kind = Literal["wrong", "missing", "slow", "throttled", "hot"]
KINDS: tuple[Kind, ...] = ("wrong", "missing", "slow", "throttled", "hot")
"""From the gravest on."""


class Model(NamedTuple):
    """Devices that are held against each other: of one kind, and loaded alike.

    `device_id` is empty where no spec sheet is known; `together` is if several were measured at the
    same time, which heat and power that they share make another thing.
    """

    device_id: str
    name: str
    arch: str
    units: int
    partition: str
    together: bool

    @property
    def text(self) -> str:
        part = f" {self.partition}" if self.partition and self.partition not in self.name else ""
        return self.name + part


class Case(NamedTuple):
    """What devices must share to be compared: the kernel, the problem, and how it was measured."""

    model: Model
    kernel: str
    precision: str
    m: int
    n: int
    k: int
    batch: int
    experts: int
    layout: str
    modes: str
    collective: str
    ranks: int
    message_bytes: int
    preset: str
    cache: str
    data: str
    launch: str
    threads: int
    tool: str

    @property
    def shape(self) -> str:
        if self.collective and self.collective == self.kernel:
            return f"{self.message_bytes} B, {self.ranks} ranks"
        shape = shape_text(self.m, self.n, self.k, self.batch, self.experts)
        return shape if self.layout == "nn" else f"{shape} {self.layout}"

    @property
    def text(self) -> str:
        modes = f" [{self.modes}]" if self.modes else ""
        return f"{self.kernel}{modes} {self.precision} {self.shape}"


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device of the fleet. `name` tells it from all others; `node` and `rack` may be empty.

    `records` is how many of its cases count, `contended` how many say nothing as others used the
    cores. `relative` is its speed over the median of the others', over all its cases, and
    `worst` that of its slowest case; NaN where it was not judged. `facts` are the software and the
    power limit. `temperature_c` and `clock_mhz` are medians over its records; NaN where not seen.
    """

    name: str
    node: str
    rack: str
    index: int | None
    pci_address: str
    model: Model | None
    files: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    records: int = 0
    contended: int = 0
    relative: float = float("nan")
    worst: float = float("nan")
    worst_case: Case | None = None
    temperature_c: float = float("nan")
    clock_mhz: float = float("nan")
    power_w: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Flag:
    """What is wrong with a device. `device` is its place in the report's devices.

    `scope` is where: "all 20 cases", "bf16", a case. Of `slow`, `relative` is the speed over the
    median of the others', `p` Holm's, and `beyond` of `measurements` confirm it. What is not
    `confirmed` is a suspicion. `why` has the figures in words.
    """

    kind: Kind
    device: int
    confirmed: bool
    scope: str
    why: str
    relative: float = float("nan")
    p: float = float("nan")
    beyond: int = 0
    measurements: int = 0


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One case over the devices that have it. Rates in TFLOP/s, peaks and spreads in percent.

    `relative` are the speeds over the median, in the order of `devices`; `spread_pct` is the robust
    standard deviation, `finds_pct` how much slower a device must be for the rule to see it here.
    `noisy` counts records whose turns did not agree; `power_limited` those at their power limit.
    """

    case: Case
    devices: tuple[int, ...] = field(repr=False)
    relative: Floats = field(repr=False)
    time_us: float
    tflops: float
    peak_tflops: float
    spread_pct: float
    finds_pct: float
    slowest: int
    fastest: int
    slow: int
    noisy: int
    power_limited: int

    @property
    def n(self) -> int:
        return len(self.devices)

    @property
    def pct_peak(self) -> float:
        return 100 * self.tflops / self.peak_tflops if self.peak_tflops > 0 else float("nan")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A node or a rack: the median of its devices' relative speeds, and how many are flagged.

    `slow` is if it is slow as a whole: by the same rule against the other nodes or racks, with two
    of its devices or more beyond δ.
    """

    what: Literal["node", "rack"]
    name: str
    devices: int
    relative: float
    flagged: int
    slow: bool


@dataclass(frozen=True, kw_only=True)
class Then:
    """The median over devices of one case, now over an earlier fleet's, with its 95% interval.

    `slower` is if the whole interval lies over δ below, or the ratio itself over 2δ where fewer
    than 6 devices have no interval; between the two those are `is_undecided`.
    """

    case: Case
    ratio: float
    ratio_low: float
    ratio_high: float
    n_now: int
    n_then: int
    slower: bool
    is_undecided: bool


@dataclass(frozen=True, kw_only=True)
class FleetReport:
    """What `fleet report` found, of `sources` and with `options` (name and value of each).

    `not_judged` is what could not be, and why; `notes` is what else there is to know. `against` is
    empty unless an earlier fleet was named.
    """

    sources: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    devices: tuple[Device, ...]
    cases: tuple[Spread, ...]
    flags: tuple[Flag, ...]
    parts: tuple[Part, ...]
    against: tuple[Then, ...]
    not_judged: tuple[str, ...]
    notes: tuple[str, ...]
    tests: int
    synthetic: bool

    @property
    def confirmed(self) -> tuple[Flag, ...]:
        return tuple(one for one in self.flags if one.confirmed)

    @property
    def suspected(self) -> tuple[Flag, ...]:
        return tuple(one for one in self.flags if not one.confirmed)

    @property
    def slower_than_then(self) -> tuple[Then, ...]:
        return tuple(one for one in self.against if one.slower)

    @property
    def exit_code(self) -> int:
        """1 where something is flagged, 2 where something was not judged, 0 for a sound fleet."""
        if self.confirmed or self.slower_than_then or any(one.slow for one in self.parts):
            return 1
        return 2 if self.suspected or self.not_judged else 0
