"""Intervals, speedups and drift, by rules whose error rates were measured under noise.

Nothing here assumes normal or independent samples: the values are turn medians, one a round, and
the intervals are order statistics of those. With several repeats the spread between repeats
decides, since what differs from process to process is larger than what differs within one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, median

import numpy as np

CONFIDENCE = 0.95
LEAST_ROUNDS = 6
"""Below six values the extremes themselves hold the median with less than 95%."""

SYSTEMATIC_FLOOR = 0.005
"""No ratio is known better than ±0.5%: a constant error is invisible to resampling."""

FLOOR_BESIDE = 0.01
"""Beside a neighbour ±1%: what it does to caches and clocks shows in no sample, and falls harder on
the longer of two (up to 0.5% at 4 to 1: `python tests/planted_ratios.py`)."""

DRIFT_P = 0.01
BLOCKS = 10
FEWEST_FALLING = 8
"""Kendall's p of ten values is below 0.01 where at most 8 of the 45 pairs fall, or rise."""
_PAIRS = tuple((i, j) for i in range(BLOCKS) for j in range(i + 1, BLOCKS))


@dataclass(frozen=True)
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
    pairs = [
        math.log(slow[r] / fast[r])
        for r in slow.keys() & fast.keys()
        if slow[r] > 0 and fast[r] > 0
    ]
    logs = estimate(pairs)
    if not pairs:
        return logs
    ratio = Estimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.n)
    return with_floor(ratio)


def ratio_over_repeats(ratios: Sequence[float]) -> Estimate:
    """Combine one paired ratio a repeat: t on the logs, with the systematic floor."""
    return with_floor(estimate_over_repeats(ratios))


@dataclass(frozen=True)
class Difference:
    """How many times faster one side is, with the two-sided p of "the same"; NaN where unknown."""

    ratio: Estimate
    p: float


def ratio_of_sides(slow: Sequence[float], fast: Sequence[float]) -> Difference:
    """slow ÷ fast of two sides that share no process: Welch's t on the logs of their repeats.

    One value a repeat. The interval is never narrower than ±0.5%, and NaN unless both sides have
    two or more values.
    """
    a, b = (np.log(np.asarray(side, dtype=float)) for side in (slow, fast))
    ratio = math.exp(float(a.mean() - b.mean()))
    n = min(len(a), len(b))
    if n < 2:
        return Difference(Estimate(ratio, math.nan, math.nan, n), math.nan)
    from scipy.special import stdtrit

    error, freedom = _welch(a.tolist(), b.tolist())
    half = error * float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) if error else 0.0
    found = Estimate(ratio, ratio * math.exp(-half), ratio * math.exp(half), n)
    return Difference(with_floor(found), _step_p(a.tolist(), b.tolist()))


def drifts(values: Sequence[float], effect: float) -> bool:
    """Do values in time order trend or step by more than `effect` (a fraction)?

    On ten values (more are cut into ten blocks, by their medians): Mann-Kendall p < 0.01 and the
    Theil-Sen slope over the span above the effect; or Welch's t between the two halves p < 0.01
    and their difference above it. False alarms 0-2% for independent noise. Sizes are looked at
    first: they are cheap, and most series fail there.
    """
    if len(values) < BLOCKS:
        return False
    blocks = _blocks(values)
    middle = median(blocks)
    if middle <= 0 or min(blocks) == max(blocks):
        return False
    first, second = blocks[:5], blocks[5:]
    if abs(fmean(first) - fmean(second)) > effect * middle and _step_p(first, second) < DRIFT_P:
        return True
    slope = median((blocks[j] - blocks[i]) / (j - i) for i, j in _PAIRS)
    return abs(slope) * (BLOCKS - 1) > effect * middle and _trends(blocks)


def _blocks(values: Sequence[float]) -> list[float]:
    """Medians of ten contiguous parts, the first ones longer by one where it does not divide."""
    if len(values) == BLOCKS:
        return list(values)
    size, more = divmod(len(values), BLOCKS)
    edges = [index * size + min(index, more) for index in range(BLOCKS + 1)]
    return [median(values[start:stop]) for start, stop in pairwise(edges)]


def _step_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Welch's two-sided p (`scipy.stats.ttest_ind(equal_var=False)`, a hundred times as fast)."""
    error, freedom = _welch(first, second)
    gap = abs(fmean(first) - fmean(second))
    if error == 0:
        return 0.0 if gap else 1.0
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -gap / error))


def _welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The standard error of the difference of two means, and its degrees of freedom."""
    a, b = _variance(first) / len(first), _variance(second) / len(second)
    if a + b == 0:
        return 0.0, math.inf
    freedom = (a + b) ** 2 / (a * a / (len(first) - 1) + b * b / (len(second) - 1))
    return math.sqrt(a + b), freedom


def _variance(values: Sequence[float]) -> float:
    # statistics.variance computes in fractions, 30 times as slow.
    mean = fmean(values)
    return fmean((value - mean) ** 2 for value in values) * len(values) / (len(values) - 1)


def _trends(blocks: Sequence[float]) -> bool:
    """Is Mann-Kendall's p below 0.01? (`scipy.stats.kendalltau` against the order in time)."""
    if len(set(blocks)) < BLOCKS:
        from scipy.stats import kendalltau

        return float(kendalltau(range(BLOCKS), blocks).pvalue) < DRIFT_P
    falling = sum(blocks[i] > blocks[j] for i, j in _PAIRS)
    return not FEWEST_FALLING < falling < len(_PAIRS) - FEWEST_FALLING
