"""Two measurements of the same problems: what is faster, what is the same, what is unsure."""

import filecmp
import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, get_args

from gemmbench.analysis.cases import Key
from gemmbench.analysis.comparison import By, Compared, Comparison, Differs, Machine, Shift
from gemmbench.analysis.judge import Judge, overlap
from gemmbench.analysis.method import MACHINE, alternated, check_side, unlike
from gemmbench.analysis.sides import Side, over_base, side
from gemmbench.analysis.sources import changed
from gemmbench.records.frame import load
from gemmbench.records.reader import Source, paths_of, without_collector
from gemmbench.timing.statistics import Estimate
from gemmbench.timing.welch import ratio_of_sides
from gemmkernels.errors import GemmbenchError, UnknownNameError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

DELTA = 0.02
DELTA_APART = 0.05
"""For runs that did not alternate: between two sittings all times moved by 1-4% with nothing
changed, and by more now and then."""

ANCHOR_P = 0.01
_NEVER = frozenset(("not measured", "unsupported"))
"""What becomes of a case that a side was not to time."""

_UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


@without_collector()
def compare(
    a: "pd.DataFrame | Source | Iterable[Source]",
    b: "pd.DataFrame | Source | Iterable[Source]",
    *,
    by: By = "kernel",
    delta: float | None = None,
    anyway: bool = False,
) -> Comparison:
    """Compare two measurements, given as DataFrames of `load` or as paths: how fast is b against a?

    By kernel, or by the fastest kernel of each tier. The interval is Welch's on the logs of the
    repeats' medians. `faster` and `slower` need an interval without 1, a change of at least
    `delta` (a fraction) and 5% false discoveries at most over all rows (Benjamini-Hochberg);
    `same` an interval within ±delta; else `unsure`. So is what was contended, all rows where the
    machine's self-test moved, and with one repeat a side what changed by less than 5%, unless the
    ratio to the base of the same process decides it. `delta` is 2% for runs that alternated in time
    (a b a b), else 5%, if it is not given. Raises GemmbenchError for sides that share no row, or
    differ in preset, cache, data, tool or launch: with `anyway` they are compared, and each row
    says so.
    """
    if by not in get_args(By):
        raise UnknownNameError("kind of row", str(by), get_args(By))
    if delta is not None and not 0 < delta < 1:
        raise GemmbenchError(f"delta = {delta} must be a fraction between 0 and 1, such as 0.02")
    frame_a, frame_b = _frame(a), _frame(b)
    check_side(frame_a, which="the first")
    check_side(frame_b, which="the second")
    differing = unlike(frame_a, frame_b)
    if differing and not anyway:
        raise GemmbenchError(
            f"these were measured in different ways, {'; '.join(differing)}: measure one of them "
            "again, or compare them all the same with --anyway"
        )
    same_data = not any(told.startswith("data ") for told in differing)
    took_turns = alternated(frame_a, frame_b)
    least = delta or (DELTA if took_turns else DELTA_APART)
    left, right = (side(one, by=by, same_data=same_data) for one in (frame_a, frame_b))
    machine, anchor = _machine(left, right, least)
    common = [key for key in left.cases if key in right.cases]
    usable = [key for key in common if left.cases[key].times_us and right.cases[key].times_us]
    if not usable:
        raise GemmbenchError(_nothing(left, right, common))
    single = machine == "unmoved" and min(len(left.units), len(right.units)) == 1
    judge = Judge(
        delta=least,
        delta_within=delta or DELTA,
        machine=machine,
        same_launch=left.measured.vendor == right.measured.vendor,
        bases=(over_base(frame_a), over_base(frame_b)) if single else None,
        unlike=differing,
    )
    del frame_a, frame_b  # of 100,000 records the rows need the room
    rows = judge.rows(left, right, usable)
    left_out = _left_out(left, right, set(usable))
    sound = [not left.cases[key].fault and not right.cases[key].fault for key in usable]
    return Comparison(
        by=by,
        delta=least,
        alternated=took_turns,
        a=left.measured,
        b=right.measured,
        machine=machine,
        anchor=anchor,
        unlike=differing,
        on_both=_on_both(a, b),
        rows=rows,
        shift=_shift([row for row, counts in zip(rows, sound, strict=True) if counts], judge),
        geomeans=tuple(judge.geomeans(left, right, usable)),
        differs=_differs(left, right),
        shared={name: text for name, text in left.facts.items() if right.facts.get(name) == text},
        left_out=left_out.every,
        new=left_out.new,
        lost=left_out.lost,
    )


