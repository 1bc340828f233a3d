"""What a comparison found, row by row."""

from dataclasses import dataclass
from typing import Literal

from gemmbench.timing.statistics import Estimate

By = Literal["kernel", "tier"]
Change = Literal["faster", "slower", "same", "unsure"]
Machine = Literal["unmoved", "moved", "unknown", "another"]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One row: b is `ratio` times as fast as a. Times in µs, peaks in percent of each device's own.

    `why` says what makes it unsure. `repeats` is (a's, b's).
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
    time_a_us: float
    time_b_us: float
    ratio: float
    ratio_low: float
    ratio_high: float
    verdict: Change
    why: str
    pct_peak_a: float
    pct_peak_b: float
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
class Differs:
    """One thing that the two sides do not share."""

    what: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found. b over a: a ratio above 1 is b faster.

    `machine` tells, where both sides are one kind of device, if the self-test of one moved against
    the other, by `anchor` (a's time over b's). `left_out` names the cases that only one side has.
    """

    by: By
    delta: float
    device_a: str
    device_b: str
    files_a: tuple[str, ...]
    files_b: tuple[str, ...]
    preset: str
    machine: Machine
    anchor: Estimate
    rows: tuple[Compared, ...]
    geomeans: tuple[Geomean, ...]
    differs: tuple[Differs, ...]
    left_out: tuple[str, ...]

    def count(self, verdict: Change) -> int:
        return sum(row.verdict == verdict for row in self.rows)
