"""Pooling, speedups and the best of each precision."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from synthetic import LADDER, header, ladder_run, record, turn, turns, write

from gemmbench.analysis.pool import pooled
from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.speedup import SPEEDUP_COLUMNS, ladder
from gemmbench.analysis.summary import best
from gemmbench.records.frame import load
from gemmbench.records.schema import Record
from gemmbench.show.results import results
from gemmbench.timing.turn import Turn
from gemmkernels.ladder import LADDER as SHIPPED


def frame(path: Path, *records: Record, **of_header: Any) -> pd.DataFrame:
    return load(write(path / "run.jsonl", [header(**of_header), *records]))


def of(rows: pd.DataFrame, kernel: str, precision: str = "fp32") -> Any:
    (index,) = rows.index[(rows.kernel == kernel) & (rows.precision == precision)]
    return rows.loc[index]


def contended(time_us: float) -> list[Turn]:
    return [turn(r, time_us * 1e3, disturbed=9 if r < 7 else 0) for r in range(12)]


def test_repeats_become_one_row(tmp_path: Path) -> None:
    factors = (1.0, 1.02, 1.04)
    records = [record(repeat=r, took=turns(100 * f)) for r, f in enumerate(factors)]
    (row,) = rows_of(pooled(frame(tmp_path, *records)))
    assert row.n_repeats == 3
    assert row.time_us == pytest.approx(100 * (1.02 * 1.04) ** (1 / 3), rel=1e-3)
    assert row.time_us_low < 98 < 106 < row.time_us_high  # t with two degrees of freedom
    assert row.spread_pct == pytest.approx(1.96, abs=0.1)
    assert row.verdict == "noisy"
    assert row.n_rounds == 30
    flop = 2 * 1024**3
    assert row.tflops == pytest.approx(flop / row.time_us / 1e6)
    assert row.tflops_low == pytest.approx(flop / row.time_us_high / 1e6)
    assert row.gbps == pytest.approx(1e3 * row.tflops / row.intensity)


def test_a_single_repeat_keeps_its_own_figures(tmp_path: Path) -> None:
    table = load(ladder_run(tmp_path / "run.jsonl"))
    rows = pooled(table)
    assert rows.time_us.tolist() == table.time_us.tolist()
    assert rows.time_us_low.tolist() == table.time_us_low.tolist()
    assert rows.n_repeats.eq(1).all()
    assert rows.spread_pct.isna().all()


def test_the_worst_status_counts(tmp_path: Path) -> None:
    def status(*found: str) -> Any:
        records = [
            record(repeat=r, status=one, reason=one, took=turns(9.0) if one == "ok" else ())  # type: ignore[arg-type]
            for r, one in enumerate(found)
        ]
        return pooled(frame(tmp_path, *records)).iloc[0]

    wrong = status("ok", "wrong", "ok")
    assert (wrong.status, wrong.reason, wrong.n_repeats) == ("wrong", "wrong", 0)
    assert math.isnan(wrong.time_us)
    assert pd.isna(wrong.verdict)
    cut = status("ok", "ok", "interrupted")
    assert (cut.status, cut.n_repeats) == ("ok", 2)


def test_contended_repeats_are_left_out_while_most_are_not(tmp_path: Path) -> None:
    quiet = [record(repeat=r, took=turns(100.0, seed=r)) for r in range(2)]
    loud = [record(repeat=r, took=contended(150.0)) for r in (2, 3, 4)]
    most = pooled(frame(tmp_path, *quiet, loud[0])).iloc[0]
    assert (most.verdict, most.n_repeats) == ("converged", 2)
    assert most.time_us == pytest.approx(100, rel=0.01)
    few = pooled(frame(tmp_path, quiet[0], *loud)).iloc[0]
    assert few.verdict == "contended"
    assert math.isnan(few.time_us_low)


def test_a_repeat_without_turns_counts_for_nothing(tmp_path: Path) -> None:
    records = [record(repeat=r, took=turns(100.0) if r else ()) for r in range(3)]
    (row,) = rows_of(pooled(frame(tmp_path, *records)))
    assert (row.n_repeats, row.verdict) == (2, "converged")
    (row,) = rows_of(pooled(frame(tmp_path, record(), record(repeat=1))))
    assert math.isnan(row.time_us)


def test_pooling_knows_cases_apart(tmp_path: Path) -> None:
    table = frame(
        tmp_path,
        record(took=turns(9.0)),
        record(took=turns(8.0), modes={"fast": "on"}, kernel="tiled", repeat=1),
        record(took=turns(9.0), size=64),
        record(took=turns(9.0), precision="bf16"),
    )
    assert len(pooled(table)) == 4


def test_speedups_are_paired_by_round(tmp_path: Path) -> None:
    # Both drift by a factor of three together; their ratio does not.
    def drift(time_us: float) -> list[Turn]:
        return [turn(r, time_us * 1e3 * (1 + r / 5)) for r in range(10)]

    rows = ladder(
        frame(
            tmp_path,
            record("slow", tier="naive", base=True, took=drift(100.0)),
            record("fast", took=drift(25.0)),
        )
    )
    fast = of(rows, "fast")
    assert (fast.speedup, fast.base_kernel, fast.base_precision) == (
        pytest.approx(4),
        "slow",
        "fp32",
    )
    assert fast.speedup_low == pytest.approx(4 / 1.005)
    assert fast.verdict == "drifting"
    slow = of(rows, "slow")
    assert (slow.speedup, slow.speedup_low, slow.speedup_high) == (1, 1, 1)


def test_speedups_over_repeats(tmp_path: Path) -> None:
    path = ladder_run(
        tmp_path / "run.jsonl",
        repeats=5,
        speed=lambda kernel, precision, size, repeat: 1 + 0.1 * repeat,
    )
    table = load(path)
    row = of(ladder(table[table.m == 512]), "library")
    assert row.speedup == pytest.approx(50, rel=0.01)
    assert row.speedup_high / row.speedup_low < 1.02
    assert row.time_us_high / row.time_us_low > 1.2


def test_the_base_is_that_precision_then_fp32_then_the_lowest_rung(tmp_path: Path) -> None:
    base = record("base", tier="naive", base=True, took=turns(1000.0))
    base16 = record("base", tier="naive", base=True, precision="bf16", took=turns(500.0))
    fast16 = record("library", tier="library", precision="bf16", took=turns(10.0))
    tiled16 = record("tiled", precision="bf16", took=turns(100.0))

    def over(*records: Record) -> Any:
        row = of(ladder(frame(tmp_path, *records)), "library", "bf16")
        return row.base_kernel, row.base_precision, pytest.approx(row.speedup, rel=0.01)

    assert over(base, base16, tiled16, fast16) == ("base", "bf16", 50)
    assert over(base, tiled16, fast16) == ("base", "fp32", 100)
    assert over(tiled16, fast16) == ("tiled", "bf16", 10)
    failed = record("base", tier="naive", base=True, precision="bf16", status="failed")
    assert over(failed, tiled16, fast16) == ("tiled", "bf16", 10)
    elsewhere = record("base", tier="naive", base=True, size=64, took=turns(1000.0))
    assert over(elsewhere, tiled16, fast16) == ("tiled", "bf16", 10)
    assert over(fast16) == ("library", "bf16", 1)


def test_beside_a_neighbour_a_speedup_is_claimed_to_one_percent(tmp_path: Path) -> None:
    beside = [turn(r, 1e4, disturbed=3) for r in range(12)]
    base = record("base", tier="naive", base=True, took=[turn(r, 1e5) for r in range(12)])
    row = of(ladder(frame(tmp_path, base, record("fast", took=beside))), "fast")
    assert (row.speedup_low, row.speedup_high) == pytest.approx((10 / 1.01, 10 * 1.01))


def test_what_was_noticed_of_a_kernel_is_shown(tmp_path: Path) -> None:
    took = turns(10.0)
    noticed = msgspec.structs.replace(record("fast", repeat=1, took=took), warnings=("left it so",))
    rows = ladder(frame(tmp_path, record("fast", took=took), noticed))
    assert of(rows, "fast").warnings == "left it so"
    (table,) = results(rows)
    assert "fast fp32 1024x1024x1024: left it so" in table.notes


def test_contended_claims_no_ratio(tmp_path: Path) -> None:
    base = record("base", tier="naive", base=True, took=turns(1000.0))
    rows = ladder(frame(tmp_path, base, record("fast", took=contended(10.0))))
    assert math.isnan(of(rows, "fast").speedup)
    assert of(rows, "fast").speedup_reason == "contended"
    loud = record("base", tier="naive", base=True, took=contended(1000.0))
    rows = ladder(frame(tmp_path, loud, record("fast", took=turns(10.0))))
    assert math.isnan(of(rows, "fast").speedup)
    assert of(rows, "fast").speedup_reason == "base is contended"


def test_no_common_round_is_a_reason(tmp_path: Path) -> None:
    base = record("base", tier="naive", base=True, took=turns(1000.0))
    late = [turn(r + 50, 1e4) for r in range(10)]
    row = of(ladder(frame(tmp_path, base, record("fast", took=late))), "fast")
    assert math.isnan(row.speedup)
    assert row.speedup_reason == "shares no round with base"


def test_rows_come_in_ladder_order(tmp_path: Path) -> None:
    shuffled = [record(kernel.name, tier=kernel.tier, took=turns(9.0)) for kernel in SHIPPED[::-1]]
    rows = ladder(frame(tmp_path, *shuffled, record("mine", tier="naive", took=turns(9.0))))
    tiers = [kernel.tier for kernel in SHIPPED]
    expected = sorted(
        SHIPPED, key=lambda kernel: (_TIERS.index(kernel.tier), SHIPPED.index(kernel))
    )
    names = [kernel.name for kernel in expected]
    names.insert(tiers.count("naive"), "mine")
    assert rows.kernel.tolist() == names


_TIERS = ["naive", "tiled", "matrix-core", "library"]


def test_an_empty_run_has_an_empty_ladder(tmp_path: Path) -> None:
    rows = ladder(frame(tmp_path))
    assert rows.empty
    assert set(SPEEDUP_COLUMNS) <= set(rows.columns)
    assert best(rows).empty


def test_the_best_of_each_precision(tmp_path: Path) -> None:
    rows = best(ladder(load(ladder_run(tmp_path / "run.jsonl", sizes=(1024, 512)))))
    assert rows.precision.tolist() == ["fp32", "bf16"]
    assert rows.kernel.tolist() == ["library", "library"]
    assert LADDER[-1][0] == "library"


def test_only_what_is_sound_is_ranked(tmp_path: Path) -> None:
    sound = record("sound", took=turns(100.0))
    noisy = turns(90.0, noise=0.3)
    table = frame(
        tmp_path,
        sound,
        record("wrong", status="wrong", took=turns(1.0)),
        record("loud", took=contended(1.0)),
        record("noisy", took=noisy),
        record("short", took=turns(80.0, rounds=3)),
    )
    assert best(ladder(table)).kernel.tolist() == ["sound"]
    assert best(ladder(table[table.kernel == "noisy"])).kernel.tolist() == ["noisy"]
    assert best(ladder(table[table.kernel == "short"])).kernel.tolist() == ["short"]
    assert best(ladder(table[table.kernel == "wrong"])).empty
