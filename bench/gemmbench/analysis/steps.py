"""Steps in a series of times: where its level changed for good, and by how much.

The rule and its error rates: `python tests/history_rates.py`. Kernel change-point detection with a
Gaussian kernel on ln(time) (Arlot, Celisse & Harchaoui 2019; ruptures' KernelCPD), its width by the
median heuristic: unlike a test of means it is not moved by single outliers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from gemmbench.timing.statistics import Floats, estimate

Certainty = Literal["confirmed", "suspected"]

DELTA = 0.02
"""The least step that counts."""

SEGMENT = 3
"""The fewest runs of a level."""

CONFIRMS, ASKS = 8.0, 3.0
"""Penalties: the higher one found no step in 100 runs without one, also where neighbouring runs
resemble each other; the lower one sees a step of three standard deviations after 3 to 5 runs."""

LEAST_CONFIRMED, LEAST_SUSPECTED = 21, 9
"""The fewest runs in which any step, however high, outweighs these penalties."""

NEAR = 3
"""A step is placed within so many runs."""

LEAST_INTERVAL = 10
"""With fewer runs on a side the interval of a step is too narrow more often than it says."""

_PAIRED = 2000
"""Of longer series so many values, evenly spaced, give the width of the kernel."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A change of level between the values `at - 1` and `at`.

    `before_us` and `after_us` are the medians of the two levels; `ratio` is the first over the
    second: above 1 is faster. Its 95% interval is NaN where a level has under `LEAST_INTERVAL`
    values, and for what is only suspected.
    """

    at: int
    certainty: Certainty
    before_us: float
    after_us: float
    ratio: float
    ratio_low: float
    ratio_high: float


def steps(times_us: Sequence[float], *, delta: float = DELTA) -> tuple[Step, ...]:
    """The steps of at least `delta`, a fraction, in times that are in order and above zero."""
    logs = np.log(np.asarray(times_us, dtype=float))
    gamma = _gamma(logs) if len(logs) >= LEAST_SUSPECTED else None
    if gamma is None:
        return ()
    least = math.log1p(delta)
    found = _breaks(logs, CONFIRMS, gamma)
    confirmed = _pruned(logs, found, least=least)
    asked = [
        one for one in _breaks(logs, ASKS, gamma) if all(abs(one - other) > NEAR for other in found)
    ]
    both = _pruned(logs, asked, least=least, fixed=confirmed)
    made = [_step(logs, one, confirmed, "confirmed") for one in confirmed]
    made += [_step(logs, one, both, "suspected") for one in both if one not in confirmed]
    return tuple(sorted(made, key=lambda one: one.at))


def levels(times_us: Sequence[float], found: Sequence[Step]) -> tuple[tuple[int, int, float], ...]:
    """(first, one past the last, median) of each level between steps, also suspected ones."""
    ends = [0, *(one.at for one in found), len(times_us)]
    return tuple(
        (first, stop, float(np.median(times_us[first:stop])))
        for first, stop in pairwise(ends)
        if stop > first
    )


def _gamma(logs: Floats) -> float | None:
    """1 / the median squared distance of two values, as ruptures has it; None where all are equal.

    Where most values are the same the median is 0: then that of the pairs that differ.
    """
    from scipy.spatial.distance import pdist

    some = logs[:: -(-len(logs) // _PAIRED)]
    squares = pdist(some.reshape(-1, 1), "sqeuclidean")
    middle = float(np.median(squares))
    if middle <= 0:
        apart = squares[squares > 0]
        middle = float(np.median(apart)) if len(apart) else 0.0
    return 1 / middle if middle > 0 else None


def _breaks(logs: Floats, penalty: float, gamma: float) -> list[int]:
    from ruptures import KernelCPD

    found = KernelCPD(kernel="rbf", min_size=SEGMENT, params={"gamma": gamma}).fit(logs)
    return [int(one) for one in found.predict(pen=penalty)[:-1]]


def _pruned(
    logs: Floats, breaks: Sequence[int], *, least: float, fixed: Sequence[int] = ()
) -> list[int]:
    """The breaks without those of a step below `least`, the lowest first: the levels beside it
    become one. `fixed` are kept, and are among them."""
    kept = sorted({*breaks, *fixed})
    while free := [one for one in kept if one not in fixed]:
        sizes = {one: abs(_difference(logs, one, kept)) for one in free}
        lowest = min(free, key=sizes.__getitem__)
        if sizes[lowest] >= least:
            break
        kept.remove(lowest)
    return kept


def _sides(logs: Floats, at: int, breaks: Sequence[int]) -> tuple[Floats, Floats]:
    place = list(breaks).index(at)
    ends = [0, *breaks, len(logs)]
    return logs[ends[place] : at], logs[at : ends[place + 2]]


def _difference(logs: Floats, at: int, breaks: Sequence[int]) -> float:
    before, after = _sides(logs, at, breaks)
    return float(np.median(before) - np.median(after))


def _step(logs: Floats, at: int, breaks: Sequence[int], certainty: Certainty) -> Step:
    before, after = _sides(logs, at, breaks)
    middles = [float(np.median(side)) for side in (before, after)]
    low, high = math.nan, math.nan
    if certainty == "confirmed" and min(len(before), len(after)) >= LEAST_INTERVAL:
        low, high = _interval(before, after)
    return Step(
        at=at,
        certainty=certainty,
        before_us=math.exp(middles[0]),
        after_us=math.exp(middles[1]),
        ratio=math.exp(middles[0] - middles[1]),
        ratio_low=math.exp(low),
        ratio_high=math.exp(high),
    )


def _interval(before: Floats, after: Floats) -> tuple[float, float]:
    """Of the difference of two medians, from the interval of each (Zou & Donner 2008), widened as
    far as neighbouring runs resemble each other."""
    one, other = (estimate(list(side)) for side in (before, after))
    difference, wider = one.value - other.value, _wider(before, after)
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return difference - wider * down, difference + wider * up


def _wider(*sides: Floats) -> float:
    """√((1 + φ) / (1 − φ)), by which the error of a mean grows where values depend on the one
    before by φ; φ as the signs about each side's median show it (outliers must not count)."""
    pairs, alike = 0, 0.0
    for side in sides:
        signs = np.sign(side - np.median(side))
        alike += float((signs[1:] * signs[:-1]).sum())
        pairs += len(side) - 1
    # For normal values the correlation of the signs is 2/π · asin φ.
    phi = math.sin(math.pi / 2 * min(1.0, max(0.0, (alike + len(sides)) / pairs)))
    phi = min(phi, 0.9)
    return math.sqrt((1 + phi) / (1 - phi))
