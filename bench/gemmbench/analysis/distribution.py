"""How the samples of a case are spread, and how its turns went: what a picture of them shows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from gemmbench.records.schema import Record
from gemmbench.timing.statistics import Floats
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import usable

BINS = 48
TURNS = 40
"""Of more turns so many are taken, evenly: a picture of a few hundred pixels holds no more."""

REPEATS = 10
REACH = 4.0
"""Samples further from the quartiles than so many interquartile ranges are counted, not binned."""

ALIKE = 1e-6
"""Times that differ by a smaller share of them fall into one bin."""

_MOST_NS = 1e18
"""Times beyond 30 years, or none at all, are of a damaged file."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The quartiles of one repeat, µs, and whether the case's figures are of it, too."""

    repeat: int
    counts: bool
    quartiles_us: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Counts in equal bins from `low_us` to `high_us`; `below` and `above` lie outside of them,
    and so many of those, `lost`, are disturbed ones. All are of the repeats that count.

    `clean` and `disturbed` are the counts of each bin; `disturbed` is empty where no such sample
    was kept or told apart. `of_samples` is False where no sample was kept: then the values are the
    medians of turns. `spreads` are those of the first `REPEATS` repeats, of them that do not count,
    too, without disturbed samples.
    """

    of_samples: bool
    low_us: float
    high_us: float
    clean: tuple[int, ...]
    disturbed: tuple[int, ...]
    below: int
    above: int
    lost: int
    spreads: tuple[Spread, ...]


@dataclass(frozen=True, kw_only=True)
class Course:
    """Turns in order of time, an item a turn; NaN is "not seen". `taken` is how many there were.

    `counts` tells which of them have a value that counts, in a repeat that does. Seconds are not
    among them: between two turns of a kernel others had theirs.
    """

    taken: int
    repeat: tuple[int, ...]
    time_us: tuple[float, ...]
    counts: tuple[bool, ...]
    clock_mhz: tuple[float, ...]
    power_w: tuple[float, ...]
    temperature_c: tuple[float, ...]


def distribution(
    records: Sequence[Record], counts: Sequence[bool] | None = None
) -> Distribution | None:
    """How the times of a case's repeats are spread; None where there are none. `counts` tells of
    each record whether it counts; all do where it is not given.

    The bins' width is Freedman and Diaconis's, 2·IQR·n^(-1/3) (On the histogram as a density
    estimator, Z. Wahrscheinlichkeitstheorie 57, 1981), for at most `BINS` bins.
    """
    timed = _timed(records, counts)
    clean = [_times(_clean(turn) for turn in one.turns) for one, _ in timed]
    spoilt = _times(_spoilt(turn) for one, fine in timed if fine for turn in one.turns)
    of_samples = any(len(times) for times, (_, fine) in zip(clean, timed, strict=True) if fine)
    if not of_samples:
        clean = [_times((t.median_ns or 0.0,) for t in one.turns if usable(t)) for one, _ in timed]
    fine = [times for times, (_, fine) in zip(clean, timed, strict=True) if fine]
    every = np.concatenate([*fine, np.empty(0)])
    if not len(every):
        return None
    whole = _quartiles(every)
    low, high, count = _bins(every, whole)
    both = np.concatenate([every, spoilt])
    return Distribution(
        of_samples=of_samples,
        low_us=low,
        high_us=high,
        clean=_counted(every, low, high, count),
        disturbed=_counted(spoilt, low, high, count) if len(spoilt) else (),
        below=int((both < low).sum()),
        above=int((both > high).sum()),
        lost=int(((spoilt < low) | (spoilt > high)).sum()),
        spreads=tuple(
            Spread(
                repeat=one.repeat,
                counts=fine,
                quartiles_us=whole if len(timed) == 1 else _quartiles(times),
            )
            for (one, fine), times in zip(timed, clean, strict=True)
            if len(times)
        )[:REPEATS],
    )


def course(records: Sequence[Record], counts: Sequence[bool] | None = None) -> Course | None:
    """The turns of a case's repeats, one after the other; None where there are none. `counts` is
    as in `distribution`."""
    every = [
        (one.repeat, fine, turn) for one, fine in _timed(records, counts) for turn in one.turns
    ]
    if not every:
        return None
    few = min(len(every), TURNS)
    kept = [every[place * (len(every) - 1) // max(1, few - 1)] for place in range(few)]
    return Course(
        taken=len(every),
        repeat=tuple(repeat for repeat, _, _ in kept),
        time_us=tuple(_seen(turn.median_ns, _MOST_NS) / 1e3 for _, _, turn in kept),
        counts=tuple(fine and usable(turn) for _, fine, turn in kept),
        clock_mhz=tuple(_seen(turn.clock_mhz) for _, _, turn in kept),
        power_w=tuple(_seen(turn.power_w) for _, _, turn in kept),
        temperature_c=tuple(_seen(turn.temperature_c) for _, _, turn in kept),
    )


def _timed(
    records: Sequence[Record], counts: Sequence[bool] | None
) -> tuple[tuple[Record, bool], ...]:
    """The records with times, and whether each counts."""
    every = zip(records, counts or [True] * len(records), strict=True)
    return tuple((one, fine) for one, fine in every if one.status == "ok")


def _seen(value: float | None, most: float = 1e5) -> float:
    return value if value is not None and 0 < value < most else math.nan


def _clean(turn: Turn) -> tuple[float, ...]:
    """`clean_ns`, at once where all are: most turns of ten thousand cases."""
    return turn.clean_ns if turn.disturbed_at else turn.samples_ns or ()


def _spoilt(turn: Turn) -> tuple[float, ...]:
    kept = turn.samples_ns
    if not kept or not turn.disturbed_at:
        return ()
    return tuple(kept[place] for place in turn.disturbed_at if place < len(kept))


def _times(several: Iterable[Sequence[float]]) -> Floats:
    """All that can be times of it, in µs."""
    found = np.fromiter(chain.from_iterable(several), dtype=float)
    return found[(found > 0) & (found < _MOST_NS)] / 1e3


def _quartiles(times: Floats) -> tuple[float, float, float]:
    low, middle, high = np.quantile(times, (0.25, 0.5, 0.75)).tolist()
    return low, middle, high


def _bins(times: Floats, quartiles: tuple[float, float, float]) -> tuple[float, float, int]:
    """Their ends, and how many."""
    first, middle, third = quartiles
    between = third - first
    least, most = float(times.min()), float(times.max())
    if most - least <= ALIKE * middle:
        return 0.9995 * middle, 1.0005 * middle, 1
    if between <= ALIKE * middle:
        return least, most, BINS
    low = max(least, first - REACH * between)
    high = min(most, third + REACH * between)
    width = 2 * between / len(times) ** (1 / 3)
    return low, high, min(BINS, max(1, math.ceil((high - low) / width)))


def _counted(times: Floats, low: float, high: float, count: int) -> tuple[int, ...]:
    counts, _ = np.histogram(times, bins=count, range=(low, high))
    return tuple(counts.tolist())
