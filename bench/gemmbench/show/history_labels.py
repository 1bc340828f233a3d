"""Where labels stand beside the runs of a history, so that none covers another."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from gemmbench.show.style import CHARACTER_IN, GREY, SMALL, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 10.0
"""Of the figure, in inches."""

_AXES_IN = 0.86 * WIDTH
"""No narrower are the axes, whatever stands beside them."""


def packed(
    texts: Mapping[int, str], runs: int, *, rows: int, first: Collection[int] = ()
) -> dict[int, int]:
    """The row of each text that finds room; those of the places in `first` find it before all."""
    taken: list[list[tuple[float, float]]] = [[] for _ in range(rows)]
    found: dict[int, int] = {}
    for place in sorted(texts, key=lambda place: (place not in first, place)):
        left, right = _extent(place, texts[place], runs)
        for row, others in enumerate(taken):
            if all(right < start or left > end for start, end in others):
                found[place] = row
                others.append((left, right))
                break
    return found


def _extent(place: int, text: str, runs: int) -> tuple[float, float]:
    """Where a text stands, in inches from the left: right of its run, left of it near the end."""
    at = _line_at(place, runs)
    width = CHARACTER_IN * (len(text) + 2)
    return (at - width, at) if at + width > _AXES_IN else (at, at + width)


def _line_at(place: int, runs: int) -> float:
    """Where the line before a run stands, in inches."""
    return _AXES_IN * (place + 0.1) / (runs + 0.2)


def write(
    axes: "Axes",
    place: int,
    text: str,
    *,
    runs: int,
    y: float,
    points: float,
    colour: str = GREY,
) -> None:
    """Text beside the line before a run, so many points above `y` of the axes."""
    left, _ = _extent(place, text, runs)
    is_left = left < _line_at(place, runs)
    axes.annotate(
        *(label(text), (place - 0.5, y)),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-3 if is_left else 3, points),
        textcoords="offset points",
        ha="right" if is_left else "left",
        va="bottom",
        fontsize=SMALL,
        color=colour,
        annotation_clip=False,
    )
