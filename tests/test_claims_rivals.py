"""One chip beside another, and what the rows at hand may decide: verified, imported, synthetic."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from planted_claims import Case, as_written, cube, decide, of, rivals, run
from synthetic import CPU, H100, MI300X, footer, header, method, roof, write

from gemmbench.analysis.claims import rivals_published
from gemmbench.analysis.claims.evidence import known
from gemmbench.records.evidence import kept
from gemmbench.records.published import Published, published
from gemmbench.records.reader import read
from gemmkernels.device import Device

BOTH = (H100, MI300X)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((0.62, 0.65, 0.68), "holds"),
        ((0.9, 0.85, 0.8), "does not hold"),
        ((0.4, 0.5, 0.5), "does not hold"),
    ],
)
def test_mi300x_beside_h100(tmp_path: Path, ratios: Sequence[float], verdict: str) -> None:
    found = decide("mi300x-60-70", of(*rivals(tmp_path, ratios)))
    assert found.verdict == verdict
    mean = math.prod(ratios) ** (1 / len(ratios))
    assert found.figures[0].value == pytest.approx(100 * mean, rel=0.01)


def test_runs_of_different_methods_do_not_decide(tmp_path: Path) -> None:
    found = decide("mi300x-60-70", of(*rivals(tmp_path, (0.65,), method=method(preset="quick"))))
    assert found.verdict == "undecided here"
    assert "different ways" in found.because


def test_of_two_ways_that_both_share_that_of_more_problems_counts(tmp_path: Path) -> None:
    (tmp_path / "quick").mkdir()
    few = rivals(tmp_path, (0.9,))
    cases: list[Case] = [("torch", "library", "bf16", size, 700.0, None) for size in (1024, 2048)]
    slower: list[Case] = [("torch", "library", "bf16", size, 455.0, None) for size in (1024, 2048)]
    quick = method(preset="quick")
    many = (
        run(tmp_path / "quick" / "a.jsonl", H100, cases, method=quick),
        run(tmp_path / "quick" / "b.jsonl", MI300X, slower, method=quick),
    )
    for paths in ((*few, *many), (*many, *few)):
        found = decide("mi300x-60-70", of(*paths))
        assert found.verdict == "holds"
        assert "over 2 problems" in found.because


def test_published_figures_on_both_sides_decide_nothing() -> None:
    found = decide("mi300x-60-70")
    assert found.verdict == "undecided here"
    cubes = (53.13 / 274.1, 427.74 / 1011.3, 955.17 / 1216.9, 1159.23 / 1290.1)
    large = (1015.1 / 1377.3, 1029.14 / 1382.2, 1159.54 / 1351.4)
    others = (990 / 1280, 668.4 / 794.5, 620 / 720)
    assert sorted(figure.value for figure in found.figures) == [
        pytest.approx(100 * ratio) for ratio in sorted((*cubes, *large, *others))
    ]
    mean = math.prod((*cubes, *large)) ** (1 / 7)
    for said in (
        f"{100 * mean:.1f}% in the geometric mean of 7 equal shapes",
        "by two parties; method “random init” against “random init, 10k warm-up iterations”",
        "10240x15360x8192 against 2048x2048x13312",
        "torch 2.5.1",
        "measured, rounded, 86.1%",
        "Left out: bf16, measured, best of many shapes, 96.0%, maximum over trials",
    ):
        assert said in found.because
    assert "gemmbench compare" in found.needs


def figures_of(ratio: float, **changes: Any) -> tuple[Published, Published]:
    """One party's figures of both chips."""
    (base,) = [one for one in published() if one.device_id == "mi300x" and one.tflops == 955.17]
    mine = msgspec.structs.replace(base, tflops=1000 * ratio, **changes)
    return mine, msgspec.structs.replace(mine, device_id="h100-sxm5", tflops=1000.0)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((0.6, 0.7), "holds"),
        ((0.8, 0.75), "does not hold"),
        ((0.5, 0.4), "does not hold"),
        ((0.5, 0.9), "undecided here"),
        ((0.65, 0.9), "undecided here"),
        ((), "undecided here"),
    ],
)
def test_published_figures_decide_by_the_rule_for_runs(
    monkeypatch: pytest.MonkeyPatch, ratios: Sequence[float], verdict: str
) -> None:
    rows = [
        row for number, ratio in enumerate(ratios) for row in figures_of(ratio, source=f"{number}")
    ]
    monkeypatch.setattr(rivals_published, "published", lambda: tuple(rows))
    assert decide("mi300x-60-70").verdict == verdict
    # Two figures of one party make one mean.
    both = (*figures_of(0.5), *figures_of(0.8, m=8192, n=8192, k=8192))
    monkeypatch.setattr(rivals_published, "published", lambda: both)
    assert decide("mi300x-60-70").verdict == "holds"


