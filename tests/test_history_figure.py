"""The figure of a history: what is in its axes, that no labels overlap, and the command."""

import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from synthetic import record, turns
from test_history import past, software

from gemmbench.analysis.history import history
from gemmbench.records.schema import Record
from gemmbench.show.history_figure import PANELS, draw, picture
from gemmbench.show.history_marks import FASTER, SLOWER
from gemmkernels.errors import GemmbenchError


def boxes(made: Figure, texts: list[Text]) -> list[Bbox]:
    made.draw_without_rendering()
    renderer = made.canvas.get_renderer()  # type: ignore[attr-defined]
    return [text.get_window_extent(renderer) for text in texts]


def written(axes: Axes) -> list[Text]:
    found = [text for text in axes.texts if text.get_text()]
    titles = [axes.title, axes._left_title]  # type: ignore[attr-defined]
    ticks = axes.get_xticklabels()
    return [*found, *(title for title in titles if title.get_text()), *ticks]


def levels(axes: Axes) -> list[float]:
    lines = [line for line in axes.lines if line.get_color() == "#000000"]
    return [float(np.asarray(line.get_ydata())[0]) for line in lines]


@pytest.mark.parametrize(
    ("runs", "every"), [(1, 1), (2, 1), (12, 1), (40, 10), (60, 4), (200, 1), (200, 25)]
)
def test_no_text_overlaps_another(tmp_path: Path, runs: int, every: int) -> None:
    folder = past(
        tmp_path,
        runs,
        of=lambda index: {"software": {"torch": f"2.{index // every}.0+cu130", "triton": "3.5"}},
        speed=lambda index: 1.0 if index < runs // 2 else 0.93,
    )
    made = picture(history(folder))
    (axes,) = made.axes
    found = boxes(made, written(axes))
    assert len(found) >= min(runs, 4)
    for one, other in itertools.combinations(found, 2):
        assert not one.overlaps(other), (runs, every)
    whole = made.bbox
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in found)
    assert all(whole.y0 <= box.y0 and box.y1 <= whole.y1 for box in found)


def test_what_is_in_the_axes(tmp_path: Path) -> None:
    def records(index: int, time_us: float) -> list[Record]:
        if index == 30:
            return [record("k", status="failed", reason="gone")]
        return [record("k", took=turns(time_us, seed=index))]

    folder = past(
        tmp_path,
        61,
        of=software(31, {"torch": "2.12.0"}, {"torch": "2.13.0"}),
        speed=lambda index: 1.0 if index < 31 else 0.9,
        records=records,
    )
    found = history(folder)
    series = found.series[0]
    made = picture(found)
    (axes,) = made.axes
    assert levels(axes) == pytest.approx([level.tflops for level in series.levels])
    assert len(levels(axes)) == 2
    texts = [text.get_text() for text in axes.texts]
    assert "torch 2.13.0" in texts
    assert any(text.startswith("▼ -10") and not text.endswith("?") for text in texts)
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    assert np.asarray(dots.get_xdata()).tolist() == [place for place in range(61) if place != 30]
    crosses = next(line for line in axes.lines if line.get_marker() == "x")
    assert np.asarray(crosses.get_xdata()).tolist() == [30]
    low, high = axes.get_ylim()
    assert low < min(point.tflops_low for point in series.counted)
    assert high > max(point.tflops_high for point in series.counted)
    assert axes.get_ylabel() == "TFLOP/s"
    assert "synthetic: never measured" in made._supxlabel.get_text()  # type: ignore[attr-defined]


def legend(made: Figure) -> dict[str, tuple[str, str]]:
    """The colour and the line of each name."""
    (found,) = made.legends
    names = [text.get_text() for text in found.get_texts()]
    lines = found.get_lines()
    return {
        name: (str(line.get_color()), str(line.get_linestyle()))
        for name, line in zip(names, lines, strict=True)
    }


