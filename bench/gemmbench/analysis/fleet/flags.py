"""The flags of slow devices: where each is slow, by how much, and what may explain it."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from gemmbench.analysis.fleet.columns import Columns
from gemmbench.analysis.fleet.model import Device, Flag
from gemmbench.analysis.fleet.rule import DELTA
from gemmbench.analysis.fleet.slow import Judged, Slow
from gemmbench.quantities import counted

OTHER_CLOCK = 0.02
"""A clock that is off by less explains no slowdown that counts."""

_SOME = 3


def slow_flags(found: Judged, columns: Columns, devices: Sequence[Device]) -> Iterable[Flag]:
    """A flag a device: of the widest scope that tells where it is slow.

    What is confirmed comes before what is suspected, and of a device that is not slow in one of
    its precisions those in which it is.
    """
    of_device: dict[int, list[Slow]] = defaultdict(list)
    for one in found.slow:
        of_device[one.device].append(one)
    usual, clocks = _usual(devices), _clocks(devices)
    for number, every in of_device.items():
        some = [one for one in every if one.confirmed] or every
        whole = [one for one in some if one.scope.is_whole]
        within = [one for one in some if one.scope.is_wide and not one.scope.is_whole]
        single = [one for one in some if not one.scope.is_wide and not one.scope.is_whole]
        covered = {one.scope.precision for one in within}
        if whole and (not within or covered >= _several(columns, whole[0])):
            chosen = whole
        else:
            chosen = [*within, *(one for one in single if one.scope.precision not in covered)]
            chosen = chosen or whole
        differs = _differs(devices[number], usual, clocks)
        for one in sorted(chosen, key=lambda one: one.relative):
            yield Flag(
                kind="slow",
                device=number,
                confirmed=one.confirmed,
                scope=_scope(one, columns),
                why=_why(one, devices[number], differs),
                relative=one.relative,
                p=one.p,
                beyond=one.beyond,
                measurements=one.measurements,
            )


def _several(columns: Columns, one: Slow) -> set[str]:
    """The precisions of a scope that have more than one case."""
    names = [columns.cases[case].precision for case in one.scope.cases]
    return {name for name in names if names.count(name) > 1}


def _scope(one: Slow, columns: Columns) -> str:
    if len(one.scope.cases) == 1:
        return columns.cases[one.scope.cases[0]].text
    cases = counted(len(one.scope.cases), "case")
    return f"{one.scope.precision}, {cases}" if one.scope.precision else f"all {cases}"


def _why(one: Slow, device: Device, differs: str) -> str:
    below = f"{100 * (1 - one.relative):.1f}% below the others' median"
    told = f"{below}; over {100 * DELTA:g}% below in {one.beyond} of "
    told += counted(one.measurements, "measurement")
    if not one.confirmed:
        told += (
            "; no other measurement confirms it"
            if one.measurements < 2 or one.beyond < 2
            else "; by chance as many others go that far"
        )
    if one.scope.is_wide and device.worst_case is not None:
        told += f"; worst {100 * (1 - device.worst):.1f}% in {device.worst_case.text}"
    return told + differs


def _usual(devices: Sequence[Device]) -> Mapping[tuple[object, str], Counter[str]]:
    """How many devices of a model have which software and power limit."""
    values: dict[tuple[object, str], Counter[str]] = defaultdict(Counter)
    for one in devices:
        for name, value in one.facts:
            values[one.model, name][value] += 1
    return values


def _most_others(found: Counter[str], value: str) -> str:
    """What over half of the other devices have, if it is another value; else empty."""
    others = found.total() - 1
    return next((one for one, n in found.items() if one != value and 2 * n > others), "")


def _clocks(devices: Sequence[Device]) -> Mapping[object, float]:
    """The median clock of each model, MHz."""
    seen: dict[object, list[float]] = defaultdict(list)
    for one in devices:
        if not math.isnan(one.clock_mhz):
            seen[one.model].append(one.clock_mhz)
    return {model: median(values) for model, values in seen.items()}


def _differs(
    device: Device, usual: Mapping[tuple[object, str], Counter[str]], clocks: Mapping[object, float]
) -> str:
    """ "; power limit 500 W, most others' 700 W": what may explain it."""
    told = [
        f"{name} {value}, most others' {other}"
        for name, value in device.facts
        if (other := _most_others(usual[device.model, name], value))
    ]
    clock = clocks.get(device.model, math.nan)
    if clock > 0 and abs(device.clock_mhz / clock - 1) > OTHER_CLOCK:
        told.insert(0, f"clock {device.clock_mhz:.0f} MHz, the others' {clock:.0f} MHz")
    return "".join(f"; {one}" for one in told[:_SOME])
