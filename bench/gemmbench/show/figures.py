"""The figure of the ladder's speedups; that of rates over sizes is `sweep`."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Patch

from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.speedup import rung
from gemmbench.show.drawable import (
    NAME,
    contended,
    impossible,
    one_run,
    readable,
    sound,
    within_reach,
)
from gemmbench.show.results import caption
from gemmbench.show.style import (
    CHARACTER_IN,
    GREY,
    INTERVALS,
    SMALL,
    Look,
    dress,
    figure,
    head,
    label,
    legend_in,
    precision_looks,
)
from gemmbench.show.sweep import sweep
from gemmbench.show.text import printable, times
from gemmbench.show.ticks import ratios
from gemmkernels.errors import GemmbenchError
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ladder", "sweep"]

SHAPE = ("m", "n", "k", "batch", "experts")

PANELS = 3
"""A ladder shows its largest shapes, at most so many."""


def ladder(rows: "pd.DataFrame") -> "Figure":
    """Speedup over the base, a bar a kernel and precision, in ladder order; a panel a shape.

    Where the ladder's base ran on some shapes, only those are drawn. What is impossible is left
    out, and so is what is held against it.
    `rows` are one run's, as `analysis.speedup.ladder` returns them. Raises GemmbenchError if no
    row has a speedup over another.
    """
    shown = _over_sound_bases(sound(rows, "speedup"), rows)
    one_run(shown, "speedup", of=rows)
    within_reach(shown, "speedup")
    shown = _without_lonely(shown)
    if shown.empty:
        why = contended(rows) or "see --kind sweep"
        raise GemmbenchError(f"nothing to draw: no kernel has another beside it; {why}")
    over_base = shown[shown["base_kernel"].isin(rows.loc[rows["base"], "kernel"])]
    is_base = over_base["kernel"].eq(over_base["base_kernel"])
    shown = shown if is_base.all() else over_base
    every = _shapes(shown)
    shapes = every[:PANELS]
    precisions = list(dict.fromkeys(shown["precision"]))
    looks = precision_looks(precisions)
    parts = {one: list(rows_of(_of_shape(shown, one))) for one in shapes}
    rungs = {row.kernel: rung(row.kernel, row.tier) for part in parts.values() for row in part}
    kernels = sorted(rungs, key=rungs.__getitem__)
    slots = {  # the same in every panel, as they share their axis
        name: max(1, *(sum(row.kernel == name for row in part) for part in parts.values()))
        for name in kernels
    }
    bars = sum(slots.values())
    readable(bars, "bars")
    inch = max(0.11, min(0.24, 12 / max(1, bars)))
    name_in = CHARACTER_IN * min(NAME, max(map(len, kernels)))
    width = max(6.5, name_in + 3.4 * len(shapes))
    named = _named(shown, precisions)
    height = 1.5 + legend_in(width, named) + inch * (bars + 0.8 * len(kernels))
    more = f" · {len(shapes)} of {len(every)} shapes" if len(shapes) < len(every) else ""
    told = f"{caption(shown)} · {INTERVALS}{more}{impossible(rows)}"
    made = figure(width, height, caption=told)
    grid = made.subplots(1, len(shapes), sharey=True, squeeze=False)[0]
    bases = dict.fromkeys(shown["base_kernel"])
    one_base = printable(next(iter(bases)), NAME) if len(bases) == 1 else ""
    panel_in = (width - name_in - 0.4) / len(shapes) - 0.1
    for axes, one in zip(grid, shapes, strict=True):
        places = _places(parts[one], slots)
        _bars(axes, parts[one], places, looks, inch=inch, panel_in=panel_in)
        _absent(axes, slots, {row.kernel for row in parts[one]}, _of_shape(rows, one))
        over = printable(parts[one][0].base_kernel, NAME // 2)
        dress(axes, x=f"speedup over {over}", y="", title=shape_text(*one), grid="x")
    patches = [
        Patch(facecolor=looks[name].colour, hatch=looks[name].hatch, edgecolor="white")
        for name in precisions
    ]
    only = f", {precisions[0]}" if len(precisions) == 1 else ""
    head(made, f"Speedup over {one_base or 'the base'}{only}", patches, named)
    return made


def _over_sound_bases(shown: "pd.DataFrame", rows: "pd.DataFrame") -> "pd.DataFrame":
    beyond = set(rows_of(rows[rows["impossible"]], ("group", "kernel", "precision")))
    bases = rows_of(shown, ("group", "base_kernel", "base_precision"))
    return shown[[base not in beyond for base in bases]]


def _without_lonely(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Less the bases that nothing is measured against: a bar of 1.00× alone says nothing."""
    cases = list(rows_of(rows, ("group", "kernel", "precision")))
    bases = list(rows_of(rows, ("group", "base_kernel", "base_precision")))
    is_base = [case == base for case, base in zip(cases, bases, strict=True)]
    over = {base for base, own in zip(bases, is_base, strict=True) if not own}
    keep = [not own or case in over for case, own in zip(cases, is_base, strict=True)]
    return rows[keep]


