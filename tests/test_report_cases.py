"""The data of the report's table of all cases: compact, true to the records, and inert."""

import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import (
    COMPILED,
    DEVICE,
    HOSTILE,
    REASON,
    contended_run,
    many,
    rich_run,
    timed,
    watched,
)
from synthetic import CPU, header, ladder_run, method, record, turn, write

from gemmbench.analysis.distribution import BINS, REPEATS, TURNS, course, distribution
from gemmbench.analysis.overview import Overview, overview
from gemmbench.analysis.pool import counting
from gemmbench.analysis.rows import rows_of
from gemmbench.cli.measuring import run as run_command
from gemmbench.show.report.case_drawn import LEVELS, levels_of
from gemmbench.show.report.case_schema import CasesData, Cells, Detail
from gemmbench.show.report.cases import cases_data, cases_json
from gemmbench.show.text import digits
from gemmbench.show.waterfall import step_text
from gemmbench.timing.turn import Turn


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Overview:
    return overview(rich_run(tmp_path_factory.mktemp("cases") / "h100.jsonl"))


@pytest.fixture(scope="module")
def data(seen: Overview) -> CasesData:
    return cases_data(seen)


def detail(data: CasesData, kernel: str) -> Detail:
    (found, *_) = [
        one
        for row, one in zip(data.rows, data.details, strict=True)
        if data.strings[row.kernel] == kernel
    ]
    return found


def facts(data: CasesData, one: Detail) -> dict[str, str]:
    heads = [data.strings[what] for _, some in data.forms[one.form] for what in some]
    values = [(value,) if isinstance(value, int) else value for value in one.facts]
    texts = (" ".join(data.strings[place] for place in some) for some in values)
    return dict(zip(heads, texts, strict=True))


def said(data: CasesData, kernel: str) -> dict[str, str]:
    return facts(data, detail(data, kernel))


# The table.


def test_a_row_a_case_in_the_runs_order(seen: Overview, data: CasesData) -> None:
    rows = list(rows_of(seen.runs[0].rows))
    assert len(data.rows) == len(data.details) == len(rows)
    for row, cells in zip(rows, data.rows, strict=True):
        assert data.strings[cells.precision] == row.precision
        assert data.strings[cells.status] == row.status
        for value, number in ((row.time_us, cells.time), (row.tflops, cells.rate)):
            assert (number is None) == math.isnan(value)
            assert number is None or number == pytest.approx(value, rel=5e-4)
    said = {data.strings[one.kernel]: data.strings[one.said] for one in data.rows}
    assert said["broken"] == REASON
    assert "impossible" in said["too-fast"]
    assert data.runs[0].limit_w == 700
    assert data.runs[0].boost_mhz == 1980


def test_shapes_are_in_the_order_of_their_work(tmp_path: Path) -> None:
    shapes = [(4096, 16, 4096), (1000, 1000, 1000), (512, 512, 512), (16, 4096, 4096)]
    records = [record("x", size=one, precision="bf16") for one in shapes]
    path = write(tmp_path / "run.jsonl", [header(synthetic=True), *records])
    found = cases_data(overview(path))
    by_place = sorted(found.rows, key=lambda one: one.shape_place)
    assert [found.strings[one.shape] for one in by_place] == [
        "512x512x512",
        "16x4096x4096",
        "4096x16x4096",
        "1000x1000x1000",
    ]


def test_each_text_stands_once(data: CasesData) -> None:
    assert len(set(data.strings)) == len(data.strings)


def test_json_holds_no_markup_and_no_foreign_numbers(seen: Overview, data: CasesData) -> None:
    text = cases_json(seen)
    assert not set("<>&\u2028\u2029") & set(text)
    assert "NaN" not in text
    read = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert HOSTILE in read["strings"]
    assert msgspec.json.decode(text, type=CasesData) == data


def test_names_are_escaped_and_cut(tmp_path: Path) -> None:
    bad = ["\x1b[2J", "\u202eevil", "\u2028\u2029", "x" * 100_000, "</script>", "]]>"]
    records = [
        timed(name, 100.0 + index, size=1024, label=name, warnings=(name,), config={name: name})
        for index, name in enumerate(bad)
    ]
    records.append(record("y" * 9999, precision="bf16", status="failed", reason="z" * 100_000))
    path = write(tmp_path / "run.jsonl", [header(DEVICE, synthetic=True), *records])
    found = cases_data(overview(path))
    assert all(one.isprintable() for one in found.strings)
    assert max(map(len, found.strings)) <= 500
    assert not set("<>&\x1b\u202e\u2028") & set(cases_json(overview(path)))


