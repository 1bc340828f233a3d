"""One look for every figure: safe for colour-blind eyes, and readable in grey."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from gemmbench.show.text import printable
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Line = Literal["-", "--", "-."]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800")
"""Okabe and Ito's palette, its yellow darkened to be seen on white, in an order that alternates
dark and light."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "oooo", "++++")
LINES: tuple[Line, ...] = ("-", "--", "-.")
GREY = "#666666"
SMALL, BODY, HEAD = 7.5, 9.0, 11.0
CHARACTER_IN = 0.066
"""About how wide a character of the body's size is."""

DPI = 150


@dataclass(frozen=True)
class Look:
    """How one thing looks in every panel."""

    colour: str
    marker: str
    hatch: str
    line: Line


def look(index: int) -> Look:
    """The look of the thing of that index; the first 24 differ."""
    return Look(
        COLOURS[index % len(COLOURS)],
        MARKERS[index % len(MARKERS)],
        HATCHES[index % len(HATCHES)],
        LINES[index // len(COLOURS) % len(LINES)],
    )


def kernel_looks(names: Sequence[str]) -> dict[str, Look]:
    """The looks of kernels: the ladder's own are the same in every figure."""
    shipped = [kernel.name for kernel in LADDER]
    own = [name for name in names if name not in shipped]
    places = {name: index for index, name in enumerate([*shipped, *own])}
    return {name: look(places[name]) for name in names}


def figure(width: float, height: float, *, caption: str) -> Figure:
    """An empty figure of a size in inches, with what it holds for below."""
    made = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    made.supxlabel(label(_wrapped(caption, width)), fontsize=SMALL, color=GREY, x=0.01, ha="left")
    return made


def head(made: Figure, title: str, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """The title and, below it, one legend for all panels, in as many columns as have room.

    A legend of one thing is left out.
    """
    if len(names) < 2:
        made.suptitle(label(title), fontsize=HEAD, fontweight="bold", x=0.01, ha="left")
        return
    longest = max(len(name) for name in names)
    columns = int(made.get_figwidth() / ((longest + 6) * CHARACTER_IN))
    made.legend(
        handles,
        [label(name) for name in names],
        loc="outside upper left",
        ncols=max(1, min(len(names), columns)),
        fontsize=SMALL,
        frameon=False,
        handlelength=2.6,
        title=label(title),
        title_fontproperties={"size": HEAD, "weight": "bold"},
        alignment="left",
    )


def dress(
    axes: "Axes", *, x: str, y: str, title: str = "", grid: Literal["both", "x"] = "both"
) -> None:
    """Labels, a light grid behind, and no frame on the right and above."""
    axes.set_xlabel(label(x), fontsize=BODY)
    axes.set_ylabel(label(y), fontsize=BODY)
    if title:
        axes.set_title(label(title), fontsize=BODY, loc="left", fontweight="bold")
    axes.tick_params(labelsize=SMALL)
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", axis=grid, color="#DDDDDD", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def rates(axis: "Axis", low: float, high: float) -> None:
    """Ticks of a logarithmic axis of rates: powers of ten, and 2 and 5 where those are few."""
    if high / low < 6:
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high / low < 300 else LogLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _rate(value)))
    axis.set_minor_formatter(NullFormatter())


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratios(axis: "Axis", low: float, high: float) -> None:
    """Ticks of a logarithmic axis of ratios that can be read: 0.9× 1× 1.1×, 1× 2× 5×, 1× 10×."""
    if high / low > 100:
        axis.set_major_locator(LogLocator())
    elif high / low > 3:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.25, 1) if (high - low) / step <= 8)
        places = range(math.ceil(low / step), math.floor(high / step) + 1)
        axis.set_major_locator(FixedLocator([place * step for place in places]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axis.set_minor_formatter(NullFormatter())


def label(text: str, limit: int = 1000) -> str:
    """Text that matplotlib draws as it stands: no formulas, no control characters."""
    lines = (printable(line, limit) for line in text.split("\n"))
    return "\n".join(lines).replace("$", r"\$")


def save(made: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg, the same bytes for the same figure; returns their paths.

    Raises GemmbenchError where they cannot be written.
    """
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "gemmbench"}):
            made.savefig(paths[0], dpi=DPI, metadata={"Software": None})
            made.savefig(paths[1], metadata={"Date": None})
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise GemmbenchError(
            f"cannot write {paths[0]}: {reason}; choose another place with --out"
        ) from error
    return paths


def _wrapped(text: str, width: float) -> str:
    """The caption in lines that fit the figure, broken between its parts."""
    room = int(0.97 * width / CHARACTER_IN)
    lines = [""]
    for part in text.split(" · "):
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(longer) > room and lines[-1]:
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join(lines)
