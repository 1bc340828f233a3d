"""A history: what is one series, what counts, what changed, and files that spoil nothing."""

import json
import math
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic import CPU, H100, footer, header, method, record, roof, turn, turns, write

from gemmbench.analysis.explain import Wanted
from gemmbench.analysis.history import MOST_TOLD, history
from gemmbench.analysis.series import History, Series
from gemmbench.records.journal import Journal, encode
from gemmbench.records.reader import RunFileWarning
from gemmbench.records.schema import Fleet, Place, Record
from gemmbench.show.history import MOST_ROWS, spark, tables
from gemmbench.show.history_columns import frame, to_json
from gemmbench.show.history_text import caption, drift_text, why_text
from gemmbench.show.tables import Table, to_markdown, to_text
from gemmkernels.errors import GemmbenchError, UnknownNameError

START = datetime(2026, 1, 1, tzinfo=UTC)


def past(
    folder: Path,
    runs: int,
    *,
    of: Callable[[int], dict[str, Any]] = lambda index: {},
    speed: Callable[[int], float] = lambda index: 1.0,
    records: Callable[[int, float], Sequence[Record]] | None = None,
    noise: float = 0.005,
) -> Path:
    """So many runs, a day apart, of one kernel that takes 100 µs; `of` is of their headers."""
    folder.mkdir(exist_ok=True)
    for index in range(runs):
        time_us = 100 * math.exp(random.Random(index).gauss(0, noise)) / speed(index)
        made = (
            records(index, time_us)
            if records
            else [record("library", precision="bf16", took=turns(time_us, seed=index))]
        )
        changes = {
            "device": H100,
            "device_id": H100.slug,
            "run_id": f"{index:08x}",
            "started": (START + timedelta(days=index)).isoformat(),
            "synthetic": True,
            **of(index),
        }
        write(folder / f"{index:04}.jsonl", [header(**changes), *made, footer(made)])
    return folder


def one(found: History) -> Series:
    (series,) = found.series
    return series


def software(at: int, before: dict[str, str], after: dict[str, str]) -> Callable[[int], Any]:
    return lambda index: {"software": before if index < at else after}


def test_points_are_in_order_of_time_whatever_the_files_are_called(tmp_path: Path) -> None:
    past(tmp_path, 4, of=lambda index: {"started": f"2026-01-0{4 - index}T12:00:00+02:00"})
    series = one(history(tmp_path))
    assert [point.ran.started.day for point in series.points] == [1, 2, 3, 4]
    assert series.points[0].ran.file == "0003.jsonl"
    assert series.points[0].ran.started.hour == 10
    assert series.tier == "tiled"
    assert series.why_unsure.startswith("4 runs that count: nothing can be said; 9 are needed")


def test_a_step_and_what_changed_with_it(tmp_path: Path) -> None:
    old = {"torch": "2.12.0", "torch_git": "a" * 40, "triton": "3.5.0"}
    past(
        tmp_path,
        40,
        of=software(20, old, {**old, "torch": "2.13.0", "torch_git": "b" * 40}),
        speed=lambda index: 1.0 if index < 20 else 0.95,
    )
    series = one(history(tmp_path))
    (change,) = series.changes
    assert (change.at, change.certainty) == (20, "confirmed")
    assert change.ratio == pytest.approx(0.95, abs=0.01)
    assert change.step.ratio_low < 0.95 < change.step.ratio_high
    assert change.before_tflops > change.after_tflops > 0
    assert [(d.what, d.before, d.after) for d in change.differs] == [("torch", "2.12.0", "2.13.0")]
    assert series.points[20].differs == change.differs
    assert not any(point.differs for point in series.points if point.ran.run_id != "00000014")
    assert [(level.first, level.last) for level in series.levels] == [(0, 19), (20, 39)]
    assert series.why_unsure == ""
    assert why_text(change, series) == "torch 2.12.0 → 2.13.0"


def test_a_step_without_a_known_reason_says_so(tmp_path: Path) -> None:
    past(tmp_path, 40, speed=lambda index: 1.0 if index < 20 else 1.05)
    series = one(history(tmp_path))
    (change,) = series.changes
    assert change.ratio > 1
    assert (change.differs, change.near) == ((), ())
    assert drift_text(series) == ""
    assert why_text(change, series) == "nothing known"


