"""The DataFrame: its columns, its units, and what is not a number there."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import (
    CPU,
    H100,
    header,
    ladder_run,
    method,
    record,
    selftest,
    turn,
    turns,
    write,
)

from gemmbench.devices.spec import by_id
from gemmbench.records.frame import COLUMNS, MORE_COLUMNS, load
from gemmbench.records.reader import RunFileWarning
from gemmbench.records.schema import Line, Record
from gemmbench.timing import verdict
from gemmbench.timing.drift import drifts
from gemmbench.timing.statistics import estimate
from gemmbench.timing.welch import ratio_of_sides


def loaded(path: Path, *lines: Line) -> pd.DataFrame:
    return load(write(path / "run.jsonl", lines))


def one(path: Path, line: Record, **of_header: Any) -> Any:
    return loaded(path, header(**of_header), line).iloc[0]


DESIGN = """run_id device device_id vendor arch repeat group kernel tier backend precision encoding
out_dtype accumulate label layout batch m n k threads data cache launch status reason n_samples
time_us time_us_low time_us_high verdict power_limited tflops tflops_low tflops_high gbps intensity
peak_tflops pct_peak clock_mhz power_w tflops_per_w error"""


def test_the_columns_are_those_of_the_design(tmp_path: Path) -> None:
    table = load(ladder_run(tmp_path / "run.jsonl"))
    assert list(table.columns) == [*COLUMNS, *MORE_COLUMNS]
    assert list(COLUMNS) == DESIGN.split()
    assert len(table) == 2 * 2 * 4
    empty = loaded(tmp_path, header())
    assert empty.empty
    assert list(empty.columns) == list(table.columns)
    for name in ("turn_us", "reason", "verdict"):
        assert name in table
    assert (empty.dtypes["tflops"], empty.dtypes["m"]) == ("float64", "int64")


def test_the_machine_is_told(tmp_path: Path) -> None:
    part = replace(H100, partition="MIG 3g.40gb", units=60, power_limit_w=350.0)
    row = one(tmp_path, record(), device=part)
    assert (row["partition"], row["units"], row["power_limit_w"]) == ("MIG 3g.40gb", 60, 350.0)
    for units in (0, -1, 2**63 - 1):
        table = loaded(tmp_path, header(replace(H100, units=units)), record())
        assert table["units"].isna().all()
        assert table["power_limit_w"].isna().all()
        assert table["partition"].tolist() == [""]


def test_rates_and_units(tmp_path: Path) -> None:
    took = [turn(r, 1e6 * (1 + r / 1000), clock_mhz=1000.0 + r, power_w=100.0) for r in range(11)]
    row = one(tmp_path, record(size=(512, 1024, 2048), precision="bf16", took=took), device=H100)
    assert row.time_us == pytest.approx(1005.0)
    assert (row.time_us_low, row.time_us_high) == pytest.approx((1001.0, 1009.0))
    flop = 2 * 512 * 1024 * 2048
    assert row.tflops == pytest.approx(flop / 1005e-6 / 1e12)
    assert row.tflops_low == pytest.approx(flop / 1009e-6 / 1e12)
    assert row.tflops_high == pytest.approx(flop / 1001e-6 / 1e12)
    least = 2 * (512 * 2048 + 2048 * 1024 + 512 * 1024)
    assert row.gbps == pytest.approx(least / 1005e-6 / 1e9)
    assert row.intensity == pytest.approx(flop / least)
    peak = by_id("h100-sxm5").peak("bf16")
    assert peak is not None
    assert (row.peak_tflops, row.peak_unit) == (peak.tflops, peak.unit)
    assert row.pct_peak == pytest.approx(100 * row.tflops / peak.tflops)
    assert (row.clock_mhz, row.power_w) == (1005.0, 100.0)
    assert row.tflops_per_w == pytest.approx(row.tflops / 100)
    assert row.turn_us[3] == pytest.approx(1003.0)
    assert row.error == 0.25
    assert row.verdict == "converged"


def test_what_was_not_measured_is_nan_never_zero(tmp_path: Path) -> None:
    row = one(tmp_path, record(took=turns(100.0)))
    assert row.tflops > 0
    for name in ("peak_tflops", "pct_peak", "clock_mhz", "power_w", "tflops_per_w", "anchor_us"):
        assert math.isnan(row[name])
    table = loaded(tmp_path, header(), record(took=turns(100.0)))
    for name in ("device_id", "threads", "power_limited", "splits", "peak_unit"):
        assert table[name].isna().all(), name


@pytest.mark.parametrize("status", ["wrong", "failed", "timeout", "unsupported", "interrupted"])
def test_only_ok_has_times(tmp_path: Path, status: str) -> None:
    row = one(tmp_path, record(status=status, took=turns(100.0), reason="why"))  # type: ignore[arg-type]
    for name in ("time_us", "tflops", "gbps", "pct_peak"):
        assert math.isnan(row[name])
    assert row.turn_us == {}
    assert row.reason == "why"
    assert pd.isna(row.verdict)


def test_contended_has_a_time_and_no_interval(tmp_path: Path) -> None:
    took = [turn(r, 1e5, disturbed=9 if r < 12 else 0) for r in range(20)]
    row = one(tmp_path, record(took=took))
    assert row.verdict == "contended"
    assert row.time_us == pytest.approx(100.0)
    assert math.isnan(row.time_us_low)
    assert math.isnan(row.tflops_high)
    assert row.n_rounds == 8
    lost = one(tmp_path, record(took=[turn(r, None, disturbed=10) for r in range(10)]))
    assert lost.verdict == "contended"
    assert math.isnan(lost.time_us)


def test_few_rounds_have_no_interval_and_are_noisy(tmp_path: Path) -> None:
    row = one(tmp_path, record(took=turns(100.0, rounds=5)))
    assert math.isnan(row.time_us_low)
    assert row.verdict == "noisy"


def test_limits(tmp_path: Path) -> None:
    took = turns(100.0)
    span_ns = sum(one.stop_s - one.start_s for one in took) * 1e9
    held = one(tmp_path, record(took=took, limits={"power": span_ns / 2, "thermal": 0.0}))
    assert held.power_limited
    assert held.verdict == "converged"
    free = one(tmp_path, record(took=took, limits={"power": 0.0, "odd": None}))
    assert free.power_limited is np.False_ or free.power_limited is False
    hot = one(tmp_path, record(took=took, limits={"thermal": span_ns / 2}))
    assert hot.verdict == "throttled"


def test_an_impossible_rate_is_flagged_at_the_measured_clock(tmp_path: Path) -> None:
    peak = by_id("h100-sxm5").peak("bf16")
    assert peak is not None

    def flagged(share: float, clock: float | None) -> bool:
        time_us = 2 * 4096**3 / (peak.tflops * share) / 1e6
        took = [turn(r, time_us * 1e3, clock_mhz=clock) for r in range(10)]
        line = record(size=4096, precision="bf16", took=took)
        return bool(one(tmp_path, line, device=H100).impossible)

    assert peak.clock_mhz is not None
    assert not flagged(1.0, peak.clock_mhz)
    assert flagged(1.03, peak.clock_mhz)
    assert flagged(0.80, peak.clock_mhz * 0.75)
    assert not flagged(0.70, peak.clock_mhz * 0.75)
    assert flagged(1.5, None)


def test_a_device_that_the_table_does_not_know_has_no_peak(tmp_path: Path) -> None:
    for device_id in (None, "b999-from-the-future"):
        table = loaded(tmp_path, header(H100, device_id=device_id), record(took=turns(9.0)))
        row: Any = table.iloc[0]
        assert math.isnan(row.peak_tflops)
        assert math.isnan(row.pct_peak)
        assert not row.impossible


def test_a_precision_from_the_future_has_times_and_no_rates(tmp_path: Path) -> None:
    row = one(tmp_path, record(precision="posit8", took=turns(100.0)), device=H100)
    assert row.time_us == pytest.approx(100.0, rel=0.01)
    assert math.isnan(row.tflops)
    assert math.isnan(row.peak_tflops)


def test_the_self_test_of_each_repeat(tmp_path: Path) -> None:
    lines = [record(repeat=0, took=turns(9.0)), record(repeat=1, took=turns(9.0))]
    table = loaded(tmp_path, header(), selftest(1, time_us=70.0), *lines)
    assert math.isnan(table.anchor_us[0])
    assert table.anchor_us[1] == pytest.approx(70.0, rel=0.01)
    assert abs(table.anchor_error[1]) < 1
    assert table.anchor_us_low[1] < table.anchor_us[1] < table.anchor_us_high[1]


def test_damage_is_warned_of(tmp_path: Path) -> None:
    path = ladder_run(tmp_path / "run.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.warns(RunFileWarning, match=r"run\.jsonl: the last line is cut"):
        load(path)


def test_several_runs_are_one_table(tmp_path: Path) -> None:
    ladder_run(tmp_path / "a.jsonl", run_id="a")
    ladder_run(tmp_path / "b.jsonl", run_id="b", device=H100)
    table = load(tmp_path)
    assert list(dict.fromkeys(table.run_id)) == ["a", "b"]
    assert list(dict.fromkeys(table.file)) == ["a.jsonl", "b.jsonl"]
    assert list(dict.fromkeys(table.device)) == [CPU.name, H100.name]


def test_many_records_are_judged_in_parts_and_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        record("fast", repeat=0, took=turns(9.0)),
        record("hot", repeat=0, took=turns(9.0), limits={"thermal": 1e9}),
        record("clocked", repeat=0, took=[turn(r, 9e3 + r, clock_mhz=1e3 + r) for r in range(7)]),
        record("failed", status="failed"),
        record("short", repeat=1, took=turns(9.0, rounds=3)),
        record("loud", repeat=1, took=[turn(r, 9e3, disturbed=9) for r in range(9)]),
        record("rough", repeat=1, took=turns(9.0, noise=0.2)),
    ]
    path = write(tmp_path / "run.jsonl", [header(), *lines])
    whole = load(path)
    assert len(set(whole["verdict"].dropna())) == 4
    monkeypatch.setattr(verdict, "AT_ONCE", 3)
    pd.testing.assert_frame_equal(load(path), whole)


def test_two_thousand_records(tmp_path: Path) -> None:
    sizes = range(64, 64 + 250)
    table = load(ladder_run(tmp_path / "run.jsonl", sizes=sizes, noise=0.02))
    assert len(table) == 2000
    assert table.time_us.notna().all()


def test_min_rounds_of_a_preset_with_eight(tmp_path: Path) -> None:
    row = one(tmp_path, record(took=turns(100.0, rounds=8)), method=method(min_rounds=8))
    assert row.time_us_low < row.time_us < row.time_us_high


def reference(values: list[float], effect: float) -> bool:
    """The rule of `drifts` by the functions of scipy.stats alone."""
    blocks = [float(np.median(part)) for part in np.array_split(np.asarray(values), 10)]
    times, middle = range(10), float(np.median(blocks))
    slope = float(stats.theilslopes(blocks, times).slope)
    trend = stats.kendalltau(times, blocks).pvalue < 0.01 and abs(slope) * 9 > effect * middle
    gap = abs(float(np.mean(blocks[:5])) - float(np.mean(blocks[5:])))
    step = stats.ttest_ind(blocks[:5], blocks[5:], equal_var=False).pvalue < 0.01
    return bool(trend or (step and gap > effect * middle))


def test_drifts_is_the_rule_of_scipy() -> None:
    draw = np.random.default_rng(0)
    seen = []
    for index in range(400):
        n = int(draw.integers(10, 40))
        ramp, jump = draw.choice([0, 0.03, 0.08]), draw.choice([0, 0.05])
        noise = draw.normal(0, 0.02, n)
        made = 1000 * (1 + noise + ramp * np.linspace(0, 1, n) + jump * (np.arange(n) >= n / 2))
        values = np.round(made, -1 if index % 4 == 0 else 6).tolist()
        assert drifts(values, 0.02) == reference(values, 0.02)
        seen.append(drifts(values, 0.02))
    assert 100 < sum(seen) < 300


def test_the_ranks_are_those_of_scipy() -> None:
    for n in (6, 8, 10, 15, 23, 35, 53, 80, 200):
        found: Any = stats.quantile_test(np.arange(n), q=(n - 1) / 2, p=0.5).confidence_interval(
            0.95
        )
        ours = estimate(list(range(n)))
        assert (ours.low, ours.high) == (found.low, found.high)


def test_the_ratio_of_two_sides_is_welchs() -> None:
    slow, fast = [1.21, 1.25, 1.19, 1.30], [1.00, 1.02, 0.97]
    found = ratio_of_sides(slow, fast)
    test = stats.ttest_ind(np.log(slow), np.log(fast), equal_var=False)
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue)
    assert found.ratio.low == pytest.approx(math.exp(interval.low))
    assert found.ratio.high == pytest.approx(math.exp(interval.high))
    assert math.isnan(ratio_of_sides([1.0], [2.0, 2.0]).ratio.low)
    same = ratio_of_sides([1.0, 1.0], [1.0, 1.0])
    assert same.p == 1.0
    assert same.ratio.low == pytest.approx(1 / 1.005)