def test_the_legend_has_the_changes_that_there_are(tmp_path: Path) -> None:
    def speed(index: int) -> float:
        return 1.0 + 0.2 * (index >= 20) - 0.1 * (index >= 77)

    both = picture(history(past(tmp_path, 80, speed=speed)))
    told = {name: look for name, look in legend(both).items() if name.startswith("change")}
    assert told == {
        "change, confirmed: faster": (FASTER, "-"),
        "change, suspected: slower": (SLOWER, ":"),
    }
    drawn = {
        (str(line.get_color()), str(line.get_linestyle()))
        for line in both.axes[0].lines
        if line.get_color() in (FASTER, SLOWER)
    }
    assert drawn == set(told.values())


def test_a_drift_is_in_the_title_and_versions_below(tmp_path: Path) -> None:
    folder = past(
        tmp_path,
        100,
        of=software(50, {"torch": "2.12.0"}, {"torch": "2.13.0"}),
        speed=lambda index: math.exp(-0.001 * index),
    )
    made = picture(history(folder))
    title = made.axes[0].get_title(loc="left")
    assert re.search(r"drifts by about -0\.\d+% a run within its levels: the changes", title)
    assert "torch 2.12.0 → 2.13.0" in made._supxlabel.get_text()  # type: ignore[attr-defined]


def test_noise_does_not_fill_a_panel(tmp_path: Path) -> None:
    (axes,) = picture(history(past(tmp_path, 30, noise=0.0001))).axes
    low, high = axes.get_ylim()
    assert high - low > 0.04 * high


def test_the_label_of_a_change_finds_room_before_all(tmp_path: Path) -> None:
    folder = past(
        tmp_path,
        150,
        of=lambda index: {
            "software": {"torch": "new" if index >= 77 else "old", "numpy": str(index)}
        },
        speed=lambda index: 1.0 if index < 77 else 1.1,
    )
    (axes,) = picture(history(folder)).axes
    texts = [text.get_text() for text in axes.texts]
    assert "torch new and 1 more" in texts
    assert any(text.endswith("more runs with something new are not labelled") for text in texts)


def test_the_series_that_changed_most_are_drawn(tmp_path: Path) -> None:
    def records(index: int, time_us: float) -> list[Record]:
        return [
            record(
                f"k{number}",
                took=turns(time_us * (1.2 if number == 7 and index >= 20 else 1.0), seed=index),
            )
            for number in range(8)
        ]

    made = picture(history(past(tmp_path, 40, records=records)))
    assert len(made.axes) == PANELS
    titles = [axes.get_title(loc="left") for axes in made.axes]
    assert any(title.startswith("k7") for title in titles)
    assert "6 of 8 series" in made._supxlabel.get_text()  # type: ignore[attr-defined]


def test_nothing_to_draw(tmp_path: Path) -> None:
    folder = past(tmp_path, 2, records=lambda index, time_us: [record("k", status="failed")])
    with pytest.raises(GemmbenchError, match="no run has a rate that counts"):
        picture(history(folder))


def test_a_formula_in_a_name_is_drawn_as_text(tmp_path: Path) -> None:
    folder = past(
        tmp_path / "runs",
        3,
        of=lambda index: {"software": {"$\\frac{": f"{index}$"}},
        records=lambda index, time_us: [record("$x^", took=turns(time_us))],
    )
    png, svg = draw(history(folder), tmp_path / "out" / "picture")
    assert png.stat().st_size > 1000
    assert svg.stat().st_size > 1000


def test_the_command(tmp_path: Path) -> None:
    runs = past(tmp_path / "runs", 24, speed=lambda index: 1.0 if index < 12 else 1.2)
    (runs / "notes.jsonl").write_text("not a run\n")
    command = [sys.executable, "-m", "gemmbench", "history"]

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=120, cwd=tmp_path
        )

    done = call("runs/*.jsonl", "--kernel", "library", "--plot", "picture", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["series"][0]["points"]) == 24
    assert "notes.jsonl" in done.stderr
    assert "picture.png" in done.stderr
    assert (tmp_path / "picture.svg").exists()
    done = call("runs/notes.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a run" in done.stderr
    assert done.stderr.count("\n") == 1
