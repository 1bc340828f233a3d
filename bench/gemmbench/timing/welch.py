"""Two sides that share no process: Welch's t on the logs of their repeats, of many rows at once."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gemmbench.timing.statistics import Estimate, Floats, with_floor

SHARING_ROWS = 10
SHARED_WEIGHT = 2
"""Of the other rows' variance, in degrees of freedom. Of 50 rows in 1000 that changed by 5%, noise
1%, 3 repeats: Welch's p and Benjamini-Hochberg find 3%, 2 finds 71% with 1% false discoveries, and
6% where the noise of rows differs by a factor of e; 4 finds 88%, but reaches 12% there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How many times faster one side is, with the two-sided p of "the same"; NaN where unknown.

    `p_shared` is the p by a variance that is drawn towards that of the other rows.
    """

    ratio: Estimate
    p: float
    p_shared: float


def ratio_of_sides(slow: Sequence[float], fast: Sequence[float]) -> Difference:
    """slow ÷ fast of two sides that share no process: Welch's t on the logs of their repeats.

    One value a repeat. The interval is never narrower than ±0.5%, and NaN unless both sides have
    two or more values.
    """
    return ratios_of_sides([(slow, fast)])[0]


def ratios_of_sides(
    rows: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> list[Difference]:
    """`ratio_of_sides` of many rows, whose spreads also inform each other.

    Of few repeats a row's own variance is known badly, and a row that by chance has a small one
    is not thereby sure. `p_shared` is Student's with the variance (2·s₀² + ν·s²)/(2 + ν) and 2 + ν
    degrees of freedom: s² the row's pooled one, ν its degrees, s₀² the median of the rows' over
    that of χ²(ν)/ν. It is Welch's p where fewer than `SHARING_ROWS` rows have as many repeats.
    """
    found: list[Difference | None] = [None] * len(rows)
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (slow, fast) in enumerate(rows):
        alike[len(slow), len(fast)].append(index)
    for (n, m), places in alike.items():
        a = np.log(np.array([rows[index][0] for index in places], dtype=float))
        b = np.log(np.array([rows[index][1] for index in places], dtype=float))
        for index, one in zip(places, _differences(a, b, min(n, m)), strict=True):
            found[index] = one
    return [one for one in found if one is not None]


def _differences(a: Floats, b: Floats, n: int) -> Iterator[Difference]:
    logs = a.mean(axis=1) - b.mean(axis=1)
    if n < 2:
        for log in logs.tolist():
            yield Difference(Estimate(math.exp(log), math.nan, math.nan, n), math.nan, math.nan)
        return
    from scipy.special import stdtrit

    test = welch(a, b)
    half = np.where(test.error > 0, test.error * stdtrit(test.freedom, 0.975), 0.0)
    shared = _shared(a, b, logs) if len(logs) >= SHARING_ROWS else test.p
    for log, width, p, other in zip(
        *(values.tolist() for values in (logs, half, test.p, shared)), strict=True
    ):
        ratio = Estimate(math.exp(log), math.exp(log - width), math.exp(log + width), n)
        yield Difference(with_floor(ratio), p, other)


def _shared(a: Floats, b: Floats, logs: Floats) -> Floats:
    from scipy.special import chdtri, stdtr

    n, m = a.shape[1], b.shape[1]
    freedom = n + m - 2
    own = ((n - 1) * a.var(axis=1, ddof=1) + (m - 1) * b.var(axis=1, ddof=1)) / freedom
    usual = np.median(own) / (chdtri(freedom, 0.5) / freedom)
    variance = (SHARED_WEIGHT * usual + freedom * own) / (SHARED_WEIGHT + freedom)
    error = np.sqrt(variance * (1 / n + 1 / m))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, np.abs(logs) / error, np.where(logs == 0, 0.0, np.inf))
    found: Floats = 2 * stdtr(SHARED_WEIGHT + freedom, -t)
    return found


@dataclass(frozen=True)
class Welch:
    """Of the rows of two matrices: the standard errors of the differences of their means, the
    degrees of freedom, and the two-sided p (`scipy.stats.ttest_ind(equal_var=False)`)."""

    error: Floats
    freedom: Floats
    p: Floats


def welch(first: Floats, second: Floats) -> Welch:
    from scipy.special import stdtr

    n, m = first.shape[1], second.shape[1]
    a, b = first.var(axis=1, ddof=1) / n, second.var(axis=1, ddof=1) / m
    gap = np.abs(first.mean(axis=1) - second.mean(axis=1))
    error = np.sqrt(a + b)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (a + b) ** 2 / (a * a / (n - 1) + b * b / (m - 1))
        p = np.where(error > 0, 2 * stdtr(freedom, -gap / error), np.where(gap > 0, 0.0, 1.0))
    return Welch(error, freedom, p)
