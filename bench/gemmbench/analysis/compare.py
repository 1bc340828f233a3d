"""Two measurements of the same problems: what is faster, what is the same, what is unsure."""

import math
import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, get_args

from gemmbench.analysis.comparison import By, Comparison, Differs, Machine
from gemmbench.analysis.judge import Judge, difference, overlap
from gemmbench.analysis.sides import Key, Side, check_method, over_base, side
from gemmbench.records.frame import load
from gemmbench.records.reader import Source
from gemmbench.timing.statistics import Estimate
from gemmkernels.errors import GemmbenchError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

DELTA = 0.02
ANCHOR_P = 0.01
_UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


def compare(
    a: "pd.DataFrame | Source | Iterable[Source]",
    b: "pd.DataFrame | Source | Iterable[Source]",
    *,
    by: By = "kernel",
    delta: float = DELTA,
) -> Comparison:
    """Compare two measurements, given as DataFrames of `load` or as paths: how fast is b against a?

    By kernel, or by the fastest kernel of each tier. The interval is Welch's on the logs of the
    repeats' medians. `faster` and `slower` need an interval without 1, a change of at least
    `delta` (a fraction) and 5% false discoveries at most over all rows (Benjamini-Hochberg);
    `same` an interval within ±delta; else `unsure`. So is what was contended, all rows where the
    machine's self-test moved, and with one repeat a side what changed by less than 5%, unless the
    ratio to the base of the same process decides it. Raises GemmbenchError for sides that differ
    in preset, cache, data or launch, or share no row.
    """
    if by not in get_args(By):
        raise UnknownNameError("kind of row", str(by), get_args(By))
    if not 0 < delta < 1:
        raise GemmbenchError(f"delta = {delta} must be a fraction between 0 and 1, such as 0.02")
    frame_a, frame_b = _frame(a), _frame(b)
    left, right = side(frame_a, by=by, which="the first"), side(frame_b, by=by, which="the second")
    check_method(frame_a, frame_b)
    machine, anchor = _machine(left, right, delta)
    common = [key for key in left.cases if key in right.cases]
    usable = [key for key in common if left.cases[key].times_us and right.cases[key].times_us]
    if not usable:
        raise GemmbenchError(_nothing(left, right, common))
    single = machine == "unmoved" and min(len(left.units), len(right.units)) == 1
    judge = Judge(
        delta=delta,
        machine=machine,
        same_launch=left.vendor == right.vendor,
        bases=(over_base(frame_a), over_base(frame_b)) if single else None,
    )
    return Comparison(
        by=by,
        delta=delta,
        device_a=left.device,
        device_b=right.device,
        files_a=left.files,
        files_b=right.files,
        preset=left.preset,
        machine=machine,
        anchor=anchor,
        rows=judge.rows(left, right, usable),
        geomeans=tuple(judge.geomeans(left, right, usable)),
        differs=_differs(left, right),
        left_out=_left_out(left, right, set(usable)),
    )


def _frame(source: "pd.DataFrame | Source | Iterable[Source]") -> "pd.DataFrame":
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, str | os.PathLike):
        return load(source)
    return load([str(one) for one in source])


def _machine(left: Side, right: Side, delta: float) -> tuple[Machine, Estimate]:
    """Did the self-test move by more than half of delta between two runs on one kind of device?"""
    if (left.device, left.arch) != (right.device, right.arch):
        return "another", _UNKNOWN
    a, b = list(left.anchors.values()), list(right.anchors.values())
    if not a or not b:
        return "unknown", _UNKNOWN
    found = difference((one.value for one in a), (one.value for one in b))
    far = abs(math.log(found.ratio.value)) > math.log1p(delta / 2)
    sure = not overlap(a, b) if math.isnan(found.p) else found.p < ANCHOR_P
    return ("moved" if far and sure else "unmoved"), found.ratio


def _nothing(left: Side, right: Side, common: Collection[Key]) -> str:
    if common:
        return "no row has a time on both sides: see `gemmbench show` for what became of them"
    what = "problem and kernel (or tier)"
    a, b = (f"{min(one.cases).text}, …" for one in (left, right))
    return f"the two share no {what}: the first has {a}; the second {b}"


def _differs(left: Side, right: Side) -> tuple[Differs, ...]:
    names = dict.fromkeys([*left.facts, *right.facts])
    pairs = ((name, left.facts.get(name, ""), right.facts.get(name, "")) for name in names)
    return tuple(Differs(what=name, a=a, b=b) for name, a, b in pairs if a != b)


def _left_out(left: Side, right: Side, used: Collection[Key]) -> tuple[str, ...]:
    """The cases that are not compared, and why."""

    def why(one: Side, key: Key) -> str:
        case = one.cases.get(key)
        if case is None:
            return "not measured"
        if case.times_us:
            return "ok"
        return "contended" if case.contended else case.status

    keys = [key for key in dict.fromkeys([*left.cases, *right.cases]) if key not in used]
    return tuple(f"{key.text}: {why(left, key)} | {why(right, key)}" for key in keys)
