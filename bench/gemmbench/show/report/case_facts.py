"""What the detail of a case says in words: the facts of its records, and how to repeat it."""

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from gemmbench.analysis.gap import Gap
from gemmbench.analysis.overview import RunOverview, Seen
from gemmbench.records.schema import Record
from gemmbench.show.results import exact_check, is_base, kernel_of
from gemmbench.show.text import digits, duration, percent, printable, rate_unit
from gemmkernels.kernel import settings_text
from gemmkernels.ladder import LADDER
from gemmkernels.problem import shape_text

Fact = tuple[str, str]
LONG = 400
"""Characters of a value; a page of ten thousand cases has no room for more."""

_LIMITS = {
    "power": "power limit",
    "thermal": "too hot",
    "hw_slowdown": "hardware slowdown",
    "power_brake": "power brake",
    "sync_boost": "sync boost",
}


def facts(one: RunOverview, row: Any, seen: Seen) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    """Groups of (what, value), each under its heading; what is not known is left out.

    `row` is the case's, of `analysis.speedup.ladder`; Any, as no type checker knows its columns.
    """
    told = next((one for one in seen.records if one.status == row.status), seen.records[0])
    groups = (
        ("What ran", _ran(row, told)),
        ("Measured", _measured(row, seen)),
        ("Verified", _verified(row, seen.records)),
        ("To repeat it", _again(one, row, told)),
    )
    kept = ((head, tuple(_known(found))) for head, found in groups)
    return tuple((head, some) for head, some in kept if some)


def notes(gap: Gap) -> tuple[str, ...]:
    """Where each figure of the ladder of times is from, and what is not known of it."""
    found, causes = [], gap.causes
    if top := causes.top:
        what = ("sparse" if top.sparse else "dense") + " peak of the spec sheet"
        what = what if top.kind == "spec" else "measured roof, as no sheet has a peak"
        part = f", {percent(100 * top.scaled)} of it as {top.partition}" if top.partition else ""
        by = "; ".join(one.title or one.id for one in top.sources)
        found.append(
            f"{digits(top.tflops)} {rate_unit(gap.case.precision)}: {what} ({top.unit}), {top.id}"
            f"{part}{f' ({by})' if by else ''}"
        )
    if (clock := causes.clock) and top:
        at = f", against {top.clock_mhz:.0f} MHz" if math.isfinite(top.clock_mhz) else ""
        found.append(f"clock {clock.held_mhz:.0f} MHz{at}: {clock.sensor}, {clock.turns} turns")
    if tiles := causes.tiling:
        size = "×".join(map(str, tiles.tile))
        waves = f", {tiles.waves} waves" if tiles.waves else ""
        found.append(f"tile {size}: {tiles.items} pieces of work on {tiles.units} units{waves}")
    if memory := causes.memory:
        how = "measured" if memory.measured else "of the sheet"
        found.append(
            f"at least {digits(memory.bytes / 1e6)} MB through the {memory.level} at "
            f"{digits(memory.gbps)} GB/s, {how}: {memory.source}"
        )
    if floor := causes.floor:
        found.append(f"empty launch {duration(floor.us)}, measured: {floor.source}")
    if math.isfinite(gap.pct_roof):
        found.append(f"{percent(gap.pct_roof)} of the measured roof: {causes.roof_source}")
    for why in dict.fromkeys(one.why for one in causes.unknown):
        names = " and ".join(one.cause for one in causes.unknown if one.why == why)
        found.append(f"{names} not known: {why}")
    return tuple(printable(one, LONG) for one in found)


def _known(found: Iterable[Fact]) -> Iterator[Fact]:
    for what, value in found:
        if value:
            yield what, printable(value, LONG)


def _ran(row: Any, one: Record) -> Iterator[Fact]:
    yield "kernel", f"{kernel_of(row)} ({one.tier}, {one.backend})"
    types = (("inputs", one.encoding), ("sum", one.accumulate), ("output", one.out_dtype))
    yield "types", ", ".join(f"{what} {name}" for what, name in types if name)
    yield "layout", one.layout
    yield "label", one.label
    yield "configuration", _pairs(one.config)
    yield "settings asked for", settings_text(one.settings) if one.settings else ""
    yield "tile M×N×K", "×".join(map(str, one.tile)) if one.tile else ""
    yield "grid", "×".join(map(str, one.grid)) if one.grid else ""
    yield "splits along K", str(one.splits) if one.splits is not None else ""
    yield "launch", ", ".join(filter(None, (row.launch, f"cache {row.cache}" * bool(row.cache))))
    yield "operand sets", str(one.sets) if one.sets is not None else ""
    yield "executes on", row.ran_on
    yield "matrix instructions", row.instructions
    yield "registers a lane", _whole(row.registers)
    yield "spills", _whole(row.spills)
    yield "library kernels launched", row.launched


def time_told(row: Any) -> str:
    """The time of a row with its interval, empty where it has none."""
    if not math.isfinite(row.time_us):
        return ""
    return _interval(duration, row.time_us, row.time_us_low, row.time_us_high)


def _rates(row: Any) -> tuple[float, float, float]:
    """The rate and its interval; the frame has a sparse one's own rate only."""
    if math.isfinite(row.tflops):
        return row.tflops, row.tflops_low, row.tflops_high
    work = row.sparse_tflops * row.time_us
    return row.sparse_tflops, work / row.time_us_high, work / row.time_us_low


