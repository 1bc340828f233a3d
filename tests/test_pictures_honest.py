"""Pictures leave out what does not count and say so, tell unlike things apart, and hide no
interval."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PatchCollection, PolyCollection, QuadMesh
from overlap import faults
from pictured import written
from synthetic import CPU, H100, ladder_run, record, roof, turn, turns
from synthetic import header as run_header
from synthetic import write as write_run

from gemmbench.analysis.compare import compare
from gemmbench.analysis.explain import explain
from gemmbench.analysis.overview import overview
from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.timeline import is_power_limited
from gemmbench.records.frame import load
from gemmbench.records.reader import read
from gemmbench.show import compared, figures, pictures, style
from gemmbench.show.heatmap import heatmap
from gemmbench.show.roofline import roofline
from gemmbench.show.samples import samples
from gemmbench.show.telemetry import telemetry
from gemmbench.show.waterfall import waterfall
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.precision import PRECISIONS

PEAK = 989.4


def took(size: Any, tflops: float) -> Any:
    m, n, k = (size,) * 3 if isinstance(size, int) else size
    some = turns(2 * m * n * k / tflops / 1e6)
    return tuple(replace(one, clock_mhz=1980.0) for one in some)


def too_fast(path: Path) -> Path:
    """Three kernels; the middle one's rate is twice the peak at the larger of two shapes."""
    found = []
    for m in (512, 1024):
        for name, tflops in (
            ("slow", 10.0),
            ("mid", 100.0 if m == 512 else 2 * PEAK),
            ("fast", 400.0),
        ):
            shape = (m, 1024, 1024)
            found.append(
                record(
                    *(name,),
                    size=shape,
                    precision="bf16",
                    base=name == "slow",
                    took=took(shape, tflops),
                )
            )
    return written(path, found)


def highest(axes: Any) -> float:
    return max(
        float(np.nanmax(np.asarray(line.get_ydata(), float)))
        for line in axes.lines
        if line.get_linestyle() == "None" and len(np.asarray(line.get_ydata()))
    )


def test_an_impossible_rate_is_no_point_and_is_counted(tmp_path: Path) -> None:
    path = too_fast(tmp_path / "run.jsonl")
    rows = ladder(load(path))
    assert rows["impossible"].sum() == 1
    (one,) = explain(path)
    for made in (figures.sweep(rows), roofline(one)):
        assert highest(made.axes[0]) < 410
        assert "not drawn: 1 impossible, over 102% of the peak" in made.get_supxlabel()
        assert made.axes[0].get_ylim()[1] < 2 * PEAK * (
            3 if made.axes[0].get_yscale() == "log" else 1
        )
    quiet = figures.sweep(rows[~rows["impossible"]])
    assert "impossible" not in quiet.get_supxlabel()


def test_a_ladder_has_no_bar_for_what_is_impossible_nor_over_it(tmp_path: Path) -> None:
    rows = ladder(load(too_fast(tmp_path / "run.jsonl")))
    made = figures.ladder(rows)
    large, small = made.axes
    assert (len(large.patches), len(small.patches)) == (2, 3)
    assert "impossible" in [text.get_text() for text in large.texts]
    assert "not drawn: 1 impossible" in made.get_supxlabel()
    over = rows.assign(impossible=rows["kernel"].eq("slow") & rows["m"].eq(1024))
    (only,) = figures.ladder(over).axes
    assert only.get_title(loc="left") == "512x1024x1024"
    with pytest.raises(GemmbenchError, match="no case has a speedup that counts"):
        figures.ladder(rows.assign(impossible=True))


def test_where_contention_leaves_nothing_to_draw_it_is_the_reason(tmp_path: Path) -> None:
    rows = ladder(load(too_fast(tmp_path / "run.jsonl")))
    all_ = rows.assign(verdict="contended")
    told = "no case has a speedup that counts; 6 of 6 measured cases are contended: end what else"
    with pytest.raises(GemmbenchError, match=told):
        figures.ladder(all_)
    with pytest.raises(GemmbenchError, match="a rate that counts; 6 of 6 measured cases"):
        figures.sweep(all_)
    lonely = rows.assign(verdict=rows["verdict"].where(rows["kernel"].eq("slow"), "contended"))
    with pytest.raises(GemmbenchError, match="no kernel has another beside it; 4 of 6 measured"):
        figures.ladder(lonely)
    with pytest.raises(GemmbenchError, match="no kernel has another beside it; see --kind sweep"):
        figures.ladder(rows[rows["kernel"].eq("slow")])


