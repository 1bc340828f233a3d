"""The figure of a comparison: a ratio and its interval a row."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gemmbench.analysis.comparison import Change, Compared, Comparison, Measured
from gemmbench.show.results import SOFTWARE
from gemmbench.show.style import (
    CHARACTER_IN,
    COLOURS,
    GREY,
    Look,
    dress,
    figure,
    head,
    label,
    legend_in,
)
from gemmbench.show.text import device_named, printable
from gemmbench.show.ticks import ratios
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 60
"""More rows are too many to read: those that changed most are drawn."""

NAME = 40
DIFFERENCES = 6
BAND = "#E4E4E4"

LOOKS: dict[Change, Look] = {
    "faster": Look(COLOURS[2], "^", "", "-"),
    "slower": Look(COLOURS[1], "v", "", "-"),
    "same": Look(COLOURS[0], "o", "", "-"),
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
    words = [word for word in LOOKS if found.count(word)]
    said = [f"{word} ({found.count(word)})" for word in words]
    said += ["95% interval", f"no change that counts: ±{100 * found.delta:g}%"]
    height = 1.7 + 0.2 * len(rows) + legend_in(width, said)
    made = figure(width, height, caption=_caption(found, len(rows)))
    axes = made.subplots()
    axes.axvspan(1 / (1 + found.delta), 1 + found.delta, color=BAND, zorder=0)
    axes.axvline(1.0, color=GREY, linewidth=0.8)
    for word in words:
        _marks(axes, [(at, row) for at, row in enumerate(rows) if row.verdict == word], LOOKS[word])
    axes.set_yticks(range(len(rows)), [label(name) for name in names])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    ends = [end for row in rows for end in (row.ratio, row.ratio_low, row.ratio_high) if end > 0]
    low, high = min(*ends, 0.97), max(*ends, 1.03)
    low, high = low * (low / high) ** 0.04, high * (high / low) ** 0.04
    axes.set_xlim(low, high)
    ratios(axes.xaxis, low, high)
    dress(axes, x="b / a, times as fast", y="", grid="x")
    handles: list[Artist] = [Line2D([], [], linestyle="", **LOOKS[word].mark(5)) for word in words]
    handles += [Line2D([], [], color=GREY, linewidth=1.4), Patch(facecolor=BAND)]
    head(made, "How fast is b against a?", handles, said)
    return made


def _marks(axes: "Axes", placed: Sequence[tuple[int, Compared]], one: Look) -> None:
    """The rows of one verdict; one without an interval has its mark alone."""
    if not placed:
        return
    places = [at for at, _ in placed]
    axes.hlines(
        places,
        [row.ratio_low for _, row in placed],
        [row.ratio_high for _, row in placed],
        colors=one.colour,
        linewidth=1.4,
    )
    axes.plot([row.ratio for _, row in placed], places, linestyle="", **one.mark(5))


def _caption(found: Comparison, drawn: int) -> str:
    told = [f"a: {_side(found.a)}", f"b: {_side(found.b)}", f"preset {found.a.preset}"]
    common = ((name, found.shared.get(name)) for name in (*SOFTWARE, "data", "cache"))
    told += [f"{name} {printable(text, NAME)}" for name, text in common if text]
    others = [one for one in found.differs if one.what != "device"]  # the sides say that
    for one in others[:DIFFERENCES]:
        a, b = (printable(text, NAME) or "none" for text in (one.a, one.b))
        told.append(f"{one.what}: {a} → {b}")
    if found.unlike:
        told.append(f"measured differently: {printable(', '.join(found.unlike), 80)}")
    if drawn < len(found.rows):
        told.append(f"{drawn} of {len(found.rows)} rows, those that changed most")
    return " · ".join(told)


def _side(one: Measured) -> str:
    """The device and its file, and what keeps its figures from being a measurement of ours."""
    told = [f"measured by {one.tool}"] if one.tool else []
    told += ["synthetic: never measured"] if one.synthetic else []
    told += [printable(one.files[0], 60)] if one.files else []
    told += [f"{len(one.files) - 1} more files"] if len(one.files) > 1 else []
    device = printable(device_named(one.device, one.partition), NAME)
    return f"{device} ({', '.join(told)})" if told else device


def _name(row: Compared) -> str:
    layout = "" if row.layout == "nn" else f" {row.layout}"
    return f"{printable(row.name, NAME)}  {printable(row.precision, NAME)}  {row.shape}{layout}"
