"""What samples amount to, without a process."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemmbench.devices.sample import LIMITS, Sample, attempt, summarise, within
from gemmbench.timing.verdict import THROTTLING


def every(step_s: float, count: int, **values: object) -> list[Sample]:
    return [Sample(time_s=i * step_s, **values) for i in range(count)]  # type: ignore[arg-type]


def test_the_clock_is_the_median_inside_the_window() -> None:
    samples = [
        Sample(time_s=t, clocks_mhz=(c,))
        for t, c in [(0, 100), (1, 1900), (2, 1800), (3, 1850), (4, 200)]
    ]
    found = summarise(samples, 0.5, 3.5)
    assert (found.clock_mhz, found.samples) == (1850, 3)


def test_of_several_xcds_the_slowest_counts() -> None:
    samples = every(0.1, 10, clocks_mhz=(1300.0, None, 1200.0, 1250.0))
    assert summarise(samples, 0, 1).clock_mhz == 1200


def test_nothing_measured_is_none_and_never_zero() -> None:
    found = summarise(every(0.1, 20), 0, 2)
    assert found.samples == 20
    assert found.clock_mhz is None
    assert found.power_w is None
    assert found.temperature_c is None
    assert found.energy_j is None
    assert found.limits_ns == {}


def test_a_window_between_two_samples_sees_nothing() -> None:
    found = summarise(every(0.1, 20, clocks_mhz=(1.0,), counters_ns={"power": 0.0}), 0.11, 0.19)
    assert (found.samples, found.clock_mhz, found.limits_ns) == (0, None, {})


def test_power_must_have_been_averaged_within_the_window() -> None:
    samples = [
        Sample(time_s=i / 10, power_w=100 if i < 10 else 700, power_span_s=1.0) for i in range(30)
    ]
    assert summarise(samples, 1.0, 1.5).power_w is None
    assert summarise(samples, 1.0, 2.9).power_w == 700


def test_energy_is_the_counters_difference() -> None:
    samples = [
        Sample(time_s=i / 10, power_w=500.0, energy_j=1e6 + 50.0 * i, power_span_s=0.1)
        for i in range(40)
    ]
    assert summarise(samples, 0.55, 2.05).energy_j == pytest.approx(750)
    assert summarise(samples, 0.5, 1.4).energy_j is None


def test_energy_of_a_window_whose_next_sample_is_not_there_yet() -> None:
    samples = [Sample(time_s=i / 10, power_w=500.0, energy_j=50.0 * i) for i in range(20)]
    assert summarise(samples, 0.5, 1.95).energy_j == pytest.approx(725)


@pytest.mark.parametrize("joules", [lambda i: 7.0, lambda i: -50.0 * i, lambda i: 0.01 * i])
def test_energy_that_is_stuck_backward_or_tiny_is_none(joules: object) -> None:
    assert callable(joules)
    samples = [Sample(time_s=i / 10, power_w=500.0, energy_j=joules(i)) for i in range(40)]
    assert summarise(samples, 0.5, 2.5).energy_j is None


def test_energy_without_power_cannot_be_checked() -> None:
    samples = [Sample(time_s=i / 10, energy_j=50.0 * i) for i in range(40)]
    assert summarise(samples, 0.5, 2.5).energy_j is None


def test_limits_by_counters_are_exact_between_samples() -> None:
    samples = [
        Sample(time_s=i / 10, counters_ns={"power": 5e7 * i, "thermal": 3e9}) for i in range(30)
    ]
    found = summarise(samples, 0.55, 1.55).limits_ns
    assert found == {"power": pytest.approx(5e8), "thermal": 0.0}


def test_parts_of_a_reason_overlap_and_are_not_added() -> None:
    samples = [
        Sample(time_s=i / 10, counters_ns={"thermal/a": 1e7 * i, "thermal/b": 4e7 * i})
        for i in range(30)
    ]
    assert summarise(samples, 0.5, 1.5).limits_ns == {"thermal": pytest.approx(4e8)}


def test_limits_without_counters_are_the_share_of_samples() -> None:
    samples = [Sample(time_s=i / 10, active={"power": i % 4 == 0}) for i in range(40)]
    assert summarise(samples, 0.0, 3.95).limits_ns == {"power": pytest.approx(0.25 * 3.95e9)}


def test_a_counter_that_starts_again_measures_nothing() -> None:
    samples = [Sample(time_s=i / 10, counters_ns={"power": 1e9 * (i % 10)}) for i in range(30)]
    assert summarise(samples, 0.5, 2.5).limits_ns == {}


def test_the_reasons_that_are_faults_are_among_ours() -> None:
    assert set(THROTTLING) < set(LIMITS)


@example(times=[0.0], start=0.0, length=5e-324)
@given(
    times=st.lists(st.floats(0, 100), max_size=30).map(sorted),
    start=st.floats(-10, 110),
    length=st.floats(-1, 50),
)
def test_any_window_of_any_samples(times: list[float], start: float, length: float) -> None:
    samples = [
        Sample(time_s=t, clocks_mhz=(1500.0,), power_w=300.0, counters_ns={"power": t * 1e9})
        for t in times
    ]
    found = summarise(samples, start, start + length)
    assert found.samples == sum(start <= t <= start + length for t in times)
    assert found.clock_mhz == (1500 if found.samples else None)
    assert 0 <= found.limits_ns.get("power", 0) <= max(0, length * 1e9) * (1 + 1e-6)


@pytest.mark.parametrize("missing", ["N/A", None, 0xFFFF, 0, -1, True, float("nan"), [1]])
def test_what_stands_for_missing_is_none(missing: object) -> None:
    assert within(missing, 1, 10_000) is None


def test_an_attempt_swallows_whatever_a_driver_raises() -> None:
    assert attempt(lambda: 1 // 0) is None
    assert attempt(int, "7") == 7
