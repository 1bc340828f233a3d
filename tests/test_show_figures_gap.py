"""The waterfall and the roofline: readable from 1 to 12 kernels, and true to the figures."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.lines import Line2D
from synthetic import CPU, H100, header, record, roof, turns, write
from test_show_figures import assert_readable

from gemmbench.analysis.explain import Explained, explain
from gemmbench.records.schema import Line
from gemmbench.show.roofline import roofline
from gemmbench.show.waterfall import waterfall
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError

ROOFS = (
    roof("copy", 2900.0, "GB/s"),
    roof("cache", 5600.0, "GB/s"),
    roof("matrix", 760.0, "TFLOP/s", precision="bf16"),
    roof("launch-graph", 1.3, "us"),
)
LONG = "triton-matrix-core-persistent-tma-warp-specialised-and-much-more"


def found(
    path: Path,
    *,
    kernels: int = 3,
    precisions: tuple[str, ...] = ("bf16",),
    sizes: tuple[int, ...] = (64, 512, 4096),
    roofs: tuple[Line, ...] = ROOFS,
    device: Device = H100,
) -> Explained:
    """The rates of kernels halve from one to the next."""
    lines: list[Line] = [header(device, synthetic=True), *roofs]
    for number in range(kernels):
        for precision in precisions:
            for size in sizes:
                tflops = 600 * size / (size + 1500) / 2**number
                took = turns(2 * size**3 / tflops / 1e6)
                took = tuple(replace(one, clock_mhz=1500.0) for one in took)
                name = LONG if number == 1 else f"kernel-{number}"
                tile: Any = {"tile": (128, 128, 64), "grid": (132,)} if number % 2 else {}
                lines.append(
                    record(
                        *(name,),
                        size=size,
                        precision=precision,
                        took=took,
                        launch="graph",
                        sets=20,
                        **tile,
                    )
                )
    (one,) = explain(write(path / "run.jsonl", lines))
    return one


def xy(line: Line2D) -> Any:
    """An array of two columns."""
    return np.asarray(line.get_xydata())


CASES: dict[str, dict[str, Any]] = {
    "one kernel": {"kernels": 1, "sizes": (4096,)},
    "a few": {"precisions": ("bf16", "int8")},
    "twelve kernels": {"kernels": 12, "precisions": ("fp32", "bf16", "int8", "bf16_sparse")},
    "no roofs": {"roofs": ()},
}


@pytest.mark.parametrize("case", CASES)
def test_labels_never_overlap(tmp_path: Path, case: str) -> None:
    explained = found(tmp_path, **CASES[case])
    assert_readable(roofline(explained))
    assert_readable(waterfall(explained.best, rows=explained.rows))


def test_twelve_waterfalls_at_once(tmp_path: Path) -> None:
    explained = found(tmp_path, kernels=12, sizes=(4096,))
    assert_readable(waterfall(explained.gaps, rows=explained.rows))


def test_a_waterfall_steps_from_the_peak_to_the_measured_rate(tmp_path: Path) -> None:
    explained = found(tmp_path, kernels=2, sizes=(4096,))
    gap = next(one for one in explained.gaps if one.case.kernel == LONG)
    (axes,) = waterfall([gap], rows=explained.rows).axes
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    assert (ticks[0], ticks[-1]) == ("peak", "measured")
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]  # type: ignore[attr-defined]
    assert bars[0] == pytest.approx((0, 989.4))
    assert bars[-1] == pytest.approx((0, gap.case.tflops))
    level = 989.4
    for (low, high), factor in zip(bars[1:-1], gap.factors, strict=True):
        assert high == pytest.approx(level)
        level *= factor.value
        assert low == pytest.approx(level)
    said = [text.get_text() for text in axes.texts]
    assert said[1] == "−18.0%"
    assert axes.get_xlabel() == "TFLOP/s"


def test_what_is_not_known_and_what_refutes_is_said(tmp_path: Path) -> None:
    explained = found(
        tmp_path, kernels=1, sizes=(4096,), roofs=(roof("launch-graph", 900.0, "us"),)
    )
    (axes,) = waterfall(explained.gaps, rows=explained.rows).axes
    said = [text.get_text() for text in axes.texts]
    assert said[2:4] == ["not known", "not known"]
    assert said[6].startswith("refuted: +")


def test_too_many_panels_are_cut_and_counted(tmp_path: Path) -> None:
    explained = found(tmp_path, kernels=7)
    made = waterfall(explained.gaps, rows=explained.rows)
    assert len(made.axes) == 12
    assert "12 of 21 cases" in made.get_supxlabel()


def test_a_roofline_has_both_roofs_and_every_point(tmp_path: Path) -> None:
    explained = found(tmp_path, kernels=2)
    made = roofline(explained)
    (axes,) = made.axes
    lines = [xy(line) for line in axes.lines]
    for line, tflops, gbps in zip(lines, (989.4, 760, 760), (3350, 2900, 5600), strict=False):
        for x, y in line:
            assert y == pytest.approx(min(tflops, x * gbps / 1e3), rel=1e-6)
    points = {
        tuple(point.round(6))
        for line in axes.lines
        if line.get_linestyle() == "None" and line.get_marker() != "_"  # a whisker's end
        for point in xy(line)
    }
    assert points == {
        (round(gap.case.intensity, 6), round(gap.case.tflops, 6)) for gap in explained.gaps
    }
    (text,) = axes.texts
    assert text.get_text().splitlines() == [
        "sheet: 989.4 TFLOP/s, 3,350 GB/s",
        "measured: 760.0 TFLOP/s, 2,900 GB/s",
        "cache: 5,600 GB/s",
    ]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    names = [one.get_text() for one in made.legends[0].get_texts()]
    assert names[:3] == ["spec sheet", "measured roofs", "measured, from cache"]


def test_no_point_lies_on_the_figures_of_the_roofs(tmp_path: Path) -> None:
    made = roofline(found(tmp_path, kernels=12))
    made.canvas.draw()
    (axes,) = made.axes
    (text,) = axes.texts
    box = text.get_window_extent()
    for line in axes.lines:
        for x, y in axes.transData.transform(xy(line)):
            assert not (box.x0 <= x <= box.x1 and box.y0 <= y <= box.y1)


def test_without_a_measured_roof_only_the_slope_is_drawn(tmp_path: Path) -> None:
    explained = found(tmp_path, precisions=("int8",))
    assert math.isnan(explained.ceilings[0].roof_tflops)
    (axes,) = roofline(explained).axes
    slope = xy(axes.lines[1])
    assert slope[:, 1].max() <= 1978.9
    assert slope[-1, 0] < axes.get_xlim()[1]


def test_without_any_roof_there_is_nothing_to_draw(tmp_path: Path) -> None:
    explained = found(tmp_path, device=CPU, roofs=())
    for draw in (roofline, lambda one: waterfall(one.best, rows=one.rows)):
        with pytest.raises(GemmbenchError, match="nothing to draw: the device has no spec sheet"):
            draw(explained)
