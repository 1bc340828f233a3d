"""What is known of why a record takes its time: its peak, clock, tiles, bandwidth and floor."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from gemmbench.analysis.gap import Case, Causes, Cited, Clock, Floor, Limit, Memory, Top, Unknown
from gemmbench.analysis.gap_roofs import Known
from gemmbench.analysis.gap_tiles import Tiling, tiling
from gemmbench.devices.spec import Spec, source_of
from gemmbench.records.roofs import Measured
from gemmbench.records.schema import Record
from gemmbench.timing.verdict import THROTTLED_SHARE
from gemmkernels.precision import precision
from gemmkernels.problem import Problem

SENSORS = {
    "nvidia": "SM clock, NVML",
    "amd": "the slowest XCD's clock, AMD SMI or sysfs",
}
"""Of GPUs, by vendor: see `gemmbench.devices.telemetry_nvidia` and its neighbours."""
MOST_MHZ = 1e5
_CPU_SENSOR = "median of the busiest cores' clocks, cpufreq or /proc/cpuinfo"


def causes(case: Case, row: Any, records: Sequence[Record], known: Known) -> Causes:
    """All that can be said of a case: `row` is its pooled row, `records` its repeats that are ok.

    Any, as no type checker knows what a column holds.
    """
    first = records[0]
    top, why_not, roof = _top(first, known, void=row.roof_void)
    clock, of_clock = _clock(row, records, known, top)
    problem = problem_of(first)
    tiles = tiling(first, problem, known.header.device)
    memory, of_memory = _memory(case, row, first, known)
    floor, of_floor = _floor(row, first, known)
    unknown = [Unknown(cause="clock", why=of_clock)] if of_clock else []
    unknown += _of_tiles(tiles)
    unknown += [Unknown(cause="memory", why=of_memory)] if of_memory else []
    unknown += [Unknown(cause="launch", why=of_floor)] if of_floor else []
    return Causes(
        top=top,
        clock=clock,
        tiling=tiles,
        memory=memory,
        floor=floor,
        roof_tflops=roof.value if roof else math.nan,
        roof_source=roof.source if roof else "",
        unknown=tuple(unknown) if top else (),
        why_not=why_not,
    )


def problem_of(record: Record) -> Problem:
    """Raises GemmbenchError for a precision or layout from a newer gemmbench."""
    return Problem(
        m=record.m,
        n=record.n,
        k=record.k,
        precision=record.precision,
        batch=record.batch,
        layout=record.layout,
        experts=record.experts,
    )


def _top(record: Record, known: Known, *, void: bool) -> tuple[Top | None, str, Measured | None]:
    """The top of the ladder, or why there is none; and the measured roof, which is void if a
    verified kernel beat it."""
    name, spec = record.precision, known.spec
    roof = None if void else known.arithmetic(name)
    peak = spec.peak(name) if spec else None
    if spec is not None and peak is not None:
        sparse = precision(name).sparse
        found = Top(
            kind="spec",
            tflops=peak.tflops,
            unit=peak.unit,
            clock_mhz=peak.clock_mhz or math.nan,
            id=spec.id,
            sources=_cited(spec, spec.sources.get("sparse", ()) if sparse else peak.sources),
            sparse=sparse,
            partition=spec.partition,
            scaled=spec.scaled,
        )
        return found, "", roof
    if roof is not None:
        top = Top(
            kind="roof",
            tflops=roof.value,
            unit=roof.name,
            clock_mhz=roof.clock_mhz,
            id=roof.source,
            half_width=(roof.high - roof.low) / (2 * roof.value),
        )
        return top, "", roof
    sheet = f"the sheet of {spec.id} has no {name}" if spec else "the device has no spec sheet"
    if void:
        other = "its measured roof is void, as a verified kernel beat it"
    elif known.header.request.get("roofs"):
        other = "what the run measured of its roofs does not count: measure again, gemmbench roofs"
    else:
        other = "no roof of it was measured: gemmbench roofs"
    return None, f"{sheet}, and {other}", None


def _cited(spec: Spec, ids: Sequence[str]) -> tuple[Cited, ...]:
    found = [(name, source_of(spec, name)) for name in ids]
    return tuple(
        Cited(id=name, title=one.title if one else "", where=one.where if one else "")
        for name, one in found
    )


def _clock(
    row: Any, records: Sequence[Record], known: Known, top: Top | None
) -> tuple[Clock | None, str]:
    held = row.clock_mhz
    if not 1 <= held <= MOST_MHZ:
        return None, "the clock was not seen"
    if top is not None and not 1 <= top.clock_mhz <= MOST_MHZ:
        return None, "the clock that the peak stands for is not known"
    device, spec, tool = known.header.device, known.spec, known.header.tool
    own = SENSORS.get(device.vendor, "unknown") if device.is_gpu else _CPU_SENSOR
    seen = sum(turn.clock_mhz is not None for one in records for turn in one.turns)
    return Clock(
        held_mhz=held,
        turns=seen,
        sensor=f"as {tool} tells it" if tool else own,
        limits=_limits(records),
        power_w=row.power_w,
        power_limit_w=device.power_limit_w,
        tdp_w=spec.tdp_w if spec else None,
    ), ""


def _limits(records: Sequence[Record]) -> tuple[Limit, ...] | None:
    """The reasons that were active for over 1% of the turns' time, the longest first."""
    turns = [turn for one in records for turn in one.turns]
    # What settled untimed was not watched.
    span_ns = sum(turn.stop_s - turn.start_s - turn.settle_s for turn in turns) * 1e9
    names = dict.fromkeys(name for one in records for name in one.limits)
    if not names or span_ns <= 0:
        return None
    shares = {name: sum(one.limits.get(name) or 0.0 for one in records) / span_ns for name in names}
    found = [(name, min(1.0, share)) for name, share in shares.items() if share > THROTTLED_SHARE]
    ranked = sorted(found, key=lambda one: -one[1])
    return tuple(Limit(reason=name, share=share) for name, share in ranked)


