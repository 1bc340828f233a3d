"""What can be read of a figure: no two texts overlap, and none leaves the page."""

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK = 1.0
"""Pixels: glyphs stand that much inside of their boxes."""


def texts(made: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, and the box of it in pixels. Draws the figure."""
    made.canvas.draw()
    renderer = made.canvas.get_renderer()  # type: ignore[attr-defined]
    found = []
    for text in _every(made):
        if text.get_visible() and text.get_text().strip():
            found.append((text.get_text(), text.get_window_extent(renderer)))
    return found


def _every(made: Figure) -> Iterator[Text]:
    for axes in made.axes:
        yield from _of_axes(axes)
    yield from made.texts
    for legend in made.legends:
        yield from legend.get_texts()
        yield legend.get_title()


def _of_axes(axes: Axes) -> Iterator[Text]:
    yield from axes.texts
    yield from (axes.title, axes._left_title, axes._right_title)  # type: ignore[attr-defined]
    for axis in (axes.xaxis, axes.yaxis):
        if not axis.get_visible():
            continue
        yield axis.label
        yield axis.get_offset_text()
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def faults(made: Figure) -> list[str]:
    """What overlaps and what leaves the page, a line each."""
    found, page = texts(made), made.bbox
    told = [
        f"{text!r} leaves the page"
        for text, box in found
        if box.x0 < page.x0 - SLACK
        or box.y0 < page.y0 - SLACK
        or box.x1 > page.x1 + SLACK
        or box.y1 > page.y1 + SLACK
    ]
    for (text, box), (other, beside) in combinations(found, 2):
        if box.padded(-SLACK).overlaps(beside.padded(-SLACK)):
            told.append(f"{text!r} overlaps {other!r}")
    return told
