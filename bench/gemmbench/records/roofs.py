"""A device's own roofs as its probes measured them, and what of them a kernel reaches."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from gemmbench.records.reader import Run
from gemmbench.records.schema import Header, Roof
from gemmbench.timing.statistics import Estimate, estimate, estimate_over_repeats
from gemmbench.timing.verdict import values, verdict
from gemmkernels.errors import GemmbenchError
from gemmkernels.precision import precision

if TYPE_CHECKING:
    import pandas as pd

UNITS = ("matrix", "vector")
"""Roofs of arithmetic."""

BF16X3 = 3
"""Products of bf16 for one that is counted: a third of bf16's roof is what bf16x3 can reach."""

_WORST = ("throttled", "drifting", "noisy", "converged")
_UNKNOWN = (math.nan, math.nan, math.nan)
Place = tuple[str, str, int]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One roof over its repeats: GB/s, TFLOP/s or µs with its 95% interval, and where it is from.

    `clock_mhz` is the clock that the device held meanwhile, NaN where nothing could see it; `bytes`
    the memory that the probe went through, 0 where it is none. `repeats` is how many of them count:
    those that neighbours spoilt (`contended`) don't. `verdict` is the worst of theirs, but over
    several repeats `converged` and `noisy` are said of the interval between them. `unsettled` is
    what was measured in short turns.
    """

    name: str
    precision: str
    unit: str
    value: float
    low: float
    high: float
    clock_mhz: float
    bytes: int
    source: str
    repeats: int = 1
    power_w: float = math.nan
    verdict: str = "converged"
    unsettled: bool = False


@dataclass(frozen=True)
class Roofs:
    """All roofs of one device that are known."""

    found: tuple[Measured, ...] = ()

    def tflops(self, name: str) -> Measured | None:
        """The highest roof of a precision's arithmetic on any unit; None of a sparse one.

        Scales are no arithmetic of their own: `fp8_e4m3_rowwise` has the roof of `fp8_e4m3`. bf16x3
        has a third of bf16's, as it makes three products of bf16 for one.
        """
        try:
            row = precision(name)
        except GemmbenchError:  # from a newer gemmbench
            return None
        if row.sparse:
            return None
        if row.arithmetic == "bf16x3":
            return _third(self.tflops("bf16"))
        mine = [one for one in self.found if one.name in UNITS and one.precision == row.arithmetic]
        return max(mine, key=lambda one: one.value, default=None)

    def get(self, name: str) -> Measured | None:
        """The roof of that name: copy, cache, launch-graph, launch-stream or launch-loop."""
        return next((one for one in self.found if one.name == name), None)


def place_of(header: Header) -> Place:
    """What roofs and runs must share: the device, its architecture, the units in use."""
    device = header.device
    return device.name, device.architecture, device.units


def _third(roof: Measured | None) -> Measured | None:
    if roof is None:
        return None
    value, low, high = (one / BF16X3 for one in (roof.value, roof.low, roof.high))
    source = f"{roof.source} ÷ {BF16X3}"
    return replace(roof, precision="bf16x3", value=value, low=low, high=high, source=source)


def roofs_of(runs: Iterable[Run]) -> Roofs:
    """The roofs that these runs hold; of several of one kind the last run's counts."""
    found: dict[tuple[str, str], Measured] = {}
    for run in runs:
        for key, lines in by_kind(run).items():
            if (one := measured(run, lines)) is not None:
                found[key] = one
    return Roofs(tuple(found.values()))


def by_kind(run: Run) -> dict[tuple[str, str], list[Roof]]:
    """The roofs of a run by name and precision, each with its repeats."""
    found: dict[tuple[str, str], list[Roof]] = {}
    for roof in run.roofs:
        found.setdefault((roof.name, roof.precision), []).append(roof)
    return found


def is_contended(run: Run, roof: Roof) -> bool:
    """Did neighbours on the cores spoil it?"""
    return _verdict(run, roof) == "contended"


def _verdict(run: Run, roof: Roof) -> str:
    limits = {reason: ns for reason, ns in roof.limits.items() if ns is not None}
    return verdict(roof.turns, target=run.header.method.target, limits_ns=limits)


def measured(run: Run, lines: Sequence[Roof]) -> Measured | None:
    """One roof over its repeats; None where none of them is ok, and free of neighbours."""
    lines = [one for one in lines if one.status == "ok" and not is_contended(run, one)]
    times = [estimate(list(values(line.turns).values())) for line in lines]
    kept = [(line, time) for line, time in zip(lines, times, strict=True) if time.value > 0]
    if not kept:
        return None
    several = len(kept) > 1
    time = estimate_over_repeats([one.value for _, one in kept]) if several else kept[0][1]
    first = kept[0][0]
    rate = _of_times(time, first.work, first.unit)
    turns = [turn for line, _ in kept for turn in line.turns]
    return Measured(
        name=first.name,
        precision=first.precision,
        unit=first.unit,
        value=rate.value,
        low=rate.low,
        high=rate.high,
        clock_mhz=_middle(turn.clock_mhz for turn in turns),
        bytes=bytes_of(first),
        source=f"{run.path.name}: {' '.join(filter(None, (first.name, first.precision)))}",
        repeats=len(kept),
        power_w=_middle(turn.power_w for turn in turns),
        verdict=_of_repeats([_verdict(run, line) for line, _ in kept], time, run),
        unsettled=run.header.method.unsettled,
    )


