"""What is wrong with a device beside its speed: wrong results, no results, heat, limits."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gemmbench.analysis.fleet.columns import Columns, Fault, Gathered, Throttled
from gemmbench.analysis.fleet.model import Case, Flag, Kind
from gemmbench.analysis.fleet.rule import ALPHA, LEAST, against_others, grouped_medians, holm
from gemmbench.quantities import counted

HOT_C = 10.0
"""Degrees above the median of the others, as δ of speeds; 2 · HOT_C needs no p. A convention: no
source says what is too warm, only the device's own thermal limit does."""

SENSOR_C = 1.0
"""Sensors tell whole degrees: no spread is less."""

LIMITS = {
    "thermal": "its thermal limit",
    "hw_slowdown": "its hardware slowdown",
    "power_brake": "its power brake",
}
_SOME = 3


def hot(columns: Columns) -> Iterator[Flag]:
    """Devices far warmer than the others: the rule of speeds, with degrees in place of percent."""
    seen = ~np.isnan(columns.temperature_c)
    if not seen.any():
        return
    count = len(columns.devices)
    device, warm = columns.device[seen], columns.temperature_c[seen]
    middle = grouped_medians(warm, device, count)
    groups: dict[object, list[int]] = defaultdict(list)
    for number in np.flatnonzero(~np.isnan(middle)).tolist():
        groups[columns.devices[number].model].append(number)
    tested = [some for some in groups.values() if len(some) >= LEAST]
    if not tested:
        return
    found = [against_others(-middle[some], floor=SENSOR_C) for some in tested]
    adjusted = iter(holm(np.concatenate([one.p_low for one in found])).tolist())
    for some, one in zip(tested, found, strict=True):
        for number, centre in zip(some, (-one.centre).tolist(), strict=True):
            p, above = next(adjusted), float(middle[number] - centre)
            if above > HOT_C and (p < ALPHA or above > 2 * HOT_C):
                mine = warm[device == number]
                beyond = int((mine > centre + HOT_C).sum())
                yield Flag(
                    kind="hot",
                    device=number,
                    confirmed=beyond >= 2,
                    scope=counted(len(mine), "record"),
                    why=f"{middle[number]:.0f} °C, {above:.0f} °C above the others' median; "
                    f"so in {beyond} of {counted(len(mine), 'record')}",
                    p=p,
                    beyond=beyond,
                    measurements=len(mine),
                )


def throttled(columns: Columns) -> Iterator[Flag]:
    """Devices that a fault held back, for over 1% of the turns' time (`timing.verdict`), in two
    records or more. A thermal limit is told as heat too: it is the device's own word for it."""
    of_device: dict[int, list[Throttled]] = defaultdict(list)
    for one in columns.throttled:
        of_device[one.device].append(one)
    records = np.bincount(columns.device, minlength=len(columns.devices))
    for number, every in of_device.items():
        thermal = [one for one in every if one.reason == "thermal"]
        if thermal:
            yield _limited("hot", number, thermal, columns, int(records[number]))
        yield _limited("throttled", number, every, columns, int(records[number]))


def _limited(
    kind: Kind, number: int, every: Sequence[Throttled], columns: Columns, records: int
) -> Flag:
    worst = max(every, key=lambda one: one.share)
    return Flag(
        kind=kind,
        device=number,
        confirmed=len(every) >= 2,
        scope=f"{len(every)} of {counted(records, 'record')}",
        why=f"{LIMITS[worst.reason]} held it for {100 * worst.share:.2g}% of the time in "
        f"{columns.cases[worst.case].text}",
        beyond=len(every),
        measurements=records,
    )


