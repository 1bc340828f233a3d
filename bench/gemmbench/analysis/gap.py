"""From the peak to the measured time, step by step: what each cause takes, and what is left.

A ladder of times. Each is the least that a launch can take by one more cause: t₀, its FLOP at the
peak; t₁, at the clock held; t₂, with whole tiles and whole waves; t₃, no less than its bytes over
the bandwidth; t₄, no less than an empty launch. The last is the measured one. A factor is a time
over the next: of their product the measured rate is the peak's share. Only the clock's may exceed
1: a measured time below t₄ refutes the model, and its factor says by how much.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from gemmbench.analysis.gap_tiles import Tiling

Cause = Literal["clock", "padding", "waves", "memory", "launch", "kernel"]
Bound = Literal["compute", "memory", "cache", "launch"]


@dataclass(frozen=True, kw_only=True)
class Cited:
    """A source of a spec sheet, by its id in `gemmbench list devices --sources`."""

    id: str
    title: str = ""
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Top:
    """What the ladder starts from: TFLOP/s of the spec sheet, or of a probe where there is no
    sheet.

    `id` is the sheet's, or the run and the roof; `sources` who prints the figure. `clock_mhz` is
    the clock that the figure stands for, NaN where that is not known. `scaled` is a partition's
    share of its device. `half_width` is that of a roof's interval, a fraction; a sheet has none.
    """

    kind: Literal["spec", "roof"]
    tflops: float
    unit: str
    clock_mhz: float
    id: str
    sources: tuple[Cited, ...] = ()
    sparse: bool = False
    partition: str | None = None
    scaled: float = 1.0
    half_width: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A reason that held the clock, and its share of the turns' time."""

    reason: str
    share: float


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The clock held, the median of `turns` turns as `sensor` read it, and what limited it.

    `limits` is None where nothing could see reasons. `power_limit_w` was in force as the run began,
    `tdp_w` is the sheet's.
    """

    held_mhz: float
    turns: int
    sensor: str
    limits: tuple[Limit, ...] | None
    power_w: float
    power_limit_w: float | None
    tdp_w: float | None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The fewest bytes of a launch, and the bandwidth that they must pass; GB/s.

    `level` is where the operands come from: memory, or the cache that holds all sets of them.
    """

    bytes: int
    level: Literal["memory", "cache"]
    gbps: float
    measured: bool
    source: str


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The time of so many empty launches, µs."""

    launch: str
    launches: int
    us: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """What could not be said of a cause, and why: its factor is 1."""

    cause: Cause
    why: str


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One step: the time before it over the time with it, µs."""

    cause: Cause
    before_us: float
    after_us: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kernel on a problem, with its measured time over all repeats (µs, 95% interval).

    `impossible` is one whose rate is over 102% of the peak at the measured clock.
    """

    run_id: str
    file: str
    device: str
    kernel: str
    tier: str
    modes: str
    precision: str
    shape: str
    layout: str
    label: str
    verdict: str
    flop: int
    min_bytes: int
    time_us: float
    time_us_low: float
    time_us_high: float
    impossible: bool = False

    @property
    def intensity(self) -> float:
        """FLOP/byte."""
        return self.flop / self.min_bytes

    @property
    def tflops(self) -> float:
        return self.flop / self.time_us / 1e6

    @property
    def tflops_low(self) -> float:
        return self.flop / self.time_us_high / 1e6

    @property
    def tflops_high(self) -> float:
        return self.flop / self.time_us_low / 1e6


@dataclass(frozen=True, kw_only=True)
class Causes:
    """All that is known of why a case takes its time; what is not is None, with its reason."""

    top: Top | None = None
    clock: Clock | None = None
    tiling: Tiling | None = None
    memory: Memory | None = None
    floor: Floor | None = None
    roof_tflops: float = math.nan
    roof_source: str = ""
    unknown: tuple[Unknown, ...] = ()
    why_not: str = ""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A case explained. Without a top `factors` is empty, and `causes.why_not` says why."""

    case: Case
    causes: Causes
    factors: tuple[Factor, ...] = ()

    def factor(self, cause: Cause) -> float:
        """NaN where there is no ladder, or the cause is not known."""
        if any(one.cause == cause for one in self.causes.unknown):
            return math.nan
        return next((one.value for one in self.factors if one.cause == cause), math.nan)

    @property
    def pct_top(self) -> float:
        """The measured rate in percent of the top."""
        return 100 * self.case.tflops / self.causes.top.tflops if self.causes.top else math.nan

    @property
    def pct_roof(self) -> float:
        """In percent of the measured roof of the same arithmetic."""
        return 100 * self.case.tflops / self.causes.roof_tflops

    @property
    def pct_allowed(self) -> float:
        """What t₄ allows at the most, in percent of the top."""
        last = self.factors[-1] if self.factors else None
        return 100 * self.factors[0].before_us / last.before_us if last else math.nan

    @property
    def refuted(self) -> bool:
        """Is the measured time below t₄, what the model holds for the least?"""
        return bool(self.factors) and self.factors[-1].value > 1

    @property
    def refuted_surely(self) -> bool:
        """With all of its interval?"""
        return self.refuted and self.factors[-1].before_us > self.case.time_us_high

    @property
    def bound(self) -> Bound | None:
        """What sets t₄, the least time."""
        if not self.factors:
            return None
        longer = {one.cause for one in self.factors if one.after_us > one.before_us}
        if "launch" in longer:
            return "launch"
        return self.causes.memory.level if "memory" in longer and self.causes.memory else "compute"


def gap(case: Case, causes: Causes) -> Gap:
    """The ladder of one case. Its arithmetic is all here: times in µs, rates in TFLOP/s."""
    top, clock, tiles = causes.top, causes.clock, causes.tiling
    if top is None:
        return Gap(case=case, causes=causes)
    at_peak = case.flop / top.tflops / 1e6
    times = [at_peak]
    times.append(times[-1] * (top.clock_mhz / clock.held_mhz if clock else 1.0))
    times.append(times[-1] * (tiles.padded_flop / case.flop if tiles else 1.0))
    times.append(times[-1] / (tiles.busy if tiles and tiles.busy else 1.0))
    memory, floor = causes.memory, causes.floor
    times.append(max(times[-1], memory.bytes / memory.gbps / 1e3 if memory else 0.0))
    times.append(max(times[-1], floor.us if floor else 0.0))
    return Gap(case=case, causes=causes, factors=_factors([*times, case.time_us]))


def _factors(times: Sequence[float]) -> tuple[Factor, ...]:
    causes: tuple[Cause, ...] = ("clock", "padding", "waves", "memory", "launch", "kernel")
    return tuple(
        Factor(cause=cause, before_us=before, after_us=after, value=before / after)
        for cause, (before, after) in zip(causes, pairwise(times), strict=True)
    )
