"""The words of a history, for its tables and its figure."""

import math
from collections.abc import Sequence

from gemmbench.analysis.history_runs import Differs
from gemmbench.analysis.series import Change, Point, Series
from gemmbench.show.text import device_named, printable
from gemmkernels.precision import SPARSE

NAME, VALUE = 40, 40
SOME = 4
"""So many things that changed are told in a table, the others counted; CSV and JSON have all."""


def caption(one: Series) -> str:
    """Where and how a series was measured."""
    parts = [device_named(one.device, one.partition)]
    parts += [f"{one.power_limit_w:g} W"] if one.power_limit_w else []
    parts += [f"{one.threads} threads"] if one.threads else []
    parts += [f"measured by {one.tool}"] if one.tool else []
    for name in ("preset", "data", "cache", "launch"):
        parts += [f"{name} {value}"] if (value := getattr(one, name)) else []
    parts += ["synthetic: never measured"] if one.synthetic else []
    return " · ".join(printable(part, 80) for part in parts if part)


def title_of(one: Series) -> str:
    """Kernel, precision and problem."""
    sparse = ", sparse rates" if one.precision in SPARSE else ""
    return f"{kernel_of(one)} {one.precision} {problem_of(one)}{sparse}"


def kernel_of(one: Series) -> str:
    """Its name, and what changes its numerics."""
    modes = f" [{printable(one.modes, NAME)}]" if one.modes else ""
    return printable(one.kernel, 2 * NAME) + modes


def problem_of(one: Series) -> str:
    """Shape, layout and label."""
    layout = "" if one.layout == "nn" else f" {one.layout}"
    return f"{one.shape}{layout}" + (f" ({printable(one.label, NAME)})" if one.label else "")


def said(point: Point) -> str:
    """Verdict or status, and its reason."""
    if point.status != "ok":
        reason = printable(point.reason, VALUE)
        return f"{point.status}: {reason}" if reason else point.status
    return point.verdict or "not measured"


def change_text(change: Change) -> str:
    """ "▼ -4.8% confirmed"."""
    mark = "▲" if change.ratio > 1 else "▼"
    return f"{mark} {signed(change.ratio)} {change.certainty}"


def why_text(change: Change) -> str:
    """What changed between the two runs, or near them; or that nothing is known to have."""
    if change.differs:
        return some(list(map(differs_text, change.differs)))
    near = [
        f"{differs_text(one.differs)} ({abs(one.runs)} {'after' if one.runs > 0 else 'before'})"
        for one in change.near
    ]
    return f"nothing known; runs near it: {some(near)}" if near else "nothing known"


def differs_text(one: Differs) -> str:
    """ "torch 2.12.0 → 2.13.0"."""
    before, after = (printable(value, VALUE) or "none" for value in (one.before, one.after))
    return f"{printable(one.what, NAME)} {before} → {after}"


def some(texts: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = [f"and {len(texts) - SOME} more"] if len(texts) > SOME else []
    return "; ".join([*texts[:SOME], *more])


def signed(ratio: float) -> str:
    """A change of speed as percent: +5.2%."""
    return f"{percent_of(ratio):+.1f}%" if math.isfinite(ratio) else ""


def percent_of(ratio: float) -> float:
    """A ratio of speeds as a change."""
    return 100 * (ratio - 1)
