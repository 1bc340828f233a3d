"""A fleet against an earlier one: what the devices among themselves can't show."""

import math
from collections.abc import Iterable, Mapping, Sequence

from gemmbench.analysis.fleet.model import Case, Then
from gemmbench.analysis.fleet.rule import DELTA
from gemmbench.quantities import counted
from gemmbench.timing.statistics import Floats, estimate
from gemmkernels.errors import GemmbenchError

_SOME = 3
_NAMES = {"together": "measured at once", "name": "device", "arch": "architecture"}


def against(now: Mapping[Case, Floats], then: Mapping[Case, Floats]) -> tuple[Then, ...]:
    """The median speed over devices of each case that both have, now over then; slowest first.

    The values are times in µs, an item a device. Model and method are part of a case, so only like
    is held against like. The interval is that of the two medians' own (order statistics, from 6
    devices on), at their worst together: wider than 95%. Raises GemmbenchError where no case is in
    both.
    """
    shared = [case for case in now if case in then]
    if not shared:
        raise GemmbenchError(f"--against: no case is in both: {_difference(now, then)}")
    found = [_one(case, now[case], then[case]) for case in shared]
    return tuple(sorted(found, key=lambda one: one.ratio))


def undecided(found: Iterable[Then]) -> Iterable[str]:
    """Cases that look slower, of fleets that are too small to tell it from chance."""
    some = [one for one in found if one.is_undecided]
    if some:
        yield (
            f"--against: {counted(len(some), 'case')} of fewer than 6 devices "
            f"{'is' if len(some) == 1 else 'are'} {100 * DELTA:g} to {200 * DELTA:g}% slower than "
            f"then, which so few cannot tell from chance: {_listed(one.case for one in some)}"
        )


def only_one_has(now: Mapping[Case, Floats], then: Mapping[Case, Floats]) -> Iterable[str]:
    """The cases that the other fleet lacks."""
    for what, mine, other in (("this fleet", now, then), ("the earlier one", then, now)):
        if alone := [case for case in mine if case not in other]:
            yield f"--against: {counted(len(alone), 'case')} only in {what}: {_listed(alone)}"


def _one(case: Case, now: Floats, then: Floats) -> Then:
    after, before = estimate(now.tolist()), estimate(then.tolist())
    low, high = before.low / after.high, before.high / after.low
    ratio = before.value / after.value
    # Without an interval as of a single device: twice δ needs none.
    slower = ratio < 1 - 2 * DELTA if math.isnan(high) else high < 1 - DELTA
    return Then(
        case=case,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        n_now=len(now),
        n_then=len(then),
        slower=slower,
        is_undecided=math.isnan(high) and not slower and ratio < 1 - DELTA,
    )


def _listed(cases: Iterable[Case]) -> str:
    texts = list(dict.fromkeys(case.text for case in cases))
    more = f" and {len(texts) - _SOME} more" if len(texts) > _SOME else ""
    return ", ".join(texts[:_SOME]) + more


def _difference(now: Iterable[Case], then: Iterable[Case]) -> str:
    """What differs between the two cases that are most alike."""
    some, others = list(now)[:100], list(then)[:100]
    if not some or not others:
        return f"{'the earlier' if some else 'this'} fleet has no record that is ok"
    pairs = [(_differing(one, other), one) for one in some for other in others]
    told = min((differing for differing, _ in pairs), key=len)
    return f"the two that are most alike differ in {', '.join(told[:5])}"


def _differing(now: Case, then: Case) -> Sequence[str]:
    both = ({**one.model._asdict(), **one._asdict()} for one in (now, then))
    mine, other = both
    return [
        f"{_NAMES.get(name, name)} (now {_value(value)}, then {_value(other[name])})"
        for name, value in mine.items()
        if name != "model" and value != other[name]
    ]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "none"
