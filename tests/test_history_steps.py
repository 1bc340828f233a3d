"""Steps: their error rates with fixed seeds, their places, and what too few runs can say."""

import math

import numpy as np
import pytest
from history_rates import RUNS, correlated, false_alarms, found, iid, placed, series

from gemmbench.analysis.steps import (
    ASKS,
    CONFIRMS,
    LEAST_CONFIRMED,
    LEAST_SUSPECTED,
    SEGMENT,
    levels,
    steps,
)
from gemmbench.timing.statistics import Floats

COUNT = 60


@pytest.mark.parametrize("noise", ["iid", "AR .5", "outliers", "bimodal"])
def test_no_step_is_confirmed_where_there_is_none(noise: str) -> None:
    sure, asked = false_alarms(noise, COUNT, delta=0.02)
    assert sure == 0.0
    assert asked <= 0.1


@pytest.mark.parametrize(
    ("noise", "step", "least"),
    [
        ("iid", 0.03, 0.95),
        ("iid", 0.05, 1.0),
        ("AR .5", 0.05, 0.95),
        ("outliers", 0.03, 0.95),
        ("bimodal", 0.05, 0.95),
    ],
)
def test_a_step_is_confirmed_within_three_runs(noise: str, step: float, least: float) -> None:
    share, held = placed(noise, step, COUNT, delta=0.02)
    assert share >= least
    assert held >= 0.85  # a nominal 95%, of 60 series


def test_a_step_of_two_percent_is_found_and_below_delta_it_is_none() -> None:
    share, _ = placed("iid", 0.02, COUNT, delta=0.001)
    assert share >= 0.85
    share, _ = placed("iid", 0.02, COUNT, delta=0.04)
    assert share == 0.0


def test_what_a_step_says() -> None:
    times = series("iid", 0, step=0.05)
    (one,) = steps(times.tolist())
    assert one.certainty == "confirmed"
    assert abs(one.at - 50) <= 3
    assert one.before_us == pytest.approx(float(np.median(times[: one.at])))
    assert one.ratio == pytest.approx(one.before_us / one.after_us)
    assert one.ratio_low < one.ratio < one.ratio_high < 1  # slower
    first, second = levels(times.tolist(), [one])
    assert (first[:2], second[:2]) == ((0, one.at), (one.at, RUNS))
    assert (first[2], second[2]) == pytest.approx((one.before_us, one.after_us))


def test_up_and_down_again() -> None:
    logs = iid(np.random.default_rng(0), 120)
    logs[40:80] += 0.05
    sure, _ = found(100 * np.exp(logs))
    assert [one.ratio > 1 for one in sure] == [False, True]
    assert [abs(one.at - place) <= 3 for one, place in zip(sure, (40, 80), strict=True)]


def test_a_single_outlier_is_no_step() -> None:
    times = series("iid", 0)
    times[50] *= 3
    assert not steps(times.tolist())


def test_a_new_step_is_a_question_first() -> None:
    times = series("iid", 0, step=0.05)[:55]
    (one,) = steps(times.tolist())
    assert (one.certainty, one.at) == ("suspected", 50)
    assert math.isnan(one.ratio_low)


def confirmed_or_suspected(n: int, certainty: str) -> bool:
    """Is there any place for a huge step in so many runs?"""
    draw = np.random.default_rng(n)
    for at in range(SEGMENT, n - SEGMENT + 1):
        logs = draw.normal(0, 0.001, n)
        logs[at:] += 2.0
        found = steps(np.exp(logs).tolist())
        if any(one.at == at and certainty in (one.certainty, "either") for one in found):
            return True
    return False


def test_the_fewest_runs_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below them even a step of a factor of seven stays unseen."""
    assert confirmed_or_suspected(LEAST_CONFIRMED, "confirmed")
    assert not confirmed_or_suspected(LEAST_CONFIRMED - 1, "confirmed")
    assert confirmed_or_suspected(LEAST_SUSPECTED, "either")
    monkeypatch.setattr("gemmbench.analysis.steps.LEAST_SUSPECTED", 2 * SEGMENT)
    assert not confirmed_or_suspected(LEAST_SUSPECTED - 1, "either")


@pytest.mark.parametrize("times", [[], [5.0], [5.0] * 50, [5.0] * 8])
def test_nothing_to_say(times: list[float]) -> None:
    assert steps(times) == ()


def test_times_that_repeat_themselves_have_steps_too() -> None:
    (one,) = steps([100.0] * 60 + [110.0] * 20)  # the median distance is 0
    assert one.at == 60


def test_the_kernels_width_is_ruptures_own() -> None:
    from ruptures import KernelCPD

    for seed in range(5):
        logs = np.log(series("iid", seed, step=0.03))
        for penalty in (CONFIRMS, ASKS):
            own = KernelCPD(kernel="rbf", min_size=3).fit(logs).predict(pen=penalty)[:-1]
            found = [one.at for one in steps(np.exp(logs).tolist(), delta=1e-9)]
            assert set(own) <= set(found) if penalty == CONFIRMS else set(found) <= set(own)


def test_a_long_series_in_a_moment() -> None:
    logs: Floats = np.concatenate([iid(np.random.default_rng(0), 3000)] * 2)
    logs[3000:] += 0.03
    (one,) = [one for one in steps(np.exp(logs).tolist()) if one.certainty == "confirmed"]
    assert abs(one.at - 3000) <= 3


def test_the_noise_is_as_it_is_said() -> None:
    values = correlated(np.random.default_rng(0), 20_000)
    assert values.std() == pytest.approx(0.01, rel=0.05)
    assert np.corrcoef(values[1:], values[:-1])[0, 1] == pytest.approx(0.5, abs=0.03)
