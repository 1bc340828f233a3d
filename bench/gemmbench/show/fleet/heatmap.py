"""The map of a fleet: its devices as cells, a row a node."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.lines import Line2D

from gemmbench.analysis.fleet.model import KINDS, FleetReport
from gemmbench.quantities import counted
from gemmbench.show.fleet.grid import Grid, grid_of
from gemmbench.show.fleet.words import verdict
from gemmbench.show.style import (
    BODY,
    CHARACTER_IN,
    GREY,
    SMALL,
    dress,
    figure,
    head,
    label,
)
from gemmbench.show.text import printable
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAP = LinearSegmentedColormap.from_list(
    "gemmbench-slow-fast",
    [(0.0, "#4A1486"), (0.25, "#8C4FA8"), (0.5, "#CFC8B8"), (1.0, "#F2E200")],
)
"""Violet is slow, sand the median, yellow fast: violet against yellow is apart to every kind of
colour vision, and in grey darker is slower."""

MARKS = {"slow": "v", "hot": "^", "throttled": "s", "wrong": "X", "missing": "P"}
ENDS = 15.0
"""Percent, both ways: the same colour is the same speed on every map, and the noise of a sound
fleet looks like nothing."""

VECTOR_CELLS = 2_000
"""More cells are one picture inside an SVG, not a path each."""

CELLS_IN = (0.34, 0.28, 0.22, 0.17)
WIDEST_IN, HIGHEST_IN = 11.0, 7.5
"""Names stand beside their rows where cells of one of these sizes leave room for them."""

DIGITS = 16
"""Indices above the columns of a block that is no wider."""


def heatmap(found: FleetReport) -> "Figure":
    """Every device as a cell: its speed over the median of the others', over all its cases.

    Raises GemmbenchError where there is no device.
    """
    if not found.devices:
        raise GemmbenchError("nothing to draw: no device is in these files")
    grid, cell_in, named = _laid_out(found)
    rows, columns = grid.shape
    values, unjudged = np.full(grid.shape, np.nan), np.full(grid.shape, np.nan)
    for device, (row, column) in zip(found.devices, grid.at, strict=True):
        values[row, column] = 100 * (device.relative - 1)
        if np.isnan(device.relative) and device.records + device.contended:
            unjudged[row, column] = 0
    has_any = not np.isnan(values).all()
    caption = _caption(found, grid, some_unjudged=not np.isnan(unjudged).all())
    width, height = max(5.6, cell_in * columns + 1.6), max(2.9, 1.9 + cell_in * rows)
    made = figure(width, height, caption=caption)
    axes = made.subplots()
    edges = np.arange(columns + 1), np.arange(rows + 1)
    if not np.isnan(unjudged).all():
        axes.pcolor(
            *(*edges, np.ma.masked_invalid(unjudged)),
            cmap=ListedColormap(["#F4F4F4"]),
            hatch="//////",
            edgecolor="#AAAAAA",
            linewidth=0.6,
        )
    norm = Normalize(-ENDS, ENDS)
    mesh = axes.pcolormesh(
        *(*edges, values), cmap=MAP, norm=norm, rasterized=values.size > VECTOR_CELLS
    )
    if cell_in > 0.1:
        mesh.set_edgecolor("white")
        mesh.set_linewidth(0.6)
    kinds = _mark(axes, found, grid, size=min(9.0, max(4.5, 45 * cell_in)))
    # A few devices are no larger than many: the rest stays empty.
    axes.set_xlim(0, max(columns, (width - 1.6) / cell_in))
    axes.set_ylim(max(rows, (height - 1.9) / cell_in), 0)
    axes.set_aspect("equal")
    dress(axes, x="", y="")
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    _labels(axes, grid, named=named)
    if has_any:
        bar = made.colorbar(
            ScalarMappable(norm, MAP), ax=axes, aspect=18, pad=0.02, fraction=0.06, extend="both"
        )
        bar.set_label("speed against\nthe others' median, %", fontsize=BODY)
        bar.ax.tick_params(labelsize=SMALL)
    axes.set_anchor("NW")  # the bar has moved it
    looks = [_look(kind) for kind in kinds]
    head(made, _title(found), looks, list(kinds), least=1)
    return made


def _laid_out(found: FleetReport) -> tuple[Grid, float, bool]:
    """The grid, the size of a cell in inches, and whether each row has its name beside it."""
    plain = grid_of(found.devices)
    longest = max((len(name) for *_, name in plain.labels), default=0)
    for cell_in in CELLS_IN if longest else ():
        grid = grid_of(found.devices, gap=2 + int(CHARACTER_IN * longest / cell_in))
        rows, columns = grid.shape
        if columns * cell_in <= WIDEST_IN and rows * cell_in <= HIGHEST_IN:
            return grid, cell_in, True
    return plain, min(0.34, max(0.028, 9.5 / plain.shape[1])), False


def _mark(axes: "Axes", found: FleetReport, grid: Grid, *, size: float) -> list[str]:
    """A mark on each flagged device: of several flags that of the gravest. Returns those used."""
    first: dict[int, str] = {}
    for one in sorted(found.confirmed, key=lambda one: KINDS.index(one.kind)):
        first.setdefault(one.device, one.kind)
    for kind in KINDS:
        places = [grid.at[device] for device, name in first.items() if name == kind]
        if places:
            axes.plot(
                *([column + 0.5 for _, column in places], [row + 0.5 for row, _ in places]),
                linestyle="none",
                marker=MARKS[kind],
                markersize=size,
                markerfacecolor="white",
                markeredgecolor="black",
                markeredgewidth=0.8,
                clip_on=False,
            )
    return [kind for kind in KINDS if kind in first.values()]


def _look(kind: str) -> Line2D:
    return Line2D(
        *([], []),
        linestyle="none",
        marker=MARKS[kind],
        markersize=7,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=0.8,
    )


def _labels(axes: "Axes", grid: Grid, *, named: bool) -> None:
    axes.set_yticks([])
    axes.set_xticks([])
    blocks = sorted({left for _, left, _ in grid.labels})
    if named:
        for row, left, name in grid.labels:
            axes.text(
                *(left - 0.3, row + 0.5, label(name)),
                fontsize=SMALL,
                ha="right",
                va="center",
            )
        axes.xaxis.tick_top()
        if grid.by_index and 1 < grid.wide <= DIGITS:
            axes.set_xticks(
                [left + index + 0.5 for left in blocks for index in range(grid.wide)],
                [str(index) for _ in blocks for index in range(grid.wide)],
                color=GREY,
            )
        return
    firsts = [(left, name) for row, left, name in grid.labels if row == 0]
    longest = max((len(printable(name, 16)) for _, name in firsts), default=1)
    room = max(1, int(10 / (CHARACTER_IN * (longest + 3))))
    step = -(-len(firsts) // room) if firsts else 1
    axes.set_xticks(
        [left + 0.5 for left, _ in firsts[::step]],
        [label(f"{printable(name, 16)} …") for _, name in firsts[::step]],
    )
    axes.xaxis.tick_top()
    for text in axes.get_xticklabels():
        text.set_horizontalalignment("left")


def _title(found: FleetReport) -> str:
    models = list(dict.fromkeys(one.model.text for one in found.devices if one.model is not None))
    more = f" and {len(models) - 1} more" if len(models) > 1 else ""
    names = f": {printable(models[0], 60)}{more}" if models else ""
    return f"{counted(len(found.devices), 'device')}{names}"


def _caption(found: FleetReport, grid: Grid, *, some_unjudged: bool) -> str:
    parts = [part for part in verdict(found).split(". ") if part]
    order = "in the order of the files"
    if grid.by_node:
        order = "a row a node, a column an index" if grid.by_index else "a row a node"
    parts += ["median over the cases", order, "white: not measured"]
    parts += ["hatched: measured, not judged"] if some_unjudged else []
    parts += ["synthetic: never measured"] if found.synthetic else []
    return " · ".join(part.rstrip(".") for part in parts)
