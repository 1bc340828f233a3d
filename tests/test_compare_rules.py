"""The rules that a comparison rests on, each against its formula or scipy; and tables of a run."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from synthetic import H100, header, record, turn, write

from gemmbench.analysis.judge import adjusted
from gemmbench.analysis.pool import pooled
from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.records.frame import load
from gemmbench.show.results import results, summary
from gemmbench.show.tables import to_text
from gemmbench.show.text import digits
from gemmbench.timing.welch import SHARED_WEIGHT, SHARING_ROWS, ratios_of_sides


def rows(
    count: int, *, repeats: int = 3, changed: int = 0, spread: float = 0.0, seed: int = 0
) -> list[Any]:
    """Noise 1%, times e to a normal of `spread` a row; some changed by 5%."""
    draw = np.random.default_rng(seed)
    noise = 0.01 * np.exp(draw.normal(0, spread, (count, 1)))
    a, b = (np.exp(draw.normal(0, 1, (count, repeats)) * noise) for _ in range(2))
    b[:changed] *= 1.05
    return list(zip(a.tolist(), b.tolist(), strict=True))


def test_false_discoveries_are_controlled_as_scipy_does() -> None:
    draw = np.random.default_rng(0)
    for n in (1, 2, 50):
        ps = draw.uniform(0, 1, n) ** 3
        assert adjusted(ps.tolist()) == pytest.approx(stats.false_discovery_control(ps).tolist())
    assert adjusted([0.02, math.nan, 0.01])[0::2] == [0.02, 0.02]
    assert math.isnan(adjusted([0.02, math.nan, 0.01])[1])
    assert adjusted([]) == []


def test_the_shared_variance_is_its_formula() -> None:
    some = rows(40, repeats=4)
    logs = [(np.log(a), np.log(b)) for a, b in some]
    own = [(a.var(ddof=1) + b.var(ddof=1)) / 2 for a, b in logs]
    usual = np.median(own) / (stats.chi2.median(6) / 6)
    for (a, b), variance, found in zip(logs, own, ratios_of_sides(some), strict=True):
        drawn = (SHARED_WEIGHT * usual + 6 * variance) / (SHARED_WEIGHT + 6)
        t = abs(a.mean() - b.mean()) / math.sqrt(drawn * 2 / 4)
        assert found.p_shared == pytest.approx(2 * stats.t.sf(t, SHARED_WEIGHT + 6))
        assert found.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)


def test_too_few_rows_share_nothing() -> None:
    for one in ratios_of_sides(rows(SHARING_ROWS - 1)):
        assert one.p_shared == one.p


def called(name: str, spread: float) -> tuple[int, int]:
    """Of ten times 1000 rows with 50 that changed: how many of those are called, and how many
    others."""
    right = wrong = 0
    for seed in range(10):
        found = ratios_of_sides(rows(1000, changed=50, spread=spread, seed=seed))
        ps = adjusted([getattr(one, name) for one in found])
        for index, (one, p) in enumerate(zip(found, ps, strict=True)):
            if p < 0.05 and abs(math.log(one.ratio.value)) >= math.log1p(0.02):
                right, wrong = right + (index < 50), wrong + (index >= 50)
    return right, wrong


def test_sharing_finds_at_three_repeats_what_welch_alone_cannot() -> None:
    assert called("p", 0.0)[0] < 0.2 * 500
    right, wrong = called("p_shared", 0.0)
    assert right > 0.5 * 500
    assert wrong <= 0.05 * (right + wrong)


def test_sharing_stays_honest_where_noise_differs_from_row_to_row() -> None:
    right, wrong = called("p_shared", 1.0)
    assert wrong <= 0.1 * (right + wrong)


# The tables of a run.


def test_repeats_at_two_clocks_are_pooled(tmp_path: Path) -> None:
    lines = [
        record(
            "torch", precision="bf16", repeat=r, took=[turn(i, 1e5, clock_mhz=c) for i in range(10)]
        )
        for r, c in enumerate((1400.0, 1500.0, 1600.0))
    ]
    table = load(write(tmp_path / "run.jsonl", [header(H100, synthetic=True), *lines]))
    (row,) = rows_of(pooled(table))
    assert row.pct_peak_at_clock == pytest.approx(table["pct_peak_at_clock"][1])
    assert row.pct_peak_at_clock > row.pct_peak
    (shown,) = results(ladder(table))
    assert "synthetic: never measured" in shown.title


def test_roofs_are_a_column_and_void_ones_are_told(tmp_path: Path) -> None:
    line = record("torch", precision="bf16", took=[turn(i, 1e5) for i in range(10)])
    table = load(write(tmp_path / "run.jsonl", [header(H100), line]))
    (plain,) = results(ladder(table))
    assert "of roof" not in plain.columns
    roof = {"roof_tflops": 1000.0, "roof_tflops_low": 620.0, "roof_tflops_high": 1380.0}
    rows = ladder(table.assign(**roof, pct_roof=12.5))
    (known,) = results(rows)
    (top,) = summary(best(rows))
    for shown in (known, top):
        assert dict(zip(shown.columns, shown.rows[0], strict=True))["of roof"] == "12.5%"
        assert "measured to reach: bf16 ±38%;" in to_text(shown)
    (bare,) = results(ladder(table.assign(roof_tflops=1000.0, pct_roof=12.5)))
    assert "bf16 without an interval" in to_text(bare)
    (void,) = results(ladder(table.assign(roof_void=True)))
    assert "void: the measured roof of bf16" in to_text(void)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_digits_are_those_of_the_rounded_number(count: int) -> None:
    draw = np.random.default_rng(0)
    some = [*(10 ** draw.uniform(-7, 9, 2000)).tolist(), 9.9996, 999.96, 99999.6, 1000.0, 0.5]
    for value in some:
        rounded = float(f"{value:.{count - 1}e}")
        places = count - 1 - math.floor(math.log10(rounded))
        assert digits(value, count) == f"{rounded:,.{max(0, places)}f}"
