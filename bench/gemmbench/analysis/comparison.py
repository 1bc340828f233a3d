"""What a comparison found, row by row."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gemmbench.timing.statistics import Estimate

By = Literal["kernel", "tier"]
Change = Literal["faster", "slower", "same", "unsure"]
Machine = Literal["unmoved", "moved", "unknown", "another"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One figure of both sides, and b's over a's; NaN where it is not known."""

    a: float
    b: float
    ratio: float


_NO_PAIR = Pair(math.nan, math.nan, math.nan)


def pair(a: float, b: float) -> Pair:
    if math.isnan(a) and math.isnan(b):
        return _NO_PAIR
    return Pair(a, b, b / a if a > 0 and b > 0 else math.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One row: b is `ratio` times as fast as a, with the 95% interval between repeats.

    Times in µs, rates in TFLOP/s, peaks in percent of each device's own. Of a 2:4 `sparse`
    precision rates and peaks are the sparse ones. `p` is that of "the same", adjusted for all rows.
    `why` says what makes it unsure, or in which way the two were measured differently. `repeats` is
    (a's, b's). `judged` is False where no figures could make it slower, by an interval, than the
    other: it has none, or something other than the times made it unsure.
    """

    shape: str
    m: int
    n: int
    k: int
    batch: int
    experts: int
    layout: str
    data: str
    precision: str
    modes: str
    name: str
    kernel_a: str
    kernel_b: str
    encoding_a: str
    encoding_b: str
    launch_a: str
    launch_b: str
    time_a_us: float
    time_b_us: float
    ratio: float
    ratio_low: float
    ratio_high: float
    p: float
    verdict: Change
    why: str
    judged: bool
    sparse: bool
    tflops: Pair
    peak_tflops: Pair
    pct_peak: Pair
    pct_peak_at_clock: Pair
    tflops_per_w: Pair
    repeats: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Geomean:
    """The geometric mean over the rows of a precision that every repeat of both sides has."""

    precision: str
    rows: int
    ratio: float
    ratio_low: float
    ratio_high: float
    verdict: Change
    why: str


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The median of all rows' ratios: what moved all of them together shows here.

    `why` is as in a row.
    """

    rows: int
    ratio: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Differs:
    """One thing that the two sides do not share."""

    what: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One side: what it ran on, and how. `tool` is empty for gemmbench's own runs.

    `partition` is empty for a whole device; `units` and `power_limit_w` are None where not known.
    """

    device: str
    arch: str
    vendor: str
    partition: str
    units: int | None
    power_limit_w: float | None
    files: tuple[str, ...]
    runs: tuple[str, ...]
    repeats: int
    preset: str
    cache: str
    data: str
    launch: str
    tool: str
    synthetic: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found. b over a: a ratio above 1 is b faster.

    `delta` is the least change that counts, `alternated` if the runs took turns in time. `machine`
    tells, where both sides are one kind of device, if the self-test of one moved against the other,
    by `anchor` (a's time over b's). `unlike` is how the two were measured differently, `on_both`
    the files that are on both sides, `shared` the software, data and such that they have in common,
    `left_out` the cases that are no row. Of those b's plan alone has the `new` ones, and the `lost`
    ones should have been rows.
    """

    by: By
    delta: float
    alternated: bool
    a: Measured
    b: Measured
    machine: Machine
    anchor: Estimate
    unlike: tuple[str, ...]
    on_both: tuple[str, ...]
    rows: tuple[Compared, ...]
    shift: Shift
    geomeans: tuple[Geomean, ...]
    differs: tuple[Differs, ...]
    shared: Mapping[str, str]
    left_out: tuple[str, ...]
    new: tuple[str, ...]
    lost: tuple[str, ...]

    def count(self, verdict: Change) -> int:
        return sum(row.verdict == verdict for row in self.rows)

    def slower_than(self, share: float) -> tuple[Compared, ...]:
        """The rows that are slower by more than `share`, a fraction, with their whole interval.

        At a true slowdown of exactly `share`, 2% of the rows are among them. A row without an
        interval, as of one repeat a side, never is.
        """
        most = 1 / (1 + share)
        return tuple(row for row in self.rows if row.verdict == "slower" and row.ratio_high < most)

    def not_judged(self) -> tuple[Compared, ...]:
        """The rows that could not be among those of `slower_than`."""
        return tuple(row for row in self.rows if not row.judged)
