"""A history as tables."""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from gemmbench.analysis.series import Change, History, Series, measured_as
from gemmbench.quantities import counted
from gemmbench.show.history_columns import frame, to_json
from gemmbench.show.history_text import (
    caption,
    change_text,
    differs_text,
    drift_text,
    kernel_of,
    problem_of,
    said,
    signed,
    some,
    title_of,
    why_text,
)
from gemmbench.show.tables import Format, Table, echo, plain, without_empty
from gemmbench.show.text import digits, duration, half_width, percent, printable

FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "json")
MOST_ROWS = 50
"""Of a longer series a table has the last ones."""

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
    """Every change. Then of one series its last points, of several a line each."""
    made = [changes] if (changes := _changes(found)) else []
    if len(found.series) == 1:
        return (*made, _points(found.series[0]))
    parts = groupby(found.series, key=measured_as)
    return (*made, *(_overview(list(part)) for _, part in parts))


def _overview(every: Sequence[Series]) -> Table:
    columns = ("kernel", "precision", "shape", "runs", "first", "last", "best", "trend", "changes")
    table = Table(
        title=caption(every),
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
    drifts = [] if math.isnan(one.drift_pct) else [f"drifts {one.drift_pct:+.2g}% a run"]
    return (
        *(kernel_of(one), one.precision, problem_of(one), str(len(one.points))),
        *(digits(rates[place]) if rates else "" for place in (0, -1)),
        digits(max(rates, default=math.nan)),
        spark(rates),
        ", ".join([*counts, *drifts]),
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
        title=f"{title_of(one)}: {caption([one])}",
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
            for place, point in list(enumerate(one.points))[-MOST_ROWS:]
        ),
        right=_NUMBERS - {"change"},
        notes=(*_earlier(one), *_notes([one])),
    )
    return without_empty(
        table, optional=("±", "TFLOP/s", "of peak", "change", "changed since the run before")
    )


def _earlier(one: Series) -> Iterable[str]:
    if (more := len(one.points) - MOST_ROWS) > 0:
        yield f"{counted(more, 'earlier run')} not shown: --format csv has all"


def _notes(every: Sequence[Series]) -> Iterable[str]:
    out = sum(not point.counts for one in every for point in one.points)
    if out:
        does = counted(out, "point does not count", "points do not count")
        yield f"{does}: failed, contended or impossible"
    drifting = [one for one in every if drift_text(one)]
    if len(every) == 1 and drifting:
        yield drift_text(every[0])
    elif drifting:
        does = "drifts" if len(drifting) == 1 else "drift"
        yield f"{len(drifting)} of {len(every)} series {does}: changes of one may be one slow one"
    short = [one for one in every if one.why_unsure]
    if len(every) == 1 and short:
        yield short[0].why_unsure
    elif short:
        does = "is" if len(short) == 1 else "are"
        yield f"{len(short)} of {len(every)} series {does} short; the longest has {_longest(short)}"


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
                *(change.certainty, why_text(change, one)),
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