def test_only_like_figures_are_set_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = figures_of(0.65)
    monkeypatch.setattr(rivals_published, "published", lambda: (mine, theirs))
    assert decide("mi300x-60-70").verdict == "holds"
    for changes in (
        {"k": 64},
        {"precision": "bf16"},
        {"kind": "vendor_acceptance_floor"},
        {"kind": "measured_approx"},
        {"scope": "half a card"},
        {"caution": "no target"},
    ):
        other = msgspec.structs.replace(theirs, **changes)
        monkeypatch.setattr(rivals_published, "published", lambda other=other: (mine, other))
        assert decide("mi300x-60-70").verdict == "undecided here", changes


def test_synthetic_rows_are_shown_and_decide_nothing(tmp_path: Path) -> None:
    cubes = as_written(cube(H100, tmp_path / "a.jsonl", naive=4.3, matrix=215.0))
    cases: list[Case] = [("torch", "library", "bf16", 8192, 700.0, 690.0)]
    power = as_written(run(tmp_path / "b.jsonl", H100, cases))
    both = as_written(*rivals(tmp_path, (0.65, 0.62)))
    for name, facts in (
        *((name, cubes) for name in ("naive-1024", "tensor-1024", "speedup-50")),
        ("power-700", power),
        ("mi300x-60-70", both),
        ("60-percent", both),
    ):
        found = decide(name, facts)
        assert found.verdict == "undecided here"
        assert "Synthetic, never measured: " in found.because
        assert "Measured" not in found.because
        assert found.needs
    for name in ("rent-2.5", "energy-100d", "oci-margin"):
        found = decide(name, power)
        assert "never measured" in found.because
        assert "the measured rate" not in found.because
        assert found.needs


def test_what_another_tool_measured_is_named_and_decides_nothing_alone(tmp_path: Path) -> None:
    facts = of(
        *rivals(tmp_path, (0.65, 0.62), tool="nvbench"),
        run(
            tmp_path / "c.jsonl",
            H100,
            [
                ("theirs", "naive", "fp32", 1024, 4.3, None),
                ("theirs", "library", "bf16", 8192, 700.0, None),
            ],
            tool="nvbench",
        ),
    )
    for name in ("naive-1024", "mi300x-60-70", "60-percent"):
        found = decide(name, facts)
        assert found.verdict == "undecided here"
        assert "Measured by nvbench, not verified: " in found.because
    because = decide("rent-2.5", facts).because
    assert re.search(r"a rate measured by nvbench, not verified \([\d.]+ TFLOPS, theirs", because)


def test_a_synthetic_roof_is_no_floor(tmp_path: Path) -> None:
    head, line = header(CPU, synthetic=True), roof("matrix", 2.0, "TFLOP/s", precision="bf16")
    found = read(write(tmp_path / "a.jsonl", [head, line, footer([])]))
    assert known(kept(), [found]).roofs == {}
    head = msgspec.structs.replace(found.header, synthetic=False)
    assert known(kept(), [replace(found, header=head)]).roofs[CPU.name][0] == pytest.approx(2.0)


