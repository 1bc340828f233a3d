"""The figures of a fleet: a map of its devices, and the spread of each case over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from gemmbench.analysis.fleet.model import FleetReport, Spread
from gemmbench.analysis.fleet.rule import DELTA
from gemmbench.show.fleet.heatmap import VECTOR_CELLS, heatmap
from gemmbench.show.style import CHARACTER_IN, GREY, dress, figure, head, save
from gemmbench.show.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CASES = 20
DOTS = 200
"""Of more devices in a case only those over δ off are dots."""

SPANS = 20
"""Of fewer devices a share lies between two of them, where no device is."""


def draw(found: FleetReport, stem: Path) -> list[Path]:
    """Write the map as `stem`.png and .svg, the spread as `stem`-cases.png and .svg.

    Raises GemmbenchError where they cannot be written, or there is nothing to draw.
    """
    written = save(heatmap(found), stem)
    if found.cases:
        written += save(spreads(found), stem.with_name(f"{stem.name}-cases"))
    return written


def spreads(found: FleetReport) -> "Figure":
    """The spread of speeds of each case over the devices: 5 to 95% and 25 to 75% of many, and the
    devices themselves where they are few, or over δ off."""
    shown = found.cases[:CASES]
    names = [_case_text(found, one) for one in shown]
    longest = max(map(len, names))
    width = min(12.0, 5.5 + CHARACTER_IN * longest)
    more = f" · {len(shown)} of {len(found.cases)} cases" if len(found.cases) > len(shown) else ""
    note = " · synthetic: never measured" if found.synthetic else ""
    lines = "a dot a device"
    if any(one.n >= SPANS for one in shown):
        lines = f"thin: 5 to 95% of the devices · thick: 25 to 75%, from {SPANS} devices on"
    made = figure(
        *(width, 1.6 + 0.3 * len(shown)),
        caption=f"{lines}{more}{note}",
    )
    if layout := made.get_layout_engine():
        layout.set(rect=(0.03, 0, 0.97, 1))  # type: ignore[call-arg]  # a browser's text is wider
    axes = made.subplots()
    slow = {one.device for one in found.confirmed if one.kind == "slow"}
    for place, one in enumerate(shown):
        _row(axes, place, one, slow)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.axvline(-100 * DELTA, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks(range(len(shown)), [name.replace("$", r"\$") for name in names])
    dress(axes, x="speed against the median of the case, %", y="", grid="x")
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=3.5, color="#0072B2"),
        Line2D([], [], linestyle="none", marker="v", markersize=6, color="#D55E00"),
        Line2D([], [], linestyle="--", linewidth=0.8, color=GREY),
    ]
    labels = ["a device", "a device that is flagged slow", f"{100 * DELTA:g}% below the median"]
    head(made, "Each case over the devices, the one with the slowest device first", handles, labels)
    return made


def _row(axes: "Axes", place: int, one: Spread, slow: set[int]) -> None:
    percent = 100 * (one.relative - 1)
    for (low, high), wide in (((5, 95), 1.0), ((25, 75), 5.0)) if one.n >= SPANS else ():
        ends = np.percentile(percent, [low, high])
        axes.plot(ends, [place, place], color="#56B4E9", linewidth=wide, solid_capstyle="butt")
    is_slow = np.isin(one.devices, list(slow))
    plain = ~is_slow if one.n <= DOTS else ~is_slow & (np.abs(percent) > 100 * DELTA)
    for which, marker, size, colour in (
        (plain, "o", 2.6, "#0072B2"),
        (is_slow, "v", 5.0, "#D55E00"),
    ):
        values = percent[which]
        axes.plot(
            *(values, np.full(len(values), place)),
            linestyle="none",
            marker=marker,
            markersize=size,
            color=colour,
            markeredgewidth=0,
            rasterized=len(values) > VECTOR_CELLS,
        )


def _case_text(found: FleetReport, one: Spread) -> str:
    models: Sequence[object] = list({row.case.model for row in found.cases})
    model = f"{one.case.model.text}: " if len(models) > 1 else ""
    return printable(f"{model}{one.case.text}", 60)
