"""Roofs as they are read: the columns that they fill, what voids them, and how they are shown."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pandas as pd
import pytest
import synthetic as syn

from gemmbench.analysis.benchmarks import extra_info
from gemmbench.analysis.roofs import RoofRow, roofs_of_runs
from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.devices.spec import match
from gemmbench.records.frame import frame, load
from gemmbench.records.reader import Run, read
from gemmbench.records.roofs import Measured, rate_of, roofs_of, with_roofs
from gemmbench.records.schema import Record, Roof
from gemmbench.show import results
from gemmbench.show import roofs as shown
from gemmbench.show.tables import to_text
from gemmkernels.device import Device

FLOP = 2 * 1024**3


def at(tflops: float, **changes: object) -> Record:
    """A kernel's record at 1024³ that reaches that many TFLOP/s."""
    took = syn.turns(FLOP / tflops / 1e6, noise=0.0)
    return syn.record("tiled", took=took, **changes)  # type: ignore[arg-type]


def vector(tflops: float, precision: str = "fp32", **changes: object) -> Roof:
    return syn.roof("vector", tflops, "TFLOP/s", precision=precision, **changes)  # type: ignore[arg-type]


def run(
    folder: Path,
    *lines: Record | Roof,
    run_id: str = "one",
    device: Device = syn.CPU,
    synthetic: bool = True,
    **of_header: object,
) -> Run:
    header = syn.header(device, run_id=run_id, synthetic=synthetic, **of_header)
    return read(syn.write(folder / f"{run_id}.jsonl", [header, *lines]))


def roof_of(table: pd.DataFrame) -> list[tuple[float, bool]]:
    rows = zip(table["roof_tflops"].tolist(), table["roof_void"].tolist(), strict=True)
    return [(round(value, 6), void) for value, void in rows]


def test_lines_come_back_whole(tmp_path: Path) -> None:
    written = [
        vector(0.2, clock_mhz=3400.0),
        syn.roof("launch-loop", 0.03, "us"),
        Roof(repeat=0, name="copy", unit="GB/s", status="timeout", reason="in turn: no answer"),
    ]
    assert run(tmp_path, *written).roofs == tuple(written)


def test_a_row_has_its_own_roof_else_the_devices(tmp_path: Path) -> None:
    own = run(tmp_path, at(0.1), vector(0.2), run_id="a")
    bare = run(tmp_path, at(0.1), run_id="b")
    probe = run(tmp_path, vector(0.25), run_id="c", probing=True)
    table = frame([own, bare, probe])
    assert roof_of(table) == [(0.2, False), (0.25, False)]
    assert table["pct_roof"].round(6).tolist() == [50.0, 40.0]
    assert math.isnan(frame([bare])["roof_tflops"].iloc[0])
    loaded = load([own.path, bare.path, probe.path])
    assert roof_of(loaded) == roof_of(table)


def test_other_places_lend_no_roof(tmp_path: Path) -> None:
    bare = run(tmp_path, at(0.1), run_id="a")
    fewer = replace(syn.CPU, units=1)
    capped = replace(syn.CPU, power_limit_w=100.0)
    others = [
        run(tmp_path, vector(0.2), run_id="b", device=fewer),
        run(tmp_path, vector(0.2), run_id="c", device=capped),
        run(tmp_path, vector(0.2), run_id="d", synthetic=False),
    ]
    assert math.isnan(frame([bare, *others])["roof_tflops"].iloc[0])


def test_the_interval_of_a_roof_stands_beside_it(tmp_path: Path) -> None:
    spread = [
        syn.roof("vector", 0.2 + r / 50, "TFLOP/s", precision="fp32", repeat=r) for r in range(3)
    ]
    own = run(tmp_path, at(0.1), at(0.1, precision="int8"), *spread)
    fp32, int8 = (row for _, row in frame([own]).iterrows())
    known = roofs_of([own]).tflops("fp32") or none()
    ends = fp32["roof_tflops_low"], fp32["roof_tflops"], fp32["roof_tflops_high"]
    assert ends == (known.low, known.value, known.high)
    assert ends[0] < ends[1] < ends[2]
    assert math.isnan(int8["roof_tflops_low"])


