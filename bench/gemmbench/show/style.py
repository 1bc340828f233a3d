"""One look for every figure: safe for colour-blind eyes, and readable in grey."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gemmbench.show.text import printable
from gemmbench.show.text import rate_unit as rate_unit
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.precision import PRECISIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gemmbench.timing.statistics import Floats

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
"""About how wide a character of the body's size is, and a digit of the small one."""

LEGEND_ROW_IN = 0.17
DPI = 150

_SHAPES = 2 * len(MARKERS)
_LOOKS = _SHAPES * len(LINES)
INTERVALS = "whiskers: 95% intervals"


@dataclass(frozen=True)
class Look:
    """How one thing looks in every panel; `filled` is of its marker."""

    colour: str
    marker: str
    hatch: str
    line: Line
    filled: bool = True

    def mark(self, size: float) -> dict[str, Any]:
        """Arguments of `plot` and of a line in a legend."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markersize": size,
            "markerfacecolor": self.colour if self.filled else "white",
            "markeredgecolor": self.colour,
            "markeredgewidth": 0.9,
        }


def look(index: int) -> Look:
    """The look of the thing of that index; the first 72 differ.

    Without colour the markers of the first 24 differ, and the hatches of the first 8.
    """
    return Look(
        COLOURS[index % len(COLOURS)],
        MARKERS[index % len(MARKERS)],
        HATCHES[(index + index // len(COLOURS)) % len(HATCHES)],
        LINES[(index // len(COLOURS) + index // _SHAPES) % len(LINES)],
        filled=index // len(MARKERS) % 2 == 0,
    )


def kernel_looks(names: Sequence[str]) -> dict[str, Look]:
    """The looks of kernels: the ladder's own are the same in every figure, as far as they can be.

    Up to 24 kernels differ in their marker, so also in grey and where there are no lines; up to 8
    in their colour too.
    """
    shipped = [kernel.name for kernel in LADDER]
    own = [name for name in names if name not in shipped]
    places = {name: index for index, name in enumerate([*shipped, *own]) if name in names}
    few = len(places) <= _SHAPES
    found = _apart(places, lambda one: (one.marker, one.filled) if few else one)
    return {name: found[name] for name in names}


def precision_looks(names: Sequence[str]) -> dict[str, Look]:
    """The looks of the bars of precisions; up to 8 differ in their hatch, so also in grey, and in
    their colour."""
    known = {name: index for index, name in enumerate(PRECISIONS)}
    few = len(names) <= len(HATCHES)
    places = {name: known.get(name, len(known)) for name in names}
    return _apart(places, lambda one: one.hatch if few else one)


def _apart(places: Mapping[str, int], sign: Callable[[Look], object]) -> dict[str, Look]:
    """Each the look of its place; or the next one whose sign, and of few whose colour, no other
    has."""
    few = len(places) <= len(COLOURS)
    found: dict[str, Look] = {}
    taken: set[object] = set()

    def take(name: str, one: Look) -> None:
        found[name] = one
        taken.update((sign(one), one.colour if few else None))

    def is_free(one: Look) -> bool:
        return sign(one) not in taken and not (few and one.colour in taken)

    for name, place in places.items():  # those that stay first: none must yield to one that moves
        if is_free(look(place)):
            take(name, look(place))
    for name, place in places.items():
        if name not in found:
            ring = [look((place + step) % _LOOKS) for step in range(_LOOKS)]
            take(name, next(filter(is_free, ring), ring[0]))
    return found


def figure(width: float, height: float, *, caption: str) -> Figure:
    """An empty figure of a size in inches, with what it holds for below."""
    made = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    made.supxlabel(label(_wrapped(caption, width)), fontsize=SMALL, color=GREY, x=0.01, ha="left")
    return made


def head(
    made: Figure,
    title: str,
    handles: Sequence[Artist],
    names: Sequence[str],
    *,
    least: int = 2,
) -> None:
    """The title and, below it, one legend for all panels, in as many columns as have room.

    A legend of fewer than `least` is left out.
    """
    if len(names) < least:
        made.suptitle(label(title), fontsize=HEAD, fontweight="bold", x=0.01, ha="left")
        return
    made.legend(
        handles,
        [label(name) for name in names],
        loc="outside upper left",
        ncols=_columns(made.get_figwidth(), names),
        fontsize=SMALL,
        frameon=False,
        handlelength=2.6,
        title=label(title),
        title_fontproperties={"size": HEAD, "weight": "bold"},
        alignment="left",
    )


def legend_in(width: float, names: Sequence[str]) -> float:
    """How high the legend of these names is, in inches, in a figure of that width."""
    return LEGEND_ROW_IN * -(-len(names) // _columns(width, names))


def _columns(width: float, names: Sequence[str]) -> int:
    longest = max((len(name) for name in names), default=1)
    return max(1, min(len(names), int(width / ((longest + 7) * CHARACTER_IN))))


def grid_of(count: int) -> tuple[int, int]:
    """(rows, columns) of so many panels."""
    across = min(count, 2 if count in (2, 4) else 3)
    return -(-count // across), across


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


def spans(
    axes: "Axes", x: "Floats", low: "Floats", high: "Floats", *, cap: float = 0.0, **look: Any
) -> None:
    """A vertical line from low to high at each x, with caps of so many points at both ends.

    All are one line with gaps: of a thousand lines each would be written, and read again, apart.
    """
    gaps = np.full(len(x), np.nan)
    ends = np.stack([low, high, gaps], axis=1).ravel()
    axes.plot(np.repeat(x, 3), ends, solid_capstyle="butt", **look)
    if cap:
        for end in (low, high):
            axes.plot(x, end, linestyle="", marker="_", markersize=2 * cap, **look)


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
        with matplotlib.rc_context({"svg.hashsalt": "gemmbench"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
            made.savefig(paths[0], dpi=DPI, metadata={"Software": None})
            made.savefig(paths[1], metadata={"Date": None})
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise GemmbenchError(f"cannot write {paths[0]}: {reason}; choose another place") from error
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
