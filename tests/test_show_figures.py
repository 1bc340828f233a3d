"""Figures: they are drawn for one kernel and for many, and no label lies on another."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic import H100, ladder_run, record, roof, turns, write
from synthetic import header as run_header

from gemmbench.analysis.compare import compare
from gemmbench.analysis.speedup import ladder
from gemmbench.records.frame import load
from gemmbench.show import compared, figures, pictures
from gemmbench.show.style import COLOURS, HATCHES, MARKERS, look, save
from gemmkernels.errors import GemmbenchError

TIERS = ("naive", "tiled", "matrix-core", "library")
MANY = tuple((f"kernel-{i}", TIERS[i // 3], 1.6**i) for i in range(12))
LONG = (
    ("python-naive-but-with-a-very-long-name-that-goes-on-and-on", "naive", 1.0),
    ("triton-matrix-core-persistent-tma-warp-specialised", "matrix-core", 80.0),
)
ALL = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8")


def saturating(kernel: str, precision: str, size: int, repeat: int) -> float:
    return size / (size + 1500)


def rows(path: Path, **more: Any) -> pd.DataFrame:
    return ladder(load(ladder_run(path / "run.jsonl", speed=saturating, device=H100, **more)))


def boxes(texts: list[Text]) -> list[Any]:
    return [text.get_window_extent() for text in texts if text.get_text()]


def assert_readable(made: Figure) -> None:
    """No two labels of an axis overlap, and nothing leaves the figure."""
    made.canvas.draw()
    page = made.bbox
    for axes in made.axes:
        texts = [*axes.get_xticklabels(), axes.xaxis.label, axes.title, axes.yaxis.label]
        for group in (axes.get_xticklabels(), axes.get_yticklabels(), axes.texts):
            low, high = axes.get_xlim()
            shown = [
                one
                for one in group
                if not (one in axes.get_xticklabels() and not low <= one.get_position()[0] <= high)
            ]
            found = boxes(shown)
            for index, box in enumerate(found):
                for other in found[index + 1 :]:
                    assert not box.padded(-0.5).overlaps(other), [one.get_text() for one in shown]
        for box in boxes([axes.xaxis.label, axes._left_title, *axes.get_yticklabels()]):  # type: ignore[attr-defined]
            assert box.x0 >= page.x0 - 1
            assert box.x1 <= page.x1 + 1
        assert texts
    titles = [made._suptitle] if made._suptitle else []  # type: ignore[attr-defined]
    assert len(titles) + len(made.legends) == 1, "the legend's title is the figure's"
    for legend in made.legends:
        for axes in made.axes:
            assert not legend.get_window_extent().overlaps(axes.get_window_extent())
        assert legend.get_window_extent().x1 <= page.x1 + 1


CASES: dict[str, dict[str, Any]] = {
    "one kernel": {
        "kernels": (("torch", "library", 1.0),),
        "sizes": (1024,),
        "precisions": ("fp32",),
    },
    "a few": {"sizes": (1024, 4096)},
    "many": {"kernels": MANY, "precisions": ALL, "sizes": (1024, 4096)},
    "long names": {"kernels": LONG, "sizes": (128, 333, 1024)},
    "200 sizes": {"sizes": [int(64 * 2 ** (i / 25)) for i in range(200)], "precisions": ("bf16",)},
}


DRAWN = [(draw, case) for draw in (figures.ladder, figures.sweep) for case in CASES]
DRAWN.remove((figures.ladder, "one kernel"))  # it is faster than nothing


@pytest.mark.parametrize(("draw", "case"), DRAWN)
def test_labels_never_overlap(tmp_path: Path, case: str, draw: Any) -> None:
    assert_readable(draw(rows(tmp_path, **CASES[case])))


def test_the_check_sees_what_overlaps(tmp_path: Path) -> None:
    made = figures.ladder(rows(tmp_path, kernels=MANY, precisions=("fp32", "bf16"), sizes=(512,)))
    made.set_size_inches(3, 1.5)
    with pytest.raises(AssertionError):
        assert_readable(made)


def test_both_formats_are_written_the_same_each_time(tmp_path: Path) -> None:
    found = rows(tmp_path, sizes=(512,), precisions=("fp32",))
    paths = save(figures.ladder(found), tmp_path / "deep" / "ladder.v1")
    assert [path.name for path in paths] == ["ladder.v1.png", "ladder.v1.svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    again = save(figures.ladder(found), tmp_path / "again")
    assert [one.read_bytes() for one in paths] == [one.read_bytes() for one in again]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = figures.sweep(rows(tmp_path, sizes=(512,), precisions=("fp32",)))
    with pytest.raises(GemmbenchError, match="cannot write"):
        save(made, tmp_path / "file" / "x")


def test_captions_axes_and_peak(tmp_path: Path) -> None:
    made = figures.sweep(rows(tmp_path, precisions=("bf16", "int8")))
    assert "NVIDIA H100" in made.get_supxlabel()
    assert "preset sustained" in made.get_supxlabel()
    bf16, int8 = made.axes
    assert (bf16.get_xlabel(), bf16.get_ylabel()) == ("M = N = K", "TFLOP/s")
    assert int8.get_ylabel() == "TOP/s"
    assert any("dense peak" in text.get_text() for text in bf16.texts)


def test_products_that_are_no_cubes(tmp_path: Path) -> None:
    line = record(size=(16, 4096, 4096), took=turns(9.0))
    path = write(tmp_path / "run.jsonl", [run_header(), line])
    made = figures.sweep(ladder(load(path)))
    assert made.axes[0].get_xlabel() == "cube root of M·N·K"
    assert not made.axes[0].texts  # no peak is known


def test_the_legend_names_a_base_of_another_precision(tmp_path: Path) -> None:
    base = record("base", tier="naive", base=True, took=turns(1000.0))
    fast = record("fast", precision="bf16", took=turns(10.0))
    path = write(tmp_path / "run.jsonl", [run_header(), base, fast])
    (legend,) = figures.ladder(ladder(load(path))).legends
    assert [text.get_text() for text in legend.get_texts()] == ["fp32", "bf16 over fp32"]


def test_names_are_drawn_as_they_stand(tmp_path: Path) -> None:
    kernels = (("$\\frac{1}$\u202e", "naive", 1.0), ("b", "tiled", 2.0))
    made = figures.ladder(rows(tmp_path, kernels=kernels, sizes=(512,)))
    made.canvas.draw()
    assert "u202e" in made.axes[0].get_yticklabels()[0].get_text()


def test_nothing_to_draw_is_one_line(tmp_path: Path) -> None:
    failed = write(tmp_path / "run.jsonl", [run_header(), record(status="failed")])
    for draw in (figures.ladder, figures.sweep):
        with pytest.raises(GemmbenchError, match="nothing to draw"):
            draw(ladder(load(failed)))
    alone = [record("one", base=True, took=turns(10.0)), record("two", size=512, took=turns(9.0))]
    write(tmp_path / "alone.jsonl", [run_header(), *alone])
    with pytest.raises(GemmbenchError, match="no kernel has another beside it"):
        figures.ladder(ladder(load(tmp_path / "alone.jsonl")))
    ladder_run(tmp_path / "a.jsonl", run_id="a")
    ladder_run(tmp_path / "b.jsonl", run_id="b")
    with pytest.raises(GemmbenchError, match="a figure is of one run, these are 2"):
        figures.sweep(ladder(load([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])))


@pytest.mark.parametrize(("sizes", "change"), [((512, 1024), 1.1), (range(100, 140), 3.0)])
def test_comparisons(tmp_path: Path, sizes: Any, change: float) -> None:
    a = ladder_run(tmp_path / "a.jsonl", sizes=sizes)
    b = ladder_run(
        tmp_path / "b.jsonl",
        sizes=sizes,
        speed=lambda kernel, *_: change if kernel == "library" else 1 / change,
    )
    made = compared.compare(compare(a, b))
    assert_readable(made)
    assert len(made.axes[0].get_yticks()) == min(60, 8 * len(sizes))
    low, high = made.axes[0].get_xlim()
    assert low < 1 / change < change < high


def test_looks_differ_in_grey_too() -> None:
    looks = [look(index) for index in range(24)]
    assert len({(one.colour, one.marker, one.line) for one in looks}) == 24
    assert len({look(index).hatch for index in range(len(COLOURS))}) == len(HATCHES)
    assert len({look(index).marker for index in range(12)}) == len(MARKERS)
    assert not math.isnan(len(looks))


def test_bars_stand_beside_their_names_in_every_panel(tmp_path: Path) -> None:
    """A kernel that has fewer bars in one panel than in another must not shift those below it."""
    path = ladder_run(tmp_path / "run.jsonl", sizes=(512, 1024), precisions=("fp32", "bf16"))
    df = load(path)
    df = df[~(df["kernel"].eq("tiled") & df["m"].eq(1024))]
    made = figures.ladder(ladder(df))
    for axes in made.axes:
        ticks = list(axes.get_yticks())
        for bar in axes.patches:
            middle = bar.get_y() + bar.get_height() / 2  # type: ignore[attr-defined]
            assert min(abs(tick - middle) for tick in ticks) <= 0.51
    left, right = made.axes
    assert list(left.get_yticks()) == list(right.get_yticks())
    places = [sorted({round(bar.get_y(), 3) for bar in axes.patches}) for axes in made.axes]  # type: ignore[attr-defined]
    assert set(places[0]) < set(places[1]) or set(places[1]) < set(places[0])


def test_what_cannot_be_drawn_is_named_and_the_rest_is_drawn(tmp_path: Path) -> None:
    good = ladder_run(tmp_path / "good.jsonl", synthetic=True)
    roofs = write(tmp_path / "roofs.jsonl", [run_header(probing=True), roof("copy", 30.0, "GB/s")])
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match=r"roofs\.jsonl: it holds roofs only"):
        written = pictures.draw([str(roofs), str(good)], kind="ladder", out=out)
    assert [path.name for path in written] == ["out.png", "out.svg"]
    with pytest.raises(GemmbenchError, match=r"roofs\.jsonl: it holds roofs only"):
        pictures.draw([str(roofs)], kind="sweep", out=out)
