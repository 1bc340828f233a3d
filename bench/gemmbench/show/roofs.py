"""The roofs of runs as a table or JSON, and each as it is measured."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gemmbench.analysis.roofs import RoofRow, RoofsOfRun
from gemmbench.show.tables import Table, without_empty
from gemmbench.show.text import digits, half_width, percent, printable

UNITS = {"GB/s": "GB/s", "TFLOP/s": "TFLOP/s", "us": "µs"}
REASON = 100
_RIGHT = frozenset(("value", "±", "MHz", "W", "spec", "of spec"))


def tables(found: Sequence[RoofsOfRun]) -> tuple[Table, ...]:
    """A table a run."""
    return tuple(map(_table, found))


def to_json(found: Sequence[RoofsOfRun]) -> str:
    """All of it; null for what is not known."""
    return json.dumps([_plain(asdict(one)) for one in found], indent=2)


def size(count: int) -> str:
    """Bytes: 16 MiB."""
    for scale, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= scale:
            return f"{digits(count / scale, 3)} {unit}"
    return f"{count} B" if count else ""


def _table(one: RoofsOfRun) -> Table:
    sheet = f"spec {one.spec_id}" if one.spec_id else "no spec sheet known"
    parts = [one.device, f"{one.architecture}, {one.units} units", f"preset {one.preset}", sheet]
    if one.unsettled:
        parts.append("unsettled")
    table = Table(
        title=f"Measured roofs: {' · '.join(printable(part, 80) for part in parts)}",
        columns=(
            *("roof", "precision", "through", "value", "unit", "±", "MHz", "W"),
            *("spec", "of spec", "verdict"),
        ),
        rows=tuple(_cells(row) for row in one.rows),
        right=_RIGHT,
        notes=_notes(one.rows),
    )
    return without_empty(table, optional=("through", "MHz", "W", "spec", "of spec", "±"))


def _cells(row: RoofRow) -> tuple[str, ...]:
    words = [row.verdict, *(["impossible"] if row.impossible else [])]
    said = ", ".join(words) + (f": {printable(row.reason, REASON)}" if row.reason else "")
    return (
        row.name,
        row.precision,
        size(row.bytes),
        digits(row.value),
        UNITS.get(row.unit, row.unit),
        half_width(row.value, row.low, row.high),
        digits(row.clock_mhz),
        digits(row.power_w),
        digits(row.spec),
        percent(row.pct_spec),
        said,
    )


def _notes(rows: Sequence[RoofRow]) -> tuple[str, ...]:
    names = {row.name for row in rows if math.isfinite(row.value)}
    notes = []
    if names & {"copy", "cache"}:
        notes.append(
            "copy, cache: bytes read and written, what stores fetch first not counted; read: bytes "
            "read"
        )
    if names & {"vector", "matrix"}:
        notes.append("vector, matrix: a loop in registers, no loads; int8 in TOP/s")
    if any(row.verdict == "void" for row in rows):
        notes.append("void: a verified kernel is faster, so this is no roof")
    if any(row.impossible for row in rows):
        notes.append("impossible: over 102% of the sheet's figure at the clock held")
    return tuple(notes)


def _plain(value: Any) -> Any:
    """For JSON, which has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
