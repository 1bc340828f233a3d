"""The figure of how the samples of cases are spread, repeat by repeat."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gemmbench.analysis.rows import rows_of
from gemmbench.records.schema import Record
from gemmbench.show.drawable import one_run
from gemmbench.show.results import caption, problem_of
from gemmbench.show.style import (
    COLOURS,
    GREY,
    SMALL,
    dress,
    figure,
    grid_of,
    head,
    legend_in,
)
from gemmbench.show.text import digits, printable
from gemmbench.show.ticks import rates
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import values as turn_values
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 12
STRIPS = 10
"""A panel shows so many repeats, the first ones."""

VECTOR_MARKS = 1_500
"""More samples are one picture inside an SVG, not a path each."""

REACH = 6.0
"""Interquartile ranges beyond the quartiles: what is further out is counted, not drawn."""

STRETCHED = 4.0
"""Samples that differ by more are drawn on a logarithmic axis."""

NAME = 34
DAMAGED_US = (1e-6, 1e12)
UNITS = (("s", 1e6), ("ms", 1e3), ("µs", 1.0))
CLEAN, DISTURBED, BAND = COLOURS[0], COLOURS[1], "#D9D9D9"
_LOOKS: dict[str, dict[str, Any]] = {
    "sample": {"marker": ".", "color": CLEAN, "markersize": 3.5, "markeredgewidth": 0},
    "disturbed sample": {"marker": "x", "color": DISTURBED, "markersize": 3.5},
    "median of a turn, its samples not kept": {
        "marker": "d",
        "color": CLEAN,
        "markerfacecolor": "white",
        "markersize": 4,
        "markeredgewidth": 0.8,
    },
    "median of the repeat": {"marker": "|", "color": "black", "markersize": 11},
}
_MEDIAN, _INTERVAL = "median of the case", "its 95% interval"


@dataclass(frozen=True)
class _Strip:
    """One repeat: times in µs by what they are, as in `_LOOKS`."""

    repeat: int
    times_us: dict[str, list[float]]

    @property
    def every_us(self) -> list[float]:
        return [us for some in self.times_us.values() for us in some]

    @property
    def count(self) -> int:
        return len(self.every_us)


def samples(rows: "pd.DataFrame", cases: Sequence[Sequence[Record]]) -> "Figure":
    """Time per launch, a strip a repeat and a panel a case, with the median of the case and
    its 95% interval.

    `rows` are one run's, as `analysis.speedup.ladder` returns them; `cases[i]` are the records of
    `rows.iloc[i]`. Raises GemmbenchError where no case has a time.
    """
    one_run(rows, "record")
    every = [
        (row, records)
        for row, records in zip(rows_of(rows), cases, strict=True)
        if any(record.turns for record in records)
    ]
    first = islice(((row, _strips(records)) for row, records in every), 4 * PANELS)
    shown = [(row, strips) for row, strips in first if strips][:PANELS]
    if not shown:
        raise GemmbenchError("nothing to draw: no case has a time; see `gemmbench show`")
    down, across = grid_of(len(shown))
    width = 7.5 if across == 1 else 4.3 * across
    kinds = {name for _, strips in shown for one in strips for name in one.times_us}
    names = [name for name in _LOOKS if name in kinds]
    with_interval = any(row.time_us_high > row.time_us_low for row, _ in shown)
    legend = [*names, _MEDIAN, *([_INTERVAL] if with_interval else [])]
    most = max(min(len(strips), STRIPS) for _, strips in shown)
    panel_in = 0.95 + max(0.8, min(0.34 * most, 2.2))
    more = f" · {len(shown)} of {len(every)} cases" if len(shown) < len(every) else ""
    made = figure(
        width,
        0.8 + legend_in(width, legend) + panel_in * down,
        caption=f"{caption(rows)} · a sample is the mean of its launches{more}",
    )
    grid = made.subplots(down, across, squeeze=False).flatten()
    marks = sum(one.count for _, strips in shown for one in strips)
    for axes, (row, strips) in zip(grid, shown, strict=False):
        _panel(axes, row, strips, rasterized=marks > VECTOR_MARKS)
    for axes in grid[len(shown) :]:
        axes.remove()
    handles: list[Artist] = [Line2D([], [], linestyle="", **_LOOKS[name]) for name in names]
    handles += [Line2D([], [], color=GREY, linewidth=1.0, linestyle="--")]
    handles += [Patch(facecolor=BAND)] if with_interval else []
    head(made, "How the samples are spread", handles, legend)
    return made


def _strips(records: Sequence[Record]) -> list[_Strip]:
    """The repeats that have times, in order."""
    found: list[_Strip] = []
    for record in sorted(records, key=lambda one: one.repeat):
        times: dict[str, list[float]] = {}
        for turn in record.turns:
            for name, some in _times(turn).items():
                times.setdefault(name, []).extend(some)
        times = {name: known for name, some in times.items() if (known := _sound(some))}
        if not times:
            continue
        if medians := _sound([ns / 1e3 for ns in turn_values(record.turns).values()]):
            times["median of the repeat"] = [median(medians)]
        found.append(_Strip(record.repeat, times))
    return found


def _times(turn: Turn) -> dict[str, list[float]]:
    if turn.samples_ns is None:
        alone = [] if turn.median_ns is None else [turn.median_ns / 1e3]
        return {"median of a turn, its samples not kept": alone}
    spoilt = set(turn.disturbed_at)
    clean = [ns / 1e3 for at, ns in enumerate(turn.samples_ns) if at not in spoilt]
    other = [ns / 1e3 for at, ns in enumerate(turn.samples_ns) if at in spoilt]
    return {"sample": clean, "disturbed sample": other}


def _sound(times_us: Sequence[float]) -> list[float]:
    low, high = DAMAGED_US
    return [one for one in times_us if low < one < high]


def _panel(axes: "Axes", row: Any, strips: Sequence[_Strip], *, rasterized: bool) -> None:
    shown = strips[:STRIPS]
    low, high = _range(row, shown)
    unit, scale = next((name, size) for name, size in UNITS if low >= size or size == 1.0)
    if row.time_us_high > row.time_us_low:
        axes.axvspan(row.time_us_low / scale, row.time_us_high / scale, color=BAND, zorder=0)
    if row.time_us > 0:
        axes.axvline(row.time_us / scale, color=GREY, linewidth=1.0, linestyle="--", zorder=1)
    for place, one in enumerate(shown):
        for name, some in one.times_us.items():
            lone = name == "median of the repeat"
            axes.plot(
                *(np.array(some) / scale, place + (0.0 if lone else _spread(len(some)))),
                linestyle="",
                rasterized=rasterized and not lone,
                zorder=3 if lone else 2,
                **_LOOKS[name],
            )
        beyond = [us / scale for us in one.every_us if not low <= us <= high]
        _beyond(axes, place, beyond, unit=unit, middle=high / scale)
    _time_axis(axes, low / scale, high / scale)
    axes.set_yticks(range(len(shown)), [f"repeat {one.repeat + 1}" for one in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    verdict = row.verdict if isinstance(row.verdict, str) else row.status
    cut = f", first {STRIPS} of {len(strips)} repeats" if len(strips) > STRIPS else ""
    title = f"{row.precision}  {printable(problem_of(row), NAME)}\n{printable(row.kernel, NAME)}"
    dress(axes, x=f"time per launch, {unit}", y="", title=f"{title}  ({verdict}{cut})", grid="x")


def _range(row: Any, strips: Sequence[_Strip]) -> tuple[float, float]:
    """What the axis holds, in µs: the bulk, and all but the far outliers, which would press it
    flat; the medians and the interval always."""
    every = [us for one in strips for us in one.every_us]
    first, third = np.percentile(every, (25, 75)).tolist()
    reach = REACH * max(third - first, 0.002 * third)
    kept = [row.time_us_low, row.time_us_high, row.time_us]
    kept += [us for one in strips for us in one.times_us.get("median of the repeat", ())]
    kept = [us for us in kept if us > 0]
    bulk = [us for us in every if first - reach <= us <= third + reach]
    return min(*bulk, *kept), max(*bulk, *kept)


def _beyond(axes: "Axes", place: int, times: Sequence[float], *, unit: str, middle: float) -> None:
    """How many samples lie left and right of the axis, which `middle` is on, and how far."""
    fast, slow = [one for one in times if one < middle], [one for one in times if one > middle]
    for some, said, at, side in (
        (
            fast,
            f"← {len(fast)} more, down to {digits(min(fast, default=0), 3)} {unit}",
            0.005,
            "left",
        ),
        (
            slow,
            f"{len(slow)} more, up to {digits(max(slow, default=0), 3)} {unit} →",
            0.995,
            "right",
        ),
    ):
        if some:
            axes.annotate(
                *(said, (at, place - 0.4)),
                xycoords=("axes fraction", "data"),
                ha=side,
                va="center",
                fontsize=SMALL - 1,
                color=GREY,
            )


def _spread(count: int) -> Any:
    """Heights within a strip: evenly spread and in no order, the same each time."""
    golden = (math.sqrt(5) - 1) / 2
    return 0.5 * (np.arange(1, count + 1) * golden % 1.0) - 0.25 if count > 1 else np.zeros(count)


def _time_axis(axes: "Axes", low: float, high: float) -> None:
    if high > STRETCHED * low:
        room = (high / low) ** 0.03
        axes.set_xlim(low / room, high * room)
        axes.set_xscale("log")
        rates(axes.xaxis, low, high)
        return
    room = max(0.04 * (high - low), 1e-4 * high)
    axes.set_xlim(low - room, high + room)
    axes.locator_params(axis="x", nbins=5)
    axes.ticklabel_format(axis="x", useOffset=False, style="plain")