def test_precisions_share_the_roof_of_their_arithmetic(tmp_path: Path) -> None:
    names = ("fp8_e4m3", "fp8_e4m3_rowwise", "bf16", "bf16x3", "bf16_sparse", "mxfp8")
    lines = [at(100.0, precision=name) for name in names]
    roofs = [
        syn.roof("matrix", 900.0, "TFLOP/s", precision="fp8_e4m3"),
        syn.roof("matrix", 450.0, "TFLOP/s", precision="bf16"),
        vector(30.0, "bf16"),
    ]
    table = frame([run(tmp_path, *lines, *roofs, device=syn.H100)])
    found = dict(zip(table["precision"], table["roof_tflops"].round(6), strict=True))
    assert {name: found[name] for name in names[:4]} == {
        "fp8_e4m3": 900.0,
        "fp8_e4m3_rowwise": 900.0,
        "bf16": 450.0,
        "bf16x3": 150.0,
    }
    assert math.isnan(found["bf16_sparse"])
    assert math.isnan(found["mxfp8"])
    assert "÷ 3" in (roofs_of([run(tmp_path, *roofs)]).tflops("bf16x3") or none()).source


def none() -> Measured:
    raise AssertionError("no roof")


def test_a_verified_kernel_above_a_roof_voids_it_in_every_run_of_the_device(
    tmp_path: Path,
) -> None:
    own = run(tmp_path, at(0.1), at(0.1, precision="fp64"), vector(0.2), vector(0.3, "fp64"))
    faster = run(tmp_path, at(0.21), run_id="b")
    table = frame([own, faster])
    void = table[table["precision"] == "fp32"]
    assert void["roof_void"].tolist() == [True, True]
    assert void["roof_tflops"].isna().all()
    assert void["pct_roof"].isna().all()
    assert roof_of(table[table["precision"] == "fp64"]) == [(0.3, False)]
    assert roof_of(frame([own]))[0] == (0.2, False)


@pytest.mark.parametrize(
    "record",
    [
        at(0.21, status="failed"),
        at(0.21, status="wrong"),
        at(0.19),
        syn.record("tiled", took=syn.turns(FLOP / 0.21e6, noise=0.2, rounds=10)),
    ],
    ids=["failed", "wrong", "slower", "unsure"],
)
def test_what_is_not_surely_above_voids_nothing(record: Record, tmp_path: Path) -> None:
    found = frame([run(tmp_path, record, at(0.1, size=512, group="x"), vector(0.2))])
    assert not found["roof_void"].any()


def test_what_another_tool_measured_voids_nothing(tmp_path: Path) -> None:
    own = run(tmp_path, at(0.1), vector(0.2))
    theirs = run(tmp_path, at(0.3), run_id="b", tool="nvbench")
    assert not frame([own, theirs])["roof_void"].any()


@pytest.mark.parametrize("of_kernel", [False, True])
@pytest.mark.parametrize("of_roof", [False, True])
def test_only_turns_as_long_as_the_roofs_void_it(
    tmp_path: Path, of_kernel: bool, of_roof: bool
) -> None:
    methods = {False: syn.method(), True: syn.method(preset="quick", unsettled=True)}
    probe = run(tmp_path, at(0.1), vector(0.2), method=methods[of_roof])
    faster = run(tmp_path, at(0.3), run_id="b", method=methods[of_kernel])
    alike = of_kernel == of_roof
    assert frame([probe, faster])["roof_void"].tolist() == [alike, alike]
    (one,) = roofs_of_runs([probe, faster])
    assert (one.rows[0].verdict == "void") == alike