def _named(rows: "pd.DataFrame", precisions: Sequence[str]) -> list[str]:
    """The precisions, each with that of its base where it is another one."""
    over = dict(rows_of(rows, ("precision", "base_precision")))
    return [name if over[name] == name else f"{name} over {over[name]}" for name in precisions]


def _shapes(rows: "pd.DataFrame") -> list[tuple[int, ...]]:
    """(M, N, K, batch, experts), the most work first."""
    found = {tuple(row) for row in rows_of(rows, SHAPE)}
    return sorted(found, key=lambda one: (-math.prod(one[:-1]), one))


def _of_shape(rows: "pd.DataFrame", one: tuple[int, ...]) -> "pd.DataFrame":
    same = (rows[list(SHAPE)].to_numpy() == np.array(one)).all(axis=1)
    found: pd.DataFrame = rows[same]
    return found


def _middles(slots: dict[str, int]) -> dict[str, float]:
    """Where on the axis each kernel's name stands: in the middle of its bars."""
    found: dict[str, float] = {}
    place = 0.0
    for name, count in slots.items():
        found[name] = place + (count - 1) / 2
        place += count + 0.8
    return found


def _places(rows: Sequence[Any], slots: dict[str, int]) -> list[float]:
    """Where each row's bar stands, those of a kernel one below the other."""
    first = {name: at - (slots[name] - 1) / 2 for name, at in _middles(slots).items()}
    seen = dict.fromkeys(slots, 0)
    found = []
    for row in rows:
        found.append(first[row.kernel] + seen[row.kernel])
        seen[row.kernel] += 1
    return found


def _bars(
    axes: "Axes",
    rows: Sequence[Any],
    places: Sequence[float],
    looks: dict[str, Look],
    *,
    inch: float,
    panel_in: float,
) -> None:
    """Horizontal bars, the ends of the intervals as whiskers, the figure behind each."""
    speeds = np.array([row.speedup for row in rows], dtype=float)
    low, high = (
        np.nan_to_num(np.abs(speeds - [getattr(row, f"speedup_{end}") for row in rows]))
        for end in ("low", "high")
    )
    order = sorted(range(len(rows)), key=lambda index: str(rows[index].precision))
    for name, some in groupby(order, key=lambda index: rows[index].precision):
        mine = list(some)
        axes.barh(
            *([places[index] for index in mine], speeds[mine] - 1),
            left=1,
            height=0.9,
            color=looks[name].colour,
            hatch=looks[name].hatch,
            edgecolor="white",
            linewidth=0.4,
        )
    for colour, more in (("white", 1.6), ("black", 0.0)):  # to be seen on a dark bar too
        axes.errorbar(
            *(speeds, places),
            xerr=[low, high],
            fmt="none",
            ecolor=colour,
            elinewidth=0.8 + more,
            capsize=1.5,
            capthick=0.8 + more,
        )
    size = min(SMALL, 60 * inch)
    ends = np.maximum(speeds + high, 1.0)
    said = [times(row.speedup) for row in rows]
    for text, end, at in zip(said, ends, places, strict=True):
        axes.annotate(
            text,
            (end, at),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=size,
        )
    # The text is as wide as ever, so on the axis it takes a share of its length.
    shares = [(4 + 0.7 * size * len(text)) / 72 / panel_in for text in said]
    left = float(min(0.9, *(speeds - low).clip(min=speeds / 3) / 1.15))
    fits = [
        left * (end / left) ** (1 / (1 - share)) for end, share in zip(ends, shares, strict=True)
    ]
    right = max(1.5, *fits)
    axes.set_xlim(left, right)  # before the scale, which else looks for limits of its own
    axes.set_xscale("log")
    ratios(axes.xaxis, left, right)
    axes.axvline(1.0, color=GREY, linewidth=0.8)


def _absent(axes: "Axes", slots: dict[str, int], drawn: set[str], rows: "pd.DataFrame") -> None:
    """The names on the shared axis, and of each kernel without a bar what became of it here."""
    middles = _middles(slots)
    axes.set_yticks(list(middles.values()), [label(name, NAME) for name in slots])
    last = list(slots.values())[-1]
    axes.set_ylim(list(middles.values())[-1] + (last - 1) / 2 + 0.9, -0.9)
    became: dict[str, str] = {}
    names = ("kernel", "status", "verdict", "impossible")
    for kernel, status, verdict, beyond in rows_of(rows, names):
        word = "contended" if verdict == "contended" else status
        became.setdefault(kernel, "impossible" if beyond else word)
    for name in slots.keys() - drawn:
        said = became.get(name, "not measured")
        axes.annotate(
            "no speedup" if said == "ok" else said,
            (1.0, middles[name]),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=GREY,
        )
