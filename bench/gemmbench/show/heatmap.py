"""The figure of rates over M and N: a cell a problem."""

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Patch, Rectangle

from gemmbench.analysis.grids import Grid, grids, state
from gemmbench.show.drawable import IMPOSSIBLE, NAME, WIDE_RANGE, one_run, within_reach
from gemmbench.show.results import caption
from gemmbench.show.style import (
    BODY,
    CHARACTER_IN,
    GREY,
    SMALL,
    dress,
    figure,
    grid_of,
    head,
    legend_in,
    rate_unit,
)
from gemmbench.show.text import digits, half_width, printable
from gemmbench.show.ticks import rates, short
from gemmkernels.errors import GemmbenchError
from gemmkernels.precision import SPARSE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 9
"""More can't be read: of each precision the fastest come first."""

SIDE = 250
"""More sizes on one axis have less than a pixel and a half each."""

VECTOR_CELLS = 1_000
"""More cells are one picture inside an SVG, not a path each."""

PANEL_IN = (3.1, 2.5)
MAP = "cividis"
"""Even steps to the eye, the same to colour-blind ones, and from dark to light in grey."""

_LOOKS: dict[str, dict[str, Any]] = {
    "not measured": {"facecolor": "white", "edgecolor": "#CCCCCC"},
    "unsupported": {"facecolor": "#EEEEEE", "edgecolor": GREY, "hatch": "----"},
    "contended": {"facecolor": "white", "edgecolor": GREY, "hatch": "...."},
    "failed": {"facecolor": "white", "edgecolor": "#D55E00", "hatch": "xxxx"},
    "impossible": {"facecolor": "white", "edgecolor": "#CC79A7", "hatch": "////"},
}


def heatmap(rows: "pd.DataFrame") -> "Figure":
    """Rate over M and N, a panel a kernel, precision and K: percent of the dense peak where every
    panel has one, else TFLOP/s; of 2:4 sparse precisions the sparse ones.

    A panel has at least two sizes. `rows` are one run's, as `analysis.speedup.ladder` returns them.
    Raises GemmbenchError where there is no panel.
    """
    one_run(rows, "record")
    rows = rows.assign(
        tflops=rows["tflops"].fillna(rows["sparse_tflops"]),
        pct_peak=rows["pct_peak"].fillna(rows["pct_sparse_peak"]),
    )
    within_reach(rows[rows["tflops"].gt(0)], "tflops")
    every = grids(rows)
    panels = every[:PANELS]
    if not panels:
        raise GemmbenchError(
            "nothing to draw: no kernel with a rate that counts has two sizes of M or N at one K; "
            "measure some: "
            "gemmbench run --m 512:8192:x2 --n 512:8192:x2 --k 4096"
        )
    known = [row for one in panels for row in one.cells.values() if state(row) == "ok"]
    of_peak = all(row.pct_peak > 0 for row in known)
    values = [_value(row, of_peak=of_peak) for row in known]
    low, high = min(values), max(values)
    wide = high > WIDE_RANGE * low
    norm = LogNorm(low, high) if wide and low < high else Normalize(0, high)
    down, across = grid_of(len(panels))
    width = max(6.8, 0.9 + (PANEL_IN[0] + 0.6) * across)
    states = [name for name in _LOOKS if any(name in _states(one) for one in panels)]
    height = 1.1 + (PANEL_IN[1] + 0.7) * down + legend_in(width, states)
    more = f" · {len(panels)} of {len(every)} panels, the fastest of each precision first"
    more = more if len(panels) < len(every) else ""
    beyond = f" · impossible: {IMPOSSIBLE}" if "impossible" in states else ""
    made = figure(width, height, caption=f"{caption(rows)}{_widths(known)}{beyond}{more}")
    grid = made.subplots(down, across, squeeze=False).flatten()
    for axes, one in zip(grid, panels, strict=False):
        _draw(axes, one, norm, of_peak=of_peak)
        dress(axes, x="N", y="M", title=_title(one))
        axes.grid(visible=False)
        axes.spines[["top", "right"]].set_visible(True)  # what is not measured is as white outside
    for axes in grid[len(panels) :]:
        axes.remove()
    units = " and ".join(sorted({rate_unit(one.precision) for one in panels}))
    bar = made.colorbar(
        ScalarMappable(norm, MAP), ax=list(grid[: len(panels)]), aspect=30, pad=0.02, shrink=0.9
    )
    sparse = any(one.precision in SPARSE for one in panels)
    peak = "% of peak, dense or sparse as is counted" if sparse else "% of dense peak"
    bar.set_label(peak if of_peak else units, fontsize=BODY)
    bar.ax.tick_params(labelsize=SMALL)
    if wide and low < high:
        rates(bar.ax.yaxis, low, high)
    head(
        made,
        "Percent of peak over M and N" if of_peak else "Rate over M and N",
        [Patch(**_LOOKS[name], linewidth=0.6) for name in states],
        states,
        least=1,
    )
    return made


