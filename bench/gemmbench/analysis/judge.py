"""The rules by which a row of a comparison is faster, slower, the same or unsure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gemmbench.analysis.cases import Case, Key
from gemmbench.analysis.comparison import Change, Compared, Geomean, Machine, pair
from gemmbench.analysis.sides import OverBase, Side
from gemmbench.timing.statistics import Estimate, with_floor
from gemmbench.timing.welch import Difference, ratio_of_sides, ratios_of_sides
from gemmkernels.precision import PRECISIONS, SPARSE

SINGLE = 0.05
"""With one repeat a side the spread between processes is unknown; it was up to 4% on CPUs."""

P = 0.05
_ONE_REPEAT = "one repeat: measure more with --repeat"
_ONE_SOUND = "one repeat is left, as others were contended"


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The rules of a verdict, on changes of at least `delta`, a fraction.

    Ratios within a process count from `delta_within` on. `same_launch` says if the launch must be
    one; `bases` has each side's speedups over the base of its process, where those may decide;
    `unlike` is what of the method differs.
    """

    delta: float
    delta_within: float
    machine: Machine
    same_launch: bool = True
    bases: tuple[Mapping[Key, OverBase], Mapping[Key, OverBase]] | None = None
    unlike: tuple[str, ...] = ()

    def rows(self, left: Side, right: Side, keys: Sequence[Key]) -> tuple[Compared, ...]:
        pairs = [(left.cases[key], right.cases[key]) for key in keys]
        found = ratios_of_sides(
            [(list(a.times_us.values()), list(b.times_us.values())) for a, b in pairs]
        )
        controlled = adjusted([one.p_shared for one in found])
        return tuple(
            self._row(key, a, b, difference, p)
            for key, (a, b), difference, p in zip(keys, pairs, found, controlled, strict=True)
        )

    def _row(self, key: Key, a: Case, b: Case, found: Difference, p: float) -> Compared:
        verdict, why = self._verdict(found.ratio, p)
        judged = self.machine != "moved" and not math.isnan(found.ratio.low)
        if spoilt := self._spoilt(a, b):
            verdict, why, judged = "unsure", spoilt, False
        elif math.isnan(found.p) and self.machine != "moved":
            verdict, why = self._single(key, a, b, found.ratio)
        x, y = a.rates, b.rates
        return Compared(
            shape=key.shape,
            m=key.m,
            n=key.n,
            k=key.k,
            batch=key.batch,
            experts=key.experts,
            layout=key.layout,
            data=key.data,
            precision=key.precision,
            modes=key.modes,
            name=key.name,
            kernel_a=a.kernel,
            kernel_b=b.kernel,
            encoding_a=a.encoding,
            encoding_b=b.encoding,
            launch_a=a.launch,
            launch_b=b.launch,
            time_a_us=a.mean_us,
            time_b_us=b.mean_us,
            ratio=found.ratio.value,
            ratio_low=found.ratio.low,
            ratio_high=found.ratio.high,
            p=p,
            verdict=verdict,
            why=self.told(why),
            judged=judged,
            sparse=key.precision in SPARSE,
            tflops=pair(x.tflops, y.tflops),
            peak_tflops=pair(x.peak_tflops, y.peak_tflops),
            pct_peak=pair(x.pct_peak, y.pct_peak),
            pct_peak_at_clock=pair(x.pct_peak_at_clock, y.pct_peak_at_clock),
            tflops_per_w=pair(x.tflops_per_w, y.tflops_per_w),
            repeats=(len(a.times_us), len(b.times_us)),
        )

    def _spoilt(self, a: Case, b: Case) -> str:
        """Why no times of these two could be compared; empty where they can."""
        if a.fault or b.fault:
            return _faults(a.fault, b.fault)
        if not self.unlike and self.same_launch and a.launch != b.launch:
            return f"launched in two ways, {a.launch} and {b.launch}"
        if not self.unlike and a.cache != b.cache:
            return f"of two states of the cache, {a.cache} and {b.cache}"
        return ""

    def told(self, why: str) -> str:
        """Why, and what of the method differs."""
        alike = f"not measured alike: {', '.join(self.unlike)}" if self.unlike else ""
        return "; ".join(filter(None, (why, alike)))

    def _verdict(self, ratio: Estimate, p: float) -> tuple[Change, str]:
        """By the spread between repeats."""
        if self.machine == "moved":
            return "unsure", "the machine changed: its self-test moved"
        if _within(ratio.low, ratio.high, self.delta):
            return "same", ""
        if ratio.low <= 1 <= ratio.high:
            return "unsure", "the interval holds 1"
        if abs(math.log(ratio.value)) < math.log1p(self.delta):
            return "unsure", f"a change below {100 * self.delta:.3g}%"
        if not p < P:
            return "unsure", "by chance among so many rows"
        return _direction(ratio.value), ""

    def _single(self, key: Key, a: Case, b: Case, ratio: Estimate) -> tuple[Change, str]:
        """With one repeat on a side: what is large, or what the ratios within a process tell."""
        least = math.log1p(max(SINGLE, self.delta))
        if abs(math.log(ratio.value)) >= least and not overlap(a.within, b.within):
            return _direction(ratio.value), ""
        if self.bases is not None and not a.base:
            found, delta = self._over_base(key, a, b), self.delta_within
            alike = _within(ratio.value, ratio.value, delta)
            if found is not None and alike and _within(found.low, found.high, delta):
                return "same", ""
            if (
                found is not None
                and not alike
                and not found.low <= 1 <= found.high
                and (found.value > 1) == (ratio.value > 1)
                and not _within(found.value, found.value, delta)
            ):
                return _direction(ratio.value), ""
        return "unsure", _ONE_SOUND if a.contended or b.contended else _ONE_REPEAT

    def _over_base(self, key: Key, a: Case, b: Case) -> Estimate | None:
        """b's speedup over its base, divided by a's over the same base."""
        assert self.bases is not None
        over_a, over_b = self.bases[0].get(key.of(a.kernel)), self.bases[1].get(key.of(b.kernel))
        if over_a is None or over_b is None or over_a.base != over_b.base:
            return None
        slow, fast = over_a.speedup, over_b.speedup
        if math.isnan(slow.low) or math.isnan(fast.low):
            return None
        ratio = fast.value / slow.value
        half = math.hypot(*(math.log(one.high / one.low) / 2 for one in (slow, fast)))
        return with_floor(Estimate(ratio, ratio * math.exp(-half), ratio * math.exp(half), 0))

    def geomeans(self, left: Side, right: Side, keys: Sequence[Key]) -> Iterable[Geomean]:
        """One geometric mean a repeat, then Welch over the repeats: rows are not independent."""
        for precision in sorted({key.precision for key in keys}, key=_order):
            mine = (key for key in keys if key.precision == precision)
            rows = [key for key in mine if _complete(key, left, right)]
            if rows:
                found = ratio_of_sides(_means(left, rows), _means(right, rows))
                verdict, why = self._verdict(found.ratio, found.p)
                if math.isnan(found.p) and self.machine != "moved":
                    verdict, why = "unsure", _ONE_REPEAT
                yield Geomean(
                    precision=precision,
                    rows=len(rows),
                    ratio=found.ratio.value,
                    ratio_low=found.ratio.low,
                    ratio_high=found.ratio.high,
                    verdict=verdict,
                    why=self.told(why),
                )