def test_what_changed_a_run_later_is_told_as_near(tmp_path: Path) -> None:
    past(
        tmp_path,
        40,
        of=software(22, {"triton": "3.5.0"}, {"triton": "3.6.0"}),
        speed=lambda index: 1.0 if index < 20 else 1.05,
    )
    series = one(history(tmp_path))
    (change,) = series.changes
    assert change.differs == ()
    assert [(near.runs, near.differs.after) for near in change.near] == [(2, "3.6.0")]
    told = "nothing known; runs near it: triton 3.5.0 → 3.6.0 (2 after)"
    assert why_text(change, series) == told


def test_all_that_can_change_is_seen(tmp_path: Path) -> None:
    def of(index: int) -> dict[str, Any]:
        new = index == 1
        return {
            "software": {"nvidia_driver": "580" if new else "570"},
            "version": "0.2.0" if new else "0.1.0",
            "host": {"governor": "powersave" if new else "performance"},
            "environment": {"OMP_NUM_THREADS": "1"} if new else {},
            "kernels": {"library": "bbbb" if new else "aaaa", "other": str(index)},
            "method": method(target=0.01 if new else 0.02),
        }

    found = one(history(past(tmp_path, 2, of=of)))
    told = [(d.what, d.before, d.after) for d in found.points[1].differs]
    assert told == [
        ("kernel source", "aaaa", "bbbb"),
        ("nvidia_driver", "570", "580"),
        ("gemmbench", "0.1.0", "0.2.0"),
        ("environment OMP_NUM_THREADS", "", "1"),
        ("host governor", "performance", "powersave"),
        ("method target", "0.02", "0.01"),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"method": method(preset="quick")},
        {"method": method(cache="hot")},
        {"method": method(data="zeros")},
        {"method": method(threads=4)},
        {"tool": "nvbench"},
        {"synthetic": False},
        {"device": replace(H100, partition="MIG 3g.40gb")},
        {"place": Place(node="n1", pci_address="0000:18:00.0")},
        {"place": Place(at_once=8)},
    ],
)
def test_what_was_measured_differently_is_another_series(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    found = history(past(tmp_path, 4, of=lambda index: changed if index % 2 else {}))
    assert [len(series.points) for series in found.series] == [2, 2]


def test_each_of_several_devices_has_a_series(tmp_path: Path) -> None:
    for night in range(3):
        places = (Place(at_once=2), Place(at_once=2))
        started = f"2026-01-0{night + 1}T00:00:00+00:00"
        fleet = Fleet(run_id=f"f{night}", started=started, version="1", places=places)
        with Journal.create(tmp_path, fleet) as journal:
            for unit in range(2):
                head = header(
                    H100, run_id=f"{night}{unit}", started=started, place=places[unit], plan=()
                )
                one = record("k", took=turns(100.0 + unit))
                journal.append_of([(unit, encode(head)), (unit, encode(one))])
    found = history(str(tmp_path))
    assert [len(series.points) for series in found.series] == [3, 3]
    assert {series.place for series in found.series} == {"device 0", "device 1"}
    assert {round(series.points[0].time_us) for series in found.series} == {100, 101}


def test_a_power_limit_and_modes_part_series_too(tmp_path: Path) -> None:
    limits = {0: 700.0, 1: 500.0, 2: None}
    found = history(
        past(
            tmp_path,
            6,
            of=lambda index: {"device": replace(H100, power_limit_w=limits[index % 3])},
        )
    )
    assert {series.power_limit_w for series in found.series} == {700.0, 500.0, None}
    folder = tmp_path / "modes"
    found = history(
        past(
            folder,
            2,
            records=lambda index, time_us: [
                record("k", took=turns(time_us), modes={"fast": "yes"} if index else {})
            ],
        )
    )
    assert {series.modes for series in found.series} == {"", "fast=yes"}


def test_what_says_nothing_is_shown_but_does_not_count(tmp_path: Path) -> None:
    def records(index: int, time_us: float) -> list[Record]:
        if index == 5:
            return [record("k", status="failed", reason="out of memory")]
        if index == 7:  # ten times slower, beside a neighbour
            spoilt = [
                turn(number, 1e4 * time_us, disturbed=10 if number > 2 else 0)
                for number in range(10)
            ]
            return [record("k", took=spoilt)]
        return [record("k", took=turns(time_us, seed=index))]

    found = history(past(tmp_path, 30, records=records))
    series = one(found)
    assert [place for place, point in enumerate(series.points) if not point.counts] == [5, 7]
    assert series.points[5].status == "failed"
    assert series.points[7].verdict == "contended"
    assert series.points[7].tflops == pytest.approx(series.points[6].tflops / 10, rel=0.1)
    assert series.changes == ()
    (table,) = tables(found)
    assert "2 points do not count: failed, contended or impossible" in table.notes
    assert any("failed: out of memory" in row for row in table.rows)


def test_a_step_beside_a_failed_run_is_told_by_what_changed_over_it(tmp_path: Path) -> None:
    def records(index: int, time_us: float) -> list[Record]:
        if index == 20:
            return [record("k", status="failed", reason="no driver")]
        return [record("k", took=turns(time_us, seed=index))]

    past(
        tmp_path,
        41,
        of=software(20, {"nvidia_driver": "570"}, {"nvidia_driver": "580"}),
        speed=lambda index: 1.0 if index < 20 else 1.1,
        records=records,
    )
    (change,) = one(history(tmp_path)).changes
    assert change.at == 21
    assert [d.what for d in change.differs] == ["nvidia_driver"]


def test_repeats_are_one_point(tmp_path: Path) -> None:
    def records(index: int, time_us: float) -> list[Record]:
        return [
            record("k", repeat=repeat, took=turns(time_us * (1 + repeat / 100)))
            for repeat in range(3)
        ]

    series = one(history(past(tmp_path, 2, records=records)))
    assert [point.repeats for point in series.points] == [3, 3]
    assert all(point.time_us_low < point.time_us < point.time_us_high for point in series.points)


def test_sparse_rates_are_the_sparse_ones(tmp_path: Path) -> None:
    def records(index: int, time_us: float) -> list[Record]:
        return [record("k", precision="bf16_sparse", took=turns(time_us))]

    point = one(history(past(tmp_path, 1, records=records))).points[0]
    assert point.tflops == pytest.approx(2 * 1024**3 / point.time_us / 1e6)
    assert point.tflops_low < point.tflops < point.tflops_high
    assert 0 < point.pct_peak < 100


def test_a_bad_file_spoils_nothing(tmp_path: Path) -> None:
    past(tmp_path, 3)
    (tmp_path / "notes.jsonl").write_text("not a run\n")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "0001.jsonl").read_bytes())
    cut = (tmp_path / "0002.jsonl").read_bytes()
    (tmp_path / "0002.jsonl").write_bytes(cut[:-20])
    write(tmp_path / "when.jsonl", [header(H100, run_id="when", started="soon"), record()])
    with pytest.warns(RunFileWarning) as told:
        series = one(history(tmp_path))
    assert len(series.points) == 3
    text = "\n".join(str(each.message) for each in told)
    for said in ("notes.jsonl is not a run", "empty.jsonl is empty", "is a copy of", "'soon'"):
        assert said in text
    assert "0002.jsonl: the last line is cut" in text


