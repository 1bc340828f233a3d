"""What the page says of each run in words: how it was measured, its best figures, what failed."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from gemmbench.analysis.outcomes import ORDER
from gemmbench.analysis.overview import Overview, RunOverview
from gemmbench.analysis.rows import rows_of
from gemmbench.show.report.ends import End, end
from gemmbench.show.report.headline import Card, card
from gemmbench.show.report.tones import Tone
from gemmbench.show.results import SOFTWARE, exact_check
from gemmbench.show.text import device_named, digits, percent, printable
from gemmkernels.device import Device
from gemmkernels.precision import PRECISIONS

TOLD = 12
"""Of faults and warnings at most so many are told each."""

GROUPS = 40
"""So many reasons why cases have no figure are told."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What a reader must know before any figure."""

    tone: Tone
    head: str
    text: str


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run, in words. `number` counts from 1; `file` is what tells its file from the others'.

    `nothing` is said where there are no `ends`. `tool` is who measured, where it was another.
    """

    number: int
    file: str
    device: str
    preset: str
    started: str
    notices: tuple[Notice, ...]
    facts: tuple[tuple[str, str], ...]
    cards: tuple[Card, ...]
    ends: tuple[End, ...]
    nothing: str
    more_ends: int
    tool: str
    left_out: tuple[str, ...]


def run_views(overview: Overview) -> tuple[RunView, ...]:
    """A view a run, in their order."""
    found, first = [], 1
    for number, one in enumerate(overview.runs, start=1):
        found.append(_run_view(one, number=number, first_case=first))
        first += len(one.cases)
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all of several runs have in common."""

    notices: tuple[Notice, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


def apart(runs: tuple[RunView, ...]) -> tuple[Shared, tuple[RunView, ...]]:
    """What several runs share, and the runs without it."""
    if len(runs) < 2:
        return Shared(), runs
    first, *others = runs
    shared = Shared(
        notices=tuple(one for one in first.notices if all(one in run.notices for run in others)),
        facts=tuple(one for one in first.facts if all(one in run.facts for run in others)),
    )
    return shared, tuple(
        replace(
            run,
            notices=tuple(one for one in run.notices if one not in shared.notices),
            facts=tuple(one for one in run.facts if one not in shared.facts),
        )
        for run in runs
    )


def by_precision(runs: tuple[RunView, ...]) -> tuple[tuple[Card, ...], ...]:
    """The cards of each precision beside each other, in the order of the precisions."""
    found: dict[str, list[Card]] = {}
    for run in runs:
        for one in run.cards:
            found.setdefault(one.precision, []).append(one)
    places = {name: place for place, name in enumerate(PRECISIONS)}
    names = sorted(found, key=lambda name: places.get(name, len(places)))
    return tuple(tuple(found[name]) for name in names)


def _run_view(one: RunOverview, *, number: int, first_case: int) -> RunView:
    header = one.run.header
    rows = list(rows_of(one.rows))
    return RunView(
        number=number,
        file=one.name,
        device=device_of(one),
        preset=header.method.preset,
        started=_when(header.started),
        notices=tuple(_notices(one)),
        facts=tuple((what, said) for what, said in _facts(one) if said),
        cards=tuple(
            card(row, seen, run=number)
            for row, seen in zip(rows_of(one.best), one.tops, strict=True)
        ),
        ends=tuple(end(of, rows, first_case=first_case) for of in one.outcomes[:GROUPS]),
        nothing=_nothing(one),
        tool=printable(header.tool, 80),
        more_ends=max(0, len(one.outcomes) - GROUPS),
        left_out=header.left_out,
    )


def device_of(one: RunOverview) -> str:
    """The device of a run, and which part of it."""
    device = one.run.header.device
    return device_named(device.name, device.partition or "")


def _when(started: str) -> str:
    """As a person writes it; as it stands where it is no time."""
    try:
        time = datetime.fromisoformat(started)
    except ValueError:
        return started
    zone = "" if time.tzinfo is None else f" {time.tzname()}"
    return f"{time.day} {time:%B %Y, %H:%M}{zone}"


def _facts(one: RunOverview) -> Iterator[tuple[str, str]]:
    header, how, footer = one.run.header, one.run.header.method, one.run.footer
    device = header.device
    units = f"{device.units} {_units(device)}" if device.units else ""
    yield "Device", ", ".join(filter(None, (device_of(one), device.architecture, units)))
    known = [name for name in SOFTWARE if name in header.software]
    yield (
        "Software",
        ", ".join(
            [f"gemmbench {header.version}", *(f"{name} {header.software[name]}" for name in known)]
        ),
    )
    took = f"; took {_span(footer.wall_s)}" if footer and footer.wall_s > 0 else ""
    yield "When", _when(header.started) + took
    sheet = header.device_id or "none known for this device, so no percent of peak"
    yield "Spec sheet", sheet
    method = {"preset": how.preset, "cache": how.cache, "launch": how.launch, "data": how.data}
    seed = "" if header.tool else f", seed {how.seed}"
    yield "Method", "; ".join(f"{name} {said}" for name, said in method.items() if said) + seed
    yield "Turns", "" if header.tool else _turns(one)
    yield "Verification", _verification(one)
    counts = Counter(one.rows["status"])
    ended = [name for name in ("ok", *ORDER) if counts[name]]
    yield (
        "Cases",
        f"{len(one.rows)}: {', '.join(f'{counts[name]} {name}' for name in ended)}",
    )
    yield "Suites", ", ".join(header.suites)
    lent = ", ".join(one.roofs_from)
    yield "Measured roofs", f"from {lent}" if lent else "its own" if one.run.roofs else ""


def _units(device: Device) -> str:
    if device.kind == "cpu":
        return "cores"
    return {"nvidia": "SMs", "amd": "CUs"}.get(device.vendor, "units")


def _span(wall_s: float) -> str:
    for scale, unit in ((3600, "h"), (60, "min")):
        if wall_s >= scale:
            return f"{digits(wall_s / scale, 3)} {unit}"
    return f"{digits(wall_s, 3)} s"


def _turns(one: RunOverview) -> str:
    how = one.run.header.method
    repeats = max((record.repeat for record in one.run.records), default=0) + 1
    taken = [n for n in one.rows.loc[one.rows["status"].eq("ok"), "n_rounds"] if n > 0]
    least, most = (min(taken), max(taken)) if taken else (0, 0)
    rounds = f"{least}" if least == most else f"{least} to {most}"
    settle = f"{1e3 * how.settle_s:g} ms to settle" if how.settle_s else "no time to settle"
    return (
        f"{f'{repeats} repeats, each in a fresh process' if repeats > 1 else '1 repeat'}; "
        f"{rounds} turns a case in all; a turn has {settle} and {1e3 * how.turn_s:g} ms of samples"
    )


def _verification(one: RunOverview) -> str:
    seen = one.checked
    if not seen.of:
        return ""
    if tool := one.run.header.tool:
        return f"checked by {printable(tool, 80)} itself: {seen.records or 'none'} of {seen.of}"
    said = [f"{seen.records or 'none'} of {seen.of} measured records"]
    by = " and ".join(f"{exact_check(name)} ({count})" for name, count in seen.exact_by)
    said += [f"bit for bit by {by}"] if by else []
    if math.isfinite(seen.error):
        said.append(f"largest rounding error {percent(100 * seen.error)} of its bound")
    return "; ".join(said)


def _nothing(one: RunOverview) -> str:
    """Where no case failed: what of the run is known to be whole and verified."""
    header, seen = one.run.header, one.checked
    if header.tool:
        return (
            f"Nothing that {printable(header.tool, 80)} told of failed; gemmbench did not verify "
            "these figures."
        )
    missing = len(set(header.plan) - {record.case for record in one.run.records})
    if _is_cut(one) or missing:
        of = f"{missing} of {len(header.plan)} planned" if missing else "some planned"
        return f"No case that ran failed, but the run was cut short: {of} cases may have no record."
    if seen.records < seen.of:
        return (
            f"Nothing failed, but only {seen.records} of {seen.of} measured records say that they "
            "were verified."
        )
    return "Nothing: every planned case has a verified figure."


def _is_cut(one: RunOverview) -> bool:
    footer = one.run.footer
    return footer.interrupted if footer else not one.run.header.tool


def _notices(one: RunOverview) -> Iterator[Notice]:
    header = one.run.header
    if header.synthetic:
        yield Notice(tone="bad", head="Synthetic.", text="These figures were never measured.")
    if header.tool:
        yield Notice(
            tone="warn",
            head="Imported.",
            text=f"{printable(header.tool, 80)} measured this; gemmbench neither timed nor "
            "verified it.",
        )
    for fault in header.doctor[:TOLD]:
        yield Notice(tone="bad", head="Not fit to publish:", text=printable(fault, 400))
    if header.method.unsettled:
        yield Notice(
            tone="warn",
            head="Unsettled.",
            text="Turns were too short for clocks and temperature to settle: not to be compared "
            "with a sustained run.",
        )
    if _is_cut(one):
        yield Notice(
            tone="warn",
            head="Cut short.",
            text="The run did not come to its end. gemmbench run --resume takes it up again.",
        )
    for told in one.run.warnings[:TOLD]:
        yield Notice(tone="warn", head="Not all was loaded:", text=printable(told, 400))
    more = max(0, len(header.doctor) - TOLD) + max(0, len(one.run.warnings) - TOLD)
    if more:
        yield Notice(tone="warn", head="And more:", text=f"{more} further faults and warnings")
    yield from _of_cases(one)


def _of_cases(one: RunOverview) -> Iterator[Notice]:
    counts: Counter[str] = Counter()
    for one_end in one.outcomes:
        counts[one_end.what] += len(one_end.places)
    gone = [name for name in ("wrong", "failed", "timeout") if counts[name]]
    if gone:
        said = ", ".join(f"{counts[name]} {name}" for name in gone)
        yield Notice(
            tone="bad", head="Not all cases worked:", text=f"{said}; see what failed and why."
        )
    if counts["contended"]:
        yield Notice(
            tone="warn",
            head="Neighbours:",
            text=f"other programs on the cores took turns from {_cases(counts['contended'])}.",
        )
    if warned := int(one.rows["warnings"].ne("").sum()):
        yield Notice(
            tone="warn",
            head="Warnings:",
            text=f"{_cases(warned)} carry one; the table of all cases marks them."
            if warned > 1
            else "1 case carries one; the table of all cases marks it.",
        )
    if one.rows["impossible"].any():
        yield Notice(
            tone="bad",
            head="Impossible figures:",
            text="some are over 102% of the dense peak at the clock held; they are not ranked.",
        )
    void = list(dict.fromkeys(one.rows.loc[one.rows["roof_void"], "precision"]))
    if void:
        yield Notice(
            tone="warn",
            head="Measured roof void:",
            text=f"a verified kernel beat that of {', '.join(void)}, so it is no roof.",
        )


def _cases(count: int) -> str:
    return f"{count} {'case' if count == 1 else 'cases'}"
