"""What a report on a fleet could not judge, and what else its reader must know."""

from collections.abc import Collection, Iterable, Mapping

from gemmbench.analysis.fleet.columns import Columns
from gemmbench.analysis.fleet.rule import LEAST
from gemmbench.analysis.fleet.slow import Judged
from gemmbench.quantities import counted

_SOME = 3


def not_judged(columns: Columns, found: Judged) -> Iterable[str]:
    if len(columns.cases) == len(found.few) + len(
        set(range(len(columns.cases))) - set(found.pair_case.tolist())
    ):
        yield _nothing(columns)
    elif found.few:
        yield (
            f"{counted(len(found.few), 'case')} of fewer than {LEAST} devices of a model that are "
            f"measured alike: {_named(columns.cases[one].text for one in found.few)}"
        )
    cases = {case for _, case, _ in columns.contended} - set(columns.case.tolist())
    if cases and len(columns.time_us):
        names = _named(columns.cases[one].text for one in sorted(cases))
        yield f"{names}: contended on every device that has it: others used the cores"
    if spoilt := _spoilt(columns):
        yield (
            f"{_named(columns.devices[one].name for one in sorted(spoilt))}: every record is "
            "contended: others used the cores, and their times say nothing of the device"
        )


def no_record(columns: Columns, flagged: Collection[int]) -> Iterable[str]:
    """Devices that are not flagged, and of which nothing is known."""
    known = {*columns.device.tolist(), *flagged, *_spoilt(columns)}
    if len(columns.time_us) and (bare := set(range(len(columns.devices))) - known):
        yield f"{_named(columns.devices[one].name for one in sorted(bare))}: no record is ok"


def _spoilt(columns: Columns) -> set[int]:
    return {number for number, *_ in columns.contended} - set(columns.device.tolist())


def _named(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SOME} more" if len(every) > _SOME else ""
    return ", ".join(every[:_SOME]) + more


def _nothing(columns: Columns) -> str:
    measured = len({one.model for one in columns.devices if one.model is not None})
    if not len(columns.time_us):
        return "no record is ok and undisturbed: no speed can be judged"
    kinds = f" of {measured} models" if measured > 1 else ""
    return (
        f"{counted(len(columns.devices), 'device')}{kinds}: no case is of {LEAST} devices of one "
        "model that are measured alike, so no speed can be judged"
    )


def notes(columns: Columns, rack_of: Mapping[str, str]) -> Iterable[str]:
    if columns.contended:
        yield (
            f"{counted(len(columns.contended), 'record')} contended, and left out: others used the "
            "cores"
        )
    if rack_of and (missing := {one.place.node for one in columns.devices} - rack_of.keys() - {""}):
        yield f"--racks names no rack of {counted(len(missing), 'node')}: {_named(sorted(missing))}"
    if any(case.model.together for case in columns.cases) and not all(
        case.model.together for case in columns.cases
    ):
        yield "devices measured at once and one by one are never held against each other"
