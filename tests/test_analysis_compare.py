"""Comparing two measurements: planted changes are found, and nothing else."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic import (
    CPU,
    H100,
    MI300X,
    header,
    ladder_run,
    method,
    record,
    selftest,
    turn,
    turns,
    write,
)

from gemmbench.analysis.compare import compare
from gemmbench.analysis.comparison import Comparison
from gemmbench.records.frame import load
from gemmkernels.errors import GemmbenchError

Speed = Callable[[str, str, int, int], float]


def wobble(seed: int, percent: float, change: float = 1.0, kernel: str = "") -> Speed:
    """The spread between processes: one factor a case and repeat; and a change to one kernel."""

    def speed(name: str, precision: str, size: int, repeat: int) -> float:
        draw = random.Random(f"{seed} {name} {precision} {size} {repeat}")
        return math.exp(draw.gauss(0, percent / 100)) * (change if name == kernel else 1.0)

    return speed


def made(path: Path, speed: Speed, *, repeats: int = 5, **more: Any) -> Path:
    return ladder_run(path, repeats=repeats, speed=speed, **more)


def test_a_planted_change_is_found_and_nothing_else(tmp_path: Path) -> None:
    a = made(tmp_path / "a.jsonl", wobble(1, 0.5))
    b = made(tmp_path / "b.jsonl", wobble(2, 0.5, 1.1, "library"))
    found = compare(a, b)
    changed = [row for row in found.rows if row.verdict in ("faster", "slower")]
    assert {row.name for row in changed} == {"library"}
    assert len(changed) == 4
    for row in changed:
        assert row.verdict == "faster"
        assert row.ratio_low < 1.1 < row.ratio_high
        assert row.repeats == (5, 5)
    assert found.count("slower") == 0
    assert found.machine == "unmoved"
    assert compare(b, a).count("slower") == 4


def test_no_change_is_never_called_one(tmp_path: Path) -> None:
    sizes = range(100, 140)
    a = made(tmp_path / "a.jsonl", wobble(3, 1.0), sizes=sizes)
    b = made(tmp_path / "b.jsonl", wobble(4, 1.0), sizes=sizes)
    found = compare(a, b)
    assert len(found.rows) == 320
    assert found.count("faster") + found.count("slower") <= 1
    assert found.count("same") > 100


def test_many_noisy_rows_cry_no_wolf(tmp_path: Path) -> None:
    sizes = range(100, 140)
    a = made(tmp_path / "a.jsonl", wobble(5, 3.0), sizes=sizes)
    b = made(tmp_path / "b.jsonl", wobble(6, 3.0), sizes=sizes)
    found = compare(a, b, delta=0.02)
    assert found.count("faster") + found.count("slower") == 0
    assert sum("by chance" in row.why for row in found.rows) > 3


def test_dataframes_and_paths_are_one(tmp_path: Path) -> None:
    a = made(tmp_path / "a.jsonl", wobble(1, 0.5))
    assert repr(compare(a, str(a)).rows) == repr(compare(load(a), [a]).rows)


def test_geomeans_are_over_repeats(tmp_path: Path) -> None:
    a = made(tmp_path / "a.jsonl", wobble(1, 0.5))
    b = made(tmp_path / "b.jsonl", wobble(2, 0.5, 1.2, "library"))
    found = compare(a, b, delta=0.02).geomeans
    assert [(one.precision, one.rows) for one in found] == [("fp32", 8), ("bf16", 8)]
    for one in found:
        assert one.ratio == pytest.approx(1.2 ** (1 / 4), rel=0.01)
        assert one.verdict == "faster"


def single(
    tmp_path: Path, change: float, *, anchor: float = 50.0, anchors: bool = True
) -> Comparison:
    def one(path: Path, factor: float, anchor_us: float) -> Path:
        lines = [
            record("base", tier="naive", base=True, took=turns(1000.0, seed=1)),
            record("fast", took=turns(100.0 / factor, seed=2)),
        ]
        tests = [selftest(time_us=anchor_us)] if anchors else []
        return write(path, [header(), *tests, *lines])

    return compare(one(tmp_path / "a.jsonl", 1.0, 50.0), one(tmp_path / "b.jsonl", change, anchor))


def verdict(found: Comparison, name: str = "fast") -> str:
    (row,) = [row for row in found.rows if row.name == name]
    assert math.isnan(row.ratio_low)
    assert bool(row.why) == (row.verdict == "unsure")
    return row.verdict


def test_one_repeat_is_unsure_below_five_percent_without_anchors(tmp_path: Path) -> None:
    assert verdict(single(tmp_path, 1.04, anchors=False)) == "unsure"
    assert verdict(single(tmp_path, 1.0, anchors=False)) == "unsure"
    assert verdict(single(tmp_path, 1.10, anchors=False)) == "faster"
    assert verdict(single(tmp_path, 0.90, anchors=False)) == "slower"
    assert single(tmp_path, 1.0, anchors=False).machine == "unknown"


def test_with_anchors_the_ratio_within_a_process_decides(tmp_path: Path) -> None:
    assert verdict(single(tmp_path, 1.04)) == "faster"
    assert verdict(single(tmp_path, 0.96)) == "slower"
    assert verdict(single(tmp_path, 1.0)) == "same"
    assert verdict(single(tmp_path, 1.0), "base") == "unsure"


def test_a_machine_that_moved_makes_all_unsure(tmp_path: Path) -> None:
    found = single(tmp_path, 1.5, anchor=60.0)
    assert found.machine == "moved"
    assert found.anchor.value == pytest.approx(50 / 60, rel=0.01)
    assert verdict(found) == "unsure"
    assert "self-test moved" in found.rows[0].why


def test_contended_rows_are_unsure(tmp_path: Path) -> None:
    loud = [turn(r, 1e4, disturbed=9 if r < 7 else 0) for r in range(12)]
    base = record("base", base=True, took=turns(100.0))
    a = write(tmp_path / "a.jsonl", [header(), base, record("fast", took=loud)])
    b = write(tmp_path / "b.jsonl", [header(), base, record("fast", took=turns(100.0))])
    found = compare(a, b)
    assert [row.name for row in found.rows] == ["base"]
    assert found.left_out == ("fast fp32 1024x1024x1024 nn: contended | ok",)
    mixed = [record("fast", repeat=r, took=loud) for r in (1, 2)]
    a = write(tmp_path / "a.jsonl", [header(), record("fast", took=turns(200.0)), *mixed])
    (row,) = compare(a, b).rows
    assert (row.verdict, row.why) == ("unsure", "a is contended")


@pytest.mark.parametrize("word", ["throttled", "contended"])
def test_spoilt_repeats_are_left_out_while_most_are_sound(tmp_path: Path, word: str) -> None:
    sound = load(ladder_run(tmp_path / "a.jsonl", repeats=5))
    count = 5 if word == "throttled" else 2
    for spoilt, kept, told in ((2, 3, ("same", "")), (3, count, ("unsure", f"b is {word}"))):
        b = sound.copy()
        hit = b["repeat"] < spoilt
        b.loc[hit, "verdict"] = word
        b.loc[hit, "time_us"] *= 2
        found = compare(sound, b)
        assert {(row.verdict, row.why) for row in found.rows} == {told}
        assert {row.repeats for row in found.rows} == {(5, kept)}


def test_a_case_that_was_wrong_once_is_unsure(tmp_path: Path) -> None:
    lines = [record(repeat=r, took=turns(100.0, seed=r)) for r in range(3)]
    a = write(tmp_path / "a.jsonl", [header(), *lines])
    for status in ("wrong", "failed", "timeout", "interrupted"):
        bad = record(repeat=3, status=status)
        b = write(tmp_path / "b.jsonl", [header(), *lines, bad])
        (row,) = compare(a, b).rows
        told = ("same", "") if status == "interrupted" else ("unsure", f"b is {status} in a repeat")
        assert (row.verdict, row.why) == told


def test_devices_are_compared_and_their_differences_told(tmp_path: Path) -> None:
    a = ladder_run(
        tmp_path / "a.jsonl",
        device=H100,
        method=method(launch="graph"),
        software={"torch": "2.10.0", "cuda": "13.0"},
    )
    b = ladder_run(
        tmp_path / "b.jsonl",
        device=MI300X,
        method=method(launch="stream"),
        software={"torch": "2.10.0", "rocm": "7.2"},
        speed=lambda *_: 1.5,
    )
    found = compare(a, b)
    assert found.machine == "another"
    assert (found.a.device, found.b.device) == (H100.name, MI300X.name)
    told = {one.what: (one.a, one.b) for one in found.differs}
    assert told["cuda"] == ("13.0", "")
    assert told["launch"] == ("graph", "stream")
    assert "torch" not in told
    row = next(row for row in found.rows if row.name == "library" and row.precision == "bf16")
    assert row.verdict == "faster"
    assert 0 < row.pct_peak.a < 100
    assert row.pct_peak.b > 0
    by_tier = compare(a, b, by="tier")
    assert {row.name for row in by_tier.rows} == {"naive", "tiled", "matrix-core", "library"}


def test_by_tier_takes_the_fastest_of_each(tmp_path: Path) -> None:
    ours = [record("old", took=turns(100.0)), record("new", took=turns(50.0))]
    a = write(tmp_path / "a.jsonl", [header(), *ours])
    b = write(tmp_path / "b.jsonl", [header(), record("other", took=turns(25.0))])
    (row,) = compare(a, b, by="tier").rows
    assert (row.name, row.kernel_a, row.kernel_b) == ("tiled", "new", "other")
    assert row.ratio == pytest.approx(2, rel=0.01)
    with pytest.raises(GemmbenchError, match="share no problem and kernel"):
        compare(a, b)


@pytest.mark.parametrize(
    "changes", [{"preset": "quick"}, {"cache": "hot"}, {"launch": "stream"}, {"data": "zeros"}]
)
def test_different_methods_are_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    a = ladder_run(tmp_path / "a.jsonl")
    b = ladder_run(tmp_path / "b.jsonl", method=method(**changes))
    ((name, value),) = changes.items()
    with pytest.raises(GemmbenchError, match=f"measured in different ways, {name} .*{value}"):
        compare(a, b)
    both = tmp_path / "[ab].jsonl"
    if name != "launch":
        with pytest.raises(GemmbenchError, match=f"the first mixes runs of {name}"):
            compare(both, a)


def test_a_case_that_was_launched_in_two_ways_is_unsure(tmp_path: Path) -> None:
    base = record("base", base=True, took=turns(100.0))
    a = write(tmp_path / "a.jsonl", [header(), base, record(launch="graph", took=turns(9.0))])
    b = write(tmp_path / "b.jsonl", [header(), base, record(launch="stream", took=turns(5.0))])
    row = next(row for row in compare(a, b).rows if row.name == "tiled")
    assert (row.verdict, row.why) == ("unsure", "launched in two ways, graph and stream")


def test_nothing_to_compare_is_one_line(tmp_path: Path) -> None:
    a = ladder_run(tmp_path / "a.jsonl", sizes=(512,))
    b = ladder_run(tmp_path / "b.jsonl", sizes=(1024,))
    empty = write(tmp_path / "empty.jsonl", [header()])
    failed = write(
        tmp_path / "failed.jsonl", [header(), record("naive", status="failed", size=512)]
    )
    for other, told in (
        (b, "share no problem"),
        (empty, "no records"),
        (failed, "no row has a time"),
    ):
        with pytest.raises(GemmbenchError, match=told) as seen:
            compare(a, other)
        assert "\n" not in str(seen.value)
    with pytest.raises(GemmbenchError, match="did you mean kernel"):
        compare(a, a, by="kernels")  # type: ignore[arg-type]
    with pytest.raises(GemmbenchError, match="delta = 2"):
        compare(a, a, delta=2)


def test_sides_are_one_device_each(tmp_path: Path) -> None:
    ladder_run(tmp_path / "a.jsonl", device=CPU)
    ladder_run(tmp_path / "b.jsonl", device=H100)
    with pytest.raises(GemmbenchError, match="the first mixes runs of device"):
        compare(tmp_path, tmp_path)
