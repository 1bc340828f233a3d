"""The cases of one side of a comparison: one kernel on one problem, with one time a repeat."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gemmbench.analysis.rows import rows_of, values_of
from gemmbench.analysis.speedup import rung
from gemmbench.quantities import size_text
from gemmbench.timing.statistics import Floats
from gemmkernels.precision import SPARSE, precision
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

KEY = (
    *("m", "n", "k", "batch", "experts", "ranks", "at_once", "layout", "data", "precision"),
    *("modes", "kernel"),
)
_CASE = ("kernel", "tier", "base", "encoding", "launch", "cache")
_ROW = ("run_id", "repeat", "status", "verdict", "time_us", "time_us_low", "time_us_high")
_BAD = ("wrong", "failed", "timeout")
_NAN = math.nan


class Key(NamedTuple):
    """What two rows must share: the problem, and the kernel or the tier.

    `at_once` is how many of several ranks are on a node; 1 for one device alone, whatever was
    measured beside it.
    """

    m: int
    n: int
    k: int
    batch: int
    experts: int
    ranks: int
    at_once: int
    layout: str
    data: str
    precision: str
    modes: str
    name: str

    @property
    def shape(self) -> str:
        shape = shape_text(self.m, self.n, self.k, self.batch, self.experts)
        if self.ranks == 1:
            return shape
        if self.k == 1 and self.m == self.ranks:  # a message: see `Record`
            shape = size_text(self.m * self.n * precision(self.precision).bytes_out)
        on_node = f", {self.at_once} a node" if self.at_once != self.ranks else ""
        return f"{shape}, {self.ranks} ranks{on_node}"

    @property
    def text(self) -> str:
        return f"{self.name} {self.precision} {self.shape} {self.layout}"

    def of(self, name: str) -> "Key":
        """The same problem for another kernel or tier."""
        return self if name == self.name else self._replace(name=name)


def keys_of(df: "pd.DataFrame") -> list[Key]:
    """The key of each row of `load`."""
    found = map(Key._make, zip(*(values_of(df, name) for name in KEY), strict=True))
    return [key._replace(at_once=1) if key.ranks == 1 < key.at_once else key for key in found]


Unit = tuple[str, int]
"""(run_id, repeat): one process."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Means over the repeats that count: TFLOP/s, percent, TFLOP/s per watt."""

    tflops: float
    peak_tflops: float
    pct_peak: float
    pct_peak_at_clock: float
    tflops_per_w: float


_UNKNOWN = Rates(_NAN, _NAN, _NAN, _NAN, _NAN)


@dataclass(slots=True)
class Case:
    """One kernel on one problem on one side; `times_us` has the repeats that are ok and sound.

    Where more repeats are throttled than are sound, theirs are among them. `within` are the
    intervals inside those repeats, as (low, high). `fault` is what makes the times say nothing of
    the kernel; empty where they do.
    """

    kernel: str
    tier: str
    base: bool
    encoding: str
    launch: str
    cache: str
    times_us: dict[Unit, float] = field(default_factory=dict)
    within: list[tuple[float, float]] = field(default_factory=list)
    rates: Rates = _UNKNOWN
    contended: int = 0
    status: str = "ok"
    fault: str = ""

    @property
    def mean_us(self) -> float:
        times = self.times_us.values()
        return math.exp(sum(map(math.log, times)) / len(times)) if times else _NAN


def cases_of(df: "pd.DataFrame", *, by: str) -> dict[Key, Case]:
    """The cases of rows of `load`, by kernel or by the fastest kernel of each tier."""
    found: dict[Key, Case] = {}
    numbers: list[int] = []
    places: dict[Key, int] = {}
    for key, about in zip(keys_of(df), rows_of(df, _CASE), strict=True):
        number = places.setdefault(key, len(places))
        numbers.append(number)
        if number == len(found):
            found[key] = Case(*about)
    cases = list(found.values())
    used = _fill(cases, numbers, df)
    owner = np.array(numbers, dtype=int)[used]
    for case, rates in zip(cases, _rates(df, owner, used=used, count=len(cases)), strict=True):
        case.rates = rates
    return found if by == "kernel" else _by_tier(found)


def _fill(cases: Sequence[Case], numbers: Sequence[int], df: "pd.DataFrame") -> list[int]:
    """Give each case the times of its repeats; returns the rows that count."""
    used: list[int] = []
    throttled: dict[int, list[tuple[int, Unit, float, tuple[float, float]]]] = {}
    for index, (number, row) in enumerate(zip(numbers, rows_of(df, _ROW), strict=True)):
        run_id, repeat, status, verdict, time_us, low_us, high_us = row
        case = cases[number]
        if status != "ok":
            case.status = case.status if case.status in _BAD else status
        elif verdict == "contended" or not time_us > 0:
            case.contended += 1
        elif verdict == "throttled":
            one = (index, (run_id, repeat), time_us, (low_us, high_us))
            throttled.setdefault(number, []).append(one)
        else:
            case.times_us[run_id, repeat] = time_us
            case.within.append((low_us, high_us))
            used.append(index)
    for number, repeats in throttled.items():
        case = cases[number]
        if len(repeats) > len(case.times_us):
            case.fault = "throttled"
            for index, unit, time_us, ends in repeats:
                case.times_us[unit] = time_us
                case.within.append(ends)
                used.append(index)
    for case in cases:
        if case.status in _BAD:
            case.fault = f"{case.status} in a repeat"
        elif case.contended > len(case.times_us):
            case.fault = "contended"
    return used


def _rates(df: "pd.DataFrame", owner: "np.ndarray", *, used: list[int], count: int) -> list[Rates]:
    """Geometric means, as of times: so a ratio of rates is the ratio of times."""
    sparse = df["precision"].isin(SPARSE).to_numpy()[used]

    def values(name: str) -> Floats:
        return df[name].to_numpy(dtype=float)[used]

    def mean(name: str, of_sparse: str | None = None) -> list[float]:
        mine = np.where(sparse, values(of_sparse), values(name)) if of_sparse else values(name)
        known = mine > 0
        total = np.bincount(owner[known], weights=np.log(mine[known]), minlength=count)
        with np.errstate(invalid="ignore"):
            found = np.exp(total / np.bincount(owner[known], minlength=count))
        return list(found.tolist())

    peaks = np.full(count, _NAN)  # one and the same in all repeats
    peaks[owner] = np.where(sparse, values("sparse_peak_tflops"), values("peak_tflops"))
    columns = (
        mean("tflops", "sparse_tflops"),
        peaks.tolist(),
        mean("pct_peak", "pct_sparse_peak"),
        mean("pct_peak_at_clock"),
        mean("tflops_per_w"),
    )
    return [Rates(*one) for one in zip(*columns, strict=True)]


def _by_tier(cases: Mapping[Key, Case]) -> dict[Key, Case]:
    """The fastest kernel of each tier, under the tier's name; those that ran first."""
    best: dict[Key, tuple[tuple[object, ...], Case]] = {}
    for key, case in cases.items():
        tier, rank = key.of(case.tier), _rank(case)
        held = best.get(tier)
        if held is None or rank < held[0]:
            best[tier] = rank, case
    return {key: case for key, (_, case) in best.items()}


def _rank(case: Case) -> tuple[bool, bool, float, tuple[int, int]]:
    time = case.mean_us
    return (
        case.status != "ok",
        case.fault == "contended",
        time if time > 0 else math.inf,
        rung(case.kernel, case.tier),
    )
