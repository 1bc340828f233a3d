"""Where the rest went: the factors as a table, one plain sentence a case, and all of it as JSON."""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from gemmbench.analysis.explain import Explained
from gemmbench.analysis.gap import Cause, Gap
from gemmbench.show.results import caption
from gemmbench.show.sentence import sentence
from gemmbench.show.tables import Format, Table, echo, in_markdown, without_empty
from gemmbench.show.text import digits, duration, half_width, percent, printable

CAUSES: tuple[Cause, ...] = ("clock", "padding", "waves", "memory", "launch", "kernel")
SENTENCES = 24
"""More than so many filtered cases get the table alone."""

_RIGHT = frozenset(("time", "±", "TFLOP/s", "of peak", "of roof", *CAUSES[:-1], "own"))


def table(found: Explained) -> Table:
    """A row a case; a factor is the share of the rate that one cause leaves, their product `of
    peak`. A cause that is not known has a dash."""
    shown = Table(
        title=caption(found.rows),
        columns=(
            *("kernel", "precision", "shape", "time", "±", "TFLOP/s", "of peak", "of roof"),
            *(*CAUSES[:-1], "own", "bound by"),
        ),
        rows=tuple(_cells(one) for one in found.gaps),
        right=_RIGHT,
        notes=_notes(found),
    )
    optional = ("±", "of peak", "of roof", *CAUSES[:-1], "own", "bound by")
    return without_empty(shown, optional=optional)


def sentences(found: Explained, *, filtered: bool) -> tuple[str, ...]:
    """One a case: of the cases that were asked for, else of the best of each precision."""
    chosen = found.gaps if filtered and len(found.gaps) <= SENTENCES else found.best
    return tuple(sentence(one) for one in chosen)


def to_json(found: Sequence[Explained]) -> str:
    """Every case with the inputs of its factors, and where each is from; null is "not known"."""
    documents = [
        {
            **_document(one),
            "tflops": _number(one.case.tflops),
            "pct_top": _number(one.pct_top),
            "pct_roof": _number(one.pct_roof),
            "refuted": one.refuted,
            "bound": one.bound,
        }
        for run in found
        for one in run.gaps
    ]
    return json.dumps(documents, indent=1) + "\n"


def _document(one: Gap) -> dict[str, Any]:
    """The gap itself; the factor of a cause that is not known is null."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(one))
    for factor in found["factors"]:
        factor["value"] = _number(one.factor(factor["cause"]))
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cells(one: Gap) -> tuple[str, ...]:
    case, top = one.case, one.causes.top
    return (
        printable(case.kernel) + (f" [{printable(case.modes)}]" if case.modes else ""),
        case.precision,
        case.shape + ("" if case.layout == "nn" else f" {case.layout}"),
        duration(case.time_us),
        half_width(case.time_us, case.time_us_low, case.time_us_high),
        digits(case.tflops),
        percent(one.pct_top) if top is not None and top.kind == "spec" else "",
        percent(one.pct_roof),
        *(_factor(one, cause) for cause in CAUSES),
        _bound(one),
    )


def _factor(one: Gap, cause: Cause) -> str:
    value = one.factor(cause)
    if not one.factors:
        return ""
    return "–" if math.isnan(value) else percent(100 * value)


def _bound(one: Gap) -> str:
    """What sets the least time, or that the model does not hold."""
    if not one.refuted:
        return one.bound or ""
    return f"{one.bound}; refuted{'' if one.refuted_surely else ' within ±'}"


def _notes(found: Explained) -> tuple[str, ...]:
    notes = []
    if any(one.factors for one in found.gaps):
        kinds = dict.fromkeys(one.causes.top.kind for one in found.gaps if one.causes.top)
        of = " or ".join({"spec": "of peak", "roof": "of roof"}[kind] for kind in kinds)
        notes.append(
            f"{of} is the product of the six factors; own is what the kernel reaches of what the "
            "others leave; – is not known"
        )
    if any(one.refuted for one in found.gaps):
        notes.append("refuted: faster than the model allows, so that one of its figures is wrong")
    tops = {one.causes.top.id: one.causes.top for one in found.gaps if one.causes.top}
    for top in tops.values():
        part = f" ({top.partition}, {percent(100 * top.scaled)} of it)" if top.partition else ""
        what = (
            "spec sheet"
            if top.kind == "spec"
            else "no sheet has a peak: the measured roof is in its place"
        )
        width = f", ±{percent(100 * top.half_width)}" if math.isfinite(top.half_width) else ""
        notes.append(f"{what}: {top.id}{part}{width}")
    lower = {one.case.precision for one in found.gaps if _beside_sheet(one)}
    widths = [
        f"{one.precision} {half_width(one.roof_tflops, *one.roof_ends) or 'without an interval'}"
        for one in found.ceilings
        if one.precision in lower
    ]
    if widths:
        notes.append(f"of roof: the roofs were measured to {', '.join(widths)}")
    memories = [one.causes.memory for one in found.gaps if one.causes.memory]
    for source, memory in {one.source: one for one in memories}.items():
        how = "measured" if memory.measured else "of the sheet"
        notes.append(f"{memory.level}: {digits(memory.gbps)} GB/s, {how} ({source})")
    floors = [one.causes.floor for one in found.gaps if one.causes.floor]
    for source, floor in {one.source: one for one in floors}.items():
        notes.append(f"launch: {duration(floor.us / floor.launches)} each, measured ({source})")
    if void := [one.precision for one in found.ceilings if one.void]:
        notes.append(f"measured roof of {', '.join(void)} void: a verified kernel beat it")
    notes += [f"roofs are from {path.name}" for path in found.roofs_from]
    for why in dict.fromkeys(one.why for gap in found.gaps for one in gap.causes.unknown):
        causes = dict.fromkeys(
            one.cause for gap in found.gaps for one in gap.causes.unknown if one.why == why
        )
        notes.append(f"{' and '.join(causes)} not known: {why}")
    for why in dict.fromkeys(one.causes.why_not for one in found.gaps if one.causes.why_not):
        names = dict.fromkeys(one.case.precision for one in found.gaps if one.causes.why_not == why)
        notes.append(f"no peak for {', '.join(names)}: {why}")
    if found.left_out:
        counts = ", ".join(f"{count} {what}" for what, count in found.left_out)
        notes.append(f"not explained: {counts}")
    return tuple(notes)


def _beside_sheet(one: Gap) -> bool:
    """Is a measured roof told of beside a sheet's peak?"""
    return (
        math.isfinite(one.pct_roof) and one.causes.top is not None and one.causes.top.kind == "spec"
    )


def echo_explained(found: Sequence[Explained], *, form: Format, filtered: bool) -> None:
    """Print each run's table, then its sentences: a list in Markdown."""
    for index, run in enumerate(found):
        if index:
            print()
        echo([table(run)], form=form)
        mark = "- " if form == "markdown" else ""
        print()
        for said in sentences(run, filtered=filtered):
            print(mark + (in_markdown(said) if form == "markdown" else said))
