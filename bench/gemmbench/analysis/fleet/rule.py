"""The rule that tells a straggler: one device's speed against those of the others.

Its error rates, and the figures in it, are of `tests/fleet_rates.py`; docs/howto/stragglers.md has
them as a table.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gemmbench.timing.statistics import Floats

Ints: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"

DELTA = 0.05
"""Less than that is no straggler, however sure it is."""

ALPHA = 0.05
LEAST = 3
"""Of fewer devices nothing can be said: with two nobody knows which of them is slow."""

EACH_WITHOUT_ITSELF = 64
"""Up to so many devices each is held against the others only: among few, one straggler moves the
median and the spread of all."""

FLOOR = 0.0025
"""The least spread, as a share of the median: of three devices two may agree by chance."""

_MAD = 1.4826
"""The standard deviation over the median absolute deviation, of a normal distribution."""


@dataclass(frozen=True)
class Against:
    """Values against those of the others, an item a device; the spread in the values' unit."""

    centre: Floats
    spread: Floats
    z: Floats
    p_low: Floats
    """How likely so low a value is, were the device as the others; one-sided."""


def against_others(values: Floats, *, floor: float | None = None) -> Against:
    """Each value against the median and the MAD of the others, or of all from 65 on.

    z = (x - med) / max(1.4826 · MAD, floor), by default 0.25% of the median; p from t with
    max(2, 0.37 · (n - 2)) degrees of freedom, since the MAD knows the spread less well than the
    standard deviation does. All NaN for fewer than three.
    """
    from scipy.special import stdtr

    n = len(values)
    if n < LEAST:
        unknown = np.full(n, math.nan)
        return Against(unknown, unknown, unknown, unknown)
    if n <= EACH_WITHOUT_ITSELF:
        others = np.broadcast_to(values, (n, n))[~np.eye(n, dtype=bool)].reshape(n, n - 1)
        centre = np.median(others, axis=1)
        spread = np.median(np.abs(others - centre[:, None]), axis=1)
    else:
        middle = np.median(values)
        centre = np.full(n, middle)
        spread = np.full(n, np.median(np.abs(values - middle)))
    least = FLOOR * np.abs(centre) if floor is None else floor
    spread = np.maximum(_MAD * spread, least)
    z = (values - centre) / spread
    return Against(centre, spread, z, stdtr(freedom(n), z))


def freedom(n: int) -> float:
    """Degrees of freedom of a robust z among n devices."""
    return max(2.0, 0.37 * (n - 2))


def holm(p: Floats) -> Floats:
    """Holm's adjusted p-values: below α for any of them is wrong with probability α at most."""
    order = np.argsort(p)
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def finds(spread: float, n: int, tests: int) -> float:
    """How much slower a device must be for the rule to see it, as a fraction: between δ and 2δ.

    `spread` is as a share of the median, of n devices; `tests` is how many are made in all, to
    which half of α falls.
    """
    from scipy.special import stdtrit

    needed = spread * -float(stdtrit(freedom(n), ALPHA / (2 * max(1, tests))))
    return min(max(DELTA, needed), 2 * DELTA)


def grouped_medians(
    values: Floats, groups: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]", count: int
) -> Floats:
    """The median of the values of each group, of `count` groups; NaN for an empty one."""
    found = np.full(count, math.nan)
    if len(values) == 0:
        return found
    order = np.lexsort((values, groups))
    ordered, of = values[order], groups[order]
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
    sizes = np.diff(np.r_[starts, len(of)])
    low, high = ordered[starts + (sizes - 1) // 2], ordered[starts + sizes // 2]
    found[of[starts]] = (low + high) / 2
    return found
