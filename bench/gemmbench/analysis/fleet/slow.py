"""Which devices are slow: in all their cases, in one precision, or in one case."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gemmbench.analysis.fleet.pairs import Pairs
from gemmbench.analysis.fleet.rule import (
    ALPHA,
    DELTA,
    LEAST,
    Ints,
    against_others,
    grouped_medians,
    holm,
)
from gemmbench.timing.statistics import Floats

CHANCE = 0.01
"""Bonferroni's α of that so many measurements are beyond by chance. Not 0.05: the measurements of a
device share what is its own, and so fall together more often than a binomial has it."""

Picked: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"


@dataclass(frozen=True, kw_only=True)
class Times:
    """Measurements, an item each: whose, of which case, in which of the device's repeats; µs."""

    device: Ints
    case: Ints
    time_us: Floats


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a device is judged over: the cases of a cohort, those of one precision, or one case.

    `precision` is empty for all of a cohort's.
    """

    cohort: int
    precision: str
    cases: tuple[int, ...]

    @property
    def is_wide(self) -> bool:
        return len(self.cases) > 1

    @property
    def is_whole(self) -> bool:
        return not self.precision


@dataclass(frozen=True, kw_only=True)
class Slow:
    """A device that the rule finds slow. `relative` is its speed over the median of the others'.

    `beyond` of its `measurements` are over δ slower than the others' median, and `chance` is how
    likely that is by what becomes of the others' measurements; None where nobody else's tell.
    """

    device: int
    scope: Scope
    relative: float
    p: float
    beyond: int
    measurements: int
    chance: float
    confirmed: bool


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the rule found. `relative`, an item a (device, case) in `pair_device` and `pair_case`,
    is the speed over the median of the others' in that case, and `common` that over the median of
    all, one reference for every device; NaN where fewer than three have it.

    `tests` is how many were made in all: the errors of the rule are those of the whole report.
    """

    slow: tuple[Slow, ...]
    pair_device: Ints
    pair_case: Ints
    pair_time_us: Floats
    relative: Floats
    common: Floats
    spread: Floats
    tests: int
    few: tuple[int, ...]
    """Cases of fewer than three devices."""


@dataclass
class _Tested:
    scope: Scope
    devices: Ints
    relative: Floats
    p: Floats
    measured: Ints
    beyond: Ints


_Candidates: TypeAlias = "tuple[_Tested, Floats, Picked]"


def judge(times: Times, *, cohorts: Sequence[int], precisions: Sequence[str]) -> Judged:
    """Every device against those of its cohort; `cohorts` and `precisions` are those of each case.

    A device is a candidate where its median over the scope is over δ below the others' **and**
    (Holm p < 0.05 over all tests of the report **or** 2δ below). It is confirmed where two or more
    of its measurements are over δ below, and so many are too unlikely (`CHANCE`, over the same
    tests) by the share that goes beyond of the others' measurements: so a fleet with rare slow
    measurements needs more than two of them, and a quiet one does not.
    """
    count = len(cohorts)
    # By case, then by device: the pairs of a case lie together.
    key = times.case * (1 + int(times.device.max(initial=0))) + times.device
    places, first, owner = np.unique(key, return_index=True, return_inverse=True)
    pairs = Pairs.of(
        times.device[first],
        times.case[first],
        grouped_medians(times.time_us, owner, len(places)),
        count,
    )
    measured = pairs.relative[owner] * pairs.time_us[owner] / times.time_us
    known = ~np.isnan(measured)
    pairs.measured = np.bincount(owner[known], minlength=len(places))
    pairs.beyond = np.bincount(owner[known & (measured < 1 - DELTA)], minlength=len(places))
    sized = np.diff(pairs.bounds)
    enough = [int(one) for one in np.flatnonzero(sized >= LEAST)]
    tested = [_tested(scope, pairs) for scope in _scopes(cohorts, precisions, enough)]
    return Judged(
        slow=_found(tested),
        pair_device=pairs.device,
        pair_case=pairs.case,
        pair_time_us=pairs.time_us,
        relative=pairs.relative,
        common=pairs.common,
        spread=pairs.spread,
        tests=sum(len(one.devices) for one in tested),
        few=tuple(int(one) for one in np.flatnonzero((sized > 0) & (sized < LEAST))),
    )


