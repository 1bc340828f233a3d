"""Pictures of every kind can be read: nothing overlaps, nothing leaves the page, and what looks
different does so in grey too."""

import math
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from overlap import faults
from pictured import hard
from synthetic import ladder_run

from gemmbench.analysis.compare import compare
from gemmbench.analysis.overview import RunOverview, overview
from gemmbench.analysis.speedup import ladder
from gemmbench.records.frame import load
from gemmbench.show import compared, figures, style
from gemmbench.show.heatmap import MAP, heatmap
from gemmbench.show.roofline import roofline
from gemmbench.show.samples import samples
from gemmbench.show.telemetry import telemetry
from gemmbench.show.waterfall import waterfall

KINDS: dict[str, Callable[[RunOverview], Figure]] = {
    "ladder": lambda one: figures.ladder(one.rows),
    "sweep": lambda one: figures.sweep(one.rows),
    "waterfall": lambda one: waterfall(one.explained.gaps, rows=one.explained.rows),
    "roofline": lambda one: roofline(one.explained),
    "heatmap": lambda one: heatmap(one.rows),
    "telemetry": lambda one: telemetry(one.run),
    "samples": lambda one: samples(one.rows, [case.records for case in one.cases]),
}

# Every pair of a kind's choices is here once; the whole product takes half an hour.
HARD: dict[str, dict[str, Any]] = {
    "one of all": {"kernels": 1, "points": 1, "repeats": 5},
    "one size": {"kernels": 5, "points": 1, "precisions": 3, "peak": False},
    "two": {"kernels": 2, "points": 2, "precisions": 8, "intervals": False},
    "twelve": {"kernels": 12, "points": 2, "precisions": 3, "rates": (100.0, 700.0)},
    "many sizes": {"kernels": 12, "points": 30, "precisions": 1, "peak": False},
    "200 sizes": {"kernels": 2, "points": 200, "rates": (1.0, 300.0)},
}
FITS = {
    "ladder": ("one size", "two", "twelve"),
    "sweep": ("one of all", "one size", "two", "many sizes", "200 sizes"),
    "waterfall": ("one of all", "twelve"),
    "roofline": ("two", "twelve", "200 sizes"),
    "telemetry": ("one of all", "one size", "twelve"),
    "samples": ("one of all", "one size", "two"),
}


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind in FITS for case in FITS[kind]])
def test_nothing_overlaps(tmp_path: Path, kind: str, case: str) -> None:
    (one,) = overview(hard(tmp_path / "run.jsonl", **HARD[case])).runs
    assert faults(KINDS[kind](one)) == []


@pytest.mark.parametrize("case", ["two", "many sizes", "200 sizes"])
def test_no_heatmap_overlaps(tmp_path: Path, case: str) -> None:
    rows = ladder(load(hard(tmp_path / "run.jsonl", grid=True, **HARD[case])))
    assert faults(heatmap(rows)) == []


@pytest.mark.parametrize("case", ["one of all", "many sizes"])
def test_no_comparison_overlaps(tmp_path: Path, case: str) -> None:
    a = hard(tmp_path / f"{'a-long-name-of-a-file-' * 5}.jsonl", **HARD[case])
    b = hard(tmp_path / "b.jsonl", faster=1.3, seed=1, **HARD[case])
    made = compared.compare(compare(a, b))
    assert faults(made) == []
    assert "b.jsonl" in made.get_supxlabel()
    assert "a-long-name" in made.get_supxlabel()


def test_the_check_sees_what_overlaps_and_what_leaves() -> None:
    made = style.figure(4, 3, caption="a caption")
    axes = made.subplots()
    axes.text(0.5, 0.5, "one text")
    assert faults(made) == []
    axes.text(0.52, 0.5, "another")
    assert faults(made) == ["'one text' overlaps 'another'"]
    axes.texts[1].set_visible(False)
    assert faults(made) == []
    made.text(0.95, 0.5, "a third")
    assert faults(made) == ["'a third' leaves the page"]


def sign(handle: Any) -> tuple[object, ...]:
    """How a thing in a legend looks, but for its hue."""
    if isinstance(handle, Patch):
        return (handle.get_hatch(),)
    assert isinstance(handle, Line2D)
    filled = handle.get_markerfacecolor() == handle.get_color()
    return handle.get_marker(), filled


@pytest.mark.parametrize("kind", ["ladder", "sweep", "roofline", "telemetry"])
def test_what_differs_in_a_figure_differs_in_grey(tmp_path: Path, kind: str) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=12, points=2, precisions=7)
    (one,) = overview(path).runs
    handles = KINDS[kind](one).legends[0].legend_handles
    signs = [sign(handle) for handle in handles]
    assert len(signs) >= (7 if kind == "ladder" else 12)
    of_things = [one for one in signs if one[0] != "None"]  # a line of a roof has no marker
    assert len(set(of_things)) == len(of_things)


def test_the_shipped_kernels_never_share_a_look() -> None:
    from gemmkernels.ladder import LADDER

    names = [kernel.name for kernel in LADDER]
    first = style.kernel_looks(names[:24])
    assert len({(one.marker, one.filled) for one in first.values()}) == 24
    many = style.kernel_looks([*names, *(f"own-{number}" for number in range(20))])
    assert len(set(many.values())) == len(names) + 20
    alone = style.kernel_looks(["torch", "triton-naive"])
    assert alone == {name: first[name] for name in alone}