def test_a_case_of_a_rich_run_takes_little_room(tmp_path: Path) -> None:
    """Many turns with telemetry, roofs, gaps, labels, warnings, and what was compiled."""
    stalls = ("3.1% of the samples took over twice the median: it stalls now and then",)
    path = many(tmp_path / "run.jsonl", rounds=60, warnings=stalls, compiled=(COMPILED,))
    found = overview(path)
    assert all(seen.gap for one in found.runs for seen in one.cases)
    assert len(cases_json(found)) / len(found.runs[0].cases) < 1200


def test_a_case_of_several_repeats_takes_under_2_kb(tmp_path: Path) -> None:
    records = [
        timed(f"kernel-{index}", 300.0 + index, repeat=repeat, rounds=80, samples=2)
        for repeat in range(5)
        for index in range(40)
    ]
    path = write(tmp_path / "run.jsonl", [header(DEVICE, synthetic=True), *records])
    assert len(cases_json(overview(path))) / 40 < 2000
    plain = ladder_run(tmp_path / "plain.jsonl", sizes=range(256, 456, 8), synthetic=True)
    assert len(cases_json(overview(plain))) / (25 * 2 * 4) < 900


def by_kernel(data: CasesData) -> dict[str, Cells]:
    return {data.strings[one.kernel]: one for one in data.rows}


def test_an_impossible_figure_wears_no_good_tone(data: CasesData) -> None:
    tones = {name: data.strings[one.tone] for name, one in by_kernel(data).items()}
    assert tones["too-fast"] == tones["broken"] == tones["inexact"] == "bad"
    assert tones["cut"] == tones["beside"] == "warn"
    assert (tones["older"], tones["naive"]) == ("", "good")


def test_a_speedup_says_what_it_is_over(tmp_path: Path) -> None:
    """The base runs in bf16 and fp32, but not in fp16; the common one is said once."""
    records = [
        timed("naive", 7.0, base=True, tier="naive", precision=name) for name in ("fp32", "bf16")
    ]
    records += [timed("torch", 300.0, precision=name) for name in ("fp32", "bf16", "fp16")]
    path = write(tmp_path / "run.jsonl", [header(DEVICE, synthetic=True), *records])
    found = cases_data(overview(path))
    assert found.speedups_over.startswith("Speedups are over naive, but where a cell names another")
    own = [found.strings[one.over] for one in found.rows if found.strings[one.precision] != "fp16"]
    assert set(own) == {""}
    (fp16,) = [one for one in found.rows if found.strings[one.precision] == "fp16"]
    assert found.strings[fp16.over] == "naive in fp32"


# The distribution.


def test_a_histogram_counts_every_sample(seen: Overview) -> None:
    for one in seen.runs[0].cases:
        found = distribution(one.records)
        timed = [record for record in one.records if record.status == "ok"]
        kept = sum(len(turn.samples_ns or ()) for record in timed for turn in record.turns)
        if found is None or not found.of_samples:
            continue
        assert sum(found.clean) + sum(found.disturbed) + found.below + found.above == kept
        spoilt = sum(len(turn.disturbed_at) for record in timed for turn in record.turns)
        assert sum(found.disturbed) + found.lost == spoilt
        assert len(found.clean) <= BINS
        assert [spread.repeat for spread in found.spreads] == [one.repeat for one in timed]


def test_spreads_are_the_quartiles_of_the_clean_samples() -> None:
    took = (turn(0, 3000.0, samples=[1000, 2000, 3000, 4000, 5000, 90_000], disturbed=1),)
    took = (replace(took[0], disturbed_at=(5,)),)
    found = distribution([record(took=took, repeat=4)])
    assert found is not None
    (spread,) = found.spreads
    assert (spread.repeat, spread.counts, spread.quartiles_us) == (4, True, (2.0, 3.0, 4.0))
    assert (found.low_us, found.high_us, sum(found.clean)) == (1.0, 5.0, 5)
    assert (found.above, found.lost, sum(found.disturbed)) == (1, 1, 0)