def _scopes(
    cohorts: Sequence[int], precisions: Sequence[str], cases: Sequence[int]
) -> Iterator[Scope]:
    """All cases of a cohort, those of each precision where it has several, and each alone."""
    of_cohort: dict[int, list[int]] = {}
    for one in cases:
        of_cohort.setdefault(cohorts[one], []).append(one)
    for cohort, mine in of_cohort.items():
        of_precision: dict[str, list[int]] = {}
        for one in mine:
            of_precision.setdefault(precisions[one], []).append(one)
        yield Scope(cohort=cohort, precision="", cases=tuple(mine))
        for name, some in of_precision.items():
            if len(mine) > len(some) > 1:
                yield Scope(cohort=cohort, precision=name, cases=tuple(some))
            for one in some if len(mine) > 1 else ():
                yield Scope(cohort=cohort, precision=name, cases=(one,))


def _tested(scope: Scope, pairs: Pairs) -> _Tested:
    spans = [slice(pairs.bounds[one], pairs.bounds[one + 1]) for one in scope.cases]
    if not scope.is_wide:
        (span,) = spans
        return _Tested(
            *(scope, pairs.device[span], pairs.relative[span], pairs.p[span]),
            *(pairs.measured[span], pairs.beyond[span]),
        )

    def joined(column: "np.ndarray") -> "np.ndarray":
        return np.concatenate([column[span] for span in spans])

    devices, owner = np.unique(joined(pairs.device), return_inverse=True)
    # Over what is common to all: the others' median counts once, in what follows.
    logs = np.log(joined(pairs.common))
    speeds = np.exp(grouped_medians(logs, owner, len(devices)))
    found = against_others(speeds)
    return _Tested(
        *(scope, devices, speeds / found.centre, found.p_low),
        *(
            np.bincount(owner, weights=joined(column)).astype(np.int64)
            for column in (pairs.measured, pairs.beyond)
        ),
    )


def _found(tested: Sequence[_Tested]) -> tuple[Slow, ...]:
    from scipy.special import bdtrc

    if not tested:
        return ()
    tests = sum(len(one.p) for one in tested)
    candidates = []
    for one, p in zip(tested, _adjusted(tested), strict=True):
        slow = (one.relative < 1 - DELTA) & ((p < ALPHA) | (one.relative < 1 - 2 * DELTA))
        candidates.append((one, p, slow))
    shared = _shares(candidates)
    found = []
    for one, p, slow in candidates:
        share = _share([(one, p, slow)])
        if not one.scope.is_wide and not one.scope.is_whole:
            # A share of few measurements is known badly: the other cases' counts too.
            share = max(share, shared[one.scope.cohort])
        for place in np.flatnonzero(slow):
            beyond, measured = int(one.beyond[place]), int(one.measured[place])
            chance = float(bdtrc(beyond - 1, measured, share)) if beyond else 1.0
            found.append(
                Slow(
                    device=int(one.devices[place]),
                    scope=one.scope,
                    relative=float(one.relative[place]),
                    p=float(p[place]),
                    beyond=beyond,
                    measurements=measured,
                    chance=chance,
                    confirmed=beyond >= 2 and tests * chance < CHANCE,
                )
            )
    return tuple(found)


def _adjusted(tested: Sequence[_Tested]) -> list[Floats]:
    """Holm's p of each test. Half of α is for the devices as a whole: of 8 devices with 20 cases,
    the 160 tests of single cases would hide what those 8 show."""
    found: list[Floats] = [np.empty(0)] * len(tested)
    for which in (True, False):
        places = [at for at, one in enumerate(tested) if one.scope.is_whole is which]
        sizes = [len(tested[at].p) for at in places]
        if places:
            adjusted = 2 * holm(np.concatenate([tested[at].p for at in places]))
            for at, part in zip(places, np.split(adjusted, np.cumsum(sizes)[:-1]), strict=True):
                found[at] = part
    return found


def _shares(candidates: Sequence[_Candidates]) -> dict[int, float]:
    """Of each cohort, over its single cases."""
    by_cohort: dict[int, list[_Candidates]] = {}
    for one in candidates:
        if not one[0].scope.is_wide:
            by_cohort.setdefault(one[0].scope.cohort, []).append(one)
    return {cohort: _share(some) for cohort, some in by_cohort.items()}


def _share(candidates: Sequence[_Candidates]) -> float:
    """How many of their measurements go beyond, of the devices that are no candidates."""
    beyond = sum(int(one.beyond[~slow].sum()) for one, _, slow in candidates)
    measured = sum(int(one.measured[~slow].sum()) for one, _, slow in candidates)
    return beyond / measured if measured else 0.0
