"""What is marked in the figure of a history: runs with something new, and changes of the level."""

from typing import TYPE_CHECKING

from gemmbench.analysis.series import Change, Point, Series
from gemmbench.quantities import counted
from gemmbench.show.history_labels import packed, write
from gemmbench.show.history_text import signed
from gemmbench.show.style import GREY, SMALL, look
from gemmbench.show.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHISKERS = 400
"""Of more runs the intervals could not be told apart."""

ROW_IN = 0.15
_ROWS = 4
_TEXT = 34

FASTER, SLOWER = look(2).colour, look(1).colour
_HIDDEN = (
    "more run with something new is not labelled",
    "more runs with something new are not labelled",
)


def _marks(one: Series) -> dict[int, str]:
    """What to write above the runs whose software or else differs from the run before."""

    def text(point: Point) -> str:
        first, *more = point.differs
        told = printable(f"{first.what} {first.after or 'none'}", _TEXT)
        return f"{told} and {len(more)} more" if more else told

    return {place: text(point) for place, point in enumerate(one.points) if point.differs}


def labelled(one: Series) -> dict[int, int]:
    """The rows of the marks that are written: those at a change of the level before all."""
    changes = {change.at for change in one.changes}
    return packed(_marks(one), len(one.points), rows=_ROWS, first=changes)


def mark_software(axes: "Axes", one: Series) -> None:
    """A dashed line at each run before which something changed, and the new version above it."""
    marks = _marks(one)
    written = labelled(one)
    for place in marks if len(marks) <= WHISKERS else written:
        axes.axvline(place - 0.5, color=GREY, linestyle="--", lw=0.7 if place in written else 0.3)
    for place, row in written.items():
        points = 2 + 72 * ROW_IN * row
        write(axes, place, marks[place], runs=len(one.points), y=1.0, points=points)
    if hidden := len(marks) - len(written):
        axes.annotate(
            *(counted(hidden, *_HIDDEN), (1.0, 0.0)),
            xycoords="axes fraction",
            xytext=(0, -20),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=SMALL,
            color=GREY,
        )


def mark_steps(axes: "Axes", one: Series) -> None:
    """A line at each change of the level, and how much it is."""
    texts = {change.at: _step_text(change) for change in one.changes}
    rows = packed(texts, len(one.points), rows=2)
    for change in one.changes:
        colour = FASTER if change.ratio > 1 else SLOWER
        line = "-" if change.certainty == "confirmed" else ":"
        axes.axvline(change.at - 0.5, color=colour, linestyle=line, lw=1.4)
        if change.at in rows:
            y = 4 + 72 * ROW_IN * rows[change.at]
            text = texts[change.at]
            write(axes, change.at, text, runs=len(one.points), y=0.0, points=y, colour=colour)


def _step_text(change: Change) -> str:
    mark = "▲" if change.ratio > 1 else "▼"
    return f"{mark} {signed(change.ratio)}" + ("" if change.certainty == "confirmed" else "?")
