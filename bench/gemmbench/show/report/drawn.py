"""The pictures of the page: what can be drawn of each run, and why not what cannot."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from markupsafe import Markup

from gemmbench.analysis.comparison import Comparison
from gemmbench.analysis.overview import Overview, RunOverview
from gemmbench.records.reader import Run
from gemmbench.show import compared, figures, heatmap, roofline, telemetry, waterfall
from gemmbench.show.report.sections import device_of
from gemmbench.show.report.vector import themed
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURED = 3
"""The pictures of so many runs are drawn: more would take longer than a reader waits."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawing and what it shows; where it cannot be drawn `svg` is None, and `why_not` says why.

    `kind` is what `gemmbench plot --kind` calls it.
    """

    kind: str
    caption: str
    svg: Markup | None = None
    why_not: str = ""


@dataclass(frozen=True)
class _Kind:
    name: str
    caption: str
    draw: Callable[[RunOverview], "Figure"]


def _telemetry(run: Run) -> "Figure":
    if run.header.tool:
        raise GemmbenchError("nothing to draw: another tool's figures have no turns over time")
    return telemetry.telemetry(run)


_KINDS = (
    _Kind(
        "ladder",
        "Ladder: how many times as fast as the base each kernel is, on the largest shapes. "
        "Whiskers are 95% intervals.",
        lambda one: figures.ladder(one.rows),
    ),
    _Kind(
        "sweep",
        "Sweep: rate over size, a line a kernel, under the dense peak of the spec sheet, if "
        "it is known. Bands and whiskers are 95% intervals.",
        lambda one: figures.sweep(one.rows),
    ),
    _Kind(
        "roofline",
        "Roofline: rate over arithmetic intensity, under what arithmetic and bandwidth allow, by "
        "the spec sheet and as measured.",
        lambda one: roofline.roofline(one.explained),
    ),
    _Kind(
        "waterfall",
        "Waterfall: from the peak down to the measured rate, and what each cause takes of it.",
        lambda one: waterfall.waterfall(one.explained.best, rows=one.explained.rows),
    ),
    _Kind(
        "heatmap",
        "Heatmap: rate over M and N, a panel a kernel, precision and K. A cell is a problem.",
        lambda one: heatmap.heatmap(one.rows),
    ),
    _Kind(
        "telemetry",
        "Telemetry: what the sensors saw in each turn, over the time of the run.",
        lambda one: _telemetry(one.run),
    ),
)


def pictures(overview: Overview) -> tuple[tuple[Picture, ...], ...]:
    """The pictures of the first runs; as many tuples as runs."""
    return tuple(
        tuple(_of_run(one, number)) if number < PICTURED else ()
        for number, one in enumerate(overview.runs)
    )


def of_comparison(found: Comparison, *, ident: str) -> Picture:
    """b over a, a row a problem and kernel."""
    caption = "Comparison: b over a with its 95% interval; right of the line b is faster."
    label = f"{caption} a is {found.a.device}, b is {found.b.device}."
    return _picture("compare", caption, lambda: compared.compare(found), ident=ident, label=label)


def _of_run(one: RunOverview, number: int) -> Iterator[Picture]:
    for kind in _KINDS:
        yield _picture(
            kind.name,
            kind.caption,
            partial(kind.draw, one),
            ident=f"r{number + 1}-{kind.name}",
            label=f"{kind.caption} Run {number + 1}, {device_of(one)}.",
        )


def _picture(
    kind: str, caption: str, draw: Callable[[], "Figure"], *, ident: str, label: str
) -> Picture:
    try:
        svg = themed(draw(), ident=ident, label=label)
    except GemmbenchError as error:
        why = str(error).removeprefix("nothing to draw: ")
        return Picture(kind=kind, caption=caption, why_not=why)
    return Picture(kind=kind, caption=caption, svg=svg)
