"""A report on a fleet for other programs: as JSON, and as a CSV row a device."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from gemmbench.analysis.fleet.model import Case, Device, Flag, FleetReport, Spread
from gemmbench.show.fleet.words import method, verdict
from gemmbench.show.tables import in_json
from gemmbench.show.text import in_csv

UNITS = {
    "relative": "speed over the median of the other devices; 1 is equal",
    "worst": "the same, of its slowest case",
    "time_us": "microseconds, the median over devices",
    "tflops": "10^12 operations a second, of the median time",
    "peak_tflops": "10^12 operations a second, the dense peak",
    "pct_peak": "percent of the dense peak, of the median time",
    "spread_pct": "percent of the median, 1.4826 MAD of the speeds",
    "finds_pct": "percent that a device must be slower by to be seen",
    "temperature_c": "degrees Celsius, the median over records",
    "clock_mhz": "MHz, the median over records",
    "power_w": "W, the median over records",
    "ratio": "speed now over then, of the medians over devices",
    "p": "Holm's, over all tests of the report",
}


def to_json(found: FleetReport) -> str:
    """All of it, with the units. `device` and the like are places in `devices`; a case's `devices`
    and `relative` are in one order."""
    whole = {
        "verdict": verdict(found),
        "exit_code": found.exit_code,
        "synthetic": found.synthetic,
        "sources": found.sources,
        "units": UNITS,
        "method": method(found),
        "tests": found.tests,
        "devices": [_device(one) for one in found.devices],
        "flags": [_fields(one) for one in found.flags],
        "cases": [_spread(one) for one in found.cases],
        "nodes_and_racks": [_fields(one) for one in found.parts],
        "against": [{**_fields(one), "case": _case(one.case)} for one in found.against],
        "not_judged": found.not_judged,
        "notes": found.notes,
    }
    return json.dumps(in_json(whole), indent=1, ensure_ascii=False)


def to_csv(found: FleetReport) -> str:
    """A row a device: where it is, how fast, and its flags."""
    flags: dict[int, list[Flag]] = defaultdict(list)
    for one in found.flags:
        flags[one.device].append(one)
    text = io.StringIO()
    rows = [_row(device, flags[number]) for number, device in enumerate(found.devices)]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(one: Device, flags: list[Flag]) -> Mapping[str, object]:
    plain = {**_device(one), "files": "; ".join(one.files)}
    del plain["facts"]
    worst = plain.pop("worst_case")
    row = {
        **plain,
        "worst_case": one.worst_case.text if worst and one.worst_case else "",
        "flags": "; ".join(flag.kind for flag in flags if flag.confirmed),
        "suspected": "; ".join(flag.kind for flag in flags if not flag.confirmed),
        "why": "; ".join(f"{flag.scope}: {flag.why}" for flag in flags),
    }
    return {
        name: in_csv(value) if isinstance(value, str) else "" if value != value else value
        for name, value in row.items()
    }


def _device(one: Device) -> dict[str, Any]:
    found = _fields(one)
    model = one.model
    return {
        **found,
        "model": model.text if model else "",
        "together": model.together if model else None,
        "facts": dict(one.facts),
        "worst_case": _case(one.worst_case) if one.worst_case else None,
    }


def _spread(one: Spread) -> dict[str, Any]:
    return {
        **_fields(one),
        "case": _case(one.case),
        "pct_peak": one.pct_peak,
        "n": one.n,
        "relative": one.relative.tolist(),
    }


def _case(one: Case) -> dict[str, Any]:
    return {**one._asdict(), "model": one.model._asdict()}


def _fields(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in type(one).__dataclass_fields__}