def test_a_roof_has_the_verdict_of_its_turns(tmp_path: Path) -> None:
    rough, fine = vector(0.2, noise=0.1), vector(0.2, noise=0.001)
    rising = tuple(replace(one, median_ns=5e6 * (1 + one.round / 20)) for one in fine.turns)
    again = [vector(0.2, noise=0.001, repeat=number) for number in range(3)]
    for lines, word in (
        ([rough], "noisy"),
        ([fine], "converged"),
        ([msgspec.structs.replace(fine, turns=rising)], "drifting"),
        ([msgspec.structs.replace(fine, limits={"thermal": 1e9})], "throttled"),
        ([fine, vector(0.25, noise=0.001, repeat=1)], "noisy"),
        (again, "converged"),
    ):
        (found,) = roofs_of_runs([run(tmp_path, *lines)])
        assert found.rows[0].verdict == word
        assert to_text(shown.tables([found])[0]).split("\n")[3].endswith(word)


def test_repeats_and_neighbours(tmp_path: Path) -> None:
    (one,) = roofs_of([run(tmp_path, vector(0.2), vector(0.22, repeat=1))]).found
    assert one.repeats == 2
    assert one.value == pytest.approx(math.sqrt(0.2 * 0.22))
    assert one.low < 0.2 < 0.22 < one.high
    lost = [replace(turn, median_ns=None, disturbed=10) for turn in vector(0.1).turns]
    spoilt = msgspec.structs.replace(vector(0.1, repeat=2), turns=tuple(lost))
    (same,) = roofs_of([run(tmp_path, vector(0.2), vector(0.22, repeat=1), spoilt)]).found
    assert same.value == one.value
    assert roofs_of([run(tmp_path, spoilt)]).found == ()
    assert rate_of(vector(0.2)).value == pytest.approx(0.2)


def test_a_hundred_thousand_rows_take_no_time(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, at(0.1), vector(0.2), run_id=f"r{number}", started=f"{number}")
        for number in range(20)
    ]
    small = frame(runs)
    table = pd.concat([small] * 5_000, ignore_index=True)
    began = time.process_time()
    found = with_roofs(table, runs)
    took_s = time.process_time() - began
    assert len(found) == 100_000
    assert found["roof_tflops"].round(6).eq(0.2).all()
    assert took_s < 60  # some 0.3 s: what is told twice of each row would take minutes


# Beside the sheet, and as text.


def rows(runs: Sequence[Run]) -> dict[str, RoofRow]:
    return {
        f"{row.name} {row.precision}".strip(): row
        for one in roofs_of_runs(runs)
        for row in one.rows
    }


def h100(folder: Path, *lines: Record | Roof) -> Run:
    sheet = match(syn.H100)
    assert sheet is not None
    return run(folder, *lines, device=syn.H100, device_id=sheet.id)


def test_percent_of_the_sheet_is_of_the_same_unit(tmp_path: Path) -> None:
    own = h100(
        tmp_path,
        syn.roof("copy", 3015.0, "GB/s"),
        syn.roof("matrix", 800.0, "TFLOP/s", precision="bf16", clock_mhz=1600.0),
        syn.roof("matrix", 60.0, "TFLOP/s", precision="fp64"),
        syn.roof("vector", 33.0, "TFLOP/s", precision="fp64"),
        syn.roof("launch-graph", 1.2, "us"),
        Roof(repeat=0, name="matrix", precision="int8", unit="TFLOP/s", status="wrong", reason="x"),
    )
    found = rows([own])
    (one,) = roofs_of_runs([own])
    assert found["copy"].pct_spec == pytest.approx(100 * 3015 / found["copy"].spec)
    assert 3000 < found["copy"].spec < 3500
    assert found["matrix bf16"].spec == pytest.approx(989.4, abs=1)
    assert found["matrix bf16"].clock_mhz == 1600.0
    assert found["vector fp64"].spec < found["matrix fp64"].spec
    assert math.isnan(found["launch-graph"].spec)
    assert (found["matrix int8"].verdict, found["matrix int8"].reason) == ("wrong", "x")
    assert not any(row.impossible for row in found.values())
    assert [row.name for row in one.rows][:2] == ["copy", "launch-graph"]


