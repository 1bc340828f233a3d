"""Runs as a whole, for a reader who sees all of one: its cases, its gaps, and what differs."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemmbench.analysis.benchmarks import case_of
from gemmbench.analysis.compare import compare
from gemmbench.analysis.comparison import Compared, Comparison
from gemmbench.analysis.environment import Facts, environment
from gemmbench.analysis.explain import Explained, explained
from gemmbench.analysis.gap import Gap
from gemmbench.analysis.outcomes import Checked, Outcome, checked, outcomes
from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.summary import best
from gemmbench.records.frame import frame
from gemmbench.records.reader import Run, Source, paths_of, read_many, without_collector
from gemmbench.records.schema import Record
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd

MOST_COMPARED = 8
"""More sides are set beside the first only so far: a page of them would not be read."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One case of a run: its records, one a repeat, and where its time went, if that can be told.

    `why_no_gap` is empty where `gap` is not None.
    """

    records: tuple[Record, ...]
    gap: Gap | None
    why_no_gap: str


@dataclass(frozen=True, kw_only=True)
class RunOverview:
    """A run, its `rows` as `ladder` returns them, and a `Seen` for each of them, in their order.

    `best` are the rows of the best kernel of each precision, as `summary.best` returns them, and
    `tops` a `Seen` for each; a sparse precision's has its sparse rate in the columns of `tflops`.
    """

    run: Run
    rows: "pd.DataFrame"
    cases: tuple[Seen, ...]
    best: "pd.DataFrame"
    tops: tuple[Seen, ...]
    outcomes: tuple[Outcome, ...]
    checked: Checked
    explained: Explained


@dataclass(frozen=True, kw_only=True)
class Side:
    """The runs of one side of a comparison, by their places in `Overview.runs`; what names it is a
    source that was given, or the file of its run."""

    name: str
    runs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Against:
    """Side b against side a."""

    a: Side
    b: Side
    found: Comparison


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Several runs. Of several sources each is a side, of a single one each run, and the others are
    compared with the first side.

    `not_compared` is why not, a text a side. `lenders` are the runs that hold roofs only.
    `environment` is what the runs were made with, of those that have records.
    """

    runs: tuple[RunOverview, ...]
    environment: tuple[Facts, ...]
    comparisons: tuple[Against, ...]
    not_compared: tuple[str, ...]
    lenders: tuple[Run, ...]


def overview(sources: Source | Iterable[Source]) -> Overview:
    """All that is known of the runs. Raises GemmbenchError as `read_many` does, and where none of
    them holds a record."""
    sources = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    with without_collector():
        given = read_many(sources)
        runs = [run for run in given if run.records]
        if not runs:
            names = ", ".join(run.path.name for run in given[:3])
            raise GemmbenchError(f"{names}: no case was measured; name a run that has records")
        found = [_overview(run, one) for run, one in zip(runs, explained(given), strict=True)]
        comparisons, why_not = _compared(runs, _sides(runs, sources))
    return Overview(
        runs=tuple(found),
        environment=environment([run.header for run in runs]),
        comparisons=tuple(comparisons),
        not_compared=tuple(why_not),
        lenders=tuple(run for run in given if not run.records),
    )


def _overview(run: Run, found: Explained) -> RunOverview:
    rows = found.ladder
    records: dict[tuple[object, ...], list[Record]] = {}
    for row, record in zip(rows_of(frame([run])), run.records, strict=True):
        records.setdefault(case_of(row), []).append(record)
    gaps = {case_of(row): gap for row, gap in zip(rows_of(found.rows), found.gaps, strict=True)}
    top = best(_with_sparse(rows))
    return RunOverview(
        run=run,
        rows=rows,
        cases=tuple(_seen(row, records, gaps) for row in rows_of(rows)),
        best=top,
        tops=tuple(_seen(row, records, gaps) for row in rows_of(top)),
        outcomes=outcomes(rows),
        checked=checked(run.records),
        explained=found,
    )


def _with_sparse(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Sparse rates where there is no dense one, so that they rank among themselves."""
    if rows["sparse_tflops"].isna().all():
        return rows
    rate, time = rows["sparse_tflops"], rows["time_us"]
    return rows.assign(
        tflops=rows["tflops"].fillna(rate),
        tflops_low=rows["tflops_low"].fillna(rate * time / rows["time_us_high"]),
        tflops_high=rows["tflops_high"].fillna(rate * time / rows["time_us_low"]),
    )


def _seen(
    row: object,
    records: dict[tuple[object, ...], list[Record]],
    gaps: dict[tuple[object, ...], Gap],
) -> Seen:
    case = case_of(row)
    gap = gaps.get(case)
    why = "" if gap and gap.factors else gap.causes.why_not if gap else "no time that counts"
    return Seen(records=tuple(records[case]), gap=gap if not why else None, why_no_gap=why)


def _sides(runs: Sequence[Run], sources: Sequence[Source]) -> list[Side]:
    """A file that several sources name is of the first of them."""
    places = {run.path: place for place, run in enumerate(runs)}
    found = []
    for source in sources if len(sources) > 1 else [run.path for run in runs]:
        mine = (places.pop(path, None) for path in paths_of(source))
        if own := tuple(place for place in mine if place is not None):
            name = runs[own[0]].path.name if len(own) == 1 else os.fspath(source)
            found.append(Side(name=name, runs=own))
    return found


def _compared(runs: Sequence[Run], sides: Sequence[Side]) -> tuple[list[Against], list[str]]:
    found: list[Against] = []
    why_not: list[str] = []
    if len(sides) < 2:
        return found, why_not
    first, *others = sides
    frame_a = frame([runs[place] for place in first.runs])
    for side in others[:MOST_COMPARED]:
        try:
            compared = compare(frame_a, frame([runs[place] for place in side.runs]))
        except GemmbenchError as error:
            why_not.append(f"{side.name}: {error}")
        else:
            found.append(Against(a=first, b=side, found=compared))
    if more := len(others[MOST_COMPARED:]):
        why_not.append(f"{more} more: {MOST_COMPARED} are compared with the first at most")
    return found, why_not


def changed_most(found: Comparison, count: int) -> tuple[Compared, ...]:
    """The rows that are surely faster or slower, by the size of their change."""
    sure = [row for row in found.rows if row.verdict in ("faster", "slower")]
    return tuple(sorted(sure, key=lambda row: -abs(math.log(row.ratio)))[:count])
