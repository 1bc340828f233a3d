"""The figure of what the sensors saw while a run ran: clock, power, temperature."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gemmbench.analysis.speedup import rung
from gemmbench.analysis.timeline import (
    Moment,
    is_power_limited,
    repeats,
    throttled,
    throttling,
    timeline,
)
from gemmbench.records.frame import frame, spec_of
from gemmbench.records.reader import Run
from gemmbench.show.drawable import NAME
from gemmbench.show.results import caption
from gemmbench.show.style import (
    COLOURS,
    GREY,
    SMALL,
    Look,
    dress,
    figure,
    head,
    kernel_looks,
    legend_in,
    look,
    spans,
)
from gemmbench.show.text import printable
from gemmbench.show.ticks import short
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KERNELS = 12
"""The marks of more kernels can't be told apart between so many: then all look alike."""

MARKS = 1_500
"""Of more turns each mark is the median of several, with a line from the lowest to the highest."""

DAMAGED = 1e6
"""No sensor says so much: the file is damaged."""

STRETCH = 0.002
"""Throttled turns that are nearer together than this share of the run make one mark."""

UNITS = (("h", 3600.0, 3 * 3600.0), ("min", 60.0, 300.0), ("s", 1.0, 0.0))
_THROTTLED: dict[str, Any] = {"facecolor": COLOURS[1], "linewidth": 0.0}


@dataclass(frozen=True)
class _Sensor:
    """A field of `Turn`, what its axis says, and the line that the device has for it."""

    field: str
    name: str
    line: float = math.nan
    line_name: str = ""

    def of(self, seen: Moment) -> float:
        value: float | None = getattr(seen.turn, self.field)
        return value if value is not None and abs(value) < DAMAGED else math.nan


def telemetry(run: Run) -> "Figure":
    """Clock in MHz, power in W and temperature in °C over the time of the run, a mark a turn.

    Of a resumed run the sittings follow one another. Raises GemmbenchError where no sensor saw
    anything, and where the turns took no time.
    """
    every = timeline(run)
    sensors = [one for one in _sensors(run) if any(not math.isnan(one.of(seen)) for seen in every)]
    if not sensors:
        raise GemmbenchError(
            "nothing to draw: no sensor saw this run; a GPU's are read "
            "by nvidia-ml-py or amdsmi, a CPU's where cpufreq or RAPL may be read, and short turns "
            "(--preset quick) see no power: gemmbench doctor tells what is missing"
        )
    last_s = max(one.stop_s for one in every)
    if not last_s > 0:
        raise GemmbenchError("nothing to draw: the turns of this run took no time; is it damaged?")
    tiers = {record.kernel: record.tier for record in run.records}
    kernels = sorted({one.kernel for one in every}, key=lambda name: rung(name, tiers[name]))
    looks = kernel_looks(kernels) if len(kernels) <= KERNELS else dict.fromkeys(kernels, look(0))
    names = [printable(name, NAME) for name in kernels] if len(kernels) <= KERNELS else []
    handles: list[Artist] = [Line2D([], [], ls="", **looks[name].mark(4)) for name in kernels]
    handles = handles[: len(names)]
    reasons = sorted({one for record in run.records for one in throttling(record)})
    if reasons:
        handles.append(Patch(**_THROTTLED))
        names = [*names, f"throttled: {', '.join(reasons).replace('_', ' ')}"]
    unit, scale = next((name, size) for name, size, least in UNITS if last_s >= least)
    width = 9.0
    least = 1 if reasons else 2
    height = 1.1 + 2.1 * len(sensors) + (legend_in(width, names) if len(names) >= least else 0.0)
    made = figure(width, height, caption=_caption(run, every))
    grid = made.subplots(len(sensors), 1, squeeze=False, sharex=True)[:, 0]
    for axes, sensor in zip(grid, sensors, strict=True):
        _bands(axes, every, scale)
        for name, some in _marks(every, sensor, alike=len(kernels) > KERNELS).items():
            _draw(axes, some, looks[name], scale)
        _line(axes, sensor)
        _throttled(axes, every, scale, span_s=last_s)
        dress(axes, x="", y=sensor.name)
    grid[-1].set_xlabel(f"time, {unit}", fontsize=grid[-1].yaxis.label.get_fontsize())
    grid[-1].set_xlim(-0.01 * last_s / scale, 1.01 * last_s / scale)
    _repeats(grid[0], every, scale, span_s=last_s)
    one = f": {names[0]}" if len(names) == 1 and not reasons else ""
    what = " and ".join(
        ", ".join(sensor.name.partition(",")[0] for sensor in sensors).rsplit(", ", 1)
    )
    head(made, f"{what.capitalize()} over time{one}", handles, names, least=least)
    return made


