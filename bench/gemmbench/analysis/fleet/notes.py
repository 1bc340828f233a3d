"""What a report on a fleet could not judge, and what else its reader must know."""

from collections.abc import Iterable, Mapping

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
        some = ", ".join(columns.cases[one].text for one in found.few[:_SOME])
        more = f" and {len(found.few) - _SOME} more" if len(found.few) > _SOME else ""
        yield (
            f"{counted(len(found.few), 'case')} of fewer than {LEAST} devices of a model that are "
            f"measured alike: {some}{more}"
        )
    spoilt = {number for number, *_ in columns.contended} - set(columns.device.tolist())
    if spoilt:
        names = ", ".join(columns.devices[one].name for one in sorted(spoilt)[:_SOME])
        more = f" and {len(spoilt) - _SOME} more" if len(spoilt) > _SOME else ""
        yield (
            f"{names}{more}: every record is contended: others used the cores, and their times say "
            "nothing of the device"
        )


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
        names = ", ".join(sorted(missing)[:_SOME])
        yield f"--racks names no rack of {counted(len(missing), 'node')}: {names}"
    if any(case.model.together for case in columns.cases) and not all(
        case.model.together for case in columns.cases
    ):
        yield "devices measured at once and one by one are never held against each other"
