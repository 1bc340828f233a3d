"""A figure as SVG text inside a page: its inks follow light and dark, its ids are its own."""

import io
import re
import warnings
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG

from gemmbench.show.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INKS = {
    "#ffffff": "var(--paper)",
    "#000000": "var(--ink)",
    "#666666": "var(--muted)",
    "#cccccc": "var(--line)",
    "#dddddd": "var(--line)",
    "#eeeeee": "var(--faint)",
    "#f0f0f0": "var(--faint)",
}
"""The colours of the shared style that are paper and ink; all others are data, and stay."""

LEAST_WIDTH = 640
"""A picture is never shown narrower, in px, or its text could not be read: it scrolls."""

DOT = 1.0
"""The pen of a hatch is a point wide: a circle of less than that radius is filled."""

_XLINK = "{http://www.w3.org/1999/xlink}href"
_COLOUR = re.compile("|".join(INKS))
_FONT = re.compile(r"font-family: [^;]*(; |$)")
_LONG = re.compile(r"(\.\d\d)\d+")
_LONG_PLACE = re.compile(r"(\.\d)\d+")
_LINE = re.compile(r"M (-?[\d.]+) (-?[\d.]+) L (-?[\d.]+) (-?[\d.]+)")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_OPACITY = re.compile(r"(^|[; ])opacity")
_NUMBER = re.compile(r"-?[\d.]+")
_PLACES = ("d", "x", "y", "points")
_DROPPED = ("metadata", "style", "title")
_PX_PER_PT = 4 / 3