def _faults(a: str, b: str) -> str:
    if a == b:
        return f"{a} on both sides"
    return " and ".join(f"{side} is {fault}" for side, fault in (("a", a), ("b", b)) if fault)


def _within(low: float, high: float, delta: float) -> bool:
    return 1 / (1 + delta) < low and high < 1 + delta


def adjusted(ps: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's p of each row that has one.

    As `scipy.stats.false_discovery_control`, whose module takes longer to import than a file of
    thousands of records to load.
    """
    values = np.array(ps, dtype=float)
    order = np.argsort(values)[: int((~np.isnan(values)).sum())]
    scaled = values[order] * len(order) / np.arange(1, len(order) + 1)
    values[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return list(values.tolist())


def overlap(a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]]) -> bool:
    """Do the intervals within the runs meet? Also where one is not known."""
    a_low, a_high, b_low, b_high = (
        math.nan if any(map(math.isnan, ends)) else extreme(ends)
        for some in (a, b)
        for ends, extreme in (
            ([low for low, _ in some], min),
            ([high for _, high in some], max),
        )
    )
    return not (a_high < b_low or b_high < a_low)


def _direction(ratio: float) -> Change:
    return "faster" if ratio > 1 else "slower"


def _complete(key: Key, *sides: Side) -> bool:
    """Has every repeat of both sides a sound time for this row?"""
    for side in sides:
        case = side.cases[key]
        if case.fault or side.units != tuple(case.times_us):
            return False
    return True


def _means(side: Side, keys: Sequence[Key]) -> list[float]:
    """The geometric mean of the times of these rows, of each repeat."""
    times = [side.cases[key].times_us for key in keys]
    return [math.exp(sum(math.log(one[unit]) for one in times) / len(times)) for unit in side.units]


def _order(precision: str) -> int:
    known = list(PRECISIONS)
    return known.index(precision) if precision in known else len(known)
