"""The words of a history: points in order of time, the steps between them, and what they share."""

import math
from dataclasses import dataclass
from typing import Any

from gemmbench.analysis.history_runs import HOW, Differs, Ran
from gemmbench.analysis.steps import Certainty, Step

_DEVICE = ("device", "partition", "units", "power_limit_w", "place", "at_once")
_METHOD = (*HOW, "tool", "synthetic")
PROBLEM = ("m", "n", "k", "batch", "experts")
_CASE = ("layout", "precision", "modes", "kernel")
SERIES = (*_DEVICE, *_METHOD, *PROBLEM, *_CASE)
"""What the runs of a series share: nothing that was measured differently is joined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A case in one run, over its repeats. µs, TFLOP/s and percent of the dense peak with 95%
    intervals; of a 2:4 sparse precision those of its sparse rate.

    Only one that `counts` is looked at for steps: `ok`, not contended, not impossible. `differs` is
    what changed since the point before.
    """

    ran: Ran
    status: str
    reason: str
    verdict: str
    counts: bool
    repeats: int
    time_us: float
    time_us_low: float
    time_us_high: float
    tflops: float
    tflops_low: float
    tflops_high: float
    pct_peak: float
    differs: tuple[Differs, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """Something that changed so many runs that count after a step, or before it (negative)."""

    runs: int
    differs: Differs


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A step of the level. `at` is its first run's place in `points`; `ratio` above 1 is faster.

    `differs` is what changed since the last run that counts before it; `near` what did so within
    the three runs on either side, as a step is placed no better than that. `step` has the times.
    """

    at: int
    certainty: Certainty
    before_tflops: float
    after_tflops: float
    step: Step
    differs: tuple[Differs, ...]
    near: tuple[Near, ...]

    @property
    def ratio(self) -> float:
        return self.step.ratio


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """A stretch between changes: the places of its first and last run, its median rate."""

    first: int
    last: int
    tflops: float


@dataclass(frozen=True, kw_only=True)
class Series:
    """One kernel on one problem, measured in one way on one kind of device, in order of time.

    Of several devices each has its own, known by its `place`; `at_once` is how many were measured
    at the same time.
    `drift_pct` is by how much the speed changes from run to run within the levels, in percent; NaN
    where no drift is seen. `why_unsure` says what a series is too short for; empty where it is long
    enough.
    """

    device: str
    partition: str
    units: int | None
    power_limit_w: float | None
    place: str
    at_once: int
    preset: str
    cache: str
    data: str
    launch: str
    threads: int | None
    tool: str
    synthetic: bool
    kernel: str
    tier: str
    precision: str
    modes: str
    shape: str
    layout: str
    label: str
    points: tuple[Point, ...]
    changes: tuple[Change, ...]
    levels: tuple[Level, ...]
    drift_pct: float
    why_unsure: str

    @property
    def counted(self) -> tuple[Point, ...]:
        return tuple(one for one in self.points if one.counts)

    @property
    def may_be_slow(self) -> bool:
        """May the changes be one slow one? All go the way of the drift."""
        drifts = bool(self.changes) and not math.isnan(self.drift_pct)
        return drifts and all((one.ratio > 1) is (self.drift_pct > 0) for one in self.changes)

    @property
    def best(self) -> Point | None:
        """The point of the highest rate that counts."""
        return max(self.counted, key=lambda one: one.tflops, default=None)


@dataclass(frozen=True, kw_only=True)
class History:
    """The series of some runs; a step below `delta`, a fraction, is none."""

    delta: float
    runs: tuple[Ran, ...]
    series: tuple[Series, ...]


def measured_as(one: Series) -> tuple[Any, ...]:
    """Where and how a series was measured: those that share it stand in one table."""
    return tuple(getattr(one, name) for name in (*_DEVICE, *_METHOD))
