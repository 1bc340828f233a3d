"""How far this machine can be trusted: a ratio that is known, measured again and again.

Two runs of one loop, of which one does exactly 1.37 times the work of the other. Each measurement
is one of our own, with its interval; what they say of the truth, and how they scatter, is what
any figure from here is worth.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from gemmbench.doctor.finding import Finding, Grade
from gemmbench.timing.callables import Measurement, Speedup, measure, speedup
from gemmbench.timing.statistics import SYSTEMATIC_FLOOR
from gemmkernels.device import Device
from gemmkernels.probes.chain import WORK, pair

LEAST = 10
"""Measurements: with fewer, one miss could not be told from many."""

LONGEST_S = 2.0
HELD = 0.9
"""95% of the intervals hold the truth on a sound machine; 9 of 10 is what ten can show."""

LOST = 0.5
"""Where over half of the ratios are contended, a run here is mostly lost time."""

SPREAD = {"cpu": 0.02, "gpu": 0.01}
"""What a run aims at on a CPU, and twice what it aims at on a GPU: speedups that scatter by more
would differ in their first decimal from one run to the next."""

_NORMAL = 1.4826
"""Median absolute deviation → standard deviation, for normal values."""

_TARGET = 0.005


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One measurement of the pair: when, the time of the shorter loop, and the ratio."""

    at_s: float
    time_us: float
    ratio: Speedup


def trials(
    device: Device, *, time_s: float, say: Callable[[int, float], None] = lambda *_: None
) -> tuple[Trial, ...]:
    """Measure the pair until the time is up, ten times at least.

    `say` is told how many are done, and seconds so far.
    """
    less, more = pair(device)
    name = device.torch_device if device.is_gpu else "cpu"
    found: list[Trial] = []
    began_s = time.monotonic()
    while len(found) < LEAST or time.monotonic() - began_s < time_s:
        taken: dict[str, Measurement] = measure(
            {"less": less, "more": more},
            device=name,
            target=_TARGET,
            max_time_s=min(LONGEST_S, time_s / LEAST),
            seed=len(found),
        )
        at_s = time.monotonic() - began_s
        ratio = speedup(taken["more"], taken["less"])
        found.append(Trial(at_s=at_s, time_us=taken["less"].median_us, ratio=ratio))
        say(len(found), at_s)
    return tuple(found)


def noise_findings(found: Sequence[Trial], *, kind: str) -> Iterator[Finding]:
    clear = [trial for trial in found if not math.isnan(trial.ratio.low)]
    lost = len(found) - len(clear)
    yield _contended(lost, len(found))
    if clear:
        yield _truth(clear)
        yield _spread(clear, kind)
    yield _drift(found)
    if clear:
        yield _resolution(found, clear)


def reach(values: Sequence[float]) -> float:
    """How far 95% of the values lie from their median at most, as a fraction of it."""
    middle = median(values)
    away = sorted(abs(value / middle - 1) for value in values)
    return away[math.ceil(0.95 * len(away)) - 1]


def robust_sd(values: Sequence[float]) -> float:
    """The median absolute deviation as a fraction of the median, scaled to a normal sd."""
    middle = median(values)
    return _NORMAL * median(abs(value - middle) for value in values) / middle


def _contended(lost: int, taken: int) -> Finding:
    name = "noise: neighbours"
    what = f"{lost} of {taken} measurements contended"
    if lost > LOST * taken:
        remedy = "end what else uses the cores, and try again"
        return Finding(check=name, grade="fault", what=what, remedy=remedy)
    return Finding(check=name, grade="note", what=what)


def _truth(clear: Sequence[Trial]) -> Finding:
    held = sum(trial.ratio.low <= WORK <= trial.ratio.high for trial in clear)
    worst = max((trial.ratio.ratio / WORK - 1 for trial in clear), key=abs)
    what = f"{held} of {len(clear)} intervals hold the planted {WORK}, worst error {worst:+.2%}"
    grade: Grade = "note" if held >= HELD * len(clear) else "fault"
    remedy = "" if grade == "note" else "trust no ratio from here before other load has ended"
    return Finding(check="noise: planted ratio", grade=grade, what=what, remedy=remedy)


def _spread(clear: Sequence[Trial], kind: str) -> Finding:
    ratios = [trial.ratio.ratio for trial in clear]
    spread, most = robust_sd(ratios), SPREAD[kind]
    seen = f"sd {spread:.2%}, {min(ratios):.3f} … {max(ratios):.3f}"
    grade: Grade = "note" if spread <= most else "fault"
    what = seen if grade == "note" else f"{seen}: over {most:.0%}"
    remedy = "" if grade == "note" else "use a machine, or cores, of your own"
    return Finding(check="noise: spread of speedups", grade=grade, what=what, remedy=remedy)


def _drift(found: Sequence[Trial]) -> Finding:
    """Theil–Sen's slope over the span: it is not moved by single measurements."""
    from scipy.stats import theilslopes

    times = [trial.time_us for trial in found if not math.isnan(trial.time_us)]
    at_s = [trial.at_s for trial in found if not math.isnan(trial.time_us)]
    name = "noise: constant loop"
    if len(times) < 2:
        return Finding(check=name, grade="unknown", what="no turn of it was clean")
    span_s = at_s[-1] - at_s[0]
    slope, _, low, high = theilslopes(times, at_s)
    moved = float(slope) * span_s / median(times)
    chance = ", within chance" if low <= 0 <= high else ""
    what = f"sd {robust_sd(times):.2%}, drift {moved:+.2%} over {span_s:.0f} s{chance}"
    return Finding(check=name, grade="note", what=what)


def _resolution(found: Sequence[Trial], clear: Sequence[Trial]) -> Finding:
    """What can be told apart: by the intervals, or by how they scatter, whichever is worse."""
    halves = [(t.ratio.high - t.ratio.low) / (2 * t.ratio.ratio) for t in clear]
    ratios = [trial.ratio.ratio for trial in clear]
    times = [trial.time_us for trial in found if not math.isnan(trial.time_us)]
    apart = max(SYSTEMATIC_FLOOR, median(halves), reach(ratios))
    what = (
        f"two kernels {_percent(apart)} apart in arithmetic can be told apart here; "
        f"the time of one holds to ±{_percent(reach(times))} from one measurement to the next; "
        "caches and memory add to that"
    )
    return Finding(check="noise: resolution", grade="note", what=what)


def _percent(share: float) -> str:
    """Two significant digits: 0.052%, 0.87%, 12%."""
    return f"{float(f'{100 * share:.2g}'):g}%"
