"""The figure of rates over sizes."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter

from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.speedup import rung
from gemmbench.show.drawable import (
    NAME,
    WIDE_RANGE,
    impossible,
    one_run,
    readable,
    sound,
    within_reach,
)
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
from gemmbench.show.text import digits, printable, times
from gemmbench.show.ticks import rates, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 10
"""A line of at most so many points has whiskers, a longer one a band."""

MARKERS_A_LINE = 16
FAR = {"linear": 3.0, "log": 100.0}
"""A peak that is further above the best rate is named and not drawn: it would press the data flat.
"""

TICKS = 8


def sweep(rows: "pd.DataFrame") -> "Figure":
    """TFLOP/s over size, a line a kernel with its 95% interval, the dense peak dashed; a panel a
    precision.

    The size of a product that is no cube is the cube root of batch·M·N·K, and such are marks
    without a line; so are those with a label. Where a panel has a kernel in several layouts, modes
    or batches, each has a line of its own. What is contended or impossible is left out, here and in
    `ladder`: its time says nothing. `rows` are one run's, as `analysis.speedup.ladder` or `pooled`
    return them. Raises GemmbenchError if no row has a rate.
    """
    shown = sound(rows, "tflops")
    one_run(shown, "rate", of=rows)
    within_reach(shown, "tflops")
    shown = shown.assign(variant=_variants(shown))
    precisions = list(dict.fromkeys(shown["precision"]))
    rungs = {
        (row.kernel, row.variant): rung(row.kernel, row.tier)
        for row in rows_of(shown, ("kernel", "variant", "tier"))
    }
    series = sorted(rungs, key=rungs.__getitem__)
    readable(len(series) * len(precisions), "lines")
    looks = _looks(series)
    names = [f"{printable(name, NAME)} {variant}".rstrip() for name, variant in series]
    down, across = grid_of(len(precisions))
    width = 6.8 if across == 1 else 4.3 * across
    height = 1.0 + (3.6 if down == 1 else 2.9) * down + legend_in(width, names)
    unnamed = shown[shown["label"].eq("")]
    longest = unnamed.groupby(["kernel", "variant", "precision"], sort=False).size().max()
    cubes = bool((shown["m"].eq(shown["n"]) & shown["n"].eq(shown["k"])).all())
    told = "bands: 95% intervals" if cubes and longest > FEW else INTERVALS
    made = figure(width, height, caption=f"{caption(shown)} · {told}{impossible(rows)}")
    grid = made.subplots(down, across, squeeze=False).flatten()
    wide = shown["tflops"].max() > WIDE_RANGE * shown["tflops"].min()
    for axes, precision in zip(grid, precisions, strict=False):
        part = shown[shown["precision"] == precision]
        for one in series:
            mine = list(rows_of(part[part["kernel"].eq(one[0]) & part["variant"].eq(one[1])]))
            _line(axes, [row for row in mine if not row.label], looks[one], joined=cubes)
            _line(axes, [row for row in mine if row.label], looks[one], joined=False)
        _rates(axes, part, scale="log" if wide else "linear")
        _sizes(axes, part)
        dress(axes, x=_axis_of(shown, cubes=cubes), y=rate_unit(precision), title=precision)
    for axes in grid[len(precisions) :]:
        axes.remove()
    joined = cubes and not unnamed.empty
    lines = [
        Line2D([], [], linestyle=look.line if joined else "", **look.mark(4))
        for look in looks.values()
    ]
    head(made, f"Rate of {names[0]}" if len(names) == 1 else "Rate over size", lines, names)
    return made


_VARIANT = ("layout", "modes", "batch", "experts")


def _variants(rows: "pd.DataFrame") -> list[str]:
    """Of each row, by what it differs from others of its kernel; empty where no panel has a kernel
    in several variants."""
    in_panel: dict[tuple[str, str], set[tuple[Any, ...]]] = {}
    for kernel, precision, *variant in rows_of(rows, ("kernel", "precision", *_VARIANT)):
        in_panel.setdefault((kernel, precision), set()).add(tuple(variant))
    if all(len(some) == 1 for some in in_panel.values()):
        return [""] * len(rows)
    differ = [name for name in _VARIANT if rows[name].nunique() > 1]
    words: dict[str, Callable[[Any], str]] = {
        "layout": str,
        "modes": lambda modes: f"[{printable(modes, NAME)}]" if modes else "",
        "batch": lambda batch: f"batch {batch}" if batch > 1 else "",
        "experts": lambda experts: f"{experts} experts" if experts > 1 else "",
    }
    return [
        " ".join(filter(None, (words[name](getattr(row, name)) for name in differ)))
        for row in rows_of(rows, _VARIANT)
    ]


def _looks(series: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Look]:
    """The first variant of a kernel looks as that kernel does in other figures."""
    names: dict[tuple[str, str], str] = {}
    for kernel, variant in series:
        again = any(kernel == other for other, _ in names)
        names[kernel, variant] = f"{kernel} {variant}" if again else kernel
    found = kernel_looks(list(names.values()))
    return {one: found[name] for one, name in names.items()}


def _axis_of(rows: "pd.DataFrame", *, cubes: bool) -> str:
    if rows["batch"].gt(1).any():
        return "cube root of batch·M·N·K"
    return "M = N = K" if cubes and rows["experts"].le(1).all() else "cube root of M·N·K"


def _line(axes: "Axes", rows: list[Any], one: Look, *, joined: bool) -> None:
    """Cubes make a line. Other shapes of one size can differ in all else: a line from the one to
    the other would say what nothing measured."""
    if not rows:
        return
    rows.sort(key=_size)
    sizes = [_size(row) for row in rows]
    step = max(1, len(rows) // MARKERS_A_LINE) if joined else 1
    first = (len(axes.lines) * step // 3) % step  # of lines that run together, not all on one place
    values, low, high = (
        np.array([getattr(row, name) for row in rows], dtype=float)
        for name in ("tflops", "tflops_low", "tflops_high")
    )
    axes.plot(
        *(sizes, values),
        linestyle=one.line if joined else "",
        linewidth=1.2,
        markevery=(first, step),
        **one.mark(4),
    )
    if joined and len(rows) > FEW:
        axes.fill_between(sizes, low, high, color=one.colour, alpha=0.2, linewidth=0)
    else:
        low, high = np.minimum(low, values), np.maximum(high, values)
        spans(axes, np.array(sizes), low, high, cap=2.5, color=one.colour, linewidth=1.0)


def _size(row: Any) -> float:
    return math.cbrt(row.batch * row.m * row.n * row.k)


def _rates(axes: "Axes", rows: "pd.DataFrame", *, scale: str) -> None:
    """The axis of rates, and on it the dense peak, with room for what is written there."""
    columns = rows[["tflops", "tflops_low", "tflops_high"]].to_numpy(dtype=float)
    bottom, top = float(np.nanmin(columns)), float(np.nanmax(columns))
    known = rows[rows["peak_tflops"].gt(0)]
    peak = math.nan if known.empty else float(known["peak_tflops"].iloc[0])
    best = float(rows["tflops"].max())
    near = peak <= FAR[scale] * best
    above = max(top, peak) if near else top
    axes.set_yscale(scale)
    if scale == "log":
        low, high = bottom / 1.4, above * (above / bottom) ** 0.14 * 1.15
        axes.set_ylim(low, high)
        rates(axes.yaxis, low, high)
    else:
        axes.set_ylim(0, 1.16 * above)
    if math.isnan(peak):
        return
    said = f"dense peak {digits(peak)} ({known['peak_unit'].iloc[0]})"
    where: Any = ("axes fraction", "data")
    if near:
        axes.axhline(peak, color=GREY, linestyle=(0, (5, 3)), linewidth=1.0)
    else:
        where, said = "axes fraction", f"↑ {said}: {times(peak / best)} the best"
    axes.annotate(
        said,
        (0.01, peak if near else 0.995),
        xycoords=where,
        xytext=(0, 2 if near else 0),
        textcoords="offset points",
        va="bottom" if near else "top",
        fontsize=SMALL,
        color=GREY,
    )


def _sizes(axes: "Axes", rows: "pd.DataFrame") -> None:
    """A logarithmic axis: ticks at the sizes where they are few, else at powers of two, as far
    apart as they can be read."""
    sizes = sorted({_size(row) for row in rows_of(rows, ("batch", "m", "n", "k"))})
    low, high = sizes[0], sizes[-1]
    room = max(1.1, (high / low) ** 0.04)
    axes.set_xscale("log", base=2)
    axes.set_xlim(low / room, high * room)
    apart = (high / low) ** (0.95 / (TICKS - 1))
    few = len(sizes) <= TICKS and all(b / a >= apart for a, b in pairwise(sizes))
    powers = [2.0**power for power in range(math.ceil(math.log2(low)), 32) if 2**power <= high]
    ticks: list[float] = []
    for one in sizes if few or len(powers) < 2 else powers:
        if not ticks or one / ticks[-1] >= apart:
            ticks.append(one)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}" if value >= 10 else short(value))
    axes.xaxis.set_minor_locator(FixedLocator(sizes if len(sizes) <= 4 * TICKS else []))
    axes.xaxis.set_minor_formatter(NullFormatter())
