"""Speedups over the ladder's base, from the turns that were taken in one round."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gemmbench.analysis.pool import CASE, pooled
from gemmbench.analysis.rows import rows_of, values_of
from gemmbench.timing.statistics import (
    FLOOR_BESIDE,
    SYSTEMATIC_FLOOR,
    Estimate,
    paired_ratios,
    ratio_over_repeats,
    with_floor,
)
from gemmkernels.kernel import TIERS
from gemmkernels.ladder import LADDER
from gemmkernels.precision import PRECISIONS, SPARSE

if TYPE_CHECKING:
    import pandas as pd

SPEEDUP_COLUMNS = (
    "base_kernel",
    "base_precision",
    "speedup",
    "speedup_low",
    "speedup_high",
    "speedup_reason",
)
_TIERS: dict[str, int] = {tier: index for index, tier in enumerate(TIERS)}
_RUNGS = {kernel.name: index for index, kernel in enumerate(LADDER)}
_PRECISIONS = {name: index for index, name in enumerate(PRECISIONS)}
_NONE = Estimate(math.nan, math.nan, math.nan, 0)

Case: TypeAlias = tuple[str, str, str, str, str]
Group: TypeAlias = tuple[str, str, str]
Speedup: TypeAlias = tuple[str | None, str | None, float, float, float, str]
NO_SPEEDUP: Speedup = (None, None, math.nan, math.nan, math.nan, "")


class _Row(NamedTuple):
    """What a speedup needs of one repeat of a case."""

    repeat: int
    kernel: str
    tier: str
    precision: str
    base: bool
    contended: bool
    beside: bool
    collective: str
    turn_us: Mapping[int, float]


def ladder(df: "pd.DataFrame") -> "pd.DataFrame":
    """`pooled` rows in ladder order, each with its speedup over the base of its ladder.

    `base_kernel` in `base_precision` is the ladder's base in the same precision; where that does
    not run, the base in fp32 of the same group (but for a sparse one); where no base ran, the
    lowest rung in that precision. `speedup` is the median of the paired ratios of one round's
    turns (over several repeats their geometric mean) with its 95% interval, at least ±0.5%, and ±1%
    beside a neighbour. It is NaN, and `speedup_reason` says why, where one of the two is contended
    or they share no round.
    """
    rows = pooled(df)
    found = speedups(df)
    values = [found.get(case, NO_SPEEDUP) for case in case_keys(rows)]
    for index, name in enumerate(SPEEDUP_COLUMNS):
        rows[name] = [one[index] for one in values]
    return _in_order(rows)


def speedups(df: "pd.DataFrame") -> dict[Case, Speedup]:
    """The values of SPEEDUP_COLUMNS of each case that has times, as `ladder` tells them."""
    cases = _cases(df)
    bases = _bases(cases)
    of_case = {case: bases[_group(case, rows)][case[3]] for case, rows in cases.items()}
    quiet = {
        case: _quiet(cases[case], cases[base]) for case, base in of_case.items() if base != case
    }
    ratios = iter(
        paired_ratios(
            (slow.turn_us, fast.turn_us) for pairs in quiet.values() for slow, fast in pairs or ()
        )
    )
    return {
        case: (case[2], case[3], 1.0, 1.0, 1.0, "")
        if base == case
        else _speedup(cases[case], base, cases[base], quiet[case], ratios)
        for case, base in of_case.items()
    }


def rung(kernel: str, tier: str) -> tuple[int, int]:
    """Where a kernel stands in the ladder; a user's kernels come last in their tier."""
    return (_TIERS.get(tier, len(_TIERS)), _RUNGS.get(kernel, len(_RUNGS)))


