"""Runs as a whole, for a reader who sees all of one: its cases, its gaps, and what differs."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemmbench.analysis.benchmarks import case_of
from gemmbench.analysis.compare import compare
from gemmbench.analysis.comparison import Compared, Comparison
from gemmbench.analysis.environment import Facts, environment
from gemmbench.analysis.explain import Explained, explained
from gemmbench.analysis.gap import Gap
from gemmbench.analysis.names import apart
from gemmbench.analysis.outcomes import Checked, Outcome, checked, outcomes
from gemmbench.analysis.pool import counting
from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.summary import best
from gemmbench.records.frame import frame
from gemmbench.records.reader import Run, Source, paths_and_sources, read, without_collector
from gemmbench.records.schema import Record
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd

MOST_COMPARED = 8
"""More sides are set beside the first only so far: a page of them would not be read."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One case of a run: its records, one a repeat, and where its time went, if that can be told.

    `counts` tells of each record whether the figures of the case are of it. `why_no_gap` is empty
    where `gap` is not None.
    """

    records: tuple[Record, ...]
    counts: tuple[bool, ...]
    gap: Gap | None
    why_no_gap: str


@dataclass(frozen=True, kw_only=True)
class RunOverview:
    """A run, its `rows` as `ladder` returns them, and a `Seen` for each of them, in their order.

    `name` is what tells its file from the others', and `roofs_from` names those that lent it roofs.
    `best` are the rows of the best kernel of each precision, as `summary.best` returns them, and
    `tops` a `Seen` for each; a sparse precision's has its sparse rate in the columns of `tflops`.
    """

    run: Run
    name: str
    roofs_from: tuple[str, ...]
    rows: "pd.DataFrame"
    cases: tuple[Seen, ...]
    best: "pd.DataFrame"
    tops: tuple[Seen, ...]
    outcomes: tuple[Outcome, ...]
    checked: Checked
    explained: Explained


@dataclass(frozen=True, kw_only=True)
class Side:
    """The runs of one side of a comparison, by their places in `Overview.runs`; what names it is
    the end of a source that was given, or the name of its run."""

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
    """Several runs. Each source is a side; where only one of them has records, each run is. The
    others are compared with the first side.

    `sources` are those that were given, but absolute ones only so far as tells them apart.
    `not_compared` is why not, a text a side. `lenders` names the runs that hold roofs only.
    `environment` is what the runs were made with, of those that have records.
    """

    sources: tuple[str, ...]
    sides: tuple[Side, ...]
    runs: tuple[RunOverview, ...]
    environment: tuple[Facts, ...]
    comparisons: tuple[Against, ...]
    not_compared: tuple[str, ...]
    lenders: tuple[str, ...]


def overview(sources: Source | Iterable[Source]) -> Overview:
    """All that is known of the runs. Raises GemmbenchError as `read_many` does, and where none of
    them holds a record."""
    sources = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    with without_collector():
        of = dict(paths_and_sources(sources))
        given = [read(path) for path in of]
        runs = [run for run in given if run.records]
        if not runs:
            told = ", ".join(run.path.name for run in given[:3])
            raise GemmbenchError(f"{told}: no case was measured; name a run that has records")
        explained_runs = list(explained(given))
        every = dict.fromkeys([*of, *(path for one in explained_runs for path in one.roofs_from)])
        names = dict(zip(every, apart(list(every)), strict=True))
        found = [_overview(run, one, names) for run, one in zip(runs, explained_runs, strict=True)]
        sides = _sides([(one.name, of[one.run.path]) for one in found])
        comparisons, why_not = _compared(runs, sides)
    return Overview(
        sources=_as_given(sources),
        sides=tuple(sides),
        runs=tuple(found),
        environment=environment([run.header for run in runs]),
        comparisons=tuple(comparisons),
        not_compared=tuple(why_not),
        lenders=tuple(names[run.path] for run in given if not run.records),
    )


def _overview(run: Run, found: Explained, names: Mapping[Path, str]) -> RunOverview:
    rows = found.ladder
    records: dict[tuple[object, ...], list[tuple[Record, object]]] = {}
    for row, record in zip(rows_of(frame([run])), run.records, strict=True):
        records.setdefault(case_of(row), []).append((record, row.verdict))
    gaps = {case_of(row): gap for row, gap in zip(rows_of(found.rows), found.gaps, strict=True)}
    top = best(_with_sparse(rows))
    return RunOverview(
        run=run,
        name=names[run.path],
        roofs_from=tuple(names[path] for path in found.roofs_from),
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
    records: dict[tuple[object, ...], list[tuple[Record, object]]],
    gaps: dict[tuple[object, ...], Gap],
) -> Seen:
    case = case_of(row)
    gap = gaps.get(case)
    why = "" if gap and gap.factors else gap.causes.why_not if gap else "no time that counts"
    mine = tuple(one for one, _ in records[case])
    fine = iter(counting([verdict for one, verdict in records[case] if one.status == "ok"]))
    return Seen(
        records=mine,
        counts=tuple(one.status == "ok" and next(fine) for one in mine),
        gap=gap if not why else None,
        why_no_gap=why,
    )


def _as_given(sources: Sequence[Source]) -> tuple[str, ...]:
    """A page is given away: it says no more of the folders of a machine than it must."""
    paths = [Path(source) for source in sources]
    return tuple(
        short if path.is_absolute() else os.fspath(source)
        for source, path, short in zip(sources, paths, apart(paths), strict=True)
    )


def _sides(runs: Sequence[tuple[str, Source]]) -> list[Side]:
    """`runs` are the name of each and its source."""
    own: dict[Source, list[int]] = {}
    for place, (_, source) in enumerate(runs):
        own.setdefault(source, []).append(place)
    if len(own) == 1:
        return [Side(name=name, runs=(place,)) for place, (name, _) in enumerate(runs)]
    names = apart([Path(source) for source in own])
    return [
        Side(name=runs[mine[0]][0] if len(mine) == 1 else name, runs=tuple(mine))
        for mine, name in zip(own.values(), names, strict=True)
    ]


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
