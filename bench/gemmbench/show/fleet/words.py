"""The words of a report on a fleet: its verdict in one sentence, and how it was judged."""

import math
from collections import Counter
from collections.abc import Iterable

from gemmbench.analysis.fleet.model import KINDS, Flag, FleetReport, Part
from gemmbench.analysis.fleet.rule import ALPHA, DELTA
from gemmbench.quantities import counted
from gemmbench.show.text import digits

_SOME = 3
AGAIN = "run all devices of the node again, with --repeat 3"
"""Not the one alone: a device that is measured by itself is not held against those at once."""


def verdict(found: FleetReport) -> str:
    """One sentence; then one of nodes and racks, of the earlier fleet, and of what is only
    suspected, where there is something to say."""
    total = counted(len(found.devices), "device")
    flagged = {one.device for one in found.confirmed}
    if flagged:
        first = f"{len(flagged)} of {total} flagged: {_kinds(found.confirmed)}."
    elif found.exit_code == 2:
        first = f"Not judged in full: of {total} none is flagged"
        first += "." if found.suspected else ", but not all could be judged."
    else:
        first = f"None of {total} is flagged."
    suspected = {one.device for one in found.suspected} - flagged
    more = [f"Suspected: {_kinds(found.suspected)}; {AGAIN}."] if suspected else []
    return " ".join([first, *_parts(found.parts), *_then(found), *more])


def why_not_judged(found: FleetReport) -> str:
    """The first reason, and how many more there are."""
    reasons = [*found.not_judged]
    if found.suspected:
        reasons.insert(0, f"suspected, and not confirmed: {_kinds(found.suspected)}; {AGAIN}")
    more = f"; and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"not judged: {reasons[0]}{more}"


def _kinds(flags: Iterable[Flag]) -> str:
    devices = {(one.kind, one.device) for one in flags}
    counts = Counter(kind for kind, _ in devices)
    return ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind])


def _parts(parts: Iterable[Part]) -> Iterable[str]:
    slow = [one for one in parts if one.slow]
    if slow:
        names = ", ".join(
            f"{one.what} {one.name} ({change_text(one.relative)})" for one in slow[:_SOME]
        )
        more = f" and {len(slow) - _SOME} more" if len(slow) > _SOME else ""
        yield f"Slow as a whole: {names}{more}."


def _then(found: FleetReport) -> Iterable[str]:
    if slower := found.slower_than_then:
        yield (
            f"The fleet is slower than it was in {len(slower)} of "
            f"{counted(len(found.against), 'case')}, by up to {change_text(slower[0].ratio)}."
        )


def change_text(relative: float) -> str:
    """A ratio of speeds as percent: -5.2%. Empty where it is not known."""
    change = round(100 * (relative - 1), 1) if math.isfinite(relative) else math.nan
    return f"{change + 0.0:+.1f}%" if math.isfinite(change) else ""


def method(found: FleetReport) -> tuple[str, ...]:
    """How it was judged, a sentence an item; nothing where no speed was."""
    if not found.tests:
        return ()
    delta = f"{100 * DELTA:g}%"
    return (
        f"slow: over {delta} below the median of the other devices, and beyond chance (Holm p < "
        f"{ALPHA:g} over all {found.tests:,} tests of this report) or over {200 * DELTA:g}% below; "
        "and so in two measurements or more, more than chance makes of the others'. Else suspected",
        "spread: 1.4826 · MAD of the speeds, in percent of the median; finds: how much slower a "
        "device must be in that case to be seen",
        "a fleet that is slow as a whole looks sound from within: see of peak, and --against",
        "only devices of one model that were measured alike are held against each other, those "
        "measured at once and those one by one apart",
    )


def peak_text(value: float) -> str:
    return f"{digits(value, 3)}%" if math.isfinite(value) else ""