def test_an_impossible_case_asked_for_by_name_is_called_so(tmp_path: Path) -> None:
    path = too_fast(tmp_path / "run.jsonl")
    (every,) = explain(path)
    for one in every.gaps:
        made = waterfall([one], rows=every.rows)
        said = [text.get_text() for axes in made.axes for text in axes.texts]
        assert any(text.endswith(": impossible") for text in said) == one.case.impossible
        assert ("impossible: over 102%" in made.get_supxlabel()) == one.case.impossible
    assert [one.case.impossible for one in every.gaps].count(True) == 1


def test_an_impossible_cell_has_a_hatch_and_no_rate(tmp_path: Path) -> None:
    rows = ladder(load(too_fast(tmp_path / "run.jsonl")))
    made = heatmap(rows)
    hatched = [
        one.get_hatch()
        for axes in made.axes
        for one in axes.collections
        if isinstance(one, PatchCollection)
    ]
    assert hatched == ["////"]
    assert [text.get_text() for text in made.legends[0].get_texts()] == ["impossible"]
    assert "impossible: over 102% of the peak" in made.get_supxlabel()
    meshes = [one for axes in made.axes for one in axes.collections if isinstance(one, QuadMesh)]
    assert max(np.ma.masked_invalid(np.ma.asarray(one.get_array())).max() for one in meshes) < 50
    with pytest.raises(GemmbenchError, match="no kernel with a rate that counts has two sizes"):
        heatmap(rows.assign(impossible=True))


def with_a_wide_roof(path: Path, *, rate: float = 0.2) -> Path:
    """A CPU without a sheet: its roof is about 0.4 TFLOP/s over three repeats that differ much."""
    roofs = [
        roof("matrix", value, "TFLOP/s", precision="bf16", repeat=at, noise=0.001)
        for at, value in enumerate((0.35, 0.4, 0.46))
    ]
    bandwidth = [
        roof("copy", value, "GB/s", repeat=at, noise=0.001)
        for at, value in enumerate((38.0, 40.0, 42.0))
    ]
    lines = [record("a", precision="bf16", size=512, took=took(512, rate))]
    first = run_header(CPU, synthetic=True)
    return write_run(path, [first, *roofs, *bandwidth, *lines])


def test_a_waterfall_says_how_wide_its_roof_is(tmp_path: Path) -> None:
    (one,) = explain(with_a_wide_roof(tmp_path / "run.jsonl"))
    top = one.gaps[0].causes.top
    assert top is not None
    assert top.half_width > 0.2
    made = waterfall(one.gaps, rows=one.rows)
    assert made.axes[0].texts[0].get_text().endswith(f" roof ±{100 * top.half_width:.0f}%")
    assert "±: the roof's own 95% interval" in made.get_supxlabel()
    assert faults(made) == []


def test_a_roofline_shows_the_interval_of_a_roof(tmp_path: Path) -> None:
    (one,) = explain(with_a_wide_roof(tmp_path / "run.jsonl"))
    made = roofline(one)
    (axes,) = made.axes
    (band,) = (found for found in axes.collections if isinstance(found, PolyCollection))
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    (ceiling,) = one.ceilings
    low, high = ceiling.roof_ends
    assert 0 < low < ceiling.roof_tflops < high
    assert heights.max() == pytest.approx(high)
    assert axes.get_ylim()[1] > high
    said = axes.texts[0].get_text()
    half = 100 * (high - low) / 2 / ceiling.roof_tflops
    assert f"TFLOP/s ±{half:.0f}%, " in said
    names = [text.get_text() for text in made.legends[0].get_texts()]
    assert names[:2] == ["measured roofs", "their 95% intervals"]
    assert faults(made) == []


def test_a_roofline_tells_of_a_void_roof(tmp_path: Path) -> None:
    shape = 1024
    line = record("a", precision="bf16", size=shape, took=took(shape, 500.0))
    path = tmp_path / "run.jsonl"
    of_device = [roof("copy", 2900.0, "GB/s"), roof("matrix", 300.0, "TFLOP/s", precision="bf16")]
    write_run(path, [run_header(H100, synthetic=True), *of_device, line])
    (one,) = explain(path)
    made = roofline(one)
    said = made.axes[0].texts[0].get_text().splitlines()
    assert said[-1] == "measured roof void: a verified kernel beat it"
    assert faults(made) == []
    on_cpu = replace(
        one,
        ceilings=(
            *one.ceilings,
            replace(one.ceilings[0], precision="int8", sheet_tflops=float("nan")),
        ),
    )
    assert (
        "no peak, and measured roof void: a verified kernel beat it: int8"
        in roofline(on_cpu).get_supxlabel()
    )


