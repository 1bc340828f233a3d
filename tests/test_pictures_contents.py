"""Heatmap, telemetry and samples: what is in their axes is what is in the run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.collections import PatchCollection, QuadMesh
from matplotlib.lines import Line2D
from pictured import hard, written
from synthetic import CPU, H100, header, record, turn, turns, write

from gemmbench.analysis.grids import grids
from gemmbench.analysis.overview import RunOverview, overview
from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.timeline import timeline
from gemmbench.cli import app
from gemmbench.records.frame import load
from gemmbench.records.reader import Run, read
from gemmbench.show.heatmap import PANELS, heatmap
from gemmbench.show.samples import samples
from gemmbench.show.telemetry import telemetry
from gemmkernels.errors import GemmbenchError


def invoke(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["plot", *arguments])
    return found.exit_code, found.stdout, found.stderr


def took(shape: tuple[int, int, int], tflops: float) -> Any:
    return turns(2 * shape[0] * shape[1] * shape[2] / tflops / 1e6)


def mapped(path: Path, *, device: Any = H100) -> Any:
    """M 64 and 128 by N 32 … 128; one failed, one contended, one not measured."""
    found = []
    for m, n, tflops in ((64, 32, 98.94), (64, 64, 200.0), (128, 32, 400.0), (128, 128, 494.7)):
        shape = (m, n, 256)
        found.append(record("a", size=shape, precision="bf16", took=took(shape, tflops)))
    found.append(record("a", size=(128, 64, 256), precision="bf16", status="failed"))
    lost = [turn(number, 5e3, disturbed=9) for number in range(10)]
    found.append(record("a", size=(64, 128, 256), precision="bf16", took=lost))
    return ladder(load(written(path, found, device=device)))


def mesh(made: Any) -> Any:
    """The values of the cells, a row an M."""
    (found,) = (one for one in made.axes[0].collections if isinstance(one, QuadMesh))
    return np.ma.filled(np.ma.asarray(found.get_array()), np.nan).reshape(2, 3)


def test_a_heatmap_has_every_cell_in_percent_of_the_peak(tmp_path: Path) -> None:
    made = heatmap(mapped(tmp_path / "run.jsonl"))
    axes = made.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["32", "64", "128"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["64", "128"]
    nan = np.nan
    want = np.array([[10.0, 20.21, nan], [40.43, nan, 50.0]])
    np.testing.assert_allclose(mesh(made), want, rtol=2e-3)
    assert made.axes[-1].get_ylabel() == "% of dense peak"
    others = [one for one in axes.collections if isinstance(one, PatchCollection)]
    assert {one.get_hatch(): len(one.get_paths()) for one in others} == {"xxxx": 1, "....": 1}
    said = [text.get_text() for text in made.legends[0].get_texts()]
    assert said == ["contended", "failed"]
    assert "95% intervals: median ±" in made.get_supxlabel()
    assert len(axes.texts) == 4


def test_a_contended_cell_has_no_rate_even_where_it_has_a_time(tmp_path: Path) -> None:
    rows = mapped(tmp_path / "run.jsonl")
    fastest = rows["tflops"].eq(rows["tflops"].max())
    made = heatmap(rows.assign(verdict=rows["verdict"].where(~fastest, "contended")))
    assert np.nanmax(mesh(made)) < 41


def test_without_a_peak_a_heatmap_is_in_tflops(tmp_path: Path) -> None:
    made = heatmap(mapped(tmp_path / "run.jsonl", device=CPU))
    np.testing.assert_allclose(np.nanmax(mesh(made)), 494.7, rtol=2e-3)
    assert made.axes[-1].get_ylabel() == "TFLOP/s"


def test_what_is_not_measured_is_named(tmp_path: Path) -> None:
    rows = mapped(tmp_path / "run.jsonl")
    rows = rows[rows["status"].eq("ok") & rows["verdict"].ne("contended")]
    made = heatmap(rows)
    assert [text.get_text() for text in made.legends[0].get_texts()] == ["not measured"]


def test_panels_are_the_fastest_of_each_precision_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=4, points=4, precisions=3, grid=True)
    rows = ladder(load(path))
    every = grids(rows)
    assert [one.precision for one in every[:6]] == [*dict.fromkeys(rows["precision"])] * 2
    for precision in {one.precision for one in every}:
        rates = [one.best for one in every if one.precision == precision]
        assert rates == sorted(rates, reverse=True)
    made = heatmap(rows)
    assert len(made.axes) == PANELS + 1
    assert "9 of 12 panels" in made.get_supxlabel()


@pytest.mark.parametrize(("points", "lines"), [(4, 2), (100, 1), (400, 0)])
def test_all_cells_have_their_figure_or_none_has(tmp_path: Path, points: int, lines: int) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=1, points=points, grid=True, rates=(0.5, 700.0))
    axes = heatmap(ladder(load(path))).axes[0]
    assert [len(text.get_text().split("\n")) for text in axes.texts] == [lines] * points * (
        lines > 0
    )


def test_squares_make_no_heatmap(tmp_path: Path) -> None:
    rows = ladder(load(hard(tmp_path / "run.jsonl", kernels=2, points=5)))
    with pytest.raises(GemmbenchError, match=r"two sizes of M or N at one K; .* --kind sweep|--m"):
        heatmap(rows)


def seen(path: Path, *, throttled: bool = True, limit_w: float | None = None) -> Run:
    """Two repeats of a kernel, ten turns of half a second each; the second one is throttled."""
    found = []
    for repeat in range(2):
        some = [
            replace(
                *(turn(number, 1e5, clock_mhz=1700.0 - 300 * repeat, power_w=500.0 + number),),
                start_s=5000.0 + 20 * repeat + number,
                stop_s=5000.5 + 20 * repeat + number,
            )
            for number in range(10)
        ]
        limits = {"hw_slowdown": 1e9 * (repeat and throttled), "power": 5e9}
        found.append(record("torch", precision="bf16", repeat=repeat, took=some, limits=limits))
    path = written(path, found)
    run = read(path)
    device = replace(run.header.device, power_limit_w=limit_w)
    return replace(run, header=msgspec.structs.replace(run.header, device=device))


def points(axes: Any) -> Any:
    """The marks of the first kernel."""
    (line,) = (one for one in axes.lines if one.get_linestyle() == "None")
    return np.asarray(line.get_xydata())


def test_every_turn_is_a_mark_at_its_middle(tmp_path: Path) -> None:
    made = telemetry(seen(tmp_path / "run.jsonl", limit_w=650.0))
    clock, power = made.axes
    assert (clock.get_ylabel(), power.get_ylabel()) == ("clock, MHz", "power, W")
    assert power.get_xlabel() == "time, s"
    want = [
        (0.25 + 20 * repeat + one, 1700.0 - 300 * repeat) for repeat in (0, 1) for one in range(10)
    ]
    np.testing.assert_allclose(points(clock), want)
    assert [one.get_text() for one in power.texts] == ["power limit 650 W"]
    assert "boost clock of the spec sheet 1,980 MHz" in [one.get_text() for one in clock.texts]
    assert [one.get_text() for one in clock.texts][-2:] == ["repeat 1", "repeat 2"]
    (legend,) = made.legends
    assert [one.get_text() for one in legend.get_texts()] == ["torch", "throttled: hw slowdown"]
    assert "at the power limit: 2 of 2 records" in made.get_supxlabel()


def test_throttled_turns_are_marked_and_no_others(tmp_path: Path) -> None:
    made = telemetry(seen(tmp_path / "run.jsonl"))
    strips = made.axes[0].collections[-1]
    ends = sorted(float(np.asarray(path.vertices)[:, 0].min()) for path in strips.get_paths())
    np.testing.assert_allclose(ends, [20.0 + one for one in range(10)])
    calm = telemetry(seen(tmp_path / "calm.jsonl", throttled=False))
    assert len(calm.axes[0].collections) == len(made.axes[0].collections) - 1
    assert not calm.legends


def test_many_turns_become_medians_and_hide_no_extreme(tmp_path: Path) -> None:
    run = seen(tmp_path / "run.jsonl")
    (first, _) = run.records
    some = tuple(
        replace(
            *(turn(number, 1e5, clock_mhz=100.0 if number == 777 else 1700.0),),
            start_s=number / 10,
            stop_s=number / 10 + 0.05,
        )
        for number in range(9000)
    )
    many = replace(run, records=(msgspec.structs.replace(first, turns=some),))
    made = telemetry(many)
    (axes,) = made.axes
    assert len(points(axes)) == 1500
    low = min(np.nanmin(np.asarray(line.get_ydata(), float)) for line in axes.lines)
    assert low == 100.0
    assert "the median of up to 6 turns" in made.get_supxlabel()
    assert axes.get_xlabel() == "time, min"


def test_a_resumed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run = seen(tmp_path / "run.jsonl")
    a, b = run.records
    early = tuple(
        replace(one, start_s=one.start_s - 4900, stop_s=one.stop_s - 4900) for one in b.turns
    )
    b = msgspec.structs.replace(b, sitting=1, turns=early)  # the machine was started anew
    moments = timeline(replace(run, records=(a, b)))
    assert [one.repeat for one in moments] == [0] * 10 + [1] * 10
    assert moments[0].start_s == 0
    assert moments[10].start_s == pytest.approx(9.5 * 1.02)


def test_without_a_sensor_there_is_nothing_to_draw(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", [header(), record(took=turns(10.0))])
    with pytest.raises(GemmbenchError, match=r"no sensor saw this run; .* gemmbench doctor"):
        telemetry(read(path))


def spread(path: Path) -> RunOverview:
    """Two repeats with samples of their own; two are disturbed, one is far out."""
    found = []
    for repeat, middle in enumerate((100.0, 104.0)):
        some = []
        for number in range(10):
            times = [1e3 * (middle + number / 10 + one / 100) for one in range(5)]
            times += [9e6] if number == 3 and repeat == 0 else []
            places = (1,) if number == 4 else (5,) if len(times) > 5 else ()
            one = turn(number, 1e3 * (middle + number / 10), samples=times, disturbed=len(places))
            some.append(replace(one, disturbed_at=places))
        found.append(record("torch", precision="bf16", repeat=repeat, took=some))
    (run,) = overview(written(path, found)).runs
    return run


def of_marker(axes: Any, marker: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_marker() == marker]


def test_samples_are_drawn_by_repeat_and_disturbed_ones_apart(tmp_path: Path) -> None:
    one = spread(tmp_path / "run.jsonl")
    made = samples(one.rows, [case.records for case in one.cases])
    (axes,) = made.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["repeat 1", "repeat 2"]
    assert axes.get_xlabel() == "time per launch, µs"
    assert [len(line.get_xdata()) for line in of_marker(axes, ".")] == [49, 49]  # type: ignore[arg-type]
    assert [len(line.get_xdata()) for line in of_marker(axes, "x")] == [2, 1]  # type: ignore[arg-type]
    medians = [float(np.asarray(line.get_xdata())[0]) for line in of_marker(axes, "|")]
    assert medians == pytest.approx([100.45, 104.45])
    row = next(one.rows.itertuples())
    (band,) = axes.patches
    ends = band.get_x(), band.get_x() + band.get_width()  # type: ignore[attr-defined]
    assert ends == pytest.approx((row.time_us_low, row.time_us_high))
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    assert np.asarray(dashed.get_xdata())[0] == pytest.approx(row.time_us)
    assert [text.get_text() for text in axes.texts] == ["1 more, up to 9,000 µs →"]
    assert axes.get_xlim()[1] < 200


def test_where_samples_were_not_kept_turns_stand_for_them(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl", [record("a", precision="bf16", took=turns(50.0))])
    (one,) = overview(path).runs
    made = samples(one.rows, [case.records for case in one.cases])
    assert len(of_marker(made.axes[0], "d")[0].get_xdata()) == 10  # type: ignore[arg-type]
    said = [text.get_text() for text in made.legends[0].get_texts()]
    assert "median of a turn, its samples not kept" in said
    assert "sample" not in said


def test_more_than_twelve_cases_are_cut_and_counted(tmp_path: Path) -> None:
    (one,) = overview(hard(tmp_path / "run.jsonl", kernels=5, points=3)).runs
    made = samples(one.rows, [case.records for case in one.cases])
    assert len(made.axes) == 12
    assert "12 of 15 cases" in made.get_supxlabel()


def test_damaged_figures_are_left_out(tmp_path: Path) -> None:
    wild = [turn(0, 1e5, samples=[1e5, 1e300, 1e5], clock_mhz=1e300), *turns(100.0)]
    wild[0] = replace(wild[0], power_w=300.0, start_s=0.0, stop_s=1e200)
    path = written(tmp_path / "run.jsonl", [record("a", precision="bf16", took=wild)])
    (one,) = overview(path).runs
    made = samples(one.rows, [case.records for case in one.cases])
    made.canvas.draw()
    assert made.axes[0].get_xlim()[1] < 1e6
    with pytest.raises(GemmbenchError, match="no sensor"):
        telemetry(one.run)


@pytest.mark.parametrize("kind", ["heatmap", "telemetry", "samples"])
def test_each_is_a_kind_of_plot(tmp_path: Path, kind: str) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=2, points=4, grid=True)
    code, told, _ = invoke(str(path), "--kind", kind)
    assert code == 0
    assert told.splitlines() == [str(tmp_path / f"run-{kind}.{end}") for end in ("png", "svg")]


def test_what_is_named_is_drawn(tmp_path: Path) -> None:
    path = hard(tmp_path / "run.jsonl", kernels=3, points=4, grid=True)
    out = str(tmp_path / "out")
    code, _, _ = invoke(
        *(str(path), "--kind", "samples", "--out", out, "--kernel", "k2", "--problem", "128x96x512")
    )
    assert code == 0
    text = Path(f"{out}.svg").read_text()
    assert "128x96x512" in text
    assert "64x96x512" not in text
    code, _, told = invoke(str(path), "--kind", "heatmap", "--kernel", "k3")
    assert (code, "unknown kernel of this run 'k3'" in told) == (2, True)
    code, _, told = invoke(str(path), "--kind", "telemetry", "--kernel", "k2")
    assert (code, "--kind telemetry draws all of a run" in told) == (2, True)
    code, _, told = invoke(str(path), "--kind", "samples", "--roofs", "x.jsonl")
    assert (code, "--kind samples draws no roofs" in told) == (2, True)