def _title(one: Grid) -> str:
    """What the cells of a panel share."""
    parts = [f"K = {one.k}"]
    parts += [f"batch {one.batch}"] if one.batch > 1 else []
    parts += [f"{one.experts} experts"] if one.experts > 1 else []
    parts += [one.layout] if one.layout != "nn" else []
    parts += [printable(one.modes, 24)] if one.modes else []
    return f"{one.precision}  {', '.join(parts)}\n{printable(one.kernel, NAME)}"


def _states(one: Grid) -> set[str]:
    return {state(row) for row in one.cells.values()} | (set() if one.is_full else {"not measured"})


def _value(row: Any, *, of_peak: bool) -> float:
    return float(row.pct_peak if of_peak else row.tflops)


def _draw(axes: "Axes", one: Grid, norm: Normalize, *, of_peak: bool) -> None:
    """Sizes in order, each as wide as the others: M upwards, N to the right."""
    across, up = (sorted({place[side] for place in one.cells}) for side in (1, 0))
    if max(len(across), len(up)) > SIDE:
        raise GemmbenchError(
            f"{max(len(across), len(up))} sizes on one axis are too many to draw, {SIDE} at most: "
            "choose some with --problem"
        )
    column, line = ({size: at for at, size in enumerate(sizes)} for sizes in (across, up))
    values = np.full((len(up), len(across)), math.nan)
    room_in = (PANEL_IN[0] / len(across), PANEL_IN[1] / len(up))
    colours = matplotlib.colormaps[MAP]
    others: dict[str, list[Rectangle]] = {}
    said: dict[tuple[int, int], tuple[list[str], str]] = {}
    for (m, n), row in one.cells.items():
        at = (column[n], line[m])
        how = state(row)
        if how != "ok":
            others.setdefault(how, []).append(Rectangle(at, 1, 1))
            continue
        values[at[1], at[0]] = value = _value(row, of_peak=of_peak)
        is_dark = sum(colours(norm(value))[:3]) < 1.35
        said[at] = _said(row, value), "white" if is_dark else "#111111"
    for how, some in others.items():
        axes.add_collection(PatchCollection(some, linewidth=0.0, **_LOOKS[how]))
    axes.pcolormesh(
        *(np.arange(len(across) + 1), np.arange(len(up) + 1), values),
        cmap=MAP,
        norm=norm,
        rasterized=values.size > VECTOR_CELLS,
    )
    _figures(axes, said, room_in)
    axes.set_xlim(0, len(across))
    axes.set_ylim(0, len(up))
    wide = CHARACTER_IN * (len(str(across[-1])) + 1.5)
    _ticks(axes.xaxis, across, PANEL_IN[0] / wide)
    _ticks(axes.yaxis, up, PANEL_IN[1] / 0.17)


def _said(row: Any, value: float) -> list[str]:
    """The value and half its interval."""
    half = half_width(row.time_us, row.time_us_low, row.time_us_high)
    return [digits(value, 3) if 0.01 <= value < 1000 else short(value), *([half] if half else [])]


def _figures(
    axes: "Axes",
    said: dict[tuple[int, int], tuple[list[str], str]],
    room_in: tuple[float, float],
) -> None:
    """What is said in the cells: as many lines as have room in all of them, or none."""
    for count, high_in in ((2, 0.34), (1, 0.15)):
        longest = max(len(line) for lines, _ in said.values() for line in lines[:count])
        if room_in[1] >= high_in and room_in[0] >= longest * 0.9 * CHARACTER_IN + 0.05:
            break
    else:
        return
    for (x, y), (lines, colour) in said.items():
        axes.text(
            *(x + 0.5, y + 0.5, "\n".join(lines[:count])),
            ha="center",
            va="center",
            fontsize=SMALL - 0.5,
            color=colour,  # no ink: a page in the dark must not turn it
        )


def _ticks(axis: Any, sizes: Sequence[int], room: float) -> None:
    """As many of the sizes as there is room for, from the first one."""
    step = max(1, -(-len(sizes) // max(1, int(room))))
    shown = range(0, len(sizes), step)
    axis.set_ticks([at + 0.5 for at in shown], [str(sizes[at]) for at in shown])


def _widths(rows: Sequence[Any]) -> str:
    """How wide the intervals are: of most cells there is no room to tell it."""
    widths = [
        (row.time_us_high - row.time_us_low) / 2 / row.time_us
        for row in rows
        if row.time_us_high > row.time_us_low
    ]
    if not widths:
        return ""
    middle, widest = (digits(100 * one, 2) for one in (median(widths), max(widths)))
    return f" · 95% intervals: median ±{middle}%, widest ±{widest}%"
