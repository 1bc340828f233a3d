"""The roofs of runs beside the spec sheet, and what kernels say against them."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from gemmbench.analysis.rows import rows_of
from gemmbench.records.columns import IMPOSSIBLE
from gemmbench.records.frame import frame, spec_of
from gemmbench.records.reader import Run
from gemmbench.records.roofs import (
    UNITS,
    Measured,
    by_kind,
    bytes_of,
    is_beaten,
    kin_of,
    measured,
    rate_of,
    reached,
)
from gemmbench.records.schema import Roof
from gemmkernels.precision import precision
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    from gemmbench.devices.datasheet import Peak, Spec

_ORDER = (
    *("copy", "read", "cache", "launch-loop", "launch-stream", "launch-graph", "vector", "matrix"),
)


@dataclass(frozen=True, kw_only=True)
class RoofRow:
    """One roof of a run: GB/s, TFLOP/s or µs with its 95% interval, NaN where there is none.

    `verdict` is that of its turns (converged, noisy, drifting, throttled, contended), void, or the
    status of its first repeat that is not ok; `reason` says why, or who beat it. `spec` is the
    sheet's figure for the same unit, `pct_spec` percent of it; `impossible` is over 102% of it at
    the clock held. `bytes` is the memory gone through. What neighbours spoilt has a value, and no
    interval.
    """

    name: str
    precision: str
    unit: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    repeats: int = 0
    clock_mhz: float = math.nan
    power_w: float = math.nan
    bytes: int = 0
    spec: float = math.nan
    pct_spec: float = math.nan
    impossible: bool = False
    verdict: str = "converged"
    reason: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class RoofsOfRun:
    """All roofs of one run; `spec_id` names the sheet, and is empty where none is known."""

    file: str
    device: str
    architecture: str
    units: int
    preset: str
    unsettled: bool
    spec_id: str
    rows: tuple[RoofRow, ...]


def roofs_of_runs(runs: Sequence[Run]) -> tuple[RoofsOfRun, ...]:
    """The roofs of each run that has some; a verified kernel of any of the runs may void one."""
    table = reached(frame(runs)) if any(run.records for run in runs) else None
    kin = {run.header.run_id: _rivalry(run) for run in runs}
    found = []
    for run in runs:
        if not run.roofs:
            continue
        spec = spec_of(run.header)
        rivals: dict[str, tuple[float, str]] = {}
        if table is not None:
            alike = [name for name, one in kin.items() if one == _rivalry(run)]
            rivals = _rivals(table[table["run_id"].isin(alike)])
        rows = [_row(run, lines, spec, rivals) for lines in by_kind(run).values()]
        header = run.header
        found.append(
            RoofsOfRun(
                file=run.path.name,
                device=header.device.name,
                architecture=header.device.architecture,
                units=header.device.units,
                preset=header.method.preset,
                unsettled=header.method.unsettled,
                spec_id=spec.id if spec else "",
                rows=tuple(sorted(rows, key=lambda row: _place(row.name))),
            )
        )
    return tuple(found)


def _rivalry(run: Run) -> Hashable:
    """What a kernel and the roof that it beats have in common."""
    return kin_of(run.header), run.header.method.unsettled


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _rivals(table: Any) -> dict[str, tuple[float, str]]:
    """By arithmetic: the most that a kernel surely reaches (TFLOP/s), and which one it is."""
    found: dict[str, tuple[float, str]] = {}
    for row in rows_of(table):
        kind = precision(row.precision).arithmetic
        if row.tflops_low > found.get(kind, (0.0, ""))[0]:
            shape = shape_text(row.m, row.n, row.k, row.batch, row.experts)
            found[kind] = row.tflops_low, f"{row.kernel} {row.precision} {shape} in {row.file}"
    return found


def _row(
    run: Run, lines: Sequence[Roof], spec: "Spec | None", rivals: dict[str, tuple[float, str]]
) -> RoofRow:
    first = lines[0]
    found = measured(run, lines)
    if found is None:
        bad = next((line for line in lines if line.status != "ok"), None)
        rates = [rate_of(line).value for line in lines if line.status == "ok"]
        known = [rate for rate in rates if math.isfinite(rate)]
        return RoofRow(
            name=first.name,
            precision=first.precision,
            unit=first.unit,
            value=median(known) if known else math.nan,
            bytes=bytes_of(first),
            verdict=bad.status if bad else "contended",
            reason=bad.reason if bad else "others used the cores: end what else runs, and repeat",
        )
    verdict, reason = _judged(found, rivals)
    sheet, at_clock = _of_sheet(spec, found)
    return RoofRow(
        name=found.name,
        precision=found.precision,
        unit=found.unit,
        value=found.value,
        low=found.low,
        high=found.high,
        repeats=found.repeats,
        clock_mhz=found.clock_mhz,
        power_w=found.power_w,
        bytes=found.bytes,
        spec=sheet,
        pct_spec=100 * found.value / sheet,
        impossible=found.value > IMPOSSIBLE * at_clock,
        verdict=verdict,
        reason=reason,
        source=found.source,
    )


def _judged(found: Measured, rivals: dict[str, tuple[float, str]]) -> tuple[str, str]:
    if found.name not in UNITS:
        return found.verdict, ""
    rate, who = rivals.get(found.precision, (math.nan, ""))
    if is_beaten(found, rate):
        return "void", f"{who} reaches at least {rate:.4g} TFLOP/s"
    return found.verdict, ""


def _of_sheet(spec: "Spec | None", found: Measured) -> tuple[float, float]:
    """(The sheet's figure for what was probed, the same at the clock held); NaN if it has none."""
    if spec is None or found.unit == "us":
        return math.nan, math.nan
    if found.name in ("copy", "read"):
        bandwidth = spec.bandwidth_gbps or math.nan
        return bandwidth, bandwidth
    peak = _peak(spec, found) if found.name in UNITS else None
    if peak is None:
        return math.nan, math.nan
    held = found.clock_mhz if found.clock_mhz > 0 else spec.boost_clock_mhz or math.nan
    at = held / peak.clock_mhz if peak.clock_mhz else math.nan
    return peak.tflops, peak.tflops * at


def _peak(spec: "Spec", found: Measured) -> "Peak | None":
    """The sheet's peak on the units that were probed."""
    vector = found.name == "vector"
    on = tuple(
        # Two fp32 products an instruction are what the probe's loop compiles to on CDNA2.
        msgspec.structs.replace(one, variant=None) if vector and one.variant == "packed" else one
        for one in spec.peaks
        if (one.unit == "vector") == vector
    )
    return msgspec.structs.replace(spec, peaks=on).peak(found.precision)
