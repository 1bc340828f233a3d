"""A history as tables, CSV and JSON."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from gemmbench.analysis.series import Change, History, Point, Series, measured_as
from gemmbench.show.history_text import (
    caption,
    change_text,
    differs_text,
    kernel_of,
    percent_of,
    problem_of,
    said,
    signed,
    some,
    title_of,
    why_text,
)
from gemmbench.show.tables import Format, Table, echo, in_json, plain, without_empty
from gemmbench.show.text import digits, duration, half_width, percent, printable

if TYPE_CHECKING:
    import pandas as pd

FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "json")
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK = 20
_NUMBERS = frozenset(
    ("runs", "first", "last", "best", "time", "±", "TFLOP/s", "of peak", "from", "to", "change")
)


def write(found: History, form: Format) -> None:
    """Print a history in one of `FORMATS`."""
    if form == "json":
        print(to_json(found))
    elif form == "csv":
        print(plain(frame(found), "csv"), end="")
    else:
        echo(tables(found), form=form)


def tables(found: History) -> tuple[Table, ...]:
    """Of one series all its points; of several a line each. Then every change."""
    if len(found.series) == 1:
        made = [_points(found.series[0])]
    else:
        made = [_overview(list(part)) for _, part in groupby(found.series, key=measured_as)]
    if changes := _changes(found):
        made.append(changes)
    return tuple(made)


def to_json(found: History) -> str:
    """All of it: the runs with what may differ between them, the series, their points by run."""
    series = []
    for one in found.series:
        own = {name: getattr(one, name) for name in _names(one) if name != "points"}
        own["points"] = [
            {"run_id": point.ran.run_id, "file": point.ran.file, "started": point.ran.started}
            | {name: getattr(point, name) for name in _names(point) if name != "ran"}
            for point in one.points
        ]
        series.append(own)
    whole = {"delta": found.delta, "runs": found.runs, "series": series}
    return json.dumps(in_json(msgspec.to_builtins(whole)), indent=1, ensure_ascii=False)


def frame(found: History) -> "pd.DataFrame":
    """A row a point: the series, the run, its figures; `level_tflops` is the median rate of its
    level, `change` and `change_pct` stand at the first run of a new one, `changed` is what differs
    from the run before."""
    import pandas as pd

    rows = [row for one in found.series for row in _rows(one)]
    return pd.DataFrame(rows).astype(dict.fromkeys(("units", "threads"), "Int64"))


def _rows(one: Series) -> Iterable[dict[str, Any]]:
    own = {name: getattr(one, name) for name in _names(one)}
    for name in ("points", "changes", "levels", "why_unsure"):
        del own[name]
    changes = {change.at: change for change in one.changes}
    of_level = {
        place: level.tflops for level in one.levels for place in range(level.first, level.last + 1)
    }
    for place, point in enumerate(one.points):
        ran, change = point.ran, changes.get(place)
        low, high = (change.step.ratio_low, change.step.ratio_high) if change else (math.nan,) * 2
        figures = {name: getattr(point, name) for name in _names(point)}
        del figures["ran"], figures["differs"]
        yield {
            **own,
            "run_id": ran.run_id,
            "file": ran.file,
            "started": ran.started.isoformat(),
            "version": ran.version,
            **figures,
            "level_tflops": of_level.get(place, math.nan),
            "change": change.certainty if change else "",
            "change_pct": percent_of(change.ratio) if change else math.nan,
            "change_pct_low": percent_of(low),
            "change_pct_high": percent_of(high),
            "changed": "; ".join(map(differs_text, point.differs)),
        }


def _names(one: Series | Point) -> tuple[str, ...]:
    return tuple(field.name for field in fields(type(one)))


def _overview(every: Sequence[Series]) -> Table:
    columns = ("kernel", "precision", "shape", "runs", "first", "last", "best", "trend", "changes")
    table = Table(
        title=caption(every[0]),
        columns=columns,
        rows=tuple(map(_line, every)),
        right=_NUMBERS,
        notes=("first, last and best in TFLOP/s (TOP/s of int8)", *_notes(every)),
    )
    return without_empty(table, optional=("changes",))


def _line(one: Series) -> tuple[str, ...]:
    rates = [point.tflops for point in one.counted]
    counts = [
        f"{count} {word}"
        for word in ("confirmed", "suspected")
        if (count := sum(change.certainty == word for change in one.changes))
    ]
    return (
        *(kernel_of(one), one.precision, problem_of(one), str(len(one.points))),
        *(digits(rates[place]) if rates else "" for place in (0, -1)),
        digits(max(rates, default=math.nan)),
        spark(rates),
        ", ".join(counts),
    )


def spark(values: Sequence[float], width: int = _SPARK) -> str:
    """The values as bars of eight heights from the lowest to the highest; of more values than
    `width` the medians of as many stretches."""
    import numpy as np

    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return ""
    parts = [float(np.median(part)) for part in np.array_split(known, min(width, len(known)))]
    low, high = min(parts), max(parts)
    if not high > low:
        return _SPARKS[0] * len(parts)
    top = len(_SPARKS) - 1
    return "".join(_SPARKS[round(top * (value - low) / (high - low))] for value in parts)


def _points(one: Series) -> Table:
    changes = {change.at: change for change in one.changes}
    table = Table(
        title=f"{title_of(one)}: {caption(one)}",
        columns=(
            *("started", "run", "time", "±", "TFLOP/s", "of peak", "verdict", "change"),
            "changed since the run before",
        ),
        rows=tuple(
            (
                *(f"{point.ran.started:%Y-%m-%d %H:%M}", printable(point.ran.run_id, 16)),
                duration(point.time_us),
                half_width(point.time_us, point.time_us_low, point.time_us_high),
                *(digits(point.tflops), percent(point.pct_peak), said(point)),
                change_text(changes[place]) if place in changes else "",
                some(list(map(differs_text, point.differs))),
            )
            for place, point in enumerate(one.points)
        ),
        right=_NUMBERS - {"change"},
        notes=tuple(_notes([one])),
    )
    return without_empty(
        table, optional=("±", "TFLOP/s", "of peak", "change", "changed since the run before")
    )


def _notes(every: Sequence[Series]) -> Iterable[str]:
    out = sum(not point.counts for one in every for point in one.points)
    if out:
        yield f"{out} points do not count: failed, contended or impossible"
    short = [one for one in every if one.why_unsure]
    if len(every) == 1 and short:
        yield short[0].why_unsure
    elif short:
        yield f"{len(short)} of {len(every)} series are short; the longest has {_longest(short)}"


def _longest(every: Sequence[Series]) -> str:
    return max(every, key=lambda one: len(one.counted)).why_unsure


def _changes(found: History) -> Table | None:
    rows = [(one, change) for one in found.series for change in one.changes]
    if not rows:
        return None
    table = Table(
        title=f"Changes of at least {100 * found.delta:.3g}%",
        columns=(
            *("kernel", "precision", "shape", "since", "run", "from", "to", "change"),
            *("95% interval", "certainty", "what changed"),
        ),
        rows=tuple(
            (
                *(kernel_of(one), one.precision, problem_of(one)),
                f"{(ran := one.points[change.at].ran).started:%Y-%m-%d}",
                printable(ran.run_id, 16),
                *(digits(change.before_tflops), digits(change.after_tflops)),
                *(signed(change.ratio), _interval(change)),
                *(change.certainty, why_text(change)),
            )
            for one, change in rows
        ),
        right=_NUMBERS,
        notes=("from and to: medians of the levels, in TFLOP/s",),
    )
    return without_empty(table, optional=("95% interval",))


def _interval(change: Change) -> str:
    low, high = change.step.ratio_low, change.step.ratio_high
    return f"{signed(low)} … {signed(high)}" if math.isfinite(low) else ""