def _of_repeats(words: Sequence[str], time: Estimate, run: Run) -> str:
    word = min(words, key=_WORST.index)
    if len(words) > 1 and word in ("noisy", "converged"):
        return "converged" if time.half_width <= run.header.method.target else "noisy"
    return word


def bytes_of(roof: Roof) -> int:
    """The memory that a probe went through; 0 where it is none."""
    found = roof.config.get("bytes")
    return found if isinstance(found, int) else 0


def rate_of(roof: Roof) -> Estimate:
    """One repeat's figure in the unit of the roof."""
    return _of_times(estimate(list(values(roof.turns).values())), roof.work, roof.unit)


def _of_times(time: Estimate, work: float, unit: str) -> Estimate:
    """From nanoseconds to the unit."""
    if unit == "us":
        return Estimate(time.value / 1e3, time.low / 1e3, time.high / 1e3, time.n)
    scale = 1.0 if unit == "GB/s" else 1e-3
    value, low, high = (scale * work / one for one in (time.value, time.high, time.low))
    return Estimate(value, low, high, time.n)


def _middle(seen: Iterable[float | None]) -> float:
    known = [one for one in seen if one is not None]
    return median(known) if known else math.nan


def is_beaten(roof: Measured, tflops_low: float) -> bool:
    """Is the least that a kernel reaches above all that the roof may be? NaN is not."""
    return tflops_low > (roof.value if math.isnan(roof.high) else roof.high)


def reached(table: "pd.DataFrame") -> "pd.DataFrame":
    """The rows that a roof is held against, of a table of `load`: what gemmbench verified itself.

    What failed, or ran beside neighbours, has no interval, and is not among them; nor is what is
    over the peak itself.
    """
    return table[table["tflops_low"].notna() & table["tool"].eq("") & ~table["impossible"]]


def with_roofs(table: "pd.DataFrame", runs: Sequence[Run]) -> "pd.DataFrame":
    """The table with the measured roof of each row: its own run's, else the device's among `runs`.

    A roof that a verified kernel of any of the device's rows beats, with its whole interval, is
    void. Only kernels in turns as long as the roof's may: short ones borrow a cool device's clock.
    """
    if not any(run.roofs for run in runs):
        return table
    by_place: dict[Hashable, list[Run]] = {}
    for run in runs:
        by_place.setdefault(kin_of(run.header), []).append(run)
    known = {place: roofs_of(some) for place, some in by_place.items()}
    places = {run.header.run_id: kin_of(run.header) for run in runs}
    unsettled = {run.header.run_id: run.header.method.unsettled for run in runs}
    own = {run.header.run_id: roofs_of([run]) for run in runs if run.roofs}
    # What 100,000 rows have in common is looked at once.
    keys = list(zip(table["run_id"].tolist(), table["precision"].tolist(), strict=True))
    best = reached(table).groupby(["run_id", "precision"], sort=False)["tflops_low"].max()
    most: dict[Hashable, float] = {}
    for (where, what), rate in zip(best.index.tolist(), best.tolist(), strict=True):
        kind = places[where], unsettled[where], _arithmetic(what)
        most[kind] = max(rate, most.get(kind, rate))
    roofs: dict[tuple[str, str], tuple[float, float, float]] = {}
    void: set[tuple[str, str]] = set()
    for run_id, name in dict.fromkeys(keys):
        roof = own[run_id].tflops(name) if run_id in own else None
        roof = roof or known[places[run_id]].tflops(name)
        if roof is None:
            continue
        kind = places[run_id], roof.unsettled, _arithmetic(name)
        if is_beaten(roof, most.get(kind, math.nan)):
            void.add((run_id, name))
        else:
            roofs[run_id, name] = roof.value, roof.low, roof.high
    table["roof_void"] = [key in void for key in keys]
    for place, end in enumerate(("", "_low", "_high")):
        table[f"roof_tflops{end}"] = [roofs.get(key, _UNKNOWN)[place] for key in keys]
    table["pct_roof"] = 100 * table["tflops"] / table["roof_tflops"]
    return table


def kin_of(header: Header) -> Hashable:
    """`place_of`, and what else a roof holds for: the power limit, and that it was measured."""
    return place_of(header), header.device.power_limit_w, header.synthetic


def _arithmetic(name: str) -> str:
    try:
        return precision(name).arithmetic
    except GemmbenchError:  # from a newer gemmbench
        return name
