"""Intervals and speedups, by rules whose error rates were measured under noise.

Nothing here assumes normal or independent samples: the values are turn medians, one a round, and
the intervals are order statistics of those. With several repeats the spread between repeats
decides, since what differs from process to process is larger than what differs within one.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

CONFIDENCE = 0.95
LEAST_ROUNDS = 6
"""Below six values the extremes themselves hold the median with less than 95%."""

SYSTEMATIC_FLOOR = 0.005
"""No ratio is known better than ±0.5%: a constant error is invisible to resampling."""

FLOOR_BESIDE = 0.01
"""Beside a neighbour ±1%: what it does to caches and clocks shows in no sample, and falls harder on
the longer of two (up to 0.5% at 4 to 1: `python tests/planted_ratios.py`)."""

Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

Turns: TypeAlias = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its 95% interval; NaN where there are too few values for one."""

    value: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of the interval, as a fraction of the value."""
        return (self.high - self.low) / (2 * self.value) if self.value > 0 else math.nan


@lru_cache(maxsize=4096)
def _ranks(n: int) -> tuple[int, int] | None:
    """Indices of the sorted values that bound the median with at least 95%, or None."""
    if n < LEAST_ROUNDS:
        return None
    from scipy.special import bdtr

    below = next(r for r in range(n) if bdtr(r, n, 0.5) > (1 - CONFIDENCE) / 2)
    return below - 1, n - below


def estimate(values: Sequence[float]) -> Estimate:
    """Median and order-statistics interval of one repeat's turn medians.

    Exact for independent values (binomial ranks, those of `scipy.stats.quantile_test`, whose
    module takes longer to import than a file to load); for 10 rounds it is
    the second smallest and second largest, 97.9%.
    """
    if not values:
        return Estimate(math.nan, math.nan, math.nan, 0)
    ordered = sorted(values)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    ranks = _ranks(n)
    if ranks is None:
        return Estimate(middle, math.nan, math.nan, n)
    return Estimate(middle, ordered[ranks[0]], ordered[ranks[1]], n)


def estimates(rows: Floats) -> tuple[Floats, Floats, Floats]:
    """`estimate` of each row of a matrix: the medians, and the ends of their intervals."""
    n = rows.shape[1]
    ordered = np.sort(rows, axis=1)
    middle = (ordered[:, (n - 1) // 2] + ordered[:, n // 2]) / 2
    ranks = _ranks(n)
    if ranks is None:
        unknown = np.full(len(rows), math.nan)
        return middle, unknown, unknown
    return middle, ordered[:, ranks[0]], ordered[:, ranks[1]]


def estimate_over_repeats(medians: Sequence[float]) -> Estimate:
    """Geometric mean of the repeats' medians, with Student's t on their logs (two or more)."""
    logs = np.log(np.asarray(medians, dtype=float))
    n = len(logs)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    centre = float(logs.mean())
    if n < 2:
        return Estimate(math.exp(centre), math.nan, math.nan, n)
    from scipy.special import stdtrit

    quantile = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2))
    half = quantile * float(logs.std(ddof=1)) / math.sqrt(n)
    return Estimate(math.exp(centre), math.exp(centre - half), math.exp(centre + half), n)


def with_floor(found: Estimate, floor: float = SYSTEMATIC_FLOOR) -> Estimate:
    """Widen the interval of a ratio to at least `floor`; an unknown one stays unknown."""
    if math.isnan(found.low):
        return found
    low, high = found.value / (1 + floor), found.value * (1 + floor)
    return Estimate(found.value, min(found.low, low), max(found.high, high), found.n)


def paired_ratio(slow: Mapping[int, float], fast: Mapping[int, float]) -> Estimate:
    """How many times faster `fast` is: the median of the paired ratios slow ÷ fast of each round.

    Keys are rounds, values times. Rounds that only one side has are left out. The interval is that
    of the log ratios, never narrower than ±0.5%; NaN below six pairs.
    """
    return paired_ratios([(slow, fast)])[0]


def paired_ratios(pairs: Iterable[tuple[Turns, Turns]]) -> list[Estimate]:
    """`paired_ratio` of many pairs at once."""
    common = [_common(*pair) for pair in pairs]
    found = [Estimate(math.nan, math.nan, math.nan, 0)] * len(common)
    for places, matrix in equally_long(common):
        n = matrix.shape[1] // 2
        value, low, high = map(np.exp, estimates(np.log(matrix[:, :n] / matrix[:, n:])))
        # As `with_floor`, of all of them at once.
        low = np.minimum(low, value / (1 + SYSTEMATIC_FLOOR))
        high = np.maximum(high, value * (1 + SYSTEMATIC_FLOOR))
        ends = (some.tolist() for some in (value, low, high))
        for place, middle, least, most in zip(places, *ends, strict=True):
            found[place] = Estimate(middle, least, most, n)
    return found


def _common(slow: Turns, fast: Turns) -> list[float]:
    """The times of the rounds that both have: the slow ones, then as many fast ones."""
    if list(slow) == list(fast):
        times = [*slow.values(), *fast.values()]
        if min(times, default=0.0) > 0:
            return times
    both = [number for number in slow if number in fast and slow[number] > 0 and fast[number] > 0]
    return [some[number] for some in (slow, fast) for number in both]


def equally_long(series: Sequence[Sequence[float]]) -> Iterator[tuple[list[int], Floats]]:
    """The places of series of one length, and those as a matrix; not the empty ones."""
    places: dict[int, list[int]] = defaultdict(list)
    for index, one in enumerate(series):
        places[len(one)].append(index)
    for size, some in places.items():
        if size:
            yield some, np.array([series[index] for index in some], dtype=float)


def ratio_over_repeats(ratios: Sequence[float]) -> Estimate:
    """Combine one paired ratio a repeat: t on the logs, with the systematic floor."""
    return with_floor(estimate_over_repeats(ratios))
