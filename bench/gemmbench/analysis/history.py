"""A kernel on a problem over many runs: its times in order, and where they changed for good."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.explain import REACH, Wanted
from gemmbench.analysis.history_runs import Differs, Ran, differs, usable
from gemmbench.analysis.pool import pooled
from gemmbench.analysis.rows import distinct, rows_of
from gemmbench.analysis.series import (
    PROBLEM,
    SERIES,
    Change,
    History,
    Level,
    Near,
    Point,
    Series,
    measured_as,
)
from gemmbench.analysis.speedup import rung
from gemmbench.analysis.steps import (
    DELTA,
    LEAST_CONFIRMED,
    LEAST_SUSPECTED,
    NEAR,
    Step,
    levels,
    steps,
)
from gemmbench.analysis.trend import trend
from gemmbench.quantities import counted
from gemmbench.records.frame import frame_of
from gemmbench.records.reader import RunFileWarning, Source, paths_of, without_collector
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.precision import PRECISIONS, SPARSE
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

MOST_TOLD = 10
"""So many damaged files are named, and the others counted."""

_POINT = """
run_id status reason verdict impossible time_us time_us_low time_us_high tflops tflops_low
tflops_high pct_peak sparse_tflops pct_sparse_peak n_repeats label tier
"""


def history(
    sources: Source | Iterable[Source],
    wanted: Wanted | None = None,
    *,
    delta: float | None = None,
) -> History:
    """The series of the runs in files, folders or patterns.

    Warns (RunFileWarning) of files that are no run, also where they were named one by one (a shell
    expands patterns), of damaged lines and of copies of a run: they are left out. Raises
    GemmbenchError where no file can be used, and UnknownNameError for a kernel, problem or
    precision that no run has.
    """
    least = DELTA if delta is None else delta
    told: list[str] = []
    ran: list[Ran] = []
    with without_collector():
        df = frame_of(usable(paths_of(sources), ran, told))
    more = len(told) - MOST_TOLD
    if df.empty:
        why = told[0] if told else "they hold roofs only"
        raise GemmbenchError(f"no run with records was found: {why}; name runs of gemmbench run")
    rest = [counted(more, "more fault of files", "more faults of files")] if more > 0 else []
    for line in (*told[:MOST_TOLD], *rest):
        warnings.warn(line, RunFileWarning, stacklevel=2)
    df = _wanted(df, wanted or Wanted())
    known = {str(index): one for index, one in enumerate(ran)}
    found: dict[tuple[Any, ...], list[Any]] = {}
    rows = pooled(df).assign(place=_places)
    for key, row in zip(_keys(rows), rows_of(rows, _POINT.split()), strict=True):
        found.setdefault(key, []).append(row)
    made = [_series(key, points, known, delta=least) for key, points in found.items()]
    return History(delta=least, runs=tuple(ran), series=tuple(sorted(made, key=_order(made))))


def _wanted(df: "pd.DataFrame", wanted: Wanted) -> "pd.DataFrame":
    problems = tuple(text.strip().lower().replace("×", "x") for text in wanted.problems)
    if problems:
        texts = {one: shape_text(*one) for one in distinct(df, *PROBLEM)}
        df = df.assign(shape=[texts[row] for row in df[list(PROBLEM)].itertuples(index=False)])
    asked = {"kernel": wanted.kernels, "shape": problems, "precision": wanted.precisions}
    for kind, names in asked.items():
        for name in names:
            if name not in (known := set(df[kind])):
                what = "problem" if kind == "shape" else kind
                raise UnknownNameError(f"{what} of these runs", name, known)
    for kind, names in asked.items():
        df = df[df[kind].isin(names)] if names else df
    if df.empty:
        all_of = ", ".join(chain.from_iterable(asked.values()))
        raise GemmbenchError(f"no case of these runs is all of {all_of}: see gemmbench show")
    return df.drop(columns=["shape"]) if problems else df


def _places(df: "pd.DataFrame") -> list[str]:
    """Which of several devices it was, by what stays the same from run to run; empty of one alone.

    That is the node with the PCI address, or where there is none the number in the file.
    """
    from pandas import NA

    found = []
    columns = (df[name].tolist() for name in ("node", "pci_address", "unit"))
    for node, address, unit in zip(*columns, strict=True):
        number = "" if unit is NA else f"device {unit}"
        found.append(" ".join(filter(None, (node, address or number))))
    return found


def _keys(rows: "pd.DataFrame") -> Iterator[tuple[Any, ...]]:
    from pandas import isna

    for row in rows_of(rows, SERIES):
        yield tuple(None if isna(value) else value for value in row)


def _series(
    key: tuple[Any, ...], rows: Sequence[Any], known: Mapping[str, Ran], *, delta: float
) -> Series:
    of = dict(zip(SERIES, key, strict=True))
    shape = shape_text(*(of.pop(name) for name in PROBLEM))
    in_order = sorted(rows, key=lambda row: (known[row.run_id].started, known[row.run_id].file))
    points = [_point(row, known[row.run_id], of["precision"] in SPARSE) for row in in_order]
    points[1:] = (
        replace(after, differs=differs(before.ran, after.ran, of["kernel"]))
        for before, after in pairwise(points)
    )
    places = [index for index, one in enumerate(points) if one.counts]
    times = [points[index].time_us for index in places]
    found = steps(times, delta=delta)
    work = _work(points)
    return Series(
        **of,
        shape=shape,
        tier=in_order[-1].tier,
        label=next((row.label for row in in_order if row.label), ""),
        points=tuple(points),
        changes=tuple(_change(one, points, places, of["kernel"], work) for one in found),
        levels=tuple(
            Level(first=places[first], last=places[stop - 1], tflops=work / middle)
            for first, stop, middle in levels(times, found)
        ),
        drift_pct=100 * trend(times, found, delta=delta),
        why_unsure=_why_unsure(len(places)),
    )


def _why_unsure(runs: int) -> str:
    if runs >= LEAST_CONFIRMED:
        return ""
    can = "a change can be suspected" if runs >= LEAST_SUSPECTED else "nothing can be said"
    return (
        f"{counted(runs, 'run that counts', 'runs that count')}: {can}; {LEAST_SUSPECTED} are "
        f"needed to suspect a change, {LEAST_CONFIRMED} to confirm one"
    )


def _point(row: Any, ran: Ran, sparse: bool) -> Point:
    scale = row.sparse_tflops * row.time_us if sparse else math.nan
    rate = (row.sparse_tflops, scale / row.time_us_high, scale / row.time_us_low)
    rates = rate if sparse else (row.tflops, row.tflops_low, row.tflops_high)
    verdict = row.verdict if isinstance(row.verdict, str) else ""
    measured = row.status == "ok" and row.time_us > 0
    return Point(
        ran=ran,
        status=row.status,
        reason=row.reason,
        verdict="impossible" if row.impossible else verdict,
        counts=bool(
            measured
            and verdict != "contended"
            and not row.impossible
            # NaN is the rate of a precision from a newer gemmbench; beyond reach, a damaged file's
            and not (rates[0] > REACH or rates[0] < 1 / REACH)
        ),
        repeats=row.n_repeats,
        time_us=row.time_us,
        time_us_low=row.time_us_low,
        time_us_high=row.time_us_high,
        tflops=rates[0],
        tflops_low=rates[1],
        tflops_high=rates[2],
        pct_peak=row.pct_sparse_peak if sparse else row.pct_peak,
    )


def _work(points: Sequence[Point]) -> float:
    """TFLOP/s times µs: the same in every point that has a rate."""
    found = (one.tflops * one.time_us for one in points if one.tflops > 0 and one.time_us > 0)
    return next(found, math.nan)


def _change(
    step: Step, points: Sequence[Point], places: Sequence[int], kernel: str, work: float
) -> Change:
    def since(index: int) -> tuple[Differs, ...]:
        return differs(points[places[index - 1]].ran, points[places[index]].ran, kernel)

    others = [
        index
        for index in range(max(1, step.at - NEAR), min(len(places), step.at + NEAR + 1))
        if index != step.at
    ]
    return Change(
        at=places[step.at],
        certainty=step.certainty,
        before_tflops=work / step.before_us,
        after_tflops=work / step.after_us,
        step=step,
        differs=since(step.at),
        near=tuple(
            Near(runs=index - step.at, differs=one) for index in others for one in since(index)
        ),
    )


def _order(every: Sequence[Series]) -> Any:
    """By device and method as they come, then by problem, precision and rung."""
    groups = {key: index for index, key in enumerate(dict.fromkeys(map(measured_as, every)))}
    precisions = {name: index for index, name in enumerate(PRECISIONS)}

    def place(one: Series) -> tuple[Any, ...]:
        work = _work(one.points)
        return (
            groups[measured_as(one)],
            math.inf if math.isnan(work) else round(math.log(work), 6),  # but for rounding
            *(one.shape, one.layout),
            *(precisions.get(one.precision, 99), one.precision),
            *(rung(one.kernel, one.tier), one.kernel, one.modes),
        )

    return place
