"""The rules by which a row of a comparison is faster, slower, the same or unsure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gemmbench.analysis.comparison import Change, Compared, Geomean, Machine
from gemmbench.analysis.sides import Case, Key, OverBase, Side
from gemmbench.timing.statistics import Difference, Estimate, ratio_of_sides, with_floor
from gemmkernels.precision import PRECISIONS

SINGLE = 0.05
"""With one repeat a side the spread between processes is unknown; it was up to 4% on CPUs."""

P = 0.05
_ONE_REPEAT = "one repeat: measure more with --repeat"


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The rules of a verdict, on changes of at least `delta`, a fraction.

    `same_launch` says if the launch must be one; `bases` has each side's speedups over the base of
    its process, where those may decide.
    """

    delta: float
    machine: Machine
    same_launch: bool = True
    bases: tuple[Mapping[Key, OverBase], Mapping[Key, OverBase]] | None = None

    def rows(self, left: Side, right: Side, keys: Sequence[Key]) -> tuple[Compared, ...]:
        pairs = [(left.cases[key], right.cases[key]) for key in keys]
        found = [difference(a.times_us.values(), b.times_us.values()) for a, b in pairs]
        false = _adjusted([one.p for one in found])
        return tuple(
            self._row(key, a, b, difference, p)
            for key, (a, b), difference, p in zip(keys, pairs, found, false, strict=True)
        )

    def _row(self, key: Key, a: Case, b: Case, found: Difference, p: float) -> Compared:
        verdict, why = self._verdict(found.ratio, p)
        if a.is_contended or b.is_contended:
            verdict, why = "unsure", "contended"
        elif self.same_launch and a.launch != b.launch:
            verdict, why = "unsure", f"launched in two ways, {a.launch} and {b.launch}"
        elif math.isnan(found.p) and self.machine != "moved":
            verdict, why = self._single(key, a, b, found.ratio)
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
            time_a_us=a.mean_us,
            time_b_us=b.mean_us,
            ratio=found.ratio.value,
            ratio_low=found.ratio.low,
            ratio_high=found.ratio.high,
            verdict=verdict,
            why=why,
            pct_peak_a=_mean(a.pct_peak),
            pct_peak_b=_mean(b.pct_peak),
            repeats=(len(a.times_us), len(b.times_us)),
        )

    def _verdict(self, ratio: Estimate, p: float) -> tuple[Change, str]:
        """By the spread between repeats."""
        if self.machine == "moved":
            return "unsure", "the machine changed: its self-test moved"
        if self._within(ratio.low, ratio.high):
            return "same", ""
        if ratio.low <= 1 <= ratio.high:
            return "unsure", "the interval holds 1"
        if abs(math.log(ratio.value)) < math.log1p(self.delta):
            return "unsure", f"a change below {self.delta:.3g}"
        if not p < P:
            return "unsure", "by chance among so many rows"
        return _direction(ratio.value), ""

    def _single(self, key: Key, a: Case, b: Case, ratio: Estimate) -> tuple[Change, str]:
        """With one repeat on a side: what is large, or what the ratios within a process tell."""
        if abs(math.log(ratio.value)) >= math.log1p(SINGLE) and not overlap(a.within, b.within):
            return _direction(ratio.value), ""
        if self.bases is not None and not a.base:
            found = self._over_base(key, a, b)
            inside = found is not None and self._within(found.low, found.high)
            if inside and self._within(ratio.value, ratio.value):
                return "same", ""
            if (
                found is not None
                and not found.low <= 1 <= found.high
                and (found.value > 1) == (ratio.value > 1)
                and not self._within(found.value, found.value)
                and not self._within(ratio.value, ratio.value)
            ):
                return _direction(ratio.value), ""
        return "unsure", _ONE_REPEAT

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

    def _within(self, low: float, high: float) -> bool:
        return 1 / (1 + self.delta) < low and high < 1 + self.delta

    def geomeans(self, left: Side, right: Side, keys: Sequence[Key]) -> Iterable[Geomean]:
        """One geometric mean a repeat, then Welch over the repeats: rows are not independent."""
        for precision in sorted({key.precision for key in keys}, key=_order):
            mine = (key for key in keys if key.precision == precision)
            rows = [key for key in mine if _complete(key, left, right)]
            if rows:
                found = difference(_means(left, rows), _means(right, rows))
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
                    why=why,
                )


def difference(slow: Iterable[float], fast: Iterable[float]) -> Difference:
    return ratio_of_sides(list(slow), list(fast))


def _adjusted(ps: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's p of each row that has one."""
    known = [p for p in ps if not math.isnan(p)]
    if not known:
        return list(ps)
    from scipy.stats import false_discovery_control

    adjusted = iter(false_discovery_control(known).tolist())
    return [p if math.isnan(p) else next(adjusted) for p in ps]


def overlap(a: Sequence[Estimate], b: Sequence[Estimate]) -> bool:
    """Do the intervals within the runs meet? Also where one is not known."""
    ends = [(min(one.low for one in some), max(one.high for one in some)) for some in (a, b)]
    return not (ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0])


def _direction(ratio: float) -> Change:
    return "faster" if ratio > 1 else "slower"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _complete(key: Key, *sides: Side) -> bool:
    """Has every repeat of both sides a time for this row?"""
    return all(side.units == tuple(side.cases[key].times_us) for side in sides)


def _means(side: Side, keys: Sequence[Key]) -> list[float]:
    """The geometric mean of the times of these rows, of each repeat."""
    times = [side.cases[key].times_us for key in keys]
    return [math.exp(sum(math.log(one[unit]) for one in times) / len(times)) for unit in side.units]


def _order(precision: str) -> int:
    known = list(PRECISIONS)
    return known.index(precision) if precision in known else len(known)
