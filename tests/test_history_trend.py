"""A drift within the levels of a series: its error rates with fixed seeds, and what it says."""

import math

import numpy as np
import pytest
from history_rates import RUNS, drifting, iid

from gemmbench.analysis.steps import LEAST_INTERVAL, steps
from gemmbench.analysis.trend import PARTS, P, trend

COUNT = 60


@pytest.mark.parametrize("noise", ["iid", "AR .5", "outliers", "bimodal"])
@pytest.mark.parametrize("step", [0.0, 0.05])
def test_no_drift_is_seen_where_there_is_none(noise: str, step: float) -> None:
    assert drifting(noise, 0.0, COUNT, step=step) <= 0.05


@pytest.mark.parametrize(
    ("noise", "least"), [("iid", 0.95), ("AR .5", 0.8), ("outliers", 0.85), ("bimodal", 0.75)]
)
def test_a_tenth_of_a_percent_a_run_is_seen(noise: str, least: float) -> None:
    assert drifting(noise, 0.001, COUNT) >= least


@pytest.mark.parametrize("n", [2 * PARTS, 3 * PARTS + 7])
@pytest.mark.parametrize("a_run", [0.001, -0.001])
def test_the_slope_is_of_speed_and_steps_do_not_count(n: int, a_run: float) -> None:
    logs = a_run * np.arange(n) + np.random.default_rng(0).normal(0, 1e-4, n)
    logs[n // 2 :] += 0.5
    times = np.exp(logs).tolist()
    (one,) = [one for one in steps(times) if abs(one.at - n // 2) <= 1]
    assert trend(times, [one], delta=0.02) == pytest.approx(math.expm1(-a_run), rel=0.02)


def test_a_drift_below_delta_is_none() -> None:
    logs = 0.0005 * np.arange(RUNS) + iid(np.random.default_rng(0), RUNS) / 10
    times = np.exp(logs).tolist()
    assert trend(times, (), delta=0.02) < 0
    assert math.isnan(trend(times, (), delta=0.06))


def test_short_levels_say_nothing() -> None:
    times = np.exp(0.01 * np.arange(LEAST_INTERVAL)).tolist()
    assert trend(times, (), delta=0.02) < 0
    for few in (times[:-1], [5.0] * 50, []):
        assert math.isnan(trend(few, (), delta=0.02))


def test_of_one_level_the_test_is_kendalls() -> None:
    from scipy.stats import kendalltau

    draw = np.random.default_rng(0)
    seen = 0
    for a_run in np.linspace(-0.0015, 0.0015, 200):
        logs = a_run * np.arange(PARTS) + iid(draw, PARTS)
        p = kendalltau(np.arange(PARTS), logs, method="asymptotic").pvalue
        drifts = not math.isnan(trend(np.exp(logs).tolist(), (), delta=1e-9))
        assert drifts is bool(p < P) or 0.8 < p / P < 1.2  # scipy does not correct for continuity
        seen += drifts
    assert 20 < seen < 180
