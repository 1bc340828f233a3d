"""A device's own roofs as its probes measured them, and what of them a kernel reaches."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from gemmbench.records.reader import Run
from gemmbench.records.schema import Header
from gemmbench.timing.statistics import Estimate, estimate, estimate_over_repeats
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import values
from gemmkernels.errors import GemmbenchError
from gemmkernels.precision import precision

if TYPE_CHECKING:
    import pandas as pd

UNITS = ("matrix", "vector")
"""Roofs of arithmetic."""

Place = tuple[str, str, int]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One roof over its repeats: GB/s, TFLOP/s or µs with its 95% interval, and where it is from.

    `clock_mhz` is the clock that the device held meanwhile, NaN where nothing could see it; `bytes`
    the memory that the probe went through, 0 where it is none.
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


@dataclass(frozen=True)
class Roofs:
    """All roofs of one device that are known."""

    found: tuple[Measured, ...] = ()

    def tflops(self, name: str) -> Measured | None:
        """The highest roof of a precision's arithmetic on any unit; None of a sparse one."""
        try:
            row = precision(name)
        except GemmbenchError:  # from a newer gemmbench
            return None
        mine = [
            one
            for one in self.found
            if one.name in UNITS and one.precision == row.arithmetic and not row.sparse
        ]
        return max(mine, key=lambda one: one.value, default=None)

    def get(self, name: str) -> Measured | None:
        """The roof of that name: copy, cache, launch-graph, launch-stream or launch-loop."""
        return next((one for one in self.found if one.name == name), None)


def place_of(header: Header) -> Place:
    """What roofs and runs must share: the device, its architecture, the units in use."""
    device = header.device
    return device.name, device.architecture, device.units


def roofs_of(runs: Iterable[Run]) -> Roofs:
    """The roofs that these runs hold; of several of one kind the last run's counts."""
    found: dict[tuple[str, str], Measured] = {}
    for run in runs:
        by_name: dict[tuple[str, str], list[int]] = {}
        for index, roof in enumerate(run.roofs):
            if roof.status == "ok":
                by_name.setdefault((roof.name, roof.precision), []).append(index)
        for key, indices in by_name.items():
            if (one := _measured(run, indices)) is not None:
                found[key] = one
    return Roofs(tuple(found.values()))


def _measured(run: Run, indices: Sequence[int]) -> Measured | None:
    lines = [run.roofs[index] for index in indices]
    times = [estimate(list(values(line.turns).values())) for line in lines]
    times = [time for time in times if time.value > 0]
    if not times:
        return None
    several = len(times) > 1
    time = estimate_over_repeats([one.value for one in times]) if several else times[0]
    first = lines[0]
    work = first.work
    rate = _of_times(time, work, first.unit)
    went_through = first.config.get("bytes")
    return Measured(
        name=first.name,
        precision=first.precision,
        unit=first.unit,
        value=rate.value,
        low=rate.low,
        high=rate.high,
        clock_mhz=_clock([turn for line in lines for turn in line.turns]),
        bytes=went_through if isinstance(went_through, int) else 0,
        source=f"{run.path.name}: {' '.join(filter(None, (first.name, first.precision)))}",
    )


def _of_times(time: Estimate, work: float, unit: str) -> Estimate:
    """From nanoseconds to the unit."""
    if unit == "us":
        return Estimate(time.value / 1e3, time.low / 1e3, time.high / 1e3, time.n)
    scale = 1.0 if unit == "GB/s" else 1e-3
    value, low, high = (scale * work / one for one in (time.value, time.high, time.low))
    return Estimate(value, low, high, time.n)


def _clock(turns: Sequence[Turn]) -> float:
    known = [turn.clock_mhz for turn in turns if turn.clock_mhz is not None]
    return median(known) if known else math.nan


def with_roofs(table: "pd.DataFrame", runs: Sequence[Run]) -> "pd.DataFrame":
    """The table with the measured roof of each row: its own run's, else the device's among `runs`.

    A roof that a verified kernel of any of the rows beats, with its whole interval, is void.
    """
    if not any(run.roofs for run in runs):
        return table
    by_place: dict[Place, list[Run]] = {}
    for run in runs:
        by_place.setdefault(place_of(run.header), []).append(run)
    known = {place: roofs_of(some) for place, some in by_place.items()}
    of_run = {run.header.run_id: (roofs_of([run]), known[place_of(run.header)]) for run in runs}
    sound = table["status"].eq("ok") & table["verdict"].ne("contended") & ~table["impossible"]
    for (run_id, name), rows in table.groupby(["run_id", "precision"], sort=False):
        own, others = of_run[str(run_id)]
        roof = own.tflops(str(name)) or others.tflops(str(name))
        if roof is None:
            continue
        reached = table.loc[rows.index, "tflops_low"].where(sound[rows.index]).max()
        above = roof.value if math.isnan(roof.high) else roof.high
        void = bool(reached > above)
        table.loc[rows.index, "roof_void"] = void
        if not void:
            table.loc[rows.index, "roof_tflops"] = roof.value
    table["pct_roof"] = 100 * table["tflops"] / table["roof_tflops"]
    return table