def batched(path: Path, *, more: Any = ()) -> pd.DataFrame:
    found = [
        record("a", size=64 * 2**at, precision="bf16", batch=8, took=took(64, 10.0), group=str(at))
        for at in range(3)
    ]
    return ladder(load(written(path, [*found, *more])))


def test_a_batch_of_cubes_is_no_cube(tmp_path: Path) -> None:
    made = figures.sweep(batched(tmp_path / "run.jsonl"))
    assert made.axes[0].get_xlabel() == "cube root of batch·M·N·K"
    grouped = [
        record("a", size=size, precision="bf16", experts=8, took=took(size, 10.0))
        for size in (256, 512)
    ]
    made = figures.sweep(ladder(load(written(tmp_path / "experts.jsonl", grouped))))
    assert made.axes[0].get_xlabel() == "cube root of M·N·K"


def test_layouts_modes_and_batches_have_lines_of_their_own(tmp_path: Path) -> None:
    found = []
    for size in (256, 512, 1024):
        for kernel, layout, modes, tflops in (
            ("torch", "nn", {}, 300.0),
            ("torch", "nt", {}, 100.0),
            ("torch", "nn", {"fast": "yes"}, 400.0),
        ):
            found.append(
                record(
                    *(kernel,),
                    size=size,
                    layout=layout,
                    precision="bf16",
                    modes=modes,
                    group=f"{size} {layout} {modes}",
                    took=took(size, tflops),
                )
            )
    rows = ladder(load(written(tmp_path / "run.jsonl", found)))
    made = figures.sweep(rows)
    names = [text.get_text() for text in made.legends[0].get_texts()]
    assert sorted(names) == ["torch nn", "torch nn [fast=yes]", "torch nt"]
    lines = [line for line in made.axes[0].lines if len(np.asarray(line.get_xdata())) == 3]
    joined = [line for line in lines if line.get_linestyle() != "None"]
    assert len(joined) == 3
    assert len({line.get_color() for line in joined}) == 3
    for line in joined:
        values = np.asarray(line.get_ydata(), float)
        assert values.max() < 1.1 * values.min(), "a saw-tooth"
    assert style.kernel_looks(["torch"])["torch"].colour in {line.get_color() for line in joined}
    assert faults(made) == []


def test_one_layout_a_precision_is_no_variant(tmp_path: Path) -> None:
    found = [
        record("torch", size=size, layout=layout, precision=name, took=took(size, 100.0))
        for size in (256, 512)
        for name, layout in (("bf16", "nn"), ("fp8_e4m3", "nt"))
    ]
    made = figures.sweep(ladder(load(written(tmp_path / "run.jsonl", found))))
    assert made._suptitle.get_text() == "Rate of torch"  # type: ignore[attr-defined]


def test_what_has_a_label_is_not_joined(tmp_path: Path) -> None:
    found = [
        record(
            "a",
            size=size,
            precision="bf16",
            label=label,
            group=f"{size}{label}",
            took=took(size, tflops),
        )
        for size in (256, 512, 1024)
        for label, tflops in (("", 300.0), ("model x", 50.0))
    ]
    made = figures.sweep(ladder(load(written(tmp_path / "run.jsonl", found))))
    joined, alone = (
        [
            line
            for line in made.axes[0].lines
            if (line.get_linestyle() != "None") is is_joined
            and len(np.asarray(line.get_xdata())) == 3
            and line.get_marker() in style.MARKERS
        ]
        for is_joined in (True, False)
    )
    assert [round(float(np.asarray(line.get_ydata())[0]), -1) for line in (*joined, *alone)] == [
        300,
        50,
    ]


@pytest.mark.parametrize("far", [1e3, 9e6])
def test_samples_off_the_axis_are_counted_on_their_side(tmp_path: Path, far: float) -> None:
    some = []
    for number in range(10):
        times = [1e5 + 100 * number + one for one in range(5)]
        times += [far] * 2 if number == 3 else []
        some.append(turn(number, 1e5, samples=times))
    path = written(tmp_path / "run.jsonl", [record("a", precision="bf16", took=some)])
    (one,) = overview(path).runs
    made = samples(one.rows, [case.records for case in one.cases])
    (text,) = made.axes[0].texts
    want = "← 2 more, down to 1.00 µs" if far < 1e5 else "2 more, up to 9,000 µs →"
    assert text.get_text() == want
    assert text.get_horizontalalignment() == ("left" if far < 1e5 else "right")
    assert faults(made) == []