def _frame(source: "pd.DataFrame | Source | Iterable[Source]") -> "pd.DataFrame":
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, str | os.PathLike):
        return load(source)
    return load([str(one) for one in source])


def _on_both(
    a: "pd.DataFrame | Source | Iterable[Source]", b: "pd.DataFrame | Source | Iterable[Source]"
) -> tuple[str, ...]:
    """Names of the files on both sides, also by another path to them, and of copies."""
    import pandas as pd

    if isinstance(a, pd.DataFrame) or isinstance(b, pd.DataFrame):
        return tuple(_frame(a)["file"].unique()) if a is b else ()
    left, right = paths_of(a), paths_of(b)
    return tuple(dict.fromkeys(str(two) for two in right for one in left if _same(one, two)))


def _same(one: "Path", two: "Path") -> bool:
    try:
        return filecmp.cmp(one, two, shallow=False)
    except OSError:
        return False


def _machine(left: Side, right: Side, delta: float) -> tuple[Machine, Estimate]:
    """Did the self-test move by more than half of delta between two runs on one kind of device?"""
    one, other = left.measured, right.measured
    if (one.device, one.arch) != (other.device, other.arch) or any(
        None not in pair and pair[0] != pair[1]
        for pair in ((getattr(one, name), getattr(other, name)) for name in MACHINE)
    ):
        return "another", _UNKNOWN
    a, b = list(left.anchors.values()), list(right.anchors.values())
    if not a or not b:
        return "unknown", _UNKNOWN
    found = ratio_of_sides([one.value for one in a], [one.value for one in b])
    far = abs(math.log(found.ratio.value)) > math.log1p(delta / 2)
    sure = not overlap(*map(_ends, (a, b))) if math.isnan(found.p) else found.p < ANCHOR_P
    return ("moved" if far and sure else "unmoved"), found.ratio


def _ends(found: Sequence[Estimate]) -> list[tuple[float, float]]:
    return [(one.low, one.high) for one in found]


def _shift(rows: Sequence[Compared], judge: Judge) -> Shift:
    ratio = median(row.ratio for row in rows) if rows else math.nan
    return Shift(rows=len(rows), ratio=ratio, why=judge.told(""))


def _nothing(left: Side, right: Side, common: Collection[Key]) -> str:
    if common:
        fates = Counter(f"{_fate(left, key)} | {_fate(right, key)}" for key in common)
        told = ", ".join(f"{count} {fate}" for fate, count in fates.most_common())
        busy = any("contended" in fate for fate in fates)
        remedy = "end what else uses the cores and repeat" if busy else "see `gemmbench show`"
        return f"no row has a time on both sides (a | b: {told}): {remedy}"
    what = "problem and kernel (or tier)"
    a, b = (f"{min(one.cases).text}, …" for one in (left, right))
    return f"the two share no {what}: the first has {a}; the second {b}"


def _differs(left: Side, right: Side) -> tuple[Differs, ...]:
    names = dict.fromkeys([*left.facts, *right.facts])
    pairs = ((name, left.facts.get(name, ""), right.facts.get(name, "")) for name in names)
    found = tuple(Differs(what=name, a=a, b=b) for name, a, b in pairs if a != b)
    return found + changed(left.sources, right.sources)


def _fate(one: Side, key: Key) -> str:
    """What became of a case."""
    case = one.cases.get(key)
    if case is None:
        return "not measured"
    if case.times_us:
        return "ok"
    return "contended" if case.contended else case.status


@dataclass(frozen=True)
class _LeftOut:
    """The cases that are no row; `new` and `lost` are as in a `Comparison`."""

    every: tuple[str, ...]
    new: tuple[str, ...]
    lost: tuple[str, ...]


def _left_out(left: Side, right: Side, used: Collection[Key]) -> _LeftOut:
    """A plan is not in the rows: a's has a case that it lacks where it knows the kernel and, from
    another kernel, the problem in this precision."""
    names = {key.name for key in left.cases}
    problems = {key.of("") for key in left.cases}
    every: list[str] = []
    new: list[str] = []
    lost: list[str] = []
    for key in dict.fromkeys([*left.cases, *right.cases]):
        if key in used:
            continue
        a, b = _fate(left, key), _fate(right, key)
        text = f"{key.text}: {a} | {b}"
        every.append(text)
        if {a, b} <= _NEVER:
            continue
        hole = a == "not measured" and key.name in names and key.of("") in problems
        (new if a in _NEVER and not hole else lost).append(text)
    return _LeftOut(tuple(every), tuple(new), tuple(lost))