def test_where_no_samples_are_kept_the_turns_are_counted() -> None:
    took = [turn(number, 1e3 * (10 + number)) for number in range(8)]
    took.append(turn(8, 9e9, disturbed=9))  # has no value
    found = distribution([record(took=took)])
    assert found is not None
    assert not found.of_samples
    assert sum(found.clean) == 8
    assert (found.low_us, found.high_us) == (10.0, 17.0)


def test_what_has_no_times_has_no_distribution() -> None:
    assert distribution([record(status="failed")]) is None
    assert distribution([record(status="wrong", took=[turn(0, 5.0, samples=[5.0])])]) is None
    assert course([record(status="failed")]) is None


def test_samples_that_are_all_alike_fall_into_one_bin() -> None:
    found = distribution([record(took=[turn(0, 5e3, samples=[5e3] * 20)])])
    assert found is not None
    assert found.clean == (20,)
    assert found.low_us < 5 < found.high_us


@given(
    st.lists(st.floats(allow_nan=False), max_size=40),
    st.lists(st.integers(0, 60), max_size=5, unique=True),
)
def test_any_samples_are_counted_or_left_out(samples: list[float], spoilt: list[int]) -> None:
    one = replace(turn(0, 1.0, samples=samples), disturbed_at=tuple(spoilt))
    found = distribution([record(took=[one])])
    clean = [ns for place, ns in enumerate(samples) if place not in spoilt and 0 < ns < 1e18]
    lost = [ns for place, ns in enumerate(samples) if place in spoilt and 0 < ns < 1e18]
    if not clean:
        assert found is None or not found.of_samples
        return
    assert found is not None
    binned = sum(found.clean) + sum(found.disturbed)
    assert binned + found.below + found.above == len(clean) + len(lost)


def test_many_turns_are_thinned_evenly_from_the_first_to_the_last() -> None:
    records = [record(took=watched(100.0, rounds=100), repeat=repeat) for repeat in range(3)]
    found = course(records)
    assert found is not None
    assert found.taken == 300
    assert len(found.time_us) == len(found.clock_mhz) == TURNS
    assert found.time_us[0] == pytest.approx((records[0].turns[0].median_ns or 0) / 1e3)
    assert found.time_us[-1] == pytest.approx((records[2].turns[-1].median_ns or 0) / 1e3)
    assert list(np.bincount(found.repeat)) == [14, 13, 13]
    spreads = distribution([record(took=watched(9.0), repeat=one) for one in range(30)])
    assert spreads is not None
    assert len(spreads.spreads) == REPEATS


def test_turns_tell_what_was_seen_and_which_count() -> None:
    took = [
        turn(0, 5e3, clock_mhz=1400.0, power_w=-1.0),
        turn(1, None, clock_mhz=1e300, power_w=300.0),
        turn(2, 6e3, disturbed=9),
    ]
    found = course([record(took=took)])
    assert found is not None
    assert found.counts == (True, False, False)
    np.testing.assert_array_equal(found.time_us, (5.0, math.nan, 6.0))
    np.testing.assert_array_equal(found.clock_mhz, (1400.0, math.nan, math.nan))
    np.testing.assert_array_equal(found.power_w, (math.nan, 300.0, math.nan))


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Overview:
    return overview(contended_run(tmp_path_factory.mktemp("beside") / "run.jsonl"))


def test_contended_repeats_do_not_count_as_in_the_table(beside: Overview) -> None:
    (row,), (seen,) = rows_of(beside.runs[0].rows), beside.runs[0].cases
    assert (row.n_repeats, row.of_repeats) == (3, 5)
    assert seen.counts == (True, False, True, False, True)
    found, turns = distribution(seen.records, seen.counts), course(seen.records, seen.counts)
    assert found is not None
    assert turns is not None
    assert found.high_us < 1.5 * row.time_us
    fine = [one for one, counts in zip(seen.records, seen.counts, strict=True) if counts]
    kept = sum(len(turn.samples_ns or ()) for one in fine for turn in one.turns)
    assert sum(found.clean) + sum(found.disturbed) + found.below + found.above == kept
    assert [one.counts for one in found.spreads] == list(seen.counts)
    assert found.spreads[1].quartiles_us[0] > 5 * row.time_us
    places = dict(zip(turns.repeat, turns.counts, strict=True))
    assert places == {0: True, 1: False, 2: True, 3: False, 4: True}


