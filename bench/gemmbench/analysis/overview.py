"""Runs as a whole, for a reader who sees all of one: its cases, its gaps, and what differs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from gemmbench.analysis.benchmarks import case_of
from gemmbench.analysis.compare import compare
from gemmbench.analysis.comparison import Comparison
from gemmbench.analysis.explain import Explained, explained
from gemmbench.analysis.gap import Gap
from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.summary import best
from gemmbench.records.frame import frame
from gemmbench.records.reader import Run, Source, read_many, without_collector
from gemmbench.records.schema import Record
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd

MOST_COMPARED = 8
"""More runs are set beside the first only so far: a page of them would not be read."""


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

    `best` are the rows of the best kernel of each precision, as `summary.best` returns them.
    """

    run: Run
    rows: "pd.DataFrame"
    cases: tuple[Seen, ...]
    best: "pd.DataFrame"
    explained: Explained


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Several runs; the others are compared with the first one.

    `not_compared` is why not, a text a run. `lenders` are the runs that hold roofs only.
    """

    runs: tuple[RunOverview, ...]
    comparisons: tuple[Comparison, ...]
    not_compared: tuple[str, ...]
    lenders: tuple[Run, ...]


def overview(sources: Source | Iterable[Source]) -> Overview:
    """All that is known of the runs. Raises GemmbenchError as `read_many` does, and where none of
    them holds a record."""
    with without_collector():
        given = read_many(sources)
        runs = [run for run in given if run.records]
        if not runs:
            names = ", ".join(run.path.name for run in given[:3])
            raise GemmbenchError(f"{names}: no case was measured; name a run that has records")
        found = [_overview(run, one) for run, one in zip(runs, explained(given), strict=True)]
        comparisons, why_not = _compared(runs)
    return Overview(
        runs=tuple(found),
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
    return RunOverview(
        run=run,
        rows=rows,
        cases=tuple(_seen(row, records, gaps) for row in rows_of(rows)),
        best=best(rows),
        explained=found,
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


def _compared(runs: Sequence[Run]) -> tuple[list[Comparison], list[str]]:
    first, found, why_not = frame(runs[:1]), [], []
    for run in islice(runs, 1, 1 + MOST_COMPARED):
        try:
            found.append(compare(first, frame([run])))
        except GemmbenchError as error:
            why_not.append(f"{run.path.name}: {error}")
    if len(runs) > 1 + MOST_COMPARED:
        more = len(runs) - 1 - MOST_COMPARED
        why_not.append(f"{more} more runs: {MOST_COMPARED} are compared with the first at most")
    return found, why_not