def _measured(row: Any, seen: Seen) -> Iterator[Fact]:
    timed = [one for one in seen.records if one.status == "ok"]
    those = [one for one, fine in zip(seen.records, seen.counts, strict=True) if fine]
    turns = [turn for one in those for turn in one.turns]
    if math.isfinite(row.time_us):
        yield "time", time_told(row)
        unit = rate_unit(row.precision)
        yield "rate", _interval(lambda one: f"{digits(one)} {unit}", *_rates(row))
    if turns:
        counts = f"{sum(turn.n_samples for turn in turns)} in {len(turns)} turns"
        lost = sum(turn.disturbed for turn in turns)
        told = f"{counts}, {lost} of them disturbed" if lost else counts
        beside = len(timed) - len(those)
        yield "samples", f"{told}, without {beside} contended repeats" if beside else told
    repeats = row.n_repeats
    if row.of_repeats > 1:
        counted = f"{repeats} of {row.of_repeats} count" if repeats < row.of_repeats else repeats
        apart = f", standard deviation between them {digits(row.spread_pct, 3)}%"
        yield "repeats", f"{counted}{apart if math.isfinite(row.spread_pct) else ''}"
    yield "speedup", _speedup(row)
    yield "clock, median", f"{row.clock_mhz:.0f} MHz" if math.isfinite(row.clock_mhz) else ""
    yield "power, median", f"{digits(row.power_w, 3)} W" if math.isfinite(row.power_w) else ""
    rate = f"{digits(row.tflops_per_w, 3)} {rate_unit(row.precision)} per W"
    yield "efficiency", rate if math.isfinite(row.tflops_per_w) else ""
    yield "energy", _energy(timed)
    yield "clock limited by", _limits(timed)
    yield "neighbour", "others used the cores meanwhile" if row.beside else ""
    yield "impossible", "over 102% of the peak at the measured clock" if row.impossible else ""


def _verified(row: Any, records: Iterable[Record]) -> Iterator[Fact]:
    checks = [one.check for one in records if one.check is not None]
    if not checks:
        return
    if math.isfinite(row.error):
        yield "largest error", f"{digits(row.error, 3)} of the bound (above 1 is wrong)"
    elif any(one.error is None for one in checks):
        yield "largest error", "not finite"
    yield "rounding bound", checks[0].bound
    yield "rows checked", ", ".join(map(str, dict.fromkeys(one.rows for one in checks)))
    yield "exact check by", ", ".join(dict.fromkeys(exact_check(one.exact_by) for one in checks))


def _again(of: RunOverview, row: Any, one: Record) -> Iterator[Fact]:
    """A command line for what `gemmbench run` measured; a tuner's or another tool's has none."""
    header = of.run.header
    method = header.method
    yield "file", of.name
    yield "group", one.group
    if header.tool or header.tuning:
        return
    shape = shape_text(one.m, one.n, one.k, one.batch, one.experts)
    kernels = dict.fromkeys((one.kernel, *_base_of(row)))
    asked = [part for name in kernels for part in ("--kernel", name)]
    asked += [part for name in _precisions(row) for part in ("--precision", name)]
    asked += ["--layout", one.layout, "--preset", method.preset, "--data", method.data]
    if method.launch in ("graph", "stream"):
        asked += ["--launch", method.launch]
    if not header.device.is_gpu:
        asked += ["--device", "cpu", *(["--threads", str(method.threads)] * bool(method.threads))]
    asked += ["--seed", str(method.seed)] if method.seed else []
    asked += ["--repeat", str(method.repeats)] if method.repeats > 1 else []
    shipped = {kernel.name for kernel in LADDER}
    if unknown := [name for name in kernels if name not in shipped]:
        yield "of your own", f"name the file of {', '.join(unknown)} with --kernel"
    yield "command", shlex.join(["gemmbench", "run", "--shape", shape, *asked])


def _base_of(row: Any) -> tuple[str, ...]:
    return (row.base_kernel,) if isinstance(row.base_kernel, str) else ()


def _precisions(row: Any) -> Iterable[str]:
    base = row.base_precision
    return dict.fromkeys((row.precision, *((base,) if isinstance(base, str) else ())))


def _speedup(row: Any) -> str:
    if not _base_of(row):
        return ""
    over = f"over {row.base_kernel} in {row.base_precision}"
    if is_base(row):
        return "this is the base"
    if not math.isfinite(row.speedup):
        return f"not known: {row.speedup_reason}" if row.speedup_reason else ""
    ends = (row.speedup, row.speedup_low, row.speedup_high)
    return f"{_interval(lambda one: f'{digits(one)}×', *ends)} {over}"


def _interval(form: Any, value: float, low: float, high: float) -> str:
    """A value with its interval, as `form` writes each."""
    said = str(form(value))
    if math.isfinite(low) and math.isfinite(high):
        said += f" (95%: {form(low)} to {form(high)})"
    return said


def _whole(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else ""


def _energy(timed: Iterable[Record]) -> str:
    joules = [one.energy_j for one in timed if one.energy_j is not None and one.energy_j > 0]
    return f"{digits(sum(joules), 3)} J in all turns" if joules else ""


def _limits(timed: Iterable[Record]) -> str:
    spent: Counter[str] = Counter()
    for one in timed:
        for name, ns in one.limits.items():
            if ns is not None and 0 < ns < 1e18:
                spent[_LIMITS.get(name, name)] += int(ns)
    return ", ".join(f"{name} for {digits(ns / 1e9, 3)} s" for name, ns in spent.most_common(6))


def _pairs(config: dict[str, int | float | str | bool | None]) -> str:
    return ", ".join(f"{name}={value}" for name, value in config.items())