def test_a_loop_of_packed_products_is_held_against_their_peak(tmp_path: Path) -> None:
    mi250x = replace(
        syn.MI300X,
        name="AMD Instinct MI250X / MI250",
        architecture="gfx90a",
        units=110,
        memory_bytes=64 * 10**9,
    )
    sheet = match(mi250x)
    assert sheet is not None
    vector = syn.roof("vector", 45.0, "TFLOP/s", precision="fp32", clock_mhz=1700.0)
    found = rows([run(tmp_path, vector, device=mi250x, device_id=sheet.id)])
    assert found["vector fp32"].spec == 47.9
    assert not found["vector fp32"].impossible


def test_a_roof_above_the_sheet_at_the_clock_held_is_impossible(tmp_path: Path) -> None:
    held = syn.roof("matrix", 900.0, "TFLOP/s", precision="bf16", clock_mhz=1400.0)
    own = h100(tmp_path, held)
    (one,) = roofs_of_runs([own])
    assert one.rows[0].impossible
    assert "impossible" in to_text(shown.tables([one])[0])


def test_void_is_said_in_roofs_and_in_show(tmp_path: Path) -> None:
    own = run(tmp_path, at(0.1), vector(0.2), syn.roof("copy", 40.0, "GB/s"))
    faster = run(tmp_path, at(0.21), run_id="b")
    (one,) = roofs_of_runs([own, faster])
    found = {row.name: row for row in one.rows}
    assert found["vector"].verdict == "void"
    assert found["vector"].reason.startswith(
        "tiled fp32 1024x1024x1024 in b.jsonl reaches at least"
    )
    assert found["copy"].verdict == "converged"
    text = to_text(shown.tables([one])[0])
    assert "void: a verified kernel is faster" in text
    assert roofs_of_runs([own])[0].rows[-1].verdict == "converged"
    tables = results.results(ladder(frame([own, faster])))
    said = "\n".join(map(to_text, tables))
    assert "void: the measured roof of fp32" in said
    assert "of roof" not in said


def test_show_and_export_tell_the_share_of_the_roof(tmp_path: Path) -> None:
    own = run(tmp_path, at(0.1), vector(0.2))
    table = ladder(frame([own]))
    text = to_text(results.results(table)[0])
    assert "of roof" in text
    assert "50.0%" in text
    info = extra_info(next(rows_of(table)))
    assert info["roof_tflops"] == pytest.approx(0.2)
    assert info["pct_roof"] == pytest.approx(50)


def test_what_neighbours_spoilt_has_a_value_and_no_interval(tmp_path: Path) -> None:
    busy = [replace(turn, disturbed=6, median_ns=5e6) for turn in vector(0.1).turns]
    clean = replace(vector(0.1).turns[0], round=99)
    spoilt = msgspec.structs.replace(vector(0.1), turns=(*busy, clean))
    row = rows([run(tmp_path, spoilt)])["vector fp32"]
    assert row.verdict == "contended"
    assert row.value == pytest.approx(0.1, rel=0.01)
    assert math.isnan(row.low)


def test_text_of_others_is_escaped_and_json_has_no_nan(tmp_path: Path) -> None:
    bad = Roof(
        repeat=0,
        name="cop\x1b[2Jy",
        precision="f\u202ep",
        unit="GB/s",
        status="failed",
        reason="\n",
    )
    found = roofs_of_runs([run(tmp_path, bad, vector(0.2))])
    text = to_text(shown.tables(found)[0])
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "NaN" not in shown.to_json(found)
    assert '"low": null' in shown.to_json(found)


def test_sizes() -> None:
    assert [shown.size(n) for n in (0, 7, 2048, 16 * 2**20, 3 * 2**30)] == [
        *("", "7 B", "2.00 KiB", "16.0 MiB", "3.00 GiB")
    ]


def test_the_best_of_each_precision_tells_its_share_of_the_roof(tmp_path: Path) -> None:
    own = run(tmp_path, at(0.1), vector(0.2))
    (table,) = results.summary(best(ladder(frame([own]))))
    (row,) = table.rows
    assert "Best of each precision" in table.title
    assert row[table.columns.index("of roof")] == "50.0%"
