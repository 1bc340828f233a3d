"""Figures of a run: the ladder's speedups, and rates over sizes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.speedup import rung
from gemmbench.show.results import caption
from gemmbench.show.style import (
    BODY,
    CHARACTER_IN,
    GREY,
    SMALL,
    dress,
    figure,
    head,
    kernel_looks,
    label,
    look,
    rates,
    ratios,
)
from gemmbench.show.text import digits, printable, times
from gemmkernels.errors import GemmbenchError
from gemmkernels.precision import PRECISIONS
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHAPE = ("m", "n", "k", "batch", "experts")

PANELS = 3
"""A ladder shows its largest shapes, at most so many."""

MARKS = 300
"""More bars or lines can't be read, and take minutes to draw."""

NAME = 40
"""Longer names of kernels are cut."""

REACH = 1e15
"""A rate or a speedup beyond it, or below its inverse, is none."""

WIDE_RANGE = 30.0
"""Rates that differ by more are drawn on a logarithmic axis, or the slow ones could not be seen."""


def ladder(rows: "pd.DataFrame") -> "Figure":
    """Speedup over the base, a bar a kernel and precision, in ladder order; a panel a shape.

    Where the ladder's base ran on some shapes, only those are drawn.
    `rows` are one run's, as `analysis.speedup.ladder` returns them. Raises GemmbenchError if no
    row has a speedup over another.
    """
    shown = rows[rows["speedup"].gt(0) & rows["verdict"].ne("contended")]
    _one_run(shown, "speedup")
    _within_reach(shown, "speedup")
    shown = _without_lonely(shown)
    if shown.empty:
        raise GemmbenchError("nothing to draw: no kernel has another beside it; see --kind sweep")
    over_base = shown[shown["base_kernel"].isin(rows.loc[rows["base"], "kernel"])]
    is_base = over_base["kernel"].eq(over_base["base_kernel"])
    shown = shown if is_base.all() else over_base
    shapes = _shapes(shown)[:PANELS]
    precisions = list(dict.fromkeys(shown["precision"]))
    looks = {name: look(_place(name, tuple(PRECISIONS))) for name in precisions}
    parts = {one: list(rows_of(_of_shape(shown, one))) for one in shapes}
    rungs = {row.kernel: rung(row.kernel, row.tier) for part in parts.values() for row in part}
    kernels = sorted(rungs, key=rungs.__getitem__)
    slots = {  # the same in every panel, as they share their axis
        name: max(1, *(sum(row.kernel == name for row in part) for part in parts.values()))
        for name in kernels
    }
    bars = sum(slots.values())
    _readable(bars, "bars")
    inch = max(0.11, min(0.24, 12 / max(1, bars)))
    name_in = CHARACTER_IN * min(NAME, max(map(len, kernels)))
    width = max(6.5, name_in + 3.4 * len(shapes))
    height = 1.7 + inch * (bars + 0.8 * len(kernels))
    made = figure(width, height, caption=caption(shown))
    grid = made.subplots(1, len(shapes), sharey=True, squeeze=False)[0]
    bases = dict.fromkeys(shown["base_kernel"])
    one_base = printable(next(iter(bases)), NAME) if len(bases) == 1 else ""
    for axes, one in zip(grid, shapes, strict=True):
        _bars(axes, parts[one], slots, looks, inch=inch)
        over = printable(parts[one][0].base_kernel, NAME // 2)
        x = "times as fast" if one_base else f"times as fast as {over}"
        dress(axes, x=x, y="", title=shape_text(*one), grid="x")
    patches = [
        Patch(facecolor=looks[name].colour, hatch=looks[name].hatch, edgecolor="white")
        for name in precisions
    ]
    only = f", {precisions[0]}" if len(precisions) == 1 else ""
    head(made, f"Speedup over {one_base or 'the base'}{only}", patches, _named(shown, precisions))
    return made


def sweep(rows: "pd.DataFrame") -> "Figure":
    """TFLOP/s over size, a line a kernel with its 95% interval, the dense peak dashed; a panel a
    precision.

    The size of a product that is no cube is the cube root of M·N·K. What is contended is left out,
    here and in `ladder`: its time says nothing. `rows` are one run's, as
    `analysis.speedup.ladder` or `pooled` return them. Raises GemmbenchError if no row has a rate.
    """
    shown = rows[rows["tflops"].gt(0) & rows["verdict"].ne("contended")]
    _one_run(shown, "rate")
    _within_reach(shown, "tflops")
    precisions = list(dict.fromkeys(shown["precision"]))
    rungs = {row.kernel: rung(row.kernel, row.tier) for row in rows_of(shown, ("kernel", "tier"))}
    kernels = sorted(rungs, key=rungs.__getitem__)
    _readable(len(kernels) * len(precisions), "lines")
    looks = kernel_looks(kernels)
    across = min(len(precisions), 2 if len(precisions) in (2, 4) else 3)
    down = -(-len(precisions) // across)
    width = 6.8 if across == 1 else 4.3 * across
    height = 0.9 + (3.6 if down == 1 else 2.9) * down + 0.18 * len(kernels) / 3
    made = figure(width, height, caption=caption(shown))
    grid = made.subplots(down, across, squeeze=False).flatten()
    wide = shown["tflops"].max() > WIDE_RANGE * shown["tflops"].min()
    cubes = bool((shown["m"].eq(shown["n"]) & shown["n"].eq(shown["k"])).all())
    for axes, precision in zip(grid, precisions, strict=False):
        part = shown[shown["precision"] == precision]
        for name in kernels:
            _line(axes, list(rows_of(part[part["kernel"] == name])), name, looks)
        _peak(axes, part)
        _sizes(axes, part)
        if wide:
            axes.set_yscale("log")
            rates(axes.yaxis, *axes.get_ylim())
        else:
            axes.set_ylim(0, 1.12 * float(np.nanmax([axes.dataLim.y1, *part["peak_tflops"]])))
        size = "M = N = K" if cubes else "cube root of M·N·K"
        unit = "TOP/s" if precision == "int8" else "TFLOP/s"
        dress(axes, x=size, y=unit, title=precision)
    for axes in grid[len(precisions) :]:
        axes.remove()
    lines = [
        Line2D([], [], color=one.colour, marker=one.marker, linestyle=one.line, markersize=4)
        for one in looks.values()
    ]
    names = [printable(name, NAME) for name in kernels]
    head(made, f"Rate of {names[0]}" if len(names) == 1 else "Rate over size", lines, names)
    return made


def _without_lonely(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Less the bases that nothing is measured against: a bar of 1.00× alone says nothing."""
    cases = list(rows_of(rows, ("group", "kernel", "precision")))
    bases = list(rows_of(rows, ("group", "base_kernel", "base_precision")))
    is_base = [case == base for case, base in zip(cases, bases, strict=True)]
    over = {base for base, own in zip(bases, is_base, strict=True) if not own}
    keep = [not own or case in over for case, own in zip(cases, is_base, strict=True)]
    return rows[keep]


def _one_run(rows: "pd.DataFrame", what: str) -> None:
    if rows.empty:
        raise GemmbenchError(f"nothing to draw: no case has a {what}; see `gemmbench show`")
    if rows["run_id"].nunique() > 1:
        raise GemmbenchError(
            f"a figure is of one run, these are {rows['run_id'].nunique()}: name one"
        )


def _within_reach(rows: "pd.DataFrame", column: str) -> None:
    """Of a damaged file a value may be 1e300: no axis can be made for it."""
    for name in (column, f"{column}_low", f"{column}_high"):
        known = rows[name].dropna()
        beyond = known[~known.between(1 / REACH, REACH)]
        if not beyond.empty:
            raise GemmbenchError(
                f"{name} {beyond.iloc[0]:.3g} can't be drawn: no device does that; is the file "
                "damaged?"
            )


def _readable(count: int, what: str) -> None:
    if count > MARKS:
        raise GemmbenchError(
            f"{count} {what} are too many to draw, {MARKS} at most: measure fewer kernels at once"
        )


def _named(rows: "pd.DataFrame", precisions: Sequence[str]) -> list[str]:
    """The precisions, each with that of its base where it is another one."""
    over = dict(rows_of(rows, ("precision", "base_precision")))
    return [name if over[name] == name else f"{name} over {over[name]}" for name in precisions]


def _place(name: str, known: tuple[str, ...]) -> int:
    return known.index(name) if name in known else len(known)


def _shapes(rows: "pd.DataFrame") -> list[tuple[int, ...]]:
    """(M, N, K, batch, experts), the most work first."""
    found = {tuple(row) for row in rows_of(rows, SHAPE)}
    return sorted(found, key=lambda one: (-math.prod(one[:-1]), one))


def _of_shape(rows: "pd.DataFrame", one: tuple[int, ...]) -> "pd.DataFrame":
    same = (rows[list(SHAPE)].to_numpy() == np.array(one)).all(axis=1)
    found: pd.DataFrame = rows[same]
    return found


def _bars(
    axes: "Axes", rows: Sequence[Any], slots: dict[str, int], looks: dict[str, Any], *, inch: float
) -> None:
    """Horizontal bars, the first kernel on top; the ends of the intervals as whiskers.

    `slots` is how many bars each kernel has room for.
    """
    place, ticks = 0.0, []
    for name in slots:
        mine = [row for row in rows if row.kernel == name]
        for index, row in enumerate(mine):
            one = looks[row.precision]
            at = place + index
            low, high = (
                0.0 if math.isnan(end) else abs(row.speedup - end)
                for end in (row.speedup_low, row.speedup_high)
            )
            axes.barh(
                *(at, row.speedup - 1),
                left=1,
                height=0.9,
                color=one.colour,
                hatch=one.hatch,
                edgecolor="white",
                linewidth=0.4,
                xerr=[[low], [high]],
                error_kw={"elinewidth": 0.8, "capsize": 1.5, "ecolor": "black"},
            )
            axes.annotate(
                times(row.speedup),
                (max(row.speedup + high, 1.0), at),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=min(SMALL, 60 * inch),
            )
        ticks.append(place + (slots[name] - 1) / 2)
        place += slots[name] + 0.8
    axes.set_yticks(ticks, [label(name, NAME) for name in slots])
    axes.set_ylim(place - 0.9, -0.9)
    axes.axvline(1.0, color=GREY, linewidth=0.8)
    speeds = [row.speedup for row in rows]
    low, high = min(0.9, min(speeds) / 1.15), max(1.5, max(speeds)) ** 1.25 * 1.3
    axes.set_xlim(low, high)  # before the scale, which else looks for limits of its own
    axes.set_xscale("log")
    ratios(axes.xaxis, low, high)


def _line(axes: "Axes", rows: list[Any], name: str, looks: dict[str, Any]) -> None:
    if not rows:
        return
    one = looks[name]
    rows.sort(key=_size)
    sizes = [_size(row) for row in rows]
    axes.plot(
        *(sizes, [row.tflops for row in rows]),
        color=one.colour,
        linestyle=one.line,
        marker=one.marker,
        markersize=3.5,
        linewidth=1.2,
        markevery=max(1, len(rows) // 20),
    )
    axes.fill_between(
        sizes,
        [row.tflops_low for row in rows],
        [row.tflops_high for row in rows],
        color=one.colour,
        alpha=0.2,
        linewidth=0,
    )


def _size(row: Any) -> float:
    return math.cbrt(row.batch * row.m * row.n * row.k)


def _peak(axes: "Axes", rows: "pd.DataFrame") -> None:
    known = rows[rows["peak_tflops"].gt(0)]
    if known.empty:
        return
    peak, unit = known["peak_tflops"].iloc[0], known["peak_unit"].iloc[0]
    axes.axhline(peak, color=GREY, linestyle=(0, (5, 3)), linewidth=1.0)
    axes.annotate(
        f"dense peak {digits(peak)} ({unit})",
        (0.01, peak),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=SMALL,
        color=GREY,
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
    )
    axes.margins(y=0.1)


def _sizes(axes: "Axes", rows: "pd.DataFrame") -> None:
    """A logarithmic axis with a tick at each power of two, as far apart as they can be read."""
    sizes = sorted({_size(row) for row in rows_of(rows, ("batch", "m", "n", "k"))})
    axes.set_xscale("log", base=2)
    first, last = math.floor(math.log2(sizes[0])), math.ceil(math.log2(sizes[-1]))
    step = -(-(last - first + 1) // 9)
    powers = [2**power for power in range(first, last + 1, step)]
    if first == last:
        powers = [2**first]
    axes.set_xticks(powers, [f"{power:g}" for power in powers], fontsize=BODY)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15)