def test_contended_repeats_are_out_of_the_range_and_of_the_counts(beside: Overview) -> None:
    (one,) = cases_data(beside).details
    assert one.samples is not None
    assert one.turns is not None
    assert one.turns.time is not None
    assert one.turns.time.high < 1.5 * (one.time[0] or 0)
    assert {one.turns.time.at[place] for place in one.turns.hollow} == {LEVELS[-1]}
    assert len(one.turns.seams) == 4
    assert [spread[1] for spread in one.samples.spreads] == [True, False, True, False, True]
    told = facts(cases_data(beside), one)["samples"]
    assert told == "540 in 36 turns, 9 of them disturbed, without 2 contended repeats"


def test_where_all_are_contended_all_are_shown() -> None:
    assert counting(["contended", "noisy", None]) == (False, True, True)
    assert counting(["contended", "contended"]) == (True, True)
    assert counting([]) == ()


@given(st.lists(st.floats(1e-3, 1e6) | st.just(math.nan), min_size=1, max_size=40))
def test_turns_are_drawn_where_they_lie(values: list[float]) -> None:
    found = levels_of(values, values)
    known = [one for one in values if not math.isnan(one)]
    if found is None:
        assert not known
        return
    step = (found.high - found.low) / (len(LEVELS) - 1)
    for value, mark in zip(values, found.at, strict=True):
        assert (mark == ".") == math.isnan(value)
        if mark != ".":
            at = found.low + step * LEVELS.index(mark)
            assert at == pytest.approx(value, abs=0.51 * step + 2e-5 * max(known))


# The detail.


def test_the_steps_of_a_gap_are_its_factors(seen: Overview, data: CasesData) -> None:
    checked = 0
    for one, shown in zip(seen.runs[0].cases, data.details, strict=True):
        assert (one.gap is None) == (shown.gap is None)
        if one.gap is None or shown.gap is None:
            continue
        steps = shown.gap
        assert one.gap.causes.top is not None
        assert steps.peak == pytest.approx(one.gap.causes.top.tflops, rel=1e-3)
        assert None not in (steps.peak, *steps.factors)
        rate = (steps.peak or 0) * math.prod(value or 0 for value in steps.factors)
        assert rate == pytest.approx(one.gap.case.tflops, rel=1e-3)
        told = [data.strings[place] for place in steps.said]
        assert told[1:-1] == [step_text(one.gap, factor) for factor in one.gap.factors]
        assert told[-1] == digits(one.gap.case.tflops)
        checked += 1
    assert checked >= 6


def test_facts_of_what_ran(data: CasesData) -> None:
    found = said(data, "triton-persistent")
    assert found["kernel"] == "triton-persistent (matrix-core, numba)"
    assert found["tile M×N×K"] == "128×256×64"
    assert found["registers a lane"] == "168"
    assert found["spills"] == "0"
    assert found["matrix instructions"] == "wgmma.mma_async × 64"
    assert found["configuration"].startswith("BLOCK_M=128, ")
    assert found["label"] == "llama-3-8b gate_up"
    assert found["largest error"] == "0.310 of the bound (above 1 is wrong)"
    assert found["exact check by"] == "Freivalds' check"
    assert found["clock limited by"].startswith("power limit for ")
    assert found["samples"] == "540 in 36 turns, 9 of them disturbed"
    assert found["repeats"].startswith("3, standard deviation between them 0.")
    assert "over naive in bf16" in found["speedup"]
    assert said(data, "torch")["library kernels launched"].startswith("nvjet_tst_")
    assert "time" not in said(data, "broken")


def lines(tmp_path: Path, record: Any, **of_header: Any) -> dict[str, str]:
    device = of_header.pop("device", DEVICE)
    path = write(tmp_path / "run.jsonl", [header(device, synthetic=True, **of_header), record])
    found = cases_data(overview(path))
    return facts(found, found.details[0])


