"""Error rates of `analysis.steps` and `.trend`: `python tests/history_rates.py --series 400`.

Series of 100 runs with a standard deviation of 1%; the noise models are those of the rule's own
table. "within" is the share of series with one step in the middle in which a confirmed step lies
within 3 runs of it; "interval" how often the interval of that step holds the true one.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np

from gemmbench.analysis.steps import NEAR, Step, steps
from gemmbench.analysis.trend import trend
from gemmbench.timing.statistics import Floats

RUNS, SIGMA = 100, 0.01
Generator = np.random.Generator


def iid(draw: Generator, n: int) -> Floats:
    return draw.normal(0, SIGMA, n)


def correlated(draw: Generator, n: int, *, phi: float = 0.5) -> Floats:
    noise = draw.normal(0, SIGMA * math.sqrt(1 - phi**2), n)
    found = np.empty(n)
    found[0] = draw.normal(0, SIGMA)
    for index in range(1, n):
        found[index] = phi * found[index - 1] + noise[index]
    return found


def outliers(draw: Generator, n: int) -> Floats:
    return iid(draw, n) + 0.1 * (draw.random(n) < 0.05)


def bimodal(draw: Generator, n: int) -> Floats:
    return draw.normal(0, SIGMA / 2, n) + 0.03 * (draw.random(n) < 0.3)


NOISES: dict[str, Callable[[Generator, int], Floats]] = {
    "iid": iid,
    "AR .5": correlated,
    "outliers": outliers,
    "bimodal": bimodal,
}


def series(
    name: str, seed: int, *, step: float = 0.0, at: int = RUNS // 2, n: int = RUNS
) -> Floats:
    """Times in µs that slow down by `step`, a fraction, at the run `at`."""
    logs = NOISES[name](np.random.default_rng([seed, sorted(NOISES).index(name)]), n)
    logs[at:] += math.log1p(step)
    return 100 * np.exp(logs)


def found(times: Floats, *, delta: float = 0.02) -> tuple[list[Step], list[Step]]:
    """(confirmed, suspected)"""
    every = steps(times.tolist(), delta=delta)
    return (
        [one for one in every if one.certainty == "confirmed"],
        [one for one in every if one.certainty == "suspected"],
    )


def false_alarms(name: str, count: int, *, delta: float) -> tuple[float, float]:
    """The share of series without a step in which one is confirmed, and at least suspected."""
    every = [found(series(name, seed), delta=delta) for seed in range(count)]
    return (
        sum(bool(sure) for sure, _ in every) / count,
        sum(bool(sure or asked) for sure, asked in every) / count,
    )


def placed(name: str, step: float, count: int, *, delta: float) -> tuple[float, float]:
    """The share in which the step is confirmed in its place, and of those with a sound interval."""
    hits, known, held = 0, 0, 0
    for seed in range(count):
        sure, _ = found(series(name, seed, step=step), delta=delta)
        near = [one for one in sure if abs(one.at - RUNS // 2) <= NEAR]
        hits += bool(near)
        if near and not math.isnan(near[0].ratio_low):
            known += 1
            held += near[0].ratio_low <= 1 / (1 + step) <= near[0].ratio_high
    return hits / count, held / known if known else math.nan


def drifting(name: str, a_run: float, count: int, *, step: float = 0.0, n: int = RUNS) -> float:
    """The share in which a drift is seen, of series that slow down by a fraction a run; with a step
    half way."""
    seen = 0
    for seed in range(count):
        times = series(name, seed, step=step, at=n // 2, n=n) * np.exp(a_run * np.arange(n))
        found = steps(times.tolist(), delta=0.02)
        seen += not math.isnan(trend(times.tolist(), found, delta=0.02))
    return seen / count


def delay(step: float, seed: int, *, before: int = RUNS) -> tuple[int, int]:
    """Runs after the step until it is suspected, and until it is confirmed."""
    times = series("iid", seed, step=step, at=before, n=before + 40)
    asked = 0
    for after in range(1, 41):
        sure, maybe = found(times[: before + after])
        here = [one for one in (*sure, *maybe) if abs(one.at - before) <= NEAR]
        if here and not asked:
            asked = after
        if here and here[0].certainty == "confirmed":
            return asked, after
    return asked or 41, 41


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=400)
    count = parser.parse_args().series
    for delta in (1e-6, 0.02):
        print(f"delta {100 * delta:.2g}%")
        for name in NOISES:
            sure, asked = false_alarms(name, count, delta=delta)
            print(f"  {name:9} false: {100 * sure:5.1f}% confirmed, {100 * asked:5.1f}% suspected")
            for step in (0.02, 0.03, 0.05):
                share, holds = placed(name, step, count, delta=delta)
                print(
                    f"  {name:9} {100 * step:.0f}%: within {100 * share:5.1f}%, "
                    f"interval {100 * holds:5.1f}%"
                )
    for name in NOISES:
        none, step = drifting(name, 0, count), drifting(name, 0, count, step=0.05)
        slow, fast = drifting(name, 0.0005, count), drifting(name, 0.001, count)
        print(
            f"{name:9} drift seen: {100 * none:.1f}% of none, {100 * step:.1f}% of a step of 5%, "
            f"{100 * slow:.1f}% of 0.05% a run, {100 * fast:.1f}% of 0.1% a run"
        )
    seen = [delay(0.03, seed) for seed in range(max(10, count // 8))]
    for what, runs in zip(("suspected", "confirmed"), zip(*seen, strict=True), strict=True):
        middle, most = np.percentile(runs, [50, 90])
        print(f"3% step {what} after {middle:.0f} runs (median), {most:.0f} (90%)")


if __name__ == "__main__":
    main()
