"""The rule of stragglers: its error rates, drawn with fixed seeds, and its parts."""

import math

import numpy as np
import pytest
from fleet_rates import NOISES, PLANTED, Noise, fleet, rates
from scipy import stats

from gemmbench.analysis.fleet.rule import against_others, finds, grouped_medians, holm
from gemmbench.analysis.fleet.slow import Times, judge

HEALTHY = [name for name in NOISES if "of devices" not in name]


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_healthy_fleet_raises_no_flag(name: str, repeats: int) -> None:
    false = [rates(name, n, repeats, draws)[0] for n, draws in ((8, 20), (64, 20), (1000, 4))]
    assert false[0] <= 0.05
    assert false[1] <= 0.05
    assert false[2] == 0


@pytest.mark.parametrize("what", ["one 10% slow", "one 10% slow in one precision"])
@pytest.mark.parametrize("n", [64, 1000])
def test_a_planted_device_is_found(what: str, n: int) -> None:
    *_, found = rates("normal 1%", n, 1, 10, **PLANTED[what])
    assert found == 1


def test_a_minority_of_many_slow_ones_is_found() -> None:
    *_, found = rates("normal 1%", 8, 1, 10, **PLANTED["40% of them 12% slow"])
    assert found >= 0.9


def test_a_slow_precision_is_told_as_that() -> None:
    flagged = fleet(NOISES["normal 1%"], 64, 1, 0, planted=0.12, precision=2).of(0)
    assert {one.scope.precision for one in flagged} == {"2"}


def test_one_measurement_alone_is_a_suspicion() -> None:
    times = np.full((10, 4), 100.0) * np.exp(np.random.default_rng(0).normal(0, 0.003, (10, 4)))
    times[3, 2] *= 1.5
    assert [(one.device, one.confirmed) for one in _judged(times)] == [(3, False)]
    again = np.concatenate([times, times], axis=0)
    assert {(one.device % 10, one.confirmed) for one in _judged(again, devices=10)} == {(3, True)}


def _judged(times: np.ndarray, *, devices: int | None = None):  # type: ignore[no-untyped-def]
    """Four cases, each of a precision of its own; rows beyond `devices` are repeats."""
    device, case = (axis.ravel() for axis in np.indices(times.shape))
    found = judge(
        Times(device=device % (devices or len(times)), case=case, time_us=times.ravel()),
        cohorts=[0] * 4,
        precisions=list("abcd"),
    )
    return found.slow


@pytest.mark.parametrize(("n", "slow", "by"), [(3, 1, 0.04), (4, 1, 0.045), (5, 2, 0.04)])
def test_what_is_under_delta_is_not_flagged_among_few(n: int, slow: int, by: float) -> None:
    """The others' median must count once: twice made 4% of three devices 8%."""
    own = np.log1p(-by) * (np.arange(n) < slow)
    noise = Noise(lambda draw, count: own, NOISES["normal 1%"].measured)
    assert not [seed for seed in range(10) if fleet(noise, n, 3, seed).found.slow]


@pytest.mark.parametrize("n", [3, 4, 5])
def test_a_slow_one_of_few_is_told_as_slow_as_it_is(n: int) -> None:
    noise = Noise(lambda draw, count: np.log1p(-0.3 * (np.arange(n) == 0)), lambda *_: 0.0)  # type: ignore[arg-type]
    (found,) = fleet(noise, n, 3, 0).found.slow
    assert found.scope.is_whole
    assert found.relative == pytest.approx(0.7)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_few_sound_devices_raise_no_flag(n: int) -> None:
    assert rates("normal 2%", n, 3, 40)[0] <= 0.05


def test_models_are_never_mixed() -> None:
    """Three devices of one model half as fast as five of another are sound."""
    times = np.r_[np.full(3, 200.0), np.full(5, 100.0)]
    device, case = np.arange(8), np.r_[np.zeros(3, int), np.ones(5, int)]
    found = judge(
        Times(device=device, case=case, time_us=times), cohorts=[0, 1], precisions=["p", "p"]
    )
    assert found.slow == ()
    mixed = judge(
        Times(device=np.r_[device, device], case=np.zeros(16, int), time_us=np.r_[times, times]),
        cohorts=[0],
        precisions=["p"],
    )
    assert {one.device for one in mixed.slow} == {0, 1, 2}


def test_fewer_than_three_devices_are_not_judged() -> None:
    found = judge(
        Times(device=np.arange(2), case=np.zeros(2, int), time_us=np.array([100.0, 300.0])),
        cohorts=[0],
        precisions=["p"],
    )
    assert found.slow == ()
    assert found.few == (0,)
    assert np.isnan(found.relative).all()


def test_each_against_the_others_only_up_to_64() -> None:
    values = np.array([100.0, 101.0, 99.0, 50.0])
    few = against_others(values)
    assert few.centre[3] == 100
    assert few.centre[0] == 99
    assert few.z[3] == pytest.approx(-50 / (1.4826 * 1.0))
    assert few.p_low[3] == pytest.approx(stats.t(2).cdf(few.z[3]))
    many = against_others(np.arange(1.0, 66.0))
    assert set(many.centre) == {33.0}
    assert many.p_low[0] == pytest.approx(stats.t(0.37 * 63).cdf(many.z[0]))


def test_alike_values_have_the_least_spread() -> None:
    assert against_others(np.array([100.0, 100.0, 100.0, 99.0])).z[3] == pytest.approx(-4)


def test_holm() -> None:
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert adjusted.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_what_the_rule_finds_lies_between_delta_and_twice_it() -> None:
    assert finds(0.0025, 1000, 100) == 0.05
    assert 0.05 < finds(0.02, 1000, 100) < 0.1
    assert finds(0.03, 8, 100) == 0.1


def test_medians_by_group() -> None:
    found = grouped_medians(np.array([3.0, 1.0, 2.0, 4.0, 7.0]), np.array([0, 0, 0, 2, 2]), 3)
    assert found[0] == 2
    assert math.isnan(found[1])
    assert found[2] == 5.5