def test_of_many_bad_files_some_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    past(tmp_path, 1)
    for index in range(MOST_TOLD + 5):
        (tmp_path / f"bad{index}.jsonl").write_text("{}\n")
    with pytest.warns(RunFileWarning) as told:
        series = one(history(sorted(tmp_path.glob("*.jsonl"))))  # as a shell expands a pattern
    assert len(series.points) == 1
    assert len(told) == MOST_TOLD + 1
    assert "5 more faults of files" in str(told[-1].message)


def test_none_usable_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    for source in (tmp_path, tmp_path / "a.jsonl"):
        with pytest.raises(GemmbenchError, match=r"a\.jsonl is not a run"):
            history(source)
    write(tmp_path / "a.jsonl", [header(), roof("copy", 20.0, "GB/s")])
    with pytest.raises(GemmbenchError, match="they hold roofs only"):
        history(tmp_path)
    with pytest.raises(GemmbenchError, match="no file matches"):
        history(str(tmp_path / "*.json"))


def test_two_runs_of_one_name_are_two_points(tmp_path: Path) -> None:
    past(tmp_path, 3, of=lambda index: {"run_id": "same"})
    assert len(one(history(tmp_path)).points) == 3


def several(folder: Path, runs: int = 2) -> Path:
    def records(index: int, time_us: float) -> list[Record]:
        return [
            record(kernel, size=size, precision=precision, took=turns(time_us))
            for kernel in ("alpha", "beta")
            for size in (1024, 512)
            for precision in ("fp32", "bf16")
        ]

    return past(folder, runs, records=records)


