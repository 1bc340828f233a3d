"""The figure of a comparison: a ratio and its interval a row."""

import math
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from gemmbench.analysis.comparison import Compared, Comparison, Measured
from gemmbench.show.style import (
    CHARACTER_IN,
    GREY,
    Look,
    dress,
    figure,
    head,
    label,
    look,
    ratios,
)
from gemmbench.show.text import device_named, printable
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 60
"""More rows are too many to read: those that changed most are drawn."""

LOOKS: dict[str, Look] = {
    "faster": look(2),
    "slower": look(1),
    "same": look(0),
    "unsure": Look(GREY, "x", "", "-"),
}


def compare(found: Comparison) -> "Figure":
    """b over a, a row a problem and kernel, right of the line where b is faster.

    Raises GemmbenchError if there is no row.
    """
    if not found.rows:
        raise GemmbenchError("nothing to draw: the comparison has no rows")
    by_change = sorted(found.rows, key=lambda row: -abs(math.log(row.ratio)))
    chosen = set(map(id, by_change[:ROWS]))
    rows = [row for row in found.rows if id(row) in chosen]
    names = [_name(row) for row in rows]
    width = min(14.0, 4.8 + CHARACTER_IN * max(map(len, names)))
    told = "" if len(rows) == len(found.rows) else f" · {len(rows)} of {len(found.rows)} rows"
    made = figure(
        *(width, 1.9 + 0.2 * len(rows)),
        caption=f"a: {_side(found.a)} · b: {_side(found.b)} · preset {found.a.preset}{told}",
    )
    axes = made.subplots()
    axes.axvspan(1 / (1 + found.delta), 1 + found.delta, color="#EEEEEE", zorder=0)
    axes.axvline(1.0, color=GREY, linewidth=0.8)
    for place, row in enumerate(rows):
        one = LOOKS[row.verdict]
        if not math.isnan(row.ratio_low):
            axes.plot([row.ratio_low, row.ratio_high], [place, place], color=one.colour, lw=1.4)
        axes.plot([row.ratio], [place], color=one.colour, marker=one.marker, markersize=5)
    axes.set_yticks(range(len(rows)), [label(name) for name in names])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    ends = [end for row in rows for end in (row.ratio, row.ratio_low, row.ratio_high) if end > 0]
    low, high = min(*ends, 0.97), max(*ends, 1.03)
    low, high = low * (low / high) ** 0.04, high * (high / low) ** 0.04
    axes.set_xlim(low, high)
    ratios(axes.xaxis, low, high)
    dress(axes, x="b / a, times as fast", y="", grid="x")
    shown = [word for word in LOOKS if any(row.verdict == word for row in rows)]
    handles = [
        Line2D([], [], color=LOOKS[word].colour, marker=LOOKS[word].marker, markersize=5)
        for word in shown
    ]
    head(made, "How fast is b against a?", handles, shown)
    return made


def _side(one: Measured) -> str:
    told = [f"measured by {one.tool}"] if one.tool else []
    told += ["synthetic: never measured"] if one.synthetic else []
    device = device_named(one.device, one.partition)
    return f"{device} ({', '.join(told)})" if told else device


def _name(row: Compared) -> str:
    layout = "" if row.layout == "nn" else f" {row.layout}"
    return f"{printable(row.name, 40)}  {row.precision}  {row.shape}{layout}"
