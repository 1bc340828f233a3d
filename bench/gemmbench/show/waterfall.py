"""The factors of a gap as steps from the peak down to the measured rate."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gemmbench.analysis.gap import Cause, Factor, Gap
from gemmbench.show.drawable import IMPOSSIBLE
from gemmbench.show.results import caption
from gemmbench.show.style import (
    COLOURS,
    GREY,
    INTERVALS,
    SMALL,
    dress,
    figure,
    grid_of,
    head,
    label,
    rate_unit,
)
from gemmbench.show.text import digits, percent, printable
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 12
"""More can't be read: the first ones are drawn."""

NAME = 38
NAMES: dict[Cause, str] = {
    "clock": "clock held",
    "padding": "padding",
    "waves": "whole waves",
    "memory": "bandwidth",
    "launch": "launch",
    "kernel": "kernel itself",
}
FULL, LOSS, GAIN, BEYOND = COLOURS[0], COLOURS[4], COLOURS[2], COLOURS[3]


def waterfall(gaps: Sequence[Gap], *, rows: "pd.DataFrame") -> "Figure":
    """A panel a case: the peak, what each cause takes of it, and what is left.

    `rows` are those of their run, for the caption. Raises GemmbenchError if no case has a peak.
    """
    known = [one for one in gaps if one.factors]
    if not known:
        why = gaps[0].causes.why_not if gaps else "no case is sound"
        raise GemmbenchError(f"nothing to draw: {why}")
    shown = known[:PANELS]
    down, across = grid_of(len(shown))
    more = f" · {len(shown)} of {len(gaps)} cases" if len(shown) < len(gaps) else ""
    width = 6.8 if across == 1 else 1.2 + 3.5 * across
    wide = any(_half(one) for one in shown)
    more += f" · impossible: {IMPOSSIBLE}" if any(one.case.impossible for one in shown) else ""
    more += " · ±: the roof's own 95% interval, which the percentages leave out" if wide else ""
    made = figure(width, 0.8 + 2.75 * down, caption=f"{caption(rows)} · {INTERVALS}{more}")
    grid = made.subplots(down, across, squeeze=False, sharey=True).flatten()
    for axes, one in zip(grid, shown, strict=False):
        _steps(axes, one)
    for axes in grid[len(shown) :]:
        axes.remove()
    head(made, "Where the rest of the peak went", [], [])
    return made


def _half(one: Gap) -> float:
    """Half of the interval of a measured roof, as a fraction; of a sheet's peak it is 0."""
    half = one.causes.top.half_width if one.causes.top else 0.0
    return half if half > 0 else 0.0


def _steps(axes: "Axes", one: Gap) -> None:
    case, top = one.case, one.causes.top
    assert top is not None
    rates = [case.flop / factor.before_us / 1e6 for factor in one.factors]
    kind = {"spec": "sparse" if top.sparse else "dense", "roof": "roof"}[top.kind]
    half = _half(one)
    width = f" ±{digits(100 * half, 2)}%" if half else ""
    _bar(axes, 0, 0.0, top.tflops, FULL, f"{digits(top.tflops)} {kind}{width}")
    for place, factor in enumerate(one.factors, start=1):
        _step(axes, place, one, factor)
    last = len(one.factors) + 1
    said = f"{digits(case.tflops)}, {percent(one.pct_top)}"
    said += ": impossible" * case.impossible
    colour = BEYOND if case.impossible else FULL
    _bar(axes, last, 0.0, case.tflops, colour, said, ends=(case.tflops_low, case.tflops_high))
    names = ["peak", *(NAMES[factor.cause] for factor in one.factors), "measured"]
    axes.set_yticks(range(last + 1), [label(name) for name in names])
    axes.set_ylim(last + 0.6, -0.6)
    axes.set_xlim(0, (1.6 if width else 1.42) * max(*rates, case.tflops))
    title = f"{case.precision}  {case.shape}\n{printable(case.kernel, NAME)}"
    dress(axes, x=rate_unit(case.precision), y="", title=title, grid="x")


def _step(axes: "Axes", place: int, one: Gap, factor: Factor) -> None:
    before, after = (one.case.flop / us / 1e6 for us in (factor.before_us, factor.after_us))
    axes.plot([before, before], [place - 1.4, place + 0.4], color=GREY, linewidth=0.6)
    known = not math.isnan(one.factor(factor.cause))
    colour, said = GAIN if after > before else LOSS, step_text(one, factor)
    _bar(axes, place, min(before, after), max(before, after), colour, said, faint=not known)


def step_text(one: Gap, factor: Factor) -> str:
    """What a cause takes of the rate before it, or gives."""
    if math.isnan(one.factor(factor.cause)):
        return "not known"
    before, after = (one.case.flop / us / 1e6 for us in (factor.before_us, factor.after_us))
    if after > before:
        return "refuted: " * (factor.cause == "kernel") + f"+{percent(100 * (after / before - 1))}"
    return f"−{percent(100 * (1 - after / before))}" if after < before else "no loss"


def _bar(
    axes: "Axes",
    place: int,
    low: float,
    high: float,
    colour: str,
    said: str,
    *,
    ends: tuple[float, float] | None = None,
    faint: bool = False,
) -> None:
    hatch = {LOSS: "////", GAIN: "....", BEYOND: "xxxx"}.get(colour, "")
    axes.barh(
        *(place, high - low),
        left=low,
        height=0.72,
        color=colour,
        hatch=hatch,
        edgecolor="white",
        linewidth=0.4,
    )
    if ends is not None and not any(map(math.isnan, ends)):
        axes.plot(ends, [place, place], color="black", linewidth=1.0, marker="|", markersize=5)
    axes.annotate(
        said,
        (max(high, *(end for end in ends or () if not math.isnan(end)), high), place),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL,
        color=GREY if faint else "black",
    )