def _sensors(run: Run) -> list[_Sensor]:
    spec, device = spec_of(run.header), run.header.device
    boost = (spec.boost_clock_mhz if spec else None) or math.nan
    limit, said = device.power_limit_w, "power limit"
    if limit is None:
        limit, said = (spec.tdp_w if spec else None), "TDP of the spec sheet"
    return [
        _Sensor("clock_mhz", "clock, MHz", boost, "boost clock of the spec sheet"),
        _Sensor("power_w", "power, W", math.nan if limit is None else limit, said),
        _Sensor("temperature_c", "temperature, °C"),
    ]


_Mark = tuple[float, float, float, float]
"""Seconds, the value, the lowest and the highest of what it stands for."""


def _marks(every: Sequence[Moment], sensor: _Sensor, *, alike: bool) -> dict[str, list[_Mark]]:
    """By kernel; of all together at most `MARKS`."""
    known = [one for one in every if not math.isnan(sensor.of(one))]
    step = -(-len(known) // MARKS)
    parts: dict[str, list[Moment]] = {}
    for one in known:
        parts.setdefault(known[0].kernel if alike else one.kernel, []).append(one)
    return {
        name: [_mark(some[i : i + step], sensor) for i in range(0, len(some), step)]
        for name, some in parts.items()
    }


def _mark(some: Sequence[Moment], sensor: _Sensor) -> _Mark:
    values = [sensor.of(one) for one in some]
    return median(one.middle_s for one in some), median(values), min(values), max(values)


def _draw(axes: "Axes", marks: Sequence[_Mark], one: Look, scale: float) -> None:
    times, values, lows, highs = np.array(marks).T
    if (highs > lows).any():
        spans(axes, times / scale, lows, highs, color=one.colour, linewidth=0.6, alpha=0.6)
    axes.plot(times / scale, values, linestyle="", **one.mark(3.2))


def _line(axes: "Axes", sensor: _Sensor) -> None:
    """The line of the device, and room above it for its name."""
    low, high = axes.dataLim.y0, axes.dataLim.y1
    margin = max(0.12 * (high - low), 0.02 * high)
    top = max(high, sensor.line) if sensor.line <= 3 * high else high
    bottom = max(0.0, low - margin)
    axes.set_ylim(bottom, top + 0.18 * (top - bottom))
    if math.isnan(sensor.line):
        return
    near = sensor.line <= top
    if near:
        axes.axhline(sensor.line, color=GREY, linestyle=(0, (5, 3)), linewidth=1.0)
    said = f"{sensor.line_name} {short(sensor.line)} {sensor.name.rpartition(' ')[2]}"
    axes.annotate(
        said if near else f"↑ {said}",
        (0.995, sensor.line if near else 0.99),
        xycoords=("axes fraction", "data") if near else "axes fraction",
        xytext=(0, 2 if near else 0),
        textcoords="offset points",
        ha="right",
        va="bottom" if near else "top",
        fontsize=SMALL,
        color=GREY,
    )


def _bands(axes: "Axes", every: Sequence[Moment], scale: float) -> None:
    """Every second repeat on grey."""
    shaded = [
        (start_s / scale, (stop_s - start_s) / scale)
        for repeat, start_s, stop_s in repeats(every)
        if repeat % 2
    ]
    if shaded:
        axes.broken_barh(
            *(shaded, (0, 1)), transform=axes.get_xaxis_transform(), color="#F0F0F0", zorder=0
        )


def _repeats(axes: "Axes", every: Sequence[Moment], scale: float, *, span_s: float) -> None:
    """The number of each repeat above its band, where there is room for it."""
    spans = repeats(every)
    if len(spans) < 2 or len(spans) > 20:
        return
    free_s = 0.0
    for repeat, start_s, _ in spans:
        said = f"repeat {repeat + 1}" if len(spans) <= 8 else str(repeat + 1)
        if start_s < free_s:
            continue
        axes.annotate(
            *(said, (start_s / scale, 1.0)),
            xycoords=("data", "axes fraction"),
            xytext=(2, 2),
            textcoords="offset points",
            fontsize=SMALL,
            color=GREY,
        )
        free_s = start_s + (0.012 * len(said)) * span_s


def _throttled(axes: "Axes", every: Sequence[Moment], scale: float, *, span_s: float) -> None:
    """A strip along the time axis wherever a case was throttled."""
    spans = throttled(every, apart_s=STRETCH * span_s)
    if spans:
        axes.broken_barh(
            [(start / scale, (stop - start) / scale) for start, stop in spans],
            (0.0, 0.045),
            transform=axes.get_xaxis_transform(),
            zorder=3,
            **_THROTTLED,
        )


def _caption(run: Run, every: Sequence[Moment]) -> str:
    device = caption(frame([replace(run, records=run.records[:1])]))
    step = -(-len(every) // MARKS)
    told = [device, "a mark a turn, at its middle"]
    if step > 1:
        told[1] = f"a mark is the median of up to {step} turns, its line the lowest to the highest"
    limited = sum(map(is_power_limited, run.records))
    told += [f"at the power limit: {limited} of {len(run.records)} records"] if limited else []
    sittings = len({one.sitting for one in run.records})
    told += [f"{sittings} sittings, one after the other"] if sittings > 1 else []
    return " · ".join(told)
