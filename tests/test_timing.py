"""Turns, rounds, intervals and verdicts, by the rules that were tried against noise."""

import math
import random
import statistics
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import quantile_test

import gemmbench
from gemmbench.timing.contention import LostTime
from gemmbench.timing.drift import drifts
from gemmbench.timing.host import LONGEST_TURN, HostSubject, HostTiming, take_turn
from gemmbench.timing.method import operand_sets, timing
from gemmbench.timing.rounds import is_look, rounds
from gemmbench.timing.statistics import (
    estimate,
    estimate_over_repeats,
    paired_ratio,
    ratio_over_repeats,
)
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import too_few, usable, values, verdict
from gemmkernels.errors import GemmbenchError, UnknownNameError

QUICK = HostTiming(settle_s=0.001, turn_s=0.002, sample_s=0.0002)


def turn(number: int, median_ns: float | None, **fields: float) -> Turn:
    base = Turn(
        round=number,
        start_s=number * 0.05,
        stop_s=number * 0.05 + 0.04,
        settle_s=0.01,
        launches=10,
        n_samples=20,
        disturbed=0,
        median_ns=median_ns,
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def series(medians: list[float], **fields: float) -> list[Turn]:
    return [turn(number, median, **fields) for number, median in enumerate(medians)]


# Intervals.


@given(st.lists(st.floats(1, 1e6), min_size=6, max_size=60))
def test_the_interval_is_scipys_order_statistics(values: list[float]) -> None:
    found = estimate(values)
    test = quantile_test(np.asarray(values), q=float(np.median(values)))
    expected = test.confidence_interval(0.95)
    assert (found.low, found.high) == (expected.low, expected.high)  # type: ignore[attr-defined]
    assert found.value == pytest.approx(float(np.median(values)))
    assert found.low <= found.value <= found.high


def test_ten_rounds_give_the_second_and_the_ninth() -> None:
    found = estimate([float(v) for v in random.Random(0).sample(range(1, 11), 10)])
    assert (found.low, found.value, found.high) == (2, 5.5, 9)


def test_below_six_values_there_is_no_interval() -> None:
    assert math.isnan(estimate([1.0] * 5).low)
    assert not math.isnan(estimate([1.0] * 6).low)
    assert math.isnan(estimate([]).value)


def test_over_repeats_it_is_students_t_on_the_logs() -> None:
    found = estimate_over_repeats([1.0, 1.1, 1.21])
    assert found.value == pytest.approx(1.1)
    half = math.log(1.1) / math.sqrt(3) * 4.302653  # t(0.975, 2)
    assert found.high == pytest.approx(1.1 * math.exp(half), rel=1e-5)
    assert found.low == pytest.approx(1.1 / math.exp(half), rel=1e-5)
    assert math.isnan(estimate_over_repeats([2.0]).low)


def test_the_paired_ratio_cancels_a_drift_that_the_medians_do_not() -> None:
    drift = [1 + 0.1 * r for r in range(12)]
    slow = {r: 3.0 * d for r, d in enumerate(drift)}
    fast = {r: 2.0 * d for r, d in enumerate(drift)}
    found = paired_ratio(slow, fast)
    assert found.value == pytest.approx(1.5)
    assert found.high / found.low == pytest.approx(1.005**2)  # the floor, and nothing else


def test_a_ratio_is_never_narrower_than_half_a_percent() -> None:
    found = paired_ratio(dict.fromkeys(range(40), 2.0), dict.fromkeys(range(40), 1.0))
    assert found.low == pytest.approx(2 / 1.005)
    assert found.high == pytest.approx(2 * 1.005)
    over = ratio_over_repeats([2.0, 2.0, 2.0])
    assert (over.low, over.high) == pytest.approx((2 / 1.005, 2 * 1.005))


def test_only_rounds_of_both_are_paired() -> None:
    slow = dict.fromkeys(range(10), 2.0) | {99: 50.0}
    fast = dict.fromkeys(range(4, 14), 1.0)
    assert paired_ratio(slow, fast).n == 6


def test_reciprocals_agree() -> None:
    rng = random.Random(1)
    a = {r: rng.uniform(1, 2) for r in range(10)}
    b = {r: rng.uniform(1, 2) for r in range(10)}
    assert paired_ratio(a, b).value == pytest.approx(1 / paired_ratio(b, a).value)


# Drift and verdicts.


def test_drift_and_steps_are_seen_and_noise_is_not() -> None:
    rng = random.Random(3)
    noise = [1 + rng.gauss(0, 0.003) for _ in range(20)]
    assert drifts([v * (1 + 0.005 * i) for i, v in enumerate(noise)], 0.01)
    assert drifts([v * (1.0 if i < 10 else 1.05) for i, v in enumerate(noise)], 0.01)
    assert not drifts(noise, 0.01)
    assert not drifts([1.0] * 20, 0.01)
    assert not drifts(noise[:9], 0.01)


def test_false_alarms_of_drift_are_rare() -> None:
    rng = random.Random(5)
    alarms = sum(drifts([1 + rng.gauss(0, 0.01) for _ in range(10)], 0.01) for _ in range(300))
    assert alarms <= 12


def test_verdicts_in_their_order() -> None:
    rng = random.Random(7)
    steady = [1000 + rng.uniform(-2, 2) for _ in range(10)]
    loose = [1000 * (1 + 0.2 * ((i * 7) % 10) / 10) for i in range(10)]
    rising = [1000 * (1 + 0.02 * i) for i in range(10)]
    assert verdict(series(steady), target=0.01) == "converged"
    assert verdict(series(loose), target=0.01) == "noisy"
    assert verdict(series(rising), target=0.01) == "drifting"
    assert verdict(series(loose, others_s=0.03), target=0.01) == "contended"
    assert verdict(series(loose, others_s=0.03), target=0.05) == "noisy"
    assert verdict(series(loose, disturbed=5), target=0.01) == "contended"
    assert verdict(series(loose, disturbed=3, others_s=0.005), target=0.01) == "noisy"
    assert verdict(series(steady, others_s=0.03), target=0.01) == "converged"
    faults = {"thermal": 0.1e9}
    assert verdict(series(steady), target=0.01, limits_ns=faults) == "throttled"
    assert verdict(series(steady), target=0.01, limits_ns={"power": 1e9}) == "converged"


def test_turns_without_clean_samples_have_no_value() -> None:
    lost = [turn(i, None, disturbed=20) for i in range(6)]
    kept = [turn(10 + i, 5.0) for i in range(4)]
    assert not usable(turn(0, 5.0, disturbed=11))
    assert usable(turn(0, 5.0, disturbed=10))
    assert set(values(lost + kept)) == {10, 11, 12, 13}
    assert too_few(lost + kept)
    assert verdict(lost + kept, target=0.01) == "contended"
    assert not too_few(kept)  # five rounds by choice are few, but nobody's fault


# Rounds.


def test_looks_come_at_ten_and_then_half_as_many_again() -> None:
    assert [n for n in range(1, 90) if is_look(n, 10)] == [10, 15, 23, 35, 53, 80]


def fake(value: float) -> object:
    return lambda number: turn(number, value)


def test_rounds_hold_one_turn_of_each_in_orders_that_change() -> None:
    seen: list[str] = []
    taken = rounds(
        {name: fake(1.0) for name in "abc"},  # type: ignore[misc]
        min_rounds=10,
        max_rounds=10,
        max_time_s=60,
        target=0.01,
        seed=4,
        on_turn=lambda name, t: seen.append(name),
    )
    orders = {tuple(seen[i : i + 3]) for i in range(0, 30, 3)}
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len(orders) > 2
    assert [t.round for t in taken["b"]] == list(range(10))


def test_rounds_stop_at_a_look_when_all_is_known() -> None:
    def count(spread: float, max_rounds: int = 60) -> int:
        rng = random.Random(1)
        noisy = lambda n: turn(n, 100 * (1 + rng.uniform(-spread, spread)))  # noqa: E731
        found = rounds(
            {"a": noisy, "b": fake(1.0)},  # type: ignore[dict-item]
            min_rounds=10,
            max_rounds=max_rounds,
            max_time_s=60,
            target=0.01,
            seed=0,
        )
        return len(found["a"])

    assert count(0.001) == 10
    assert count(0.02) in (15, 23, 35, 53)
    assert count(0.5) == 60


def test_the_least_rounds_are_taken_whatever_the_time() -> None:
    found = rounds(
        {"a": fake(1.0)},  # type: ignore[dict-item]
        min_rounds=10,
        max_rounds=99,
        max_time_s=0.0,
        target=0.01,
        seed=0,
        least_rounds=4,
    )
    assert len(found["a"]) == 4


def test_rounds_end_with_the_round_in_which_time_runs_out() -> None:
    def slow(number: int) -> Turn:
        time.sleep(0.02)
        return turn(number, 1.0 + number)

    found = rounds(
        {"a": slow, "b": slow},
        min_rounds=10,
        max_rounds=99,
        max_time_s=0.1,
        target=0.01,
        seed=0,
    )
    assert 1 <= len(found["a"]) < 10
    assert len(found["a"]) == len(found["b"])


# Turns on the host.


def test_a_turn_settles_samples_and_rotates() -> None:
    calls: list[int] = []
    subject = HostSubject([lambda i=i: calls.append(i) for i in range(3)])  # type: ignore[misc]
    subject.calibrate(QUICK)
    found = take_turn(subject, number=7, timing=QUICK, lost=LostTime())
    assert found.round == 7
    assert found.settle_s >= 0.001
    cut_short = found.stop_s - found.start_s - found.settle_s > LONGEST_TURN * QUICK.turn_s
    assert found.n_samples >= 5 or cut_short  # a neighbour can make few samples long ones
    assert found.samples_ns is not None
    assert len(found.samples_ns) == found.n_samples
    assert subject.launches > 10  # a call of 100 ns is not timed alone
    assert calls[:6] == [0, 1, 2, 0, 1, 2]


def test_a_sample_is_at_least_200_us_long() -> None:
    subject = HostSubject([lambda: None])
    subject.calibrate(HostTiming(settle_s=0, turn_s=0.01, sample_s=0))
    assert subject.launch_s * subject.launches == pytest.approx(200e-6, rel=0.2)


def test_a_long_launch_settles_within_itself_and_ends_the_turn() -> None:
    subject = HostSubject([lambda: time.sleep(0.03)])
    subject.calibrate(QUICK)
    found = take_turn(subject, number=0, timing=QUICK, lost=LostTime())
    assert found.n_samples == 1
    assert found.settle_s < 0.02


def test_what_others_took_is_no_part_of_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = iter([0, 0, 10**9, 10**9, *[10**9] * 1000])  # the second sample waits for a core

    class Lost(LostTime):
        def waited_ns(self) -> int:
            return next(waited)

        def machine_ns(self) -> tuple[float, float] | None:
            return None

    pace = iter([0.001, 0.001, 0.02, *[0.001] * 1000])
    subject = HostSubject([lambda: time.sleep(next(pace))])
    subject.launches, subject.launch_s = 1, 0.001
    # A turn of 50 samples: on a busy machine each may sleep for several.
    how = HostTiming(settle_s=0.0, turn_s=0.05, sample_s=0.0002)
    found = take_turn(subject, number=0, timing=how, lost=Lost())
    assert found.disturbed == 1
    assert found.samples_ns is not None
    clean = [found.samples_ns[0], *found.samples_ns[2:]]
    assert found.median_ns == statistics.median(clean)
    assert found.others_s is None


@pytest.mark.parametrize(("lost_share", "disturbed"), [(0.01, 0), (0.03, 1)])
def test_a_launch_longer_than_a_turn_may_lose_two_percent(
    lost_share: float, disturbed: int
) -> None:
    class Lost(LostTime):
        total = 0

        def waited_ns(self) -> int:
            found, self.total = self.total, self.total + int(lost_share * 0.03e9)
            return found

        def machine_ns(self) -> tuple[float, float] | None:
            return None

    subject = HostSubject([lambda: time.sleep(0.03)])
    subject.launches, subject.launch_s = 1, 0.03
    found = take_turn(subject, number=0, timing=QUICK, lost=Lost())
    assert (found.n_samples, found.disturbed) == (1, disturbed)


def test_lost_time_only_grows() -> None:
    lost = LostTime()
    first = lost.waited_ns()
    sum(range(10**6))
    assert lost.waited_ns() >= first >= 0
    machine = lost.machine_ns()
    assert machine is None or machine[0] > 0
    lost.close()


# Methods.


def test_presets() -> None:
    cpu = timing("sustained", kind="cpu", vendor="intel")
    assert (cpu.repeats, cpu.min_rounds, cpu.launch, cpu.cache) == (5, 8, "loop", "rotated")
    assert timing("quick", kind="cpu", vendor="intel").unsettled
    nvidia = timing("sustained", kind="gpu", vendor="nvidia")
    assert nvidia.launch == "graph"
    assert nvidia.settle_s + nvidia.turn_s >= 0.5
    assert timing("sustained", kind="gpu", vendor="amd").launch == "stream"
    assert timing("sustained", kind="gpu", vendor="amd", launch="graph").launch == "graph"
    cold = timing("cold", kind="gpu", vendor="nvidia")
    assert (cold.cache, cold.launch) == ("flushed", "single")


@pytest.mark.parametrize(
    ("preset", "kind", "launch"),
    [
        ("cold", "cpu", None),
        ("sustained", "cpu", "graph"),
        ("hot", "gpu", None),
        ("quick", "gpu", "x"),
    ],
)
def test_what_a_device_cannot_do_is_refused(preset: str, kind: str, launch: str | None) -> None:
    with pytest.raises(GemmbenchError):
        timing(preset, kind=kind, vendor="nvidia", launch=launch)


def test_operands_rotate_through_twice_the_cache() -> None:
    mib = 2**20

    def sets(size: int, cache: str = "rotated", llc_bytes: int | None = 32 * mib) -> int:
        return operand_sets(size, cache=cache, llc_bytes=llc_bytes, memory_bytes=2**34)

    assert sets(mib) == 64
    assert sets(3 * mib) * 3 * mib >= 64 * mib
    assert sets(500 * mib) == 2
    assert sets(3 * 2**30) == 1  # two do not fit into a quarter of the memory
    assert sets(mib, cache="flushed") == 1
    assert sets(mib, llc_bytes=None) == 64


# From Python.


def work() -> int:
    return sum(range(2000))


def test_measure_and_speedup() -> None:
    found = gemmbench.measure(
        {"four": lambda: [work() for _ in range(4)], "one": work}, max_time_s=0.8
    )
    four, one = found["four"], found["one"]
    assert four.clock == "perf_counter_ns"
    assert len(four.samples_ns) >= 10 * 5
    assert four.low_us <= four.median_us <= four.high_us or math.isnan(four.low_us)
    ratio = gemmbench.speedup(four, one)
    # Loose, as no time proves anything on a shared machine: it tells 4 from 3, 5 and 1/4.
    assert math.isnan(ratio.ratio) == (ratio.verdict == "contended")
    assert math.isnan(ratio.ratio) or 3.4 < ratio.ratio < 4.6
    assert not ratio.low > ratio.ratio


def test_what_was_not_measured_together_has_no_speedup() -> None:
    a = gemmbench.measure({"a": work}, max_time_s=0.1)["a"]
    b = gemmbench.measure({"b": work}, max_time_s=0.1)["b"]
    with pytest.raises(GemmbenchError, match="not measured together"):
        gemmbench.speedup(a, b)


def test_a_neighbour_that_makes_a_ratio_uncertain_leaves_none() -> None:
    a = gemmbench.measure({"a": work}, max_time_s=0.1)["a"]
    rng = random.Random(0)
    taken = tuple(turn(i, 100 * rng.uniform(1, 2), others_s=0.03) for i in range(12))
    side = replace(a, turns=taken)
    other = replace(a, turns=tuple(turn(i, 100 * rng.uniform(1, 2)) for i in range(12)))
    found = gemmbench.speedup(side, other)
    assert found.verdict == "contended"
    assert math.isnan(found.ratio)


def test_beside_a_neighbour_a_ratio_is_claimed_to_one_percent() -> None:
    a = gemmbench.measure({"a": work}, max_time_s=0.1)["a"]
    quiet = replace(a, turns=tuple(turn(i, 100.0) for i in range(12)))
    beside = replace(a, turns=tuple(turn(i, 200.0, others_s=0.03) for i in range(12)))
    found = gemmbench.speedup(beside, quiet)
    assert (found.low, found.high) == pytest.approx((2 / 1.01, 2 * 1.01))
    found = gemmbench.speedup(quiet, quiet)
    assert (found.low, found.high) == pytest.approx((1 / 1.005, 1.005))


@pytest.mark.parametrize(
    "arguments",
    [
        {"functions": {}},
        {"functions": {"a": 3}},
        {"functions": {"a": work}, "target": 0},
        {"functions": {"a": work}, "max_time_s": math.nan},
        {"functions": {"a": work}, "device": "cuda:999"},
    ],
)
def test_measure_refuses_nonsense(arguments: dict[str, object]) -> None:
    with pytest.raises(GemmbenchError):
        gemmbench.measure(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["tpu", "cudafoo", "cuda:", "cuda:99999999999", "cuda:0\n", 0])
def test_measure_knows_its_devices_by_name(device: object) -> None:
    with pytest.raises(GemmbenchError, match="is none of cpu, cuda, cuda:0, …: give one of these"):
        gemmbench.measure({"a": work}, device=device)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_that_torch_cannot_use_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    import torch

    def refuse() -> None:
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch.cuda, "init", refuse)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(GemmbenchError) as seen:
        gemmbench.measure({"a": work}, device=device)
    assert str(seen.value) == (
        f"device '{device}': torch sees 0 GPUs, and cannot use this one: Torch not compiled with "
        "CUDA enabled: see gemmbench doctor, or give device='cpu'"
    )


def test_what_a_function_raises_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        gemmbench.measure({"a": lambda: 1 // 0}, max_time_s=0.1)


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean sustained"):
        timing("sustaned", kind="gpu", vendor="nvidia")