def themed(figure: "Figure", *, ident: str, label: str) -> Markup:
    """The figure as an `<svg>` element for a page that defines the variables of `INKS`.

    `ident` begins all ids in it, so that those of two pictures never meet; `label` is what a
    screen reader says. Text stays text. Whatever names are in it, they come as escaped text.
    """
    for axes in figure.axes:
        axes.minorticks_off()  # they take a third of the time, and the labelled ones say the scale
    if layout := figure.get_layout_engine():
        layout.execute(figure)  # in raster text metrics, which take half of the time
        figure.set_layout_engine("none")
    text = io.BytesIO()
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gemmbench"}),
        warnings.catch_warnings(),
    ):
        # A name in a script that the font lacks is drawn by the browser all the same.
        warnings.simplefilter("ignore", UserWarning)
        # `savefig` would draw everything twice, first for the layout.
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
    root = ElementTree.fromstring(text.getvalue())  # noqa: S314 (matplotlib wrote it just now)
    _strip(root)
    used = dict.fromkeys(name for one in root.iter() for name in _references(one))
    ids = {name: f"{ident}-{number}" for name, number in zip(used, count(), strict=False)}
    for one in root.iter():
        _rewrite(one, ids)
    for one in root.iter("g"):
        _thin(one)
        _join(one)
        _share(one)
    for one in root.iter("pattern"):
        _dots(one)
    width, height = (float(one) for one in root.attrib["viewBox"].split()[2:])
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {
        "role": "img",
        "aria-label": printable(label),
        "style": f"max-width:{width * _PX_PER_PT:.0f}px;min-width:{min(width, LEAST_WIDTH):.0f}px;"
        f"aspect-ratio:{width:.0f}/{height:.0f}",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 (it escapes)


def _strip(parent: ElementTree.Element) -> None:
    """Drop what only a file of its own needs. Its style sheet would hold for the whole page."""
    parent.tag = parent.tag.rpartition("}")[2]
    for child in list(parent):
        if child.tag.rpartition("}")[2] in _DROPPED:
            parent.remove(child)
        else:
            _strip(child)


def _references(one: ElementTree.Element) -> list[str]:
    found = [one.attrib[_XLINK][1:]] if one.attrib.get(_XLINK, "").startswith("#") else []
    return found + [name for value in one.attrib.values() for name in _REFERENCE.findall(value)]


def _rewrite(one: ElementTree.Element, ids: dict[str, str]) -> None:
    """Its own ids, inks as variables, and no more digits than can be seen."""
    name = one.attrib.pop("id", "")
    if name in ids:
        one.attrib["id"] = ids[name]
    target = one.attrib.pop(_XLINK, "")
    if target:
        one.attrib["href"] = f"#{ids[target[1:]]}" if target.startswith("#") else target
    for key, value in one.attrib.items():
        if "url(#" in value:
            one.attrib[key] = _REFERENCE.sub(lambda found: f"url(#{ids[found[1]]})", value)
    for key in _PLACES:
        if key in one.attrib:
            long = _LONG_PLACE if one.tag == "use" else _LONG
            one.attrib[key] = " ".join(long.sub(r"\1", one.attrib[key]).split())
    if style := _inked(one.attrib.pop("style", ""), is_text=one.tag in ("text", "tspan")):
        one.attrib["style"] = style
    if (fill := one.attrib.get("fill")) in INKS:
        one.attrib["fill"] = INKS[fill]
    if one.text and not one.text.strip():
        one.text = None
    if one.tail and not one.tail.strip():
        one.tail = None


@lru_cache(maxsize=4096)
def _inked(style: str, *, is_text: bool) -> str:
    style = _FONT.sub("", style)  # the page says it once
    # White text lies on a colour of the data: it is no paper.
    if is_text and "fill: #ffffff" in style:
        return style
    return _COLOUR.sub(lambda ink: INKS[ink.group()], style)


def _thin(group: ElementTree.Element) -> None:
    """Of like marks that lie on one point of the page one is enough: no reader sees the others."""
    seen = set()
    for one in group.findall("use"):
        style = one.attrib.get("style", "")
        place = (round(float(one.attrib.get(key, 0))) for key in ("x", "y"))
        look = (one.attrib.get("href"), style, *place)
        if look in seen and not _OPACITY.search(style):  # what shines through adds up
            group.remove(one)
        seen.add(look)


def _join(group: ElementTree.Element) -> None:
    """Straight lines that look alike as one path: the whiskers of a thousand points."""
    first: ElementTree.Element | None = None
    lines: dict[str, None] = {}
    for one in list(group):
        ends = _LINE.fullmatch(one.attrib.get("d", "")) if one.tag == "path" else None
        if ends is None:
            first = None
            continue
        x, y, to_x, to_y = (_LONG_PLACE.sub(r"\1", end) for end in ends.groups())
        drawn = "" if (x, y) == (to_x, to_y) else f"M{x} {y}L{to_x} {to_y}"
        look = {key: value for key, value in one.attrib.items() if key != "d"}
        if first is not None and look == {k: v for k, v in first.attrib.items() if k != "d"}:
            group.remove(one)
        else:
            first, lines = one, {}
        lines[drawn] = None
        first.attrib["d"] = "".join(lines)


def _share(group: ElementTree.Element) -> None:
    """Say once, in the group, how a thousand marks in it look."""
    if len(group) < 3 or any(one.tag not in ("use", "path") for one in group):
        return
    for key in ("style", "clip-path"):
        first = group[0].attrib.get(key)
        if first is None or key in group.attrib or _OPACITY.search(first):
            continue  # of a group opacity is another thing than of each mark
        if any(one.attrib.get(key) != first for one in group):
            continue
        group.attrib[key] = first
        for one in group:
            del one.attrib[key]


def _dots(pattern: ElementTree.Element) -> None:
    """Dots of a hatch as points of a round pen: as curves they take 300 kB."""
    for path in pattern.iter("path"):
        parts = [one for one in path.attrib["d"].split("z") if one.strip()]
        if not all("C" in one for one in parts):
            continue
        boxes = [_box(one) for one in parts]
        radius = max(right - left for left, right, _, _ in boxes) / 2
        if radius > DOT:  # rings, whose middle can be seen
            continue
        places = dict.fromkeys(
            (round((left + right) / 2, 1), round((low + high) / 2, 1))
            for left, right, low, high in boxes
        )
        path.attrib["d"] = "".join(f"M{x:g} {y:g}h0" for x, y in places)
        pen = f"stroke-width: {2 * radius + 1:.2f}; stroke-linecap: round"
        path.attrib["style"] = f"{path.attrib.get('style', '')}; {pen}"


def _box(path: str) -> tuple[float, float, float, float]:
    """Left, right, low, high."""
    values = [float(one) for one in _NUMBER.findall(path)]
    x, y = values[::2], values[1::2]
    return min(x), max(x), min(y), max(y)