def test_what_is_wanted(tmp_path: Path) -> None:
    several(tmp_path)
    assert len(history(tmp_path).series) == 8
    found = history(
        tmp_path, Wanted(kernels=("beta",), problems=("512×512×512",), precisions=("bf16",))
    )
    assert (one(found).kernel, one(found).shape) == ("beta", "512x512x512")
    with pytest.raises(UnknownNameError, match="did you mean alpha"):
        history(tmp_path, Wanted(kernels=("alfa",)))
    with pytest.raises(UnknownNameError, match="unknown problem of these runs"):
        history(tmp_path, Wanted(problems=("5x5x5",)))
    with pytest.raises(UnknownNameError, match="unknown precision of these runs"):
        history(tmp_path, Wanted(precisions=("fp8",)))


def test_series_are_in_order_of_problem_precision_and_kernel(tmp_path: Path) -> None:
    found = history(several(tmp_path))
    order = [(series.shape, series.precision, series.kernel) for series in found.series]
    assert order[:4] == [
        ("512x512x512", "fp32", "alpha"),
        ("512x512x512", "fp32", "beta"),
        ("512x512x512", "bf16", "alpha"),
        ("512x512x512", "bf16", "beta"),
    ]
    assert {shape for shape, *_ in order[4:]} == {"1024x1024x1024"}


def text_of(made: tuple[Table, ...]) -> str:
    return "\n".join(map(to_text, made))


def test_the_tables(tmp_path: Path) -> None:
    found = history(several(tmp_path))
    (overview,) = tables(found)
    assert overview.columns == (
        *("kernel", "precision", "shape", "runs", "first", "last", "best", "trend"),
    )
    assert "8 of 8 series are short" in "".join(overview.notes)
    past(
        tmp_path / "long",
        40,
        of=software(20, {"torch": "2.12.0"}, {"torch": "2.13.0"}),
        speed=lambda index: 1.0 if index < 20 else 1.1,
    )
    changes, points = tables(history(tmp_path / "long"))
    assert len(points.rows) == 40
    assert "▲ +10." in to_text(points)
    assert "torch 2.12.0 → 2.13.0" in to_text(points)
    assert changes.title == "Changes of at least 2%"
    assert "| confirmed | torch 2.12.0 → 2.13.0 |" in to_markdown(changes)
    (only,) = tables(history(tmp_path / "long", delta=0.5))
    assert len(only.rows) == 40


