"""The words of a history, for its tables and its figure."""

import math
from collections.abc import Sequence
from itertools import groupby

from gemmbench.analysis.history_runs import Differs
from gemmbench.analysis.series import Change, Point, Series
from gemmbench.show.results import SOFTWARE
from gemmbench.show.text import device_named, printable
from gemmkernels.precision import SPARSE

NAME, VALUE = 40, 40
SOME = 4
"""So many things that changed are told in a table, the others counted; CSV and JSON have all."""


def caption(every: Sequence[Series]) -> str:
    """Where and how series of one table were measured, and by which software."""
    where, *how = _measured(every[0])
    return " · ".join((where, *software(every), *how))


def where_of(one: Series) -> str:
    """Where and how a series was measured."""
    return " · ".join(_measured(one))


def _measured(one: Series) -> list[str]:
    parts = [device_named(one.device, one.partition)]
    parts += [one.place] if one.place else []
    parts += [f"{one.at_once} devices at once"] if one.at_once > 1 else []
    parts += [f"{one.power_limit_w:g} W"] if one.power_limit_w else []
    parts += [f"{one.threads} threads"] if one.threads else []
    parts += [f"measured by {one.tool}"] if one.tool else []
    for name in ("preset", "data", "cache", "launch"):
        parts += [f"{name} {value}"] if (value := getattr(one, name)) else []
    parts += ["synthetic: never measured"] if one.synthetic else []
    return [printable(part, 80) for part in parts if part]


def software(every: Sequence[Series]) -> list[str]:
    """What decides speed, in the first run and in the last: "torch 2.12.0 → 2.13.0"."""
    ran = {id(point.ran): point.ran for one in every for point in one.points}
    in_order = sorted(ran.values(), key=lambda run: (run.started, run.file))
    told = []
    for name in SOFTWARE:
        versions = [key for key, _ in groupby(run.facts.get(name, "") for run in in_order)]
        if any(versions):
            shown = [printable(one, VALUE) or "none" for one in versions]
            ends = shown if len(shown) <= 2 else (shown[0], "…", shown[-1])
            told.append(f"{name} {' → '.join(ends)}")
    return told


def drift_text(one: Series) -> str:
    """ "drifts by about -0.1% a run within its levels"; empty where no drift is seen."""
    if math.isnan(one.drift_pct):
        return ""
    where = " within its levels" if one.changes else ""
    may = ": the changes may be one slow one" if one.may_be_slow else ""
    return f"drifts by about {one.drift_pct:+.2g}% a run{where}{may}"


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


def why_text(change: Change, of: Series) -> str:
    """What changed between the two runs, or near them; or that nothing is known to have, and
    whether it may be a drift."""
    if change.differs:
        return some(list(map(differs_text, change.differs)))
    near = [
        f"{differs_text(one.differs)} ({abs(one.runs)} {'after' if one.runs > 0 else 'before'})"
        for one in change.near
    ]
    drifts = ["the series drifts"] if of.may_be_slow else []
    return "; ".join(["nothing known", *([f"runs near it: {some(near)}"] if near else []), *drifts])


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
