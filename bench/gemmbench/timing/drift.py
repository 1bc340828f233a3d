"""Drift: do the turns of a kernel, in time order, trend or step?"""

from collections.abc import Sequence

import numpy as np

from gemmbench.timing.statistics import Floats
from gemmbench.timing.welch import welch

DRIFT_P = 0.01
BLOCKS = 10
FEWEST_FALLING = 8
"""Kendall's p of ten values is below 0.01 where at most 8 of the 45 pairs fall, or rise."""
_EARLIER, _LATER = np.triu_indices(BLOCKS, k=1)
_APART = _LATER - _EARLIER


def drifts(values: Sequence[float], effect: float) -> bool:
    """Do values in time order trend or step by more than `effect` (a fraction)? As `drifting`."""
    return bool(drifting(np.asarray([values], dtype=float), effect)[0])


def drifting(series: Floats, effect: float) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Which of the rows, each values in time order, trend or step by more than `effect`?

    On ten values (more are cut into ten blocks, by their medians): Mann-Kendall p < 0.01 and the
    Theil-Sen slope over the span above the effect; or Welch's t between the two halves p < 0.01
    and their difference above it. False alarms 0-2% for independent noise. Sizes are looked at
    first: they are cheap, and most series fail there.
    """
    found = np.zeros(len(series), dtype=bool)
    if series.shape[1] < BLOCKS:
        return found
    blocks = _blocks(series)
    middle = np.median(blocks, axis=1)
    some = (middle > 0) & (blocks.min(axis=1) < blocks.max(axis=1))
    least = effect * middle
    first, second = blocks[:, :5], blocks[:, 5:]
    steps = some & (np.abs(first.mean(axis=1) - second.mean(axis=1)) > least)
    found[steps] = welch(first[steps], second[steps]).p < DRIFT_P
    rest = np.flatnonzero(some & ~found)
    slopes = np.median((blocks[rest][:, _LATER] - blocks[rest][:, _EARLIER]) / _APART, axis=1)
    trends = rest[np.abs(slopes) * (BLOCKS - 1) > least[rest]]
    found[trends] = [_trends(blocks[row]) for row in trends]
    return found


def _blocks(series: Floats) -> Floats:
    """Medians of ten contiguous parts, the first ones longer by one where it does not divide."""
    if series.shape[1] == BLOCKS:
        return series
    parts = np.array_split(series, BLOCKS, axis=1)
    return np.stack([np.median(part, axis=1) for part in parts], axis=1)


def _trends(blocks: Floats) -> bool:
    """Is Mann-Kendall's p below 0.01? (`scipy.stats.kendalltau` against the order in time)."""
    if len(np.unique(blocks)) < BLOCKS:
        from scipy.stats import kendalltau

        return float(kendalltau(range(BLOCKS), blocks).pvalue) < DRIFT_P
    falling = int((blocks[_EARLIER] > blocks[_LATER]).sum())
    return not FEWEST_FALLING < falling < len(_APART) - FEWEST_FALLING