def watched(path: Path, *, power_ns: tuple[float, ...], span_s: float = 0.5) -> Any:
    found = []
    for at, ns in enumerate(power_ns):
        some = [
            replace(
                turn(number, 1e5, clock_mhz=1700.0, power_w=500.0),
                start_s=span_s * (10 * at + number),
                stop_s=span_s * (10 * at + number + 1),
            )
            for number in range(10)
        ]
        limits = {"power": ns}
        found.append(record("a", precision="bf16", repeat=at, took=some, limits=limits))
    return read(written(path, found))


def test_the_power_limit_counts_as_in_the_column(tmp_path: Path) -> None:
    run = watched(tmp_path / "run.jsonl", power_ns=(1.0, 4.9e7, 5.1e7, 5e9))
    column = load(tmp_path / "run.jsonl")["power_limited"]
    assert (
        [is_power_limited(one) for one in run.records] == list(column) == [False, False, True, True]
    )
    assert "at the power limit: 2 of 4 records" in telemetry(run).get_supxlabel()
    calm = watched(tmp_path / "calm.jsonl", power_ns=(1.0,))
    assert "power limit" not in telemetry(calm).get_supxlabel()


def test_turns_without_a_time_make_no_picture(tmp_path: Path) -> None:
    run = watched(tmp_path / "run.jsonl", power_ns=(0.0,), span_s=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(GemmbenchError, match="the turns of this run took no time"):
            telemetry(run)
    blind = tuple(replace(one, clock_mhz=None, power_w=None) for one in run.records[0].turns)
    records = (msgspec.structs.replace(run.records[0], turns=blind),)
    with pytest.raises(GemmbenchError, match=r"\(--preset quick\) see no power"):
        telemetry(replace(run, records=records))


def test_a_comparison_says_what_both_sides_share(tmp_path: Path) -> None:
    software = {"torch": "2.13.0", "cuda": "13.0", "triton": "3.9.0"}
    a = ladder_run(tmp_path / "a.jsonl", software=software)
    b = ladder_run(tmp_path / "b.jsonl", software={**software, "triton": "3.10.0"})
    told = compared.compare(compare(a, b)).get_supxlabel().replace("\n", " · ").split(" · ")
    assert {"torch 2.13.0", "cuda 13.0", "data normal", "cache rotated"} <= set(told)
    assert "triton: 3.9.0 → 3.10.0" in told
    assert "triton 3.9.0" not in told


def test_up_to_eight_names_differ_in_their_colour_and_without_it() -> None:
    shipped = [kernel.name for kernel in LADDER]
    for first in range(len(shipped)):
        names = [shipped[(first + 5 * step) % len(shipped)] for step in range(8)]
        looks = style.kernel_looks([*dict.fromkeys(names)]).values()
        assert len({one.colour for one in looks}) == len(looks)
        assert len({(one.marker, one.filled) for one in looks}) == len(looks)
    every = list(PRECISIONS)
    for first in range(len(every)):
        names = [every[(first + 3 * step) % len(every)] for step in range(8)]
        looks = style.precision_looks([*dict.fromkeys(names)]).values()
        assert len({one.colour for one in looks}) == len({one.hatch for one in looks}) == len(looks)
    looks_of = style.kernel_looks(["python-naive", "triton-swizzled", "triton-persistent"])
    assert looks_of["python-naive"] == style.look(0)
    assert looks_of["triton-persistent"] == style.look(9), "it does not yield to one that moves"


@pytest.mark.parametrize("kind", ["ladder", "sweep"])
def test_ladder_and_sweep_draw_what_is_named(tmp_path: Path, kind: str) -> None:
    from gemmbench.analysis.explain import Wanted

    path = ladder_run(tmp_path / "run.jsonl", sizes=(512, 1024), precisions=("fp32", "bf16"))
    wanted = Wanted(precisions=("fp32",), problems=("512x512x512",), kernels=("tiled",))
    _, svg = pictures.draw([str(path)], kind=kind, out=tmp_path / "out", wanted=wanted)
    text = svg.read_text()
    assert "<!-- tiled -->" in text or "Rate of tiled" in text
    assert "fp32" in text
    assert not any(other in text for other in ("bf16", "1024", "library"))
