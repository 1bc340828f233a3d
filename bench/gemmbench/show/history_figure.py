"""The figure of a history: rates in order of time, their levels, and what changed beside them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from matplotlib.lines import Line2D

from gemmbench.analysis.series import History, Point, Series, measured_as
from gemmbench.show.history_labels import WIDTH
from gemmbench.show.history_marks import (
    FASTER,
    ROW_IN,
    SLOWER,
    WHISKERS,
    labelled,
    mark_software,
    mark_steps,
)
from gemmbench.show.history_text import caption, drift_text, software, title_of, where_of
from gemmbench.show.style import (
    GREY,
    dress,
    figure,
    head,
    label,
    look,
    rate_unit,
    save,
)
from gemmbench.show.text import printable
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6
_DATES = 8
_LEAST_SPAN = 0.05
"""Of the rate: noise below it must not fill a panel."""

_RUN, _LEVEL = look(0).colour, "#000000"


def draw(found: History, stem: Path) -> list[Path]:
    """Write the figure as PNG and SVG; returns their paths. Raises as `picture` and `save` do."""
    return save(picture(found), stem)


def picture(found: History) -> "Figure":
    """A panel a series, at most six: those whose level changed most.

    Raises GemmbenchError where no run has a rate that counts.
    """
    can = [one for one in found.series if any(_drawable(point) for point in one.counted)]
    if not can:
        raise GemmbenchError("nothing to draw: no run has a rate that counts; see gemmbench show")
    chosen = set(map(id, sorted(can, key=_interest)[:PANELS]))
    series = [one for one in can if id(one) in chosen]
    rows = [len(set(labelled(one).values())) for one in series]
    alike = len({measured_as(one) for one in series}) == 1
    more = f"{len(series)} of {len(can)} series · " if len(can) > len(series) else ""
    see = ["devices and methods: see the panels", *software(series)]
    told = caption(series) if alike else " · ".join(see)
    names = _legend(series)
    made = figure(
        WIDTH,
        1.1 + 2.35 * len(series) + ROW_IN * sum(rows),
        caption=f"{more}{told} · runs in order of time, evenly spaced · changes "
        f"below {100 * found.delta:.3g}% do not count",
    )
    grid = made.subplots(len(series), 1, squeeze=False)[:, 0]
    for axes, one, count in zip(grid, series, rows, strict=True):
        _panel(axes, one, rows=count, title=_title(one, alike=alike))
    head(made, "History", list(names.values()), list(names))
    return made


def _interest(one: Series) -> tuple[float, float, int]:
    def most(certainty: str) -> float:
        ratios = (each.ratio for each in one.changes if each.certainty == certainty)
        return max((abs(math.log(ratio)) for ratio in ratios), default=0.0)

    return -most("confirmed"), -most("suspected"), -len(one.points)


def _title(one: Series, *, alike: bool) -> str:
    drift = f", {drifts}" if (drifts := drift_text(one)) else ""
    title = f"{title_of(one)}{drift}"
    return printable(title if alike else f"{title}: {where_of(one)}", 150)


def _drawable(point: Point) -> bool:
    return math.isfinite(point.tflops) and point.tflops > 0


def _legend(series: Sequence[Series]) -> "dict[str, Artist]":
    points = [point for one in series for point in one.points]
    changes = [change for one in series for change in one.changes]
    whiskers = any(len(one.points) <= WHISKERS for one in series)
    run = "a run, with its 95% interval" if whiskers else "a run"
    found: dict[str, Artist] = {run: _line(_RUN, "o", "")}
    if any(not point.counts and _drawable(point) for point in points):
        found["contended or impossible: does not count"] = _line(GREY, "o", "", face="white")
    if any(not _drawable(point) for point in points):
        found["no time"] = _line(SLOWER, "x", "")
    found["median of a level"] = _line(_LEVEL, "", "-")
    if any(point.differs for point in points):
        found["software, kernel, host or method changed"] = _line(GREY, "", "--")
    seen = {(change.certainty, change.ratio > 1) for change in changes}
    for certainty, faster in sorted(seen, key=lambda one: (one[0], not one[1])):  # confirmed first
        colour, word = (FASTER, "faster") if faster else (SLOWER, "slower")
        line = _line(colour, "", "-" if certainty == "confirmed" else ":")
        found[f"change, {certainty}: {word}"] = line
    return found


def _line(colour: str, marker: str, line: Literal["", "-", "--", ":"], *, face: str = "") -> Line2D:
    return Line2D(
        *([], []),
        color=colour,
        marker=marker,
        linestyle=line,
        markersize=4,
        markerfacecolor=face or colour,
    )


def _panel(axes: "Axes", one: Series, *, rows: int, title: str) -> None:
    low, high = _limits(one)
    _runs(axes, one, low)
    for level in one.levels:
        if math.isfinite(level.tflops):
            axes.plot(
                [level.first - 0.4, level.last + 0.4], [level.tflops] * 2, color=_LEVEL, lw=1.3
            )
    axes.set_xlim(-0.6, len(one.points) - 0.4)
    axes.set_ylim(low, high)
    mark_software(axes, one)
    mark_steps(axes, one)
    _dates(axes, one.points)
    dress(axes, x="", y=rate_unit(one.precision))
    axes.set_title(
        *(label(title),), fontsize=8.5, loc="left", fontweight="bold", pad=4 + 72 * ROW_IN * rows
    )
    axes.grid(visible=False, axis="x")


def _limits(one: Series) -> tuple[float, float]:
    """The rates that count, with their intervals where those are no wider than the rest; room
    below for what is written there."""
    counted = [point for point in one.counted if _drawable(point)]
    rates = [point.tflops for point in counted]
    span = max(max(rates) - min(rates), _LEAST_SPAN * max(rates))
    low = min(min(rates), (max(rates) + min(rates) - span) / 2)
    high = max(max(rates), (max(rates) + min(rates) + span) / 2)
    if len(one.points) <= WHISKERS:
        ends = [
            end
            for point in counted
            for end in (point.tflops_low, point.tflops_high)
            if math.isfinite(end)
        ]
        low, high = max(min([low, *ends]), low - span), min(max([high, *ends]), high + span)
    room = high - low
    return low - 0.24 * room, high + 0.06 * room


def _runs(axes: "Axes", one: Series, bottom: float) -> None:
    size = 4.5 if len(one.points) <= 80 else 2.5
    for counts in (True, False):
        places = [
            place
            for place, point in enumerate(one.points)
            if _drawable(point) and point.counts is counts
        ]
        if not places:  # an empty line has a box of no place, which spoils the layout
            continue
        rates = [max(one.points[place].tflops, bottom) for place in places]
        colour = _RUN if counts else GREY
        if counts and len(one.points) <= WHISKERS:
            for place in places:
                point = one.points[place]
                axes.plot([place] * 2, [point.tflops_low, point.tflops_high], color=colour, lw=0.8)
        axes.plot(
            *(places, rates),
            linestyle="none",
            marker="o",
            markersize=size,
            color=colour,
            markerfacecolor=colour if counts else "white",
            clip_on=counts,
        )
    gone = [place for place, point in enumerate(one.points) if not _drawable(point)]
    if gone:
        axes.plot(
            *(gone, [0.0] * len(gone)),
            transform=axes.get_xaxis_transform(),
            linestyle="none",
            marker="x",
            markersize=size,
            color=SLOWER,
            clip_on=False,
        )


def _dates(axes: "Axes", points: Sequence[Point]) -> None:
    count, last = min(_DATES, len(points)), len(points) - 1
    places = sorted({round(index * last / max(1, count - 1)) for index in range(count)})
    days = [f"{points[place].ran.started:%Y-%m-%d}" for place in places]
    if len(set(days)) < len(days):
        days = [f"{points[place].ran.started:%Y-%m-%d\n%H:%M}" for place in places]
    axes.set_xticks(places, days)