def test_which_software_measured_is_told_also_where_it_changed(tmp_path: Path) -> None:
    def of(index: int) -> dict[str, Any]:
        triton = ("3.5", "3.6", "3.5")[index // 10]
        known = {"torch": "2.13.0", "nvidia_driver": "580.1" if index < 15 else "590"}
        return {"software": {**known, "triton": triton, "numpy": "2.4"}}

    found = history(past(tmp_path, 30, of=of))
    told = "nvidia_driver 580.1 → 590 · triton 3.5 → … → 3.5"
    assert caption(found.series) == (
        f"NVIDIA H100 80GB HBM3 · torch 2.13.0 · {told} · preset sustained · data normal · "
        "cache rotated · launch loop · synthetic: never measured"
    )
    (table,) = tables(found)
    assert table.title.endswith(caption(found.series))


def drifting(folder: Path, runs: int = 100, *, a_run: float = -0.001) -> History:
    return history(past(folder, runs, speed=lambda index: math.exp(a_run * index)))


def test_a_slow_drift_is_told_beside_the_steps_that_it_makes(tmp_path: Path) -> None:
    found = drifting(tmp_path)
    series = one(found)
    assert len(series.changes) >= 2
    assert series.drift_pct == pytest.approx(-0.1, abs=0.02)
    told = f"drifts by about {series.drift_pct:.2g}% a run within its levels"
    assert drift_text(series) == f"{told}: the changes may be one slow one"
    changes, points = tables(found)
    assert drift_text(series) in points.notes
    assert all(row[-1] == "nothing known; the series drifts" for row in changes.rows)
    assert json.loads(to_json(found))["series"][0]["drift_pct"] == series.drift_pct
    assert frame(found)["drift_pct"].unique().tolist() == [series.drift_pct]


def test_a_drift_against_the_steps_does_not_explain_them(tmp_path: Path) -> None:
    found = history(
        past(tmp_path, 100, speed=lambda index: 1.2 ** (index >= 50) * math.exp(-0.0006 * index))
    )
    series = one(found)
    assert drift_text(series).endswith("% a run within its levels")
    assert [why_text(change, series) for change in series.changes] == ["nothing known"]


def test_of_several_series_those_that_drift_are_marked(tmp_path: Path) -> None:
    def records(index: int, time_us: float) -> list[Record]:
        slower = math.exp(0.001 * index)
        return [
            record("steady", took=turns(time_us, seed=index)),
            record("slow", took=turns(time_us * slower, seed=index)),
        ]

    _, overview = tables(history(past(tmp_path, 100, records=records)))
    last = {row[0]: row[-1] for row in overview.rows}
    assert "drifts" in last["slow"]
    assert last["steady"] == ""
    assert "1 of 2 series drifts: changes of one may be one slow one" in overview.notes


def test_a_long_series_shows_its_changes_and_its_last_runs(tmp_path: Path) -> None:
    folder = past(tmp_path, MOST_ROWS + 1, speed=lambda index: 1.0 if index < 20 else 1.1)
    found = history(folder)
    changes, points = tables(found)
    assert changes.title.startswith("Changes")
    assert len(points.rows) == MOST_ROWS
    assert points.rows[-1][1] == one(found).points[-1].ran.run_id
    assert "1 earlier run not shown: --format csv has all" in points.notes
    assert len(frame(found)) == MOST_ROWS + 1


def test_one_is_told_as_one(tmp_path: Path) -> None:
    assert one(history(past(tmp_path, 1))).why_unsure.startswith("1 run that counts: nothing")


def test_csv_has_a_row_a_point(tmp_path: Path) -> None:
    past(
        tmp_path,
        40,
        of=software(20, {"torch": "2.12.0"}, {"torch": "2.13.0"}),
        speed=lambda index: 1.0 if index < 20 else 1.1,
    )
    found = history(tmp_path)
    df = frame(found)
    assert len(df) == 40
    change = df[df["change"].ne("")]
    assert change.index.tolist() == [20]
    row = change.iloc[0]
    assert row["change"] == "confirmed"
    assert row["change_pct_low"] < row["change_pct"] < row["change_pct_high"]
    assert row["changed"] == "torch 2.12.0 → 2.13.0"
    assert df["level_tflops"].nunique() == 2
    assert df["tflops"].equals(pd.Series([point.tflops for point in one(found).points]))


def test_json_is_whole(tmp_path: Path) -> None:
    found = json.loads(to_json(history(several(tmp_path))))
    assert [run["run_id"] for run in found["runs"]] == ["00000000", "00000001"]
    assert found["runs"][0]["facts"]["torch"] == "2.10.0"
    assert len(found["series"]) == 8
    point = found["series"][0]["points"][0]
    assert (point["run_id"], point["counts"], point["file"]) == ("00000000", True, "0000.jsonl")
    assert point["tflops"] > 0
    assert found["series"][0]["power_limit_w"] is None


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    evil = "k\x1b[31m\u202e"

    def records(index: int, time_us: float) -> list[Record]:
        return [record(evil, took=turns(time_us), modes={"\x1b": "\x07"}, label="\x1b]0;x\x07")]

    past(
        tmp_path,
        2,
        of=lambda index: {"software": {f"lib\x1b[{index}": "\x1b[2J"}, "run_id": f"\x1b{index}"},
        records=records,
    )
    found = history(tmp_path)
    for text in (text_of(tables(found)), to_json(found)):
        assert text.replace("\n", "").isprintable()


def test_a_damaged_figure_does_not_count(tmp_path: Path) -> None:
    def records(index: int, time_us: float) -> list[Record]:
        return [record("k", size=2**31 - 1, took=turns(time_us))]  # 10²⁴ TFLOP/s

    found = history(past(tmp_path, 30, records=records, of=lambda index: {"device": CPU}))
    assert not any(point.counts for point in one(found).points)
    assert one(found).changes == ()
    assert one(found).levels == ()
    assert text_of(tables(found))


def test_sparks() -> None:
    assert spark([1.0, 2.0, 3.0]) == "▁▅█"
    assert spark([]) == spark([1.0]) == ""
    assert spark([2.0, 2.0]) == "▁▁"
    assert len(spark([float(value) for value in range(1000)])) == 20


def test_a_run_without_a_fault_warns_of_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history(past(tmp_path, 3))
