"""The roofline: what arithmetic and bandwidth allow, of the sheet and measured, and the points."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gemmbench.analysis.explain import Explained
from gemmbench.analysis.gap import Gap
from gemmbench.analysis.gap_roofs import Ceilings, Ends
from gemmbench.analysis.speedup import rung
from gemmbench.show.drawable import impossible
from gemmbench.show.results import caption
from gemmbench.show.style import (
    GREY,
    INTERVALS,
    SMALL,
    Look,
    dress,
    figure,
    grid_of,
    head,
    kernel_looks,
    legend_in,
    rate_unit,
    spans,
)
from gemmbench.show.text import digits, half_width, printable
from gemmbench.show.ticks import rates
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = 40
MARKS = 300
VOID = "measured roof void: a verified kernel beat it"
_LINES: dict[str, dict[str, Any]] = {
    "spec sheet": {"color": GREY, "linestyle": (0, (5, 3)), "linewidth": 1.2},
    "measured roofs": {"color": "black", "linestyle": "-", "linewidth": 1.2},
    "measured, from cache": {"color": "black", "linestyle": (0, (1, 1.5)), "linewidth": 1.2},
}
BAND: dict[str, Any] = {"facecolor": "#EEEEEE", "linewidth": 0.0}
BAND_NAME = "their 95% intervals"


def roofline(found: Explained) -> "Figure":
    """TFLOP/s over FLOP per byte of the fewest bytes that must move; a panel a precision. A band is
    the interval of a measured roof. What is impossible is no point.

    Raises GemmbenchError where no precision has a peak or a measured roof.
    """
    over = [one.precision for one in found.ceilings if one.tflops]
    if not over:
        why = found.gaps[0].causes.why_not if found.gaps else "no case is sound"
        raise GemmbenchError(f"nothing to draw: {why}")
    beyond = found.rows["impossible"]
    counts = [one for one, too_fast in zip(found.gaps, beyond, strict=True) if not too_fast]
    gaps = [one for one in counts if one.case.precision in over]
    of_points = {one.case.precision for one in gaps}
    panels = [one for one in found.ceilings if one.precision in of_points]
    if not panels:
        raise GemmbenchError("nothing to draw: no case has a rate that counts")
    rungs = {one.case.kernel: rung(one.case.kernel, one.case.tier) for one in gaps}
    kernels = sorted(rungs, key=rungs.__getitem__)
    if len(kernels) > MARKS:
        raise GemmbenchError(f"{len(kernels)} kernels are too many to draw, {MARKS} at most")
    looks = kernel_looks(kernels)
    down, across = grid_of(len(panels))
    width = 6.8 if across == 1 else 4.3 * across
    said = [*_LINES, BAND_NAME, *(printable(name, NAME) for name in kernels)]
    height = 1.0 + (3.9 if down == 1 else 3.1) * down + legend_in(width, said)
    without = [one.precision for one in found.ceilings if not one.tflops and not one.void]
    told = f" · no peak and no roof: {', '.join(without)}" if without else ""
    void = [one.precision for one in found.ceilings if not one.tflops and one.void]
    told += f" · no peak, and {VOID}: {', '.join(void)}" if void else ""
    told += impossible(found.rows)
    made = figure(width, height, caption=f"{caption(found.rows)} · {INTERVALS}{told}")
    grid = made.subplots(down, across, squeeze=False).flatten()
    drawn: set[str] = set()
    for axes, one in zip(grid, panels, strict=False):
        part = [gap for gap in gaps if gap.case.precision == one.precision]
        drawn |= _panel(axes, one, part, looks)
    for axes in grid[len(panels) :]:
        axes.remove()
    lines: list[Artist] = [
        Line2D([], [], **style) for name, style in _LINES.items() if name in drawn
    ]
    lines += [Patch(**BAND)] if BAND_NAME in drawn else []
    points = [Line2D([], [], linestyle="", **looks[name].mark(5)) for name in kernels]
    said = [name for name in (*_LINES, BAND_NAME) if name in drawn]
    legend = [*said, *(printable(name, NAME) for name in kernels)]
    head(made, "Roofline", [*lines, *points], legend)
    return made


def _panel(axes: "Axes", over: Ceilings, gaps: Sequence[Gap], looks: dict[str, Look]) -> set[str]:
    """Draw one precision; returns which kinds of lines it has."""
    sheet = (over.sheet_tflops, over.sheet_gbps)
    measured = (over.roof_tflops, over.memory_gbps)
    cached = (over.roof_tflops, over.cache_gbps)
    roofs = dict(zip(_LINES, (sheet, measured, cached), strict=True))
    intensities = [one.case.intensity for one in gaps]
    ridges = [1e3 * tflops / gbps for tflops, gbps in roofs.values() if tflops > 0 and gbps > 0]
    low, high = min([*intensities, *ridges]) / 2.5, max([*intensities, *ridges]) * 2.5
    ends = {"measured roofs": over.memory_ends, "measured, from cache": over.cache_ends}
    drawn, least = set(), []
    for name, (tflops, gbps) in roofs.items():
        if name == "measured, from cache" and not gbps > 0:
            continue
        if not tflops > 0 and not gbps > 0:
            continue
        x = np.geomspace(low, high, 200)
        if not tflops > 0:  # a slope alone, up to the roof that is known
            x = x[x * gbps / 1e3 <= max(over.tflops)]
        y = np.fmin(tflops, x * gbps / 1e3)
        if not len(x):
            continue
        axes.plot(x, y, **_LINES[name])
        if name in ends and _band(axes, x, (tflops, gbps), (over.roof_ends, ends[name])):
            drawn.add(BAND_NAME)
        least.append(float(y[0]))
        drawn.add(name)
    for name, one in looks.items():
        _points(axes, [gap for gap in gaps if gap.case.kernel == name], one)
    values = [one.case.tflops for one in gaps]
    highest = [one for one in over.roof_ends if one > 0]
    bottom, top = min([*values, *least]) / 2, max([*values, *over.tflops, *highest])
    top *= (top / bottom) ** 0.28  # room above the roof, where no point can be, for what it is
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    axes.set_xscale("log")
    axes.set_yscale("log")
    rates(axes.xaxis, low, high)
    rates(axes.yaxis, bottom, top)
    axes.annotate(
        _figures(over),
        (0.02, 0.985),
        xycoords="axes fraction",
        va="top",
        fontsize=SMALL,
        color=GREY,
        linespacing=1.25,
    )
    dress(axes, x="FLOP/byte", y=rate_unit(over.precision), title=over.precision)
    return drawn


def _band(axes: "Axes", x: Any, roof: tuple[float, float], ends: tuple[Ends, Ends]) -> bool:
    """The interval of a measured roof, of (TFLOP/s, GB/s); returns if there is one to see."""
    either = [
        [end if end > 0 else value for value, end in zip(roof, side, strict=True)]
        for side in zip(*ends, strict=True)
    ]
    low, high = (np.fmin(tflops, x * gbps / 1e3) for tflops, gbps in either)
    if not (high > low).any():
        return False
    axes.fill_between(x, low, high, zorder=0, **BAND)
    return True


def _points(axes: "Axes", gaps: Sequence[Gap], how: Look) -> None:
    """All of a kernel at once: one by one a thousand of them take seconds."""
    if not gaps:
        return
    x, y, low, high = np.array(
        [
            (one.case.intensity, one.case.tflops, one.case.tflops_low, one.case.tflops_high)
            for one in gaps
        ],
        dtype=float,
    ).T
    low, high = np.minimum(low, y), np.maximum(high, y)
    spans(axes, x, low, high, cap=2.0, color=how.colour, linewidth=1.0)
    axes.plot(x, y, linestyle="", **how.mark(5 if len(gaps) <= 40 else 3.5))


def _figures(over: Ceilings) -> str:
    """What the lines stand for: so no label lies on a line or on another."""
    lines = []
    none = (math.nan, math.nan)
    for name, tflops, of_tflops, gbps, of_gbps in (
        ("sheet", over.sheet_tflops, none, over.sheet_gbps, none),
        ("measured", over.roof_tflops, over.roof_ends, over.memory_gbps, over.memory_ends),
        ("cache", math.nan, none, over.cache_gbps, over.cache_ends),
    ):
        parts = [f"{digits(tflops)} TFLOP/s{_half(tflops, of_tflops)}"] if tflops > 0 else []
        parts += [f"{digits(gbps)} GB/s{_half(gbps, of_gbps)}"] if gbps > 0 else []
        if parts:
            lines.append(f"{name}: {', '.join(parts)}")
    return "\n".join([*lines, *([VOID] if over.void else [])])


def _half(value: float, ends: Ends) -> str:
    low, high = ends
    return f" {half_width(value, low, high)}" if high > low else ""