def _of_tiles(tiles: Tiling | None) -> list[Unknown]:
    if tiles is None:
        why = "the kernel does not say its tile"
        return [Unknown(cause="padding", why=why), Unknown(cause="waves", why=why)]
    if tiles.busy is None:
        why = "which unit gets which tile is not known"
        return [Unknown(cause="waves", why=why)]
    return []


def _memory(case: Case, row: Any, record: Record, known: Known) -> tuple[Memory | None, str]:
    device, spec = known.header.device, known.spec
    llc = device.llc_bytes or (spec.llc_bytes if spec else None)
    level: Literal["memory", "cache"] = "memory"
    if row.cache in ("hot", "rotated"):
        if llc is None and row.cache == "hot":
            return None, "the operands were hot, and how much the cache holds is not known"
        if llc is not None and (record.sets or 1) * case.min_bytes <= llc:
            level = "cache"
    elif row.cache != "flushed":
        return None, "where the operands were, in memory or in a cache, is not said"
    if level == "cache" and device.vendor == "amd" and device.partition:
        return None, "how much of the Infinity Cache a partition has is not known"
    if roof := known.bandwidth if level == "memory" else known.roof("cache"):
        return Memory(
            bytes=case.min_bytes, level=level, gbps=roof.value, measured=True, source=roof.source
        ), ""
    if level == "cache":
        return None, "the operands stay in the cache, whose bandwidth was not measured"
    if spec is None or spec.bandwidth_gbps is None:
        return None, "the bandwidth is neither measured nor on a sheet: gemmbench roofs"
    cited = ", ".join(spec.sources.get("bandwidth_gbps", ()))
    return Memory(
        bytes=case.min_bytes,
        level=level,
        gbps=spec.bandwidth_gbps,
        measured=False,
        source=f"{spec.id}: {cited}",
    ), ""


def _floor(row: Any, record: Record, known: Known) -> tuple[Floor | None, str]:
    """Each launch that a Triton kernel makes costs one; how many a library makes is not known.

    From a graph the device launches, whoever wrote the kernel. In a stream the host does, and the
    probe's way there is Triton's, which is no bound of a library's.
    """
    if row.launch == "stream" and not record.compiled:
        return None, "how long this library takes for an empty launch was not measured"
    roof = known.roof(f"launch-{row.launch}")
    if roof is None:
        return None, f"no empty launch was measured ({row.launch or 'launch not said'})"
    launches = max(1, len(record.compiled))
    return Floor(
        launch=row.launch, launches=launches, us=launches * roof.value, source=roof.source
    ), ""
