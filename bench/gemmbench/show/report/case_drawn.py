"""What the detail of a case draws, as compact JSON: its samples, its turns, and its gap."""

import math
import string
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, pairwise
from typing import Any

import numpy as np

from gemmbench.analysis.distribution import Course, Distribution
from gemmbench.analysis.gap import Gap
from gemmbench.show.report.case_facts import notes
from gemmbench.show.report.case_schema import Levels, Samples, Steps, Turns
from gemmbench.show.sentence import became
from gemmbench.show.text import digits, rate_unit
from gemmbench.show.waterfall import step_text

FINE = 6
"""Digits of what is drawn against an interval of a tenth of a percent."""

LEVELS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+-"
"""A panel of turns is 64 pixels high: it can show no more of them."""
_MARKS = np.frombuffer(f"{LEVELS}.".encode(), dtype="S1")


def samples_of(found: Distribution | None) -> Samples | None:
    if found is None:
        return None
    spoilt = list(found.disturbed)
    while spoilt and not spoilt[-1]:
        spoilt.pop()
    return Samples(
        found.of_samples,
        number(found.low_us, FINE),
        number(found.high_us, FINE),
        found.clean,
        tuple(spoilt),
        found.below,
        found.above,
        found.lost,
        tuple(
            (one.repeat, one.counts, *numbers(one.quartiles_us, FINE))
            for one in found.spreads
            if len(found.spreads) > 1
        ),
    )


def turns_of(found: Course | None) -> Turns | None:
    if found is None:
        return None
    return Turns(
        found.taken,
        tuple(at for at, (a, b) in enumerate(pairwise(found.repeat), start=1) if a != b),
        tuple(at for at, counts in enumerate(found.counts) if not counts),
        levels_of(found.time_us, list(compress(found.time_us, found.counts))),
        levels_of(found.clock_mhz, found.clock_mhz),
        levels_of(found.power_w, found.power_w),
        levels_of(found.temperature_c, found.temperature_c),
    )


def levels_of(values: Sequence[float], over: Sequence[float]) -> Levels | None:
    """Of `values`, from the least to the largest of `over`, or of them all if that has none."""
    every, most = np.array(values), np.array(over)
    known, most = every[~np.isnan(every)], most[~np.isnan(most)]
    if not len(known):
        return None
    ends = most if len(most) else known
    low, high = float(ends.min()), float(ends.max())
    scale = (len(LEVELS) - 1) / (high - low) if high > low else 0.0
    places = np.rint(scale * (np.clip(every, low, high) - low))
    at = _MARKS[np.where(np.isnan(every), len(LEVELS), places).astype(int)].tobytes().decode()
    return Levels(number(low, FINE) or 0.0, number(high, FINE) or 0.0, at)


def steps_of(gap: Gap, text: Callable[[object], int]) -> Steps:
    top, case = gap.causes.top, gap.case
    assert top is not None
    kind = ("sparse peak" if top.sparse else "dense peak") if top.kind == "spec" else "roof"
    said = (digits(top.tflops), *(step_text(gap, one) for one in gap.factors), digits(case.tflops))
    return Steps(
        text(rate_unit(case.precision)),
        text(kind),
        number(top.tflops),
        tuple(numbers((one.value for one in gap.factors), 5)),
        tuple(map(text, said)),
        text(became(gap)),
        tuple(map(text, notes(gap))),
    )


def numbers(values: Iterable[float], count: int) -> list[Any]:
    return [number(value, count) for value in values]


def number(value: float | None, count: int = 4) -> float | None:
    """To so many digits; None where it is none. Whole numbers are written without a point."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{count - 1}e}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short
