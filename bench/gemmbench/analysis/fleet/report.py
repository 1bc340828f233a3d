"""`fleet_report`: which devices of a fleet are not as the others."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gemmbench.analysis.fleet import then as earlier
from gemmbench.analysis.fleet.columns import Columns
from gemmbench.analysis.fleet.flags import slow_flags
from gemmbench.analysis.fleet.gather import gather
from gemmbench.analysis.fleet.health import faults, hot, throttled
from gemmbench.analysis.fleet.model import KINDS, Case, Device, Flag, FleetReport, Spread, Then
from gemmbench.analysis.fleet.notes import no_record, not_judged, notes
from gemmbench.analysis.fleet.parts import parts, racks_of
from gemmbench.analysis.fleet.rule import LEAST, finds, grouped_medians
from gemmbench.analysis.fleet.slow import Judged, Times, judge
from gemmbench.records.reader import Source
from gemmbench.timing.statistics import Floats
from gemmkernels.errors import GemmbenchError
from gemmkernels.problem import Problem

_SOME = 3


def fleet_report(
    sources: Sequence[Source], *, against: Source | None = None, racks: Path | None = None
) -> FleetReport:
    """Hold the devices of runs against each other: one file of a fleet, or many of single devices.

    `against` is an earlier fleet, `racks` a CSV file that names the rack of each node. Raises
    GemmbenchError as `gather`, `racks_of` and `then.against` do.
    """
    rack_of = racks_of(racks) if racks else {}
    columns = gather(sources)
    models = [case.model for case in columns.cases]
    numbers = {model: number for number, model in enumerate(dict.fromkeys(models))}
    found = judge(
        Times(device=columns.device, case=columns.case, time_us=columns.time_us),
        cohorts=[numbers[model] for model in models],
        precisions=[case.precision for case in columns.cases],
    )
    devices = _devices(columns, found, rack_of)
    flagged, nobody = faults(columns)
    flags = [*flagged, *slow_flags(found, columns, devices), *throttled(columns), *hot(columns)]
    flags.sort(key=lambda one: (not one.confirmed, KINDS.index(one.kind), _depth(one), one.device))
    confirmed = sorted({one.device for one in flags if one.confirmed})
    slower: tuple[Then, ...] = ()
    unlike: list[str] = []
    if against is not None:
        medians, then = _medians(columns), _medians(gather([against]))
        slower = earlier.against(medians, then)
        unlike = [*earlier.only_one_has(medians, then)]
    return FleetReport(
        sources=columns.sources,
        options=tuple(
            (name, str(value))
            for name, value in (("--against", against), ("--racks", racks))
            if value is not None
        ),
        devices=devices,
        cases=_spreads(columns, found),
        flags=tuple(flags),
        parts=parts(devices, _speeds(found, len(devices)), confirmed),
        against=slower,
        not_judged=(
            *not_judged(columns, found),
            *nobody,
            *no_record(columns, {one.device for one in flags}),
            *earlier.undecided(slower),
        ),
        notes=(*notes(columns, rack_of), *unlike, *columns.warnings),
        tests=found.tests,
        synthetic=columns.synthetic,
    )


def _speeds(found: Judged, devices: int) -> list[float]:
    """The median of each over its cases, over the median of all devices in each."""
    known = ~np.isnan(found.common)
    of_device = grouped_medians(found.common[known], found.pair_device[known], devices)
    return [float(one) for one in of_device]


def _depth(flag: Flag) -> float:
    return 0.0 if math.isnan(flag.relative) else flag.relative


def _devices(columns: Columns, found: Judged, rack_of: Mapping[str, str]) -> tuple[Device, ...]:
    count = len(columns.devices)
    known = ~np.isnan(found.relative)
    of, relative = found.pair_device[known], found.relative[known]
    overall = grouped_medians(relative, of, count).tolist()
    order = np.lexsort((relative, of))
    firsts = np.searchsorted(of[order], np.arange(count))
    cases = found.pair_case[known]
    records = np.bincount(columns.device, minlength=count).tolist()
    spoilt = [0] * count
    for number, *_ in columns.contended:
        spoilt[number] += 1

    def middle(values: Floats) -> list[float]:
        seen = ~np.isnan(values)
        made: list[float] = grouped_medians(values[seen], columns.device[seen], count).tolist()
        return made

    warm, clock, power = map(middle, (columns.temperature_c, columns.clock_mhz, columns.power_w))
    made = []
    for number, one in enumerate(columns.devices):
        worst = order[firsts[number]] if not math.isnan(overall[number]) else None
        place = one.place
        made.append(
            Device(
                name=one.name,
                node=place.node,
                rack=rack_of.get(place.node, place.rack),
                index=place.index,
                pci_address=place.pci_address,
                model=one.model,
                files=one.files,
                facts=one.facts,
                records=records[number],
                contended=spoilt[number],
                relative=overall[number],
                worst=math.nan if worst is None else float(relative[worst]),
                worst_case=None if worst is None else columns.cases[cases[worst]],
                temperature_c=warm[number],
                clock_mhz=clock[number],
                power_w=power[number],
            )
        )
    return tuple(made)


def _spreads(columns: Columns, found: Judged) -> tuple[Spread, ...]:
    """Each case that three devices have or more, the one with the slowest device first."""
    count = len(columns.cases)
    noisy = np.bincount(columns.case[columns.noisy], minlength=count).tolist()
    limited = np.bincount(columns.case[columns.limited], minlength=count).tolist()
    slow: dict[int, set[int]] = defaultdict(set)
    for one in found.slow:
        for place in one.scope.cases:
            if one.confirmed:
                slow[place].add(one.device)
    bounds = np.searchsorted(found.pair_case, np.arange(count + 1)).tolist()
    made = []
    for number, case in enumerate(columns.cases):
        span = slice(bounds[number], bounds[number + 1])
        times, devices = found.pair_time_us[span], found.pair_device[span]
        if len(times) < LEAST:
            continue
        middle = float(np.median(times))
        # The spread without the slowest and the fastest one, where each is judged by the others.
        spread = float(np.median(found.spread[span]))
        relative = middle / times
        made.append(
            Spread(
                case=case,
                devices=tuple(devices.tolist()),
                relative=relative,
                time_us=middle,
                tflops=_flop(case) / middle / 1e6,
                peak_tflops=columns.peaks[number],
                spread_pct=100 * spread,
                finds_pct=100 * finds(spread, len(times), found.tests),
                slowest=int(devices[relative.argmin()]),
                fastest=int(devices[relative.argmax()]),
                slow=len(slow[number] & set(devices.tolist())),
                noisy=noisy[number],
                power_limited=limited[number],
            )
        )
    return tuple(sorted(made, key=lambda one: float(one.relative.min())))


def _flop(case: Case) -> float:
    if case.collective and case.collective == case.kernel:
        return math.nan
    try:
        problem = Problem(
            m=case.m,
            n=case.n,
            k=case.k,
            precision=case.precision,
            batch=case.batch,
            layout=case.layout,
            experts=case.experts,
        )
    except GemmbenchError:  # a precision or layout from a newer gemmbench
        return math.nan
    return problem.flop / max(1, case.ranks)


def _medians(columns: Columns) -> dict[Case, Floats]:
    """The times of each case, a device's median over its repeats an item."""
    count = 1 + int(columns.device.max(initial=0))
    places, owner = np.unique(columns.case * count + columns.device, return_inverse=True)
    times = grouped_medians(columns.time_us, owner, len(places))
    bounds = np.searchsorted(places // count, np.arange(len(columns.cases) + 1)).tolist()
    return {
        case: times[bounds[number] : bounds[number + 1]]
        for number, case in enumerate(columns.cases)
        if bounds[number + 1] > bounds[number]
    }