def faults(columns: Columns) -> tuple[list[Flag], list[str]]:
    """Flags of what is wrong or missing on a device while others have it ok; then what can't be
    judged: what no device has ok, and results that most have otherwise.

    A result that is wrong is a fault at once, and no matter of chance; of most devices it is not
    the device's.
    """
    alike = _alike(columns.cases)
    fine = {(device, alike[case], repeat) for device, case, repeat in _fine(columns)}
    bad = {(one.device, alike[one.case]) for one in columns.faults if one.status == "wrong"}
    right = {(device, case) for device, case, _ in fine}
    sound = right - bad
    ok, wrong = (Counter(case for _, case in some) for some in (sound, bad))
    repeated = Counter((case, repeat) for _, case, repeat in fine)
    nobody: dict[int, Counter[str]] = defaultdict(Counter)
    disputed: dict[int, int] = {}
    of_device: dict[tuple[int, Kind], list[tuple[Fault, int]]] = defaultdict(list)
    for one in columns.faults:
        case = alike[one.case]
        others = ok[case] - ((one.device, case) in sound)
        if one.status == "interrupted":
            # Whoever stops a run stops it on all devices: only what others have too is missing.
            others = repeated[case, one.repeat]
            if (one.device, case, one.repeat) in fine:
                continue
        if others > 0 and one.status == "wrong" and wrong[case] >= others:
            disputed[case] = one.case
        elif others > 0:
            kind: Kind = "wrong" if one.status == "wrong" else "missing"
            of_device[one.device, kind].append((one, others))
        elif one.status != "unsupported":
            nobody[one.case][one.status] += 1
    flags = [_fault(number, kind, some, columns) for (number, kind), some in of_device.items()]
    for number, device in enumerate(columns.devices):
        if flag := _missing(number, device):
            flags.append(flag)
    told = [_of_all(columns.cases[case].text, found) for case, found in nobody.items()]
    for case, named in disputed.items():
        told.append(
            f"{columns.cases[named].text}: wrong on {counted(wrong[case], 'device')}, ok on "
            f"{ok[case]}: not fewer are wrong than ok, so no device is blamed"
        )
    return flags, told


def _alike(cases: Sequence[Case]) -> list[int]:
    """A number of each case, the same for those that differ in what is known only once it has run:
    a case that failed has no launch, cache and modes."""
    numbers: dict[Case, int] = {}
    bare = [case._replace(launch="", cache="", modes="") for case in cases]
    return [numbers.setdefault(case, len(numbers)) for case in bare]


def _fine(columns: Columns) -> set[tuple[int, int, int]]:
    """(device, case, repeat) of what is ok, also beside neighbours."""
    if not columns.faults:
        return set()
    triples = (columns.device.tolist(), columns.case.tolist(), columns.repeat.tolist())
    return {*zip(*triples, strict=True), *columns.contended}


def _of_all(case: str, statuses: Counter[str]) -> str:
    told = f"{case}: {_statuses(statuses)}, and ok on no other device"
    if statuses.keys() <= {"interrupted"} or statuses.total() < LEAST:
        return told
    return f"{told}: the kernel or the software, not a device"


def _fault(number: int, kind: Kind, found: Sequence[tuple[Fault, int]], columns: Columns) -> Flag:
    some, others = [one for one, _ in found], min(count for _, count in found)
    cases = list(dict.fromkeys(one.case for one in some))
    names = _named([columns.cases[case].text for case in cases])
    statuses = Counter(one.status for one in some)
    reasons = dict.fromkeys(one.reason for one in some if one.reason)
    because = f": {next(iter(reasons))}" if reasons else ""
    return Flag(
        kind=kind,
        device=number,
        confirmed=True,
        scope=counted(len(cases), "case"),
        why=f"{_statuses(statuses)} in {names}; ok on {counted(others, 'other')}{because}",
    )


def _missing(number: int, device: Gathered) -> Flag | None:
    """A device without a run, or whose run did not come to its end, and no later one did."""
    lost, unrecorded = device.lost, device.unrecorded
    if not lost and not unrecorded:
        return None
    files = dict.fromkeys([*(one.file for one in lost), *unrecorded.values()])
    told = (
        [f"lost: {lost[-1].lost}" if device.files else f"no run: {lost[-1].lost}"] if lost else []
    )
    if unrecorded:
        why = "" if lost else ": its run goes on, or was cut short"
        told.append(
            f"{counted(len(unrecorded), 'planned case has', 'planned cases have')} no record{why}"
        )
    return Flag(
        kind="missing",
        device=number,
        confirmed=True,
        scope="run",
        why=f"{'; '.join(told)} ({_named(files)})",
    )


def _statuses(found: Counter[str]) -> str:
    return ", ".join(
        f"{status} {times}×" if times > 1 else status for status, times in found.items()
    )


def _named(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SOME} more" if len(every) > _SOME else ""
    return ", ".join(every[:_SOME]) + more