@pytest.mark.parametrize(
    ("changes", "of_header", "expected"),
    [
        ({}, {}, ("--shape 8192x8192x8192", "--precision bf16", "--layout nn")),
        ({"batch": 8}, {}, ("--shape '8*8192x8192x8192'",)),
        ({"experts": 4, "layout": "nt"}, {}, ("--shape 4@8192x8192x8192", "--layout nt")),
        ({}, {"method": method(launch="stream", seed=7, repeats=5)}, ("stream", "--seed 7", "5")),
        (
            {"precision": "fp32"},
            {"device": CPU, "method": method(threads=2, preset="quick")},
            ("--device cpu", "--threads 2", "--preset quick"),
        ),
    ],
)
def test_the_command_repeats_the_case_and_is_one_of_ours(
    tmp_path: Path, changes: Any, of_header: Any, expected: tuple[str, ...]
) -> None:
    command = lines(tmp_path, timed("triton-persistent", 500.0, **changes), **of_header)["command"]
    for part in (*expected, "--kernel triton-persistent", "--data normal"):
        assert part in command
    program, name, *rest = shlex.split(command)
    assert (program, name) == ("gemmbench", "run")
    asked = run_command.make_context("run", rest).params
    assert asked["kernels"] == ("triton-persistent",)
    assert asked["repeat"] == (5 if "5" in expected else None)


def test_a_hostile_name_is_quoted_in_the_command(data: CasesData) -> None:
    found = said(data, HOSTILE)
    words = shlex.split(found["command"])
    assert HOSTILE in words
    assert f"name the file of {HOSTILE}" in found["of your own"]


def test_no_command_for_what_run_did_not_measure(tmp_path: Path) -> None:
    one = timed("torch", 500.0)
    assert "command" in lines(tmp_path, one)
    assert "command" not in lines(tmp_path, one, tool="nvbench")
    assert "command" not in lines(tmp_path, one, tuning=True)


def test_several_runs_one_after_the_other(tmp_path: Path) -> None:
    first = rich_run(tmp_path / "a.jsonl")
    second = write(
        tmp_path / "b.jsonl", [header(run_id="b", synthetic=True), timed("other", 1.0, size=64)]
    )
    found = cases_data(overview([first, second]))
    assert [one.run for one in found.rows] == [0] * 13 + [1]
    assert [one.name for one in found.runs] == ["a.jsonl", "b.jsonl"]
    assert found.runs[1].boost_mhz is None


def test_a_rate_says_its_unit_and_whether_it_is_sparse(tmp_path: Path) -> None:
    given = ("bf16_sparse", "bf16", "int8")
    records = [timed("one", 900.0, precision=name) for name in given]
    path = write(tmp_path / "run.jsonl", [header(DEVICE, synthetic=True), *records])
    found = cases_data(overview(path))
    rows = {found.strings[one.precision]: one for one in found.rows}
    sparse = rows["bf16_sparse"]
    assert sparse.rate == pytest.approx(900, rel=0.01)
    assert sparse.peak == pytest.approx(100 * 900 / 1978.9, rel=0.01)
    assert [rows[name].sparse for name in given] == [True, False, False]
    units = [found.strings[rows[name].unit] for name in given]
    assert units == ["sparse TFLOP/s", "TFLOP/s", "TOP/s"]


def test_a_sparse_rate_has_its_interval(tmp_path: Path) -> None:
    told = lines(tmp_path, timed("sparse", 900.0, precision="bf16_sparse"))["rate"]
    low, high = map(float, re.findall(r"([0-9.]+) TFLOP/s", told)[1:])
    assert 890 < low < 900 < high < 910


def test_damaged_records_make_a_page(tmp_path: Path) -> None:
    odd: tuple[Turn, ...] = tuple(
        turn(number, value, samples=[value, -1.0, 1e308], clock_mhz=1e300, power_w=-5.0)
        for number, value in enumerate((1e-3, 1e17, 4.0, 1e9, 5e3, 5e3, 5e3, 5e3))
    )
    records = [
        record("odd", took=odd, precision="bf16", limits={"power": 1e308, "x": -1.0}),
        record("tiles", took=odd, precision="bf16", tile=(2**62, 1, 1), grid=(2**62, 2**62, 1)),
        record("names", took=odd, precision="bf16", compiled=({"registers": "many"},)),
        record("tomorrow", took=odd, precision="fp3", tier="quantum"),
    ]
    path = write(tmp_path / "run.jsonl", [header(DEVICE, synthetic=True), *records])
    assert json.loads(cases_json(overview(path)))["rows"]