def test_unusual_data_are_named_with_the_figure(tmp_path: Path) -> None:
    cases: list[Case] = [("torch", "library", "bf16", 4096, 700.0, 690.0)]
    path = run(tmp_path / "a.jsonl", H100, cases, method=method(data="zeros"))
    assert "data zeros" in decide("power-700", of(path)).figures[0].source


def test_verified_rows_come_before_faster_ones_that_are_not(tmp_path: Path) -> None:
    own = cube(H100, tmp_path / "a.jsonl", naive=4.3, matrix=215.0)
    others = [
        ("naive", "naive", "fp32", 1024, 40.0, 690.0),
        ("theirs", "matrix-core", "bf16", 1024, 500.0, None),
    ]
    theirs = run(tmp_path / "b.jsonl", H100, others, tool="nvbench")
    found = as_written(own, theirs)
    assert found.rows is not None
    for changed in (("tool", ""), ("synthetic", False)):
        rows = found.rows.assign(synthetic=False)
        if changed[0] == "tool":  # the others are synthetic, and not imported
            rows = rows.assign(synthetic=rows["tool"].ne(""), tool="")
        for facts in (replace(found, rows=rows), replace(found, rows=rows[::-1])):
            assert decide("naive-1024", facts).verdict == "holds"
            assert decide("tensor-1024", facts).verdict == "holds"


def test_a_limit_is_that_of_the_run_that_drew(tmp_path: Path) -> None:
    cases: list[Case] = [("torch", "library", "bf16", 4096, 700.0, 690.0)]
    slower: list[Case] = [("torch", "library", "bf16", 4096, 600.0, 490.0)]
    limited = Device(**{**vars(H100), "power_limit_w": 500.0})
    paths = (run(tmp_path / "a.jsonl", H100, cases), run(tmp_path / "b.jsonl", limited, slower))
    assert decide("power-700", of(*paths)).verdict == "holds"


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((0.62, 0.65, 0.5), "holds"),
        ((0.59, 0.55, 0.8), "does not hold"),
        ((0.99, 0.97, 0.95), "undecided here"),
    ],
)
def test_sixty_percent(tmp_path: Path, ratios: Sequence[float], verdict: str) -> None:
    found = decide("60-percent", of(*rivals(tmp_path, ratios)))
    assert found.verdict == verdict
    assert found.figures[0].value == pytest.approx(
        100 * sum(ratio >= 0.6 for ratio in ratios) / len(ratios)
    )


def test_the_leader_is_the_faster_one(tmp_path: Path) -> None:
    found = decide("60-percent", of(*rivals(tmp_path, (1.6, 1.5, 2.5))))
    assert found.verdict == "holds"
    assert "2 reach 60% of mi300x on h100-sxm5" in found.because


def test_the_order_of_the_runs_changes_nothing(tmp_path: Path) -> None:
    paths = rivals(tmp_path, (0.65, 0.65))
    assert decide("mi300x-60-70", of(*reversed(paths))).verdict == "holds"
    assert decide("60-percent", of(*reversed(paths))).verdict == "holds"


def test_a_faster_synthetic_row_takes_no_ones_place(tmp_path: Path) -> None:
    sizes, quick = (1024, 2048, 3072), method(preset="quick")
    cases: list[Case] = [("torch", "library", "bf16", size, 650.0, None) for size in sizes]
    found = as_written(
        *rivals(tmp_path, (0.65, 0.62)),
        run(tmp_path / "fast.jsonl", MI300X, cases),
        *(run(tmp_path / f"fast-{one.slug}.jsonl", one, cases, method=quick) for one in BOTH),
    )
    assert found.rows is not None
    fast: Any = found.rows["file"].str.startswith("fast")
    for marks in (
        {"synthetic": fast},
        {"synthetic": False, "tool": fast.map({True: "x", False: ""})},
    ):
        rows = found.rows.assign(**marks)
        for order in (1, -1):
            one = decide("mi300x-60-70", replace(found, rows=rows[::order]))
            assert one.verdict == "holds"
            assert "over 2 problems" in one.because