def _in_order(rows: "pd.DataFrame") -> "pd.DataFrame":
    runs = {run: index for index, run in enumerate(dict.fromkeys(values_of(rows, "run_id")))}
    work: dict[str, float] = {}
    for row in rows_of(rows, ("group", "batch", "m", "n", "k")):
        work.setdefault(row.group, float(row.batch) * row.m * row.n * row.k)
    groups = {name: index for index, name in enumerate(sorted(work, key=work.__getitem__))}
    seen = {name: index for index, name in enumerate(dict.fromkeys(values_of(rows, "kernel")))}
    keys = [
        (
            *(runs[run], groups[group], _PRECISIONS.get(precision, 99)),
            *(rung(kernel, tier), seen[kernel], modes),
        )
        for (run, group, kernel, precision, modes), tier in zip(
            case_keys(rows), values_of(rows, "tier"), strict=True
        )
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return rows.iloc[order].reset_index(drop=True)


def case_keys(df: "pd.DataFrame") -> list[Case]:
    """The case of each row, apart from its repeat."""
    return list(zip(*(values_of(df, name) for name in CASE), strict=True))


def _cases(df: "pd.DataFrame") -> dict[Case, list[_Row]]:
    """The repeats with times of each case."""
    found: dict[Case, list[_Row]] = defaultdict(list)
    names = ("status", "repeat", "tier", "base", "verdict", "beside", "collective", "turn_us")
    ranks = values_of(df, "ranks")
    for case, of_ranks, (status, repeat, tier, base, verdict, *rest) in zip(
        case_keys(df),
        ranks,
        zip(*(values_of(df, name) for name in names), strict=True),
        strict=True,
    ):
        # Another tool takes no rounds of turns; a collective or local products alone are a part of
        # what several ranks do, and no rung of a ladder.
        exchanged = rest[1]
        if exchanged == case[2] if exchanged else of_ranks > 1:
            continue
        if status == "ok" and verdict != "imported":
            found[case].append(
                _Row(*(repeat, case[2], tier, case[3], base, verdict == "contended"), *rest)
            )
    return dict(found)


def _group(case: Case, rows: Sequence[_Row]) -> Group:
    """Of a layer of several ranks: what exchanges something else leaves another result."""
    return case[0], case[1], rows[0].collective


def _bases(cases: Mapping[Case, list[_Row]]) -> dict[Group, dict[str, Case]]:
    """Of each (run, group, collective): precision → the case that its speedups are over."""
    members: dict[Group, list[Case]] = defaultdict(list)
    for case, some in cases.items():
        members[_group(case, some)].append(case)

    standing = {case: (case[4] != "", rung(case[2], rows[0].tier)) for case, rows in cases.items()}

    def lowest(some: Iterable[Case]) -> Case | None:
        return min(some, key=standing.__getitem__, default=None)

    found: dict[Group, dict[str, Case]] = {}
    for group, inside in members.items():
        named = [case for case in inside if cases[case][0].base]
        for precision in {case[3] for case in inside}:
            base = lowest(case for case in named if case[3] == precision)
            # A sparse product does less: over a dense one its speedup would not be the kernel's.
            if base is None and precision not in SPARSE:
                base = lowest(case for case in named if case[3] == "fp32")
            if base is None:
                base = lowest(case for case in inside if case[3] == precision)
            assert base is not None
            found.setdefault(group, {})[precision] = base
    return found


_Pairs: TypeAlias = list[tuple[_Row, _Row]]


def _quiet(rows: list[_Row], over: list[_Row]) -> _Pairs | None:
    """The repeats of a case beside those of its base, where neither is contended; None if in most
    one of the two is."""
    by_repeat = {row.repeat: row for row in over}
    pairs = [(by_repeat[row.repeat], row) for row in rows if row.repeat in by_repeat]
    quiet = [(slow, fast) for slow, fast in pairs if not slow.contended and not fast.contended]
    return None if 2 * len(quiet) < len(pairs) else quiet


def _speedup(
    rows: list[_Row], base: Case, over: list[_Row], quiet: _Pairs | None, ratios: Iterator[Estimate]
) -> Speedup:
    """Of one case, which takes as many of the ratios as it has quiet pairs."""
    ratio, reason = _NONE, ""
    found = [one for one in islice(ratios, len(quiet or ())) if not math.isnan(one.value)]
    if quiet is None:
        lost_here, lost_there = (sum(row.contended for row in some) for some in (rows, over))
        reason = "contended" if lost_here >= lost_there else f"{base[2]} is contended"
    elif not found:
        reason = f"shares no round with {base[2]}"
    else:
        floor = FLOOR_BESIDE if any(a.beside or b.beside for a, b in quiet) else SYSTEMATIC_FLOOR
        several = len(found) > 1
        ratio = ratio_over_repeats([one.value for one in found]) if several else found[0]
        if floor > SYSTEMATIC_FLOOR:  # which it has already
            ratio = with_floor(ratio, floor)
    return base[2], base[3], ratio.value, ratio.low, ratio.high, reason
