"""One reading of the sensors, and what the readings of a stretch of time amount to."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

LIMITS = ("power", "thermal", "hw_slowdown", "power_brake", "sync_boost")
"""Why a device may run below its clock; `power` is the normal state of a large GPU."""

ENERGY_WINDOW_S = 1.0
"""Energy counters move in steps of up to 100 ms: shorter windows would be off by over 10%."""

INSTANT_SPAN_S = 0.1
"""An "instant" power reading may be this old: the sensor of an A100 or H100 looks during 25 of
every 100 ms (arXiv 2312.02741)."""

AVERAGE_SPAN_S = 1.0
"""NVIDIA's averaged power is over one second (nvml.h)."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What the sensors said at one moment of the monotonic clock. Absent is None, never 0.

    `clocks_mhz` has one clock for each part of the device that has its own (AMD: each XCD).
    `power_w` is the mean of the last `power_span_s` seconds. `energy_j` counts up from anywhere,
    as do `counters_ns`: how long each reason has limited the clock, by `reason` or `reason/part`.
    `active` is the reasons that can only be seen at the moment.
    """

    time_s: float
    clocks_mhz: tuple[float | None, ...] = ()
    power_w: float | None = None
    power_span_s: float = INSTANT_SPAN_S
    temperature_c: float | None = None
    energy_j: float | None = None
    counters_ns: dict[str, float] = {}
    active: dict[str, bool] = {}


@dataclass(frozen=True, kw_only=True)
class Window:
    """What was seen from `start_s` to `stop_s`; what was not measured is None.

    `clock_mhz` is the median over the samples, of the slowest part of the device; `power_w` the
    mean of the readings that lie wholly inside; `energy_j` the counter's difference, for a second
    or more; `limits_ns` how long each reason was active, by counters, or by the share of samples.
    `problem` says why nothing was seen.
    """

    start_s: float
    stop_s: float
    samples: int = 0
    clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    energy_j: float | None = None
    limits_ns: dict[str, float] = field(default_factory=dict)
    problem: str | None = None


def attempt(call: Callable[..., T], *args: Any) -> T | None:
    """What a sensor's call returns, or None: drivers fail in ways that no list holds."""
    try:
        return call(*args)
    except Exception:
        return None


def ask(library: Any, name: str, *args: Any) -> Any:
    """One call of a vendor's library; None where this version of it lacks it, or it fails."""
    return attempt(lambda: getattr(library, name)(*args))


def within(value: object, low: float, high: float) -> float | None:
    """A number of that range, or None: missing is "N/A", 0xFFFF or 0 by version and vendor."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if low <= value <= high else None


def summarise(samples: Sequence[Sample], start_s: float, stop_s: float) -> Window:
    """The window's figures from samples in time order.

    A sample just before and one just after the window make its counters exact: ask one polling
    period after its end.
    """
    first = bisect_left(samples, start_s, key=lambda s: s.time_s)
    last = bisect_right(samples, stop_s, key=lambda s: s.time_s)
    inside, around = samples[first:last], samples[max(0, first - 1) : last + 1]
    if not inside:
        return Window(start_s=start_s, stop_s=stop_s)
    power = [
        s.power_w for s in inside if s.power_w is not None and s.time_s - s.power_span_s >= start_s
    ]
    power_w = fmean(power) if power else None
    temperatures = [s.temperature_c for s in inside if s.temperature_c is not None]
    return Window(
        start_s=start_s,
        stop_s=stop_s,
        samples=len(inside),
        clock_mhz=_clock(inside),
        power_w=power_w,
        temperature_c=median(temperatures) if temperatures else None,
        energy_j=_energy(around, start_s, stop_s, power_w),
        limits_ns=_limits(inside, around, start_s, stop_s),
    )


def _clock(inside: Sequence[Sample]) -> float | None:
    """The lowest median of any part: a GEMM waits for its slowest XCD."""
    parts = max(len(s.clocks_mhz) for s in inside)
    medians = []
    for part in range(parts):
        seen = [s.clocks_mhz[part] for s in inside if part < len(s.clocks_mhz)]
        known = [clock for clock in seen if clock is not None]
        if known:
            medians.append(median(known))
    return min(medians, default=None)


def _growth(points: list[tuple[float, float]], start_s: float, stop_s: float) -> float | None:
    """How much a counter grew in the window, from points in and next to it, linear between them.

    None where they cover less than half of the window, or the counter ran backwards.
    """
    if any(later[1] < earlier[1] for earlier, later in pairwise(points)):
        return None
    grown = covered = 0.0
    for (t0, v0), (t1, v1) in pairwise(points):
        overlap = min(t1, stop_s) - max(t0, start_s)
        if overlap > 0:
            covered += overlap
            grown += (v1 - v0) * overlap / (t1 - t0)
    window = stop_s - start_s
    return grown * window / covered if covered > 0 and covered >= window / 2 else None


def _energy(
    around: Sequence[Sample], start_s: float, stop_s: float, power_w: float | None
) -> float | None:
    """Joules, if they agree with power × time within a factor of ten.

    AMD's counter is stuck, tiny or runs backwards on some parts and drivers; the factor is that of
    zeus (ml-energy/zeus, device/gpu/amd.py).
    """
    if stop_s - start_s < ENERGY_WINDOW_S or power_w is None:
        return None
    points = [(s.time_s, s.energy_j) for s in around if s.energy_j is not None]
    joules = _growth(points, start_s, stop_s)
    expected = power_w * (stop_s - start_s)
    return joules if joules is not None and 0.1 <= joules / expected <= 10 else None


def _limits(
    inside: Sequence[Sample], around: Sequence[Sample], start_s: float, stop_s: float
) -> dict[str, float]:
    found: dict[str, float] = {}
    for key in {key for s in around for key in s.counters_ns}:
        points = [(s.time_s, s.counters_ns[key]) for s in around if key in s.counters_ns]
        grown = _growth(points, start_s, stop_s)
        if grown is not None:
            # Parts of one reason overlap in time: the longest is the time that it was active.
            reason = key.partition("/")[0]
            found[reason] = max(found.get(reason, 0.0), grown)
    for reason in {key for s in inside for key in s.active}:
        seen = [s.active[reason] for s in inside if reason in s.active]
        found[reason] = max(found.get(reason, 0.0), fmean(seen) * (stop_s - start_s) * 1e9)
    return found
