"""A table is the same whether records are read whole or in outline, many at once or one by one."""

import dataclasses
import math
import random
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import pandas as pd
import pytest
from synthetic import H100, header, method, record, selftest, turn, write

from gemmbench.records.frame import frame, load
from gemmbench.records.outline import RecordOutline
from gemmbench.records.reader import read, read_outline
from gemmbench.records.schema import Record
from gemmbench.timing.statistics import estimate, estimates
from gemmbench.timing.turn import Turn, TurnOutline
from gemmbench.timing.verdict import usable

TARGET = 0.02


def one_turn(draw: random.Random, number: int, time_ns: float, noise: float, drift: float) -> Turn:
    value = time_ns * math.exp(draw.gauss(0, noise)) * (1 + drift * number)
    found = turn(
        draw.randrange(15) if draw.random() < 0.05 else number,
        None if draw.random() < 0.02 else value,
        samples=[value] * draw.choice([0, 1, 5, 10]),
        disturbed=draw.choice([0, 0, 0, 0, 1, 5, 9]),
        clock_mhz=draw.choice([None, 1500.0, draw.uniform(1000, 1900)]),
        power_w=draw.choice([None, 400.0, draw.uniform(300, 700)]),
    )
    return dataclasses.replace(found, others_s=draw.choice([None, 0.0, draw.uniform(0, 0.02)]))


def any_record(draw: random.Random, name: int) -> Record:
    noise, drift = draw.choice([0.0, 0.001, 0.02, 0.1]), draw.choice([0, 0, 0.001, 0.005])
    rounds, time_ns = draw.choice([0, 3, 6, 8, 10, 10, 15, 23]), draw.choice([1e3, 5e4, 1e6])
    return record(
        f"kernel {name}",
        size=draw.choice([(64, 64, 64), (8192, 8192, 8192), (5, 7, 11)]),
        precision=draw.choice(["fp32", "bf16", "fp8_e4m3", "int8", "posit8", "bf16_sparse"]),
        repeat=draw.randrange(3),
        status=draw.choice(["ok", "ok", "ok", "ok", "wrong", "unsupported"]),
        layout=draw.choice(["nn", "nt", "zz"]),
        took=[one_turn(draw, number, time_ns, noise, drift) for number in range(rounds)],
        limits=draw.choice(
            [{}, {"power": 1e9 * draw.random(), "thermal": draw.choice([None, 1e8])}]
        ),
        modes=draw.choice([{}, {"fast": "on", "a": "b"}]),
        warnings=draw.choice([(), ("one", "two")]),
        sets=draw.choice([None, 1, 2]),
        splits=draw.choice([None, 3]),
        sitting=draw.choice([0, 0, 1]),
        settings=draw.choice([None, {"BLOCK_M": 64}]),
        batch=draw.choice([1, 8]),
        launch=draw.choice(["", "graph"]),
        compiled=draw.choice([(), ({"instructions": {"wgmma": 3}, "registers": 9, "spills": 0},)]),
    )


@pytest.fixture(params=range(3))
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    draw = random.Random(request.param)
    lines = [any_record(draw, name) for name in range(80)]
    of = header(H100, method=method(target=TARGET), synthetic=True)
    return write(tmp_path / "run.jsonl", [of, selftest(0), selftest(1, seed=1), *lines])


def test_an_outline_makes_the_table_that_the_records_make(run: Path) -> None:
    pd.testing.assert_frame_equal(load(run), frame([read(run)]), check_exact=True)


def test_many_records_are_judged_as_each_alone(run: Path) -> None:
    whole = read(run)
    alone = [frame([dataclasses.replace(whole, records=(one,))]) for one in whole.records]
    table = frame([whole])
    for name in table.columns:
        mine = pd.concat([one[name] for one in alone], ignore_index=True).astype(table[name].dtype)
        pd.testing.assert_series_equal(table[name], mine, check_exact=True)
    words = {"converged", "noisy", "drifting", "contended", "throttled"}
    assert words <= set(table["verdict"].dropna())


def test_figures_are_those_of_plain_arithmetic(run: Path) -> None:
    for line, row in zip(read(run).records, frame([read(run)]).to_dict("records"), strict=True):
        ok = line.status == "ok"
        turns = {
            line.sitting * 1_000_000 + one.round: one.median_ns / 1e3
            for one in line.turns
            if ok and one.median_ns is not None and usable(one)
        }
        assert row["turn_us"] == turns
        time = estimate(list(turns.values()))
        assert row["time_us"] == pytest.approx(time.value, nan_ok=True, rel=1e-15)
        if row["verdict"] != "contended":
            assert row["time_us_low"] == pytest.approx(time.low, nan_ok=True, rel=1e-15)
        for name in ("clock_mhz", "power_w"):
            seen = [value for one in line.turns if ok and (value := getattr(one, name)) is not None]
            assert row[name] == pytest.approx(median(seen) if seen else math.nan, nan_ok=True)
        if not ok or not line.turns:
            assert pd.isna(row["verdict"])
        if row["verdict"] == "converged":
            assert time.half_width <= TARGET


def test_estimates_of_many_are_those_of_each() -> None:
    draw = random.Random(0)
    for n in (1, 5, 6, 9, 10, 23):
        rows = [[draw.uniform(1, 2) for _ in range(n)] for _ in range(20)]
        found = zip(*estimates(np.array(rows)), strict=True)
        for values, row in zip(found, rows, strict=True):
            one = estimate(row)
            assert [repr(float(value)) for value in values] == [
                repr(value) for value in (one.value, one.low, one.high)
            ]


@pytest.mark.parametrize(("outline", "whole"), [(RecordOutline, Record), (TurnOutline, Turn)])
def test_an_outline_has_the_fields_of_the_whole(outline: type, whole: type) -> None:
    fields = {one.name: one for one in msgspec.inspect.type_info(whole).fields}  # type: ignore[attr-defined]
    for one in msgspec.inspect.type_info(outline).fields:  # type: ignore[attr-defined]
        if one.name != "turns":
            assert (one.type, one.required) == (fields[one.name].type, fields[one.name].required)


def test_what_an_outline_leaves_out_is_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", [header(), record(took=[turn(0, 9.0, samples=[9.0])])])
    path.write_bytes(path.read_bytes().replace(b'"samples_ns":[9.0]', b'"samples_ns":["nine"]'))
    assert "damaged" in read(path).warnings[0]
    run, records = read_outline(path)
    assert not run.warnings
    assert len(records) == 1
