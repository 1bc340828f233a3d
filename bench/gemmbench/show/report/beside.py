"""What the page says of several runs: the others compared with the first, and each's facts."""

from dataclasses import dataclass

from gemmbench.analysis.comparison import Change
from gemmbench.analysis.overview import Against, Overview, Side, changed_most
from gemmbench.records.frame import spec_of
from gemmbench.show.comparison import differing, means, normalised, notes_of, rows_table
from gemmbench.show.datasheets import sheets
from gemmbench.show.report.drawn import PICTURED, Picture, of_comparison
from gemmbench.show.report.tones import Tone, tone_of
from gemmbench.show.tables import Table
from gemmbench.show.text import device_named

CHANGED = 12
"""So many of the rows that changed most stand at the top."""

ROWS = 1000
"""More rows of a comparison are not in the page: `gemmbench compare` lists them."""

FACTS = 200
"""Of one kind of facts, such as environment variables, so many are told at most."""

COLUMNS = 9
"""So many runs stand side by side at most."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One side against the first. `more` is how many rows are not in `every`."""

    head: str
    title: str
    unlike: str
    counts: tuple[tuple[Change, int, Tone], ...]
    notes: tuple[str, ...]
    means: Table | None
    changed: Table | None
    every: tuple[Table, ...]
    more: int
    differs: Table | None
    picture: Picture | None


@dataclass(frozen=True, kw_only=True)
class FactGroup:
    """Facts of one kind: what it is, one value a run, and whether they differ."""

    title: str
    facts: tuple[tuple[str, tuple[str, ...], bool], ...]
    more: int


def comparisons(overview: Overview) -> tuple[Beside, ...]:
    """Each comparison in words, tables and, for the first ones, a picture."""
    return tuple(
        _beside(one, number=number, drawn=number <= PICTURED)
        for number, one in enumerate(overview.comparisons, start=1)
    )


def _called(side: Side) -> str:
    """Run 2; or, of several runs, runs 2-5 and what names them all."""
    first, last = side.runs[0] + 1, side.runs[-1] + 1
    if len(side.runs) == 1:
        return f"run {first}"
    together = last - first + 1 == len(side.runs)
    numbers = f"{first}–{last}" if together else ", ".join(str(one + 1) for one in side.runs)
    return f"runs {numbers} ({side.name})"


def _beside(one: Against, *, number: int, drawn: bool) -> Beside:
    found = one.found
    words: tuple[Change, ...] = ("faster", "slower", "same", "unsure")
    changed = changed_most(found, CHANGED)
    shown = found.rows[:ROWS]
    dense = [row for row in shown if not row.sparse]
    sparse = [row for row in shown if row.sparse]
    every = [rows_table(found, shown, title="All rows")]
    every += [table for part in (dense, sparse) if part for table in normalised(found, part)]
    counts, *notes = notes_of(found)
    a, b = (device_named(one.device, one.partition) for one in (found.a, found.b))
    return Beside(
        head=f"{_called(one.b)} against {_called(one.a)}",
        title=f"b: {b} against a: {a}",
        unlike="; ".join(found.unlike),
        counts=tuple(
            (word, count, tone_of(word) if count else "")
            for word in words
            for count in [found.count(word)]
        ),
        notes=(counts.partition("; ")[2], *notes),
        means=means(found) if found.geomeans else None,
        changed=rows_table(found, changed, title="Changed most") if changed else None,
        every=tuple(every),
        more=len(found.rows) - len(shown),
        differs=differing(found) if found.differs else None,
        picture=of_comparison(found, ident=f"c{number}") if drawn else None,
    )


def fact_groups(overview: Overview) -> tuple[FactGroup, ...]:
    """The facts of the first runs side by side, as many as fit."""
    return tuple(
        FactGroup(
            title=group.title,
            facts=tuple(
                (one.what, one.values[:COLUMNS], one.differs) for one in group.facts[:FACTS]
            ),
            more=max(0, len(group.facts) - FACTS),
        )
        for group in overview.environment
    )


def peaks(overview: Overview) -> tuple[Table, ...]:
    """The spec sheets of the runs: each figure, and who prints it; sources come last."""
    found = (spec_of(one.run.header) for one in overview.runs)
    known = list({(one.id, one.partition): one for one in found if one is not None}.values())
    return tuple(sheets(known)) if known else ()
