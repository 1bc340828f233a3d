"""A fleet against an earlier one: what the devices among themselves can't show."""

import math
from collections.abc import Mapping, Sequence

from gemmbench.analysis.fleet.model import Case, Then
from gemmbench.analysis.fleet.rule import DELTA
from gemmbench.timing.statistics import Floats, estimate
from gemmkernels.errors import GemmbenchError


def against(now: Mapping[Case, Floats], then: Mapping[Case, Floats]) -> tuple[Then, ...]:
    """The median speed over devices of each case that both have, now over then; slowest first.

    The values are times in µs, an item a device. Model and method are part of a case, so only like
    is held against like. The interval is that of the two medians' own (order statistics, from 6
    devices on), at their worst together: wider than 95%. Raises GemmbenchError where no case is in
    both.
    """
    shared = [case for case in now if case in then]
    if not shared:
        raise GemmbenchError(
            "--against: no case is in both: the earlier fleet was of other devices, or measured by "
            f"another method; now {_first(now)}, then {_first(then)}"
        )
    found = [_one(case, now[case], then[case]) for case in shared]
    return tuple(sorted(found, key=lambda one: one.ratio))


def _one(case: Case, now: Floats, then: Floats) -> Then:
    after, before = estimate(now.tolist()), estimate(then.tolist())
    low, high = before.low / after.high, before.high / after.low
    return Then(
        case=case,
        ratio=before.value / after.value,
        ratio_low=low,
        ratio_high=high,
        n_now=len(now),
        n_then=len(then),
        slower=not math.isnan(high) and high < 1 - DELTA,
    )


def _first(cases: Mapping[Case, Floats] | Sequence[Case]) -> str:
    for case in cases:
        return f"{case.model.text}, preset {case.preset}"
    return "nothing"