def test_own_kernels_do_not_take_the_marker_of_a_shipped_one() -> None:
    """Their places follow the ladder's, so the markers begin anew with them."""
    names = ["python-naive", "numba-naive", "numba-tiled", *(f"own-{one}" for one in range(9))]
    looks = style.kernel_looks(names)
    assert len({(one.marker, one.filled) for one in looks.values()}) == len(names)


def test_the_heatmap_gets_lighter_step_by_step_in_grey() -> None:
    red, green, blue = (colormaps[MAP](np.linspace(0, 1, 64))[:, at] for at in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert (np.diff(luma) > 0).all()


def whiskers(line: Line2D) -> list[tuple[float, float]]:
    """The (low, high) of each, if that is what the line draws: two points and a gap."""
    x, y = (np.asarray(values, float) for values in (line.get_xdata(), line.get_ydata()))
    if len(y) % 3 or not len(y) or not np.isnan(y[2::3]).all() or np.isnan(y[::3]).all():
        return []
    assert (x[::3] == x[1::3]).all()
    return [(float(low), float(high)) for low, high in zip(y[::3], y[1::3], strict=True)]


def test_a_sweep_of_one_size_shows_its_intervals(tmp_path: Path) -> None:
    (one,) = overview(ladder_run(tmp_path / "run.jsonl", sizes=(512,), noise=0.05)).runs
    axes = figures.sweep(one.rows).axes[0]
    ends = list(chain.from_iterable(map(whiskers, axes.lines)))
    part = one.rows[one.rows["precision"] == "fp32"]
    assert len(ends) == len(part) == 4
    drawn = sorted((round(low, 9), round(high, 9)) for low, high in ends)
    low_high = zip(part["tflops_low"].round(9), part["tflops_high"].round(9), strict=True)
    assert drawn == sorted(low_high)


def test_a_peak_far_above_the_data_does_not_press_it_flat(tmp_path: Path) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=2, points=5, rates=(1.0, 10.0))
    axes = figures.sweep(ladder(load(path))).axes[0]
    best = max(np.nanmax(np.asarray(line.get_ydata(), float)) for line in axes.lines)
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[1] < 1.5 * best
    (said,) = axes.texts
    assert said.get_text().startswith("↑ dense peak 989.4 (tensor core): ")
    assert math.isfinite(best)


def test_shapes_that_are_no_cubes_are_not_joined(tmp_path: Path) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=2, points=30, grid=True, peak=False)
    axes = figures.sweep(ladder(load(path))).axes[0]
    marks = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 30]
    assert {line.get_linestyle() for line in marks} == {"None"}
    assert [len(found) for line in axes.lines if (found := whiskers(line))] == [30, 30]


def test_the_marks_of_lines_that_run_together_are_not_on_one_place(tmp_path: Path) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=3, points=200, rates=(100.0, 120.0))
    axes = figures.sweep(ladder(load(path))).axes[0]
    every = [line.get_markevery() for line in axes.lines[:3]]
    assert len({first for first, _ in every}) == 3  # type: ignore[misc]
    assert {step for _, step in every} == {12}  # type: ignore[misc]


def test_the_figures_of_a_ladder_stay_in_their_panel(tmp_path: Path) -> None:
    (one,) = overview(hard(tmp_path / "run.jsonl", **HARD["two"])).runs
    made = figures.ladder(one.rows)
    made.canvas.draw()
    for axes in made.axes:
        edge = axes.get_window_extent().x1 + 1
        assert [text.get_text() for text in axes.texts if text.get_window_extent().x1 > edge] == []


def test_sizes_that_are_close_together_are_not_all_named(tmp_path: Path) -> None:
    path = ladder_run(tmp_path / "run.jsonl", sizes=range(1000, 1100, 5), precisions=("fp32",))
    made = figures.sweep(ladder(load(path)))
    assert faults(made) == []
    assert 2 <= len(made.axes[0].get_xticks()) <= 8


def test_a_ladder_says_what_became_of_a_kernel_without_a_bar(tmp_path: Path) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=3, points=2)
    rows = ladder(load(path))
    gone = rows["m"].eq(64) & rows["kernel"].eq("k2")
    rows = rows.assign(
        status=rows["status"].where(~gone, "failed"), speedup=rows["speedup"].where(~gone)
    )
    large, small = figures.ladder(rows).axes
    assert "failed" in [text.get_text() for text in small.texts]
    assert "failed" not in [text.get_text() for text in large.texts]


def test_a_comparison_names_its_band_and_counts_its_marks(tmp_path: Path) -> None:
    a = ladder_run(tmp_path / "a.jsonl", repeats=5)
    b = ladder_run(
        tmp_path / "b.jsonl", repeats=5, speed=lambda name, *_: 1.3 if name == "library" else 1.0
    )
    found = compare(a, b)
    (legend,) = compared.compare(found).legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said[0] == f"faster ({found.count('faster')})"
    assert f"no change that counts: ±{100 * found.delta:g}%" in said
    assert "95% interval" in said
