"""The figures of a fleet: a map of its devices, and the spread of each case over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.lines import Line2D

from gemmbench.analysis.fleet.model import KINDS, FleetReport, Spread
from gemmbench.analysis.fleet.rule import DELTA
from gemmbench.quantities import counted
from gemmbench.show.fleet.grid import Grid, grid_of
from gemmbench.show.fleet.words import verdict
from gemmbench.show.style import BODY, CHARACTER_IN, GREY, SMALL, dress, figure, head, save
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
LEAST_LOW, LEAST_HIGH = -10.0, 5.0
"""Percent: noise of a sound fleet must not look like a fault."""

MOST_LOW = -50.0
VECTOR_CELLS = 2_000
"""More cells are one picture inside an SVG, not a path each."""

LABELLED = 40
"""Names of more nodes can't be read: then the first of each block stands."""

CASES = 20
DOTS = 200
"""Of more devices in a case only those over δ off are dots."""


def draw(found: FleetReport, stem: Path) -> list[Path]:
    """Write the map as `stem`.png and .svg, the spread as `stem`-cases.png and .svg.

    Raises GemmbenchError where they cannot be written, or there is nothing to draw.
    """
    written = save(heatmap(found), stem)
    if found.cases:
        written += save(spreads(found), stem.with_name(f"{stem.name}-cases"))
    return written


def heatmap(found: FleetReport) -> "Figure":
    """Every device as a cell: its speed over the median of the others', over all its cases.

    Raises GemmbenchError where there is no device.
    """
    if not found.devices:
        raise GemmbenchError("nothing to draw: no device is in these files")
    grid = grid_of(found.devices)
    rows, columns = grid.shape
    cell_in = min(0.34, max(0.028, 9.5 / columns))
    named = len({left for _, left, _ in grid.labels}) == 1 and rows <= LABELLED
    longest = max((len(printable(name, 24)) for *_, name in grid.labels), default=0)
    beside = CHARACTER_IN * longest if named else 0.3
    width = max(5.6, beside + cell_in * columns + 1.6)
    height = max(2.6, 1.7 + cell_in * rows)
    made = figure(width, height, caption=_caption(found, grid))
    axes = made.subplots()
    values = np.full(grid.shape, np.nan)
    for device, (row, column) in zip(found.devices, grid.at, strict=True):
        values[row, column] = 100 * (device.relative - 1)
    norm = _norm(values)
    mesh = axes.pcolormesh(
        *(np.arange(columns + 1), np.arange(rows + 1), values),
        cmap=MAP,
        norm=norm,
        rasterized=values.size > VECTOR_CELLS,
    )
    if cell_in > 0.1:
        mesh.set_edgecolor("white")
        mesh.set_linewidth(0.6)
    kinds = _mark(axes, found, grid, size=min(9.0, max(4.5, 45 * cell_in)))
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal" if columns > 1 else 0.2)
    dress(axes, x="", y="")
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    _labels(axes, grid, named=named)
    bar = made.colorbar(
        ScalarMappable(norm, MAP), ax=axes, aspect=18, pad=0.02, fraction=0.06, extend="min"
    )
    bar.set_label("speed against the others' median, %", fontsize=BODY)
    bar.ax.tick_params(labelsize=SMALL)
    axes.set_anchor("NW")  # the bar has moved it
    looks = [_look(kind) for kind in kinds]
    head(made, _title(found), looks, list(kinds), least=1)
    return made


def _norm(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> TwoSlopeNorm:
    known = values[~np.isnan(values)]
    low = min(LEAST_LOW, float(known.min())) if len(known) else LEAST_LOW
    high = max(LEAST_HIGH, float(known.max())) if len(known) else LEAST_HIGH
    return TwoSlopeNorm(0.0, max(MOST_LOW, low), min(-MOST_LOW, high))


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
    if named:
        axes.set_yticks(
            [row + 0.5 for row, _, _ in grid.labels],
            [printable(name, 24) for *_, name in grid.labels],
        )
        axes.set_xticks([])
        if grid.by_node:
            axes.set_xlabel("devices of the node, by index", fontsize=BODY)
        return
    axes.set_yticks([])
    firsts = [(left, name) for row, left, name in grid.labels if row == 0]
    longest = max((len(printable(name, 16)) for _, name in firsts), default=1)
    room = max(1, int(10 / (CHARACTER_IN * (longest + 3))))
    step = -(-len(firsts) // room) if firsts else 1
    axes.set_xticks(
        [left + 0.5 for left, _ in firsts[::step]],
        [f"{printable(name, 16)} …" for _, name in firsts[::step]],
    )
    axes.xaxis.tick_top()
    for text in axes.get_xticklabels():
        text.set_horizontalalignment("left")


def _title(found: FleetReport) -> str:
    models = list(dict.fromkeys(one.model.text for one in found.devices if one.model is not None))
    more = f" and {len(models) - 1} more" if len(models) > 1 else ""
    names = f": {printable(models[0], 60)}{more}" if models else ""
    return f"{counted(len(found.devices), 'device')}{names}"


def _caption(found: FleetReport, grid: Grid) -> str:
    parts = [part for part in verdict(found).split(". ") if part]
    order = "a row a node" if grid.by_node else "in the order of the files"
    parts += [f"median over the cases; {order}; white: not measured"]
    parts += ["synthetic: never measured"] if found.synthetic else []
    return " · ".join(part.rstrip(".") for part in parts)


def spreads(found: FleetReport) -> "Figure":
    """The spread of speeds of each case over the devices: 5 to 95% and 25 to 75% of them, and the
    devices themselves where they are few, or over δ off."""
    shown = found.cases[:CASES]
    names = [_case_text(found, one) for one in shown]
    longest = max(map(len, names))
    width = min(12.0, 5.5 + CHARACTER_IN * longest)
    more = f" · {len(shown)} of {len(found.cases)} cases" if len(found.cases) > len(shown) else ""
    note = " · synthetic: never measured" if found.synthetic else ""
    made = figure(
        *(width, 1.6 + 0.3 * len(shown)),
        caption=f"thin: 5 to 95% of the devices · thick: 25 to 75%{more}{note}",
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
    for (low, high), wide in (((5, 95), 1.0), ((25, 75), 5.0)):
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
