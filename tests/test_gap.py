"""The gap explained: each factor on cases of known cause, and what holds of all of them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import CPU, H100, MI300X, header, method, record, roof, turn, turns, write

from gemmbench.analysis.explain import Explained, explain
from gemmbench.analysis.gap import Case, Causes, Clock, Floor, Gap, Memory, Top, gap
from gemmbench.analysis.gap_tiles import Tiling, tiling
from gemmbench.records.schema import Line, Record
from gemmkernels.device import Device
from gemmkernels.problem import Problem

PEAK, CLOCK = 989.4, 1830
"""Dense bf16 of an H100 SXM, and the clock that it is printed for."""

GRAPH: dict[str, Any] = {"launch": "graph", "sets": 8}
CAPPED = replace(H100, power_limit_w=700.0, llc_bytes=50 * 2**20)


def took(time_us: float, *, clock_mhz: float | None = CLOCK) -> tuple[Any, ...]:
    return tuple(replace(one, clock_mhz=clock_mhz) for one in turns(time_us, noise=0.0))


def case(
    tflops: float,
    size: int | tuple[int, int, int] = 8192,
    *,
    kernel: str = "kernel",
    precision: str = "bf16",
    clock_mhz: float | None = CLOCK,
    **changes: Any,
) -> Record:
    """A record whose rate over its whole time is this."""
    m, n, k = (size, size, size) if isinstance(size, int) else size
    flop = 2 * m * n * k * changes.get("batch", 1)
    spent = took(flop / tflops / 1e6, clock_mhz=clock_mhz)
    return record(kernel, size=size, precision=precision, took=spent, **(GRAPH | changes))


def explained(path: Path, *lines: Line, device: Device = CAPPED, **of_header: Any) -> Explained:
    head = header(device, synthetic=True, **of_header)
    (found,) = explain(write(path / "run.jsonl", [head, *lines]))
    return found


def one(path: Path, *lines: Line, **options: Any) -> Gap:
    (found,) = explained(path, *lines, **options).gaps
    return found


COPY, LAUNCH = roof("copy", 3000.0, "GB/s"), roof("launch-graph", 2.0, "us")


def test_a_clock_below_the_sheets_at_the_power_limit(tmp_path: Path) -> None:
    slow = case(0.9 * PEAK * 1410 / CLOCK, clock_mhz=1410)
    span_ns = sum(turn.stop_s - turn.start_s - turn.settle_s for turn in slow.turns) * 1e9
    slow = changed(slow, limits={"power": 0.95 * span_ns, "thermal": 0.0})
    found = one(tmp_path, slow)
    assert found.factor("clock") == pytest.approx(1410 / CLOCK)
    assert found.factor("kernel") == pytest.approx(0.9, rel=1e-3)
    assert found.bound == "compute"
    clock = found.causes.clock
    assert clock is not None
    assert clock.limits is not None
    assert [(limit.reason, round(limit.share, 6)) for limit in clock.limits] == [("power", 0.95)]
    assert (clock.power_limit_w, clock.tdp_w, clock.turns) == (700.0, 700.0, 10)
    assert "NVML" in clock.sensor
    top = found.causes.top
    assert top is not None
    assert (top.kind, top.id, top.tflops, top.clock_mhz) == ("spec", "h100-sxm5", PEAK, CLOCK)
    assert top.sources
    assert all(source.title and source.where for source in top.sources)


def changed(found: Record, **changes: Any) -> Record:
    return msgspec.structs.replace(found, **changes)


def test_a_clock_above_the_sheets_is_the_only_gain(tmp_path: Path) -> None:
    found = one(tmp_path, case(800.0, clock_mhz=1980))
    assert found.factor("clock") == pytest.approx(1980 / CLOCK)
    assert not found.refuted


def test_a_clock_that_nobody_saw_is_no_factor(tmp_path: Path) -> None:
    found = one(tmp_path, case(500.0, clock_mhz=None))
    assert math.isnan(found.factor("clock"))
    assert found.factors[0].value == 1
    assert found.factor("kernel") == pytest.approx(500 / PEAK, rel=1e-3)


def test_a_padded_tile_and_a_lone_wave(tmp_path: Path) -> None:
    """129 rows in tiles of 128 are 256; 2 × 16 tiles keep 32 of 132 SMs busy."""
    least = 129 / 256 * 32 / 132 * PEAK
    tiles: dict[str, Any] = {"tile": (128, 256, 64), "grid": (32,)}
    found = one(tmp_path, case(0.95 * least, (129, 4096, 4096), **tiles))
    assert found.factor("padding") == pytest.approx(129 / 256)
    assert found.factor("waves") == pytest.approx(32 / 132)
    assert found.factor("kernel") == pytest.approx(0.95, rel=1e-3)


def test_bytes_that_must_pass(tmp_path: Path) -> None:
    """An outer product is a copy passed off as a GEMM: its rate is the bandwidth's."""
    problem = Problem(m=8192, n=8192, k=16, precision="bf16")
    least_us = problem.min_bytes / 3000e3
    record = case(problem.flop / least_us / 1e6 * 0.97, (8192, 8192, 16))
    found = one(tmp_path, record, COPY, LAUNCH)
    assert found.bound == "memory"
    assert found.factor("memory") == pytest.approx(problem.flop / PEAK / 1e6 / least_us, rel=1e-3)
    assert found.factor("kernel") == pytest.approx(0.97, rel=1e-3)
    assert found.causes.memory is not None
    assert found.causes.memory.measured
    assert found.causes.memory.source == "run.jsonl: copy"


def test_what_only_reads_is_bounded_by_the_faster_of_reading_and_copying(tmp_path: Path) -> None:
    found = one(tmp_path, case(30.0, (16, 8192, 8192)), COPY, roof("read", 3200.0, "GB/s"))
    assert found.causes.memory is not None
    assert (found.causes.memory.gbps, found.causes.memory.source) == (3200.0, "run.jsonl: read")


def test_the_hosts_way_of_launching_triton_bounds_no_library(tmp_path: Path) -> None:
    """From a stream the host launches; only what Triton compiled goes by the probe's way."""
    floor = roof("launch-stream", 11.0, "us")
    small = case(30.0, 256, kernel="torch", launch="stream")
    found = one(tmp_path, small, floor)
    assert found.causes.floor is None
    assert not found.refuted
    own = changed(small, compiled=({"name": "matmul"},))
    found = one(tmp_path, own, floor)
    assert found.causes.floor is not None
    assert found.causes.floor.us == pytest.approx(11.0)


def test_how_much_cache_a_partition_has_is_not_known(tmp_path: Path) -> None:
    part = replace(MI300X, units=38, partition="CPX", memory_bytes=24 * 10**9, llc_bytes=2**28)
    found = one(tmp_path, case(2.0, 256, sets=8), roof("cache", 9000.0, "GB/s"), device=part)
    assert found.causes.memory is None


def test_without_a_measured_copy_the_sheets_bandwidth_counts_and_is_named(tmp_path: Path) -> None:
    found = one(tmp_path, case(30.0, (16, 8192, 8192)))
    assert found.causes.memory is not None
    assert (found.causes.memory.gbps, found.causes.memory.measured) == (3350.0, False)
    assert found.causes.memory.source.startswith("h100-sxm5: ")


@pytest.mark.parametrize(
    ("cache", "sets", "level"),
    [
        ("hot", 1, "cache"),
        ("rotated", 1, "cache"),
        ("rotated", 20, "memory"),
        ("flushed", 1, "memory"),
    ],
)
def test_where_the_operands_come_from(tmp_path: Path, cache: str, sets: int, level: str) -> None:
    """Three matrices of 2 MiB, in 50 MiB of L2."""
    lines = (case(100.0, 1024, sets=sets), COPY, roof("cache", 6000.0, "GB/s"))
    found = one(tmp_path, *lines, method=method(launch="graph", cache=cache))
    assert found.causes.memory is not None
    assert found.causes.memory.level == level
    assert found.causes.memory.gbps == pytest.approx(6000 if level == "cache" else 3000)


def test_operands_in_a_cache_of_no_known_bandwidth_are_not_held_to_the_memorys(
    tmp_path: Path,
) -> None:
    found = one(tmp_path, case(100.0, 1024, sets=1), COPY)
    assert found.causes.memory is None
    assert math.isnan(found.factor("memory"))


def test_an_empty_launch(tmp_path: Path) -> None:
    """A tiny product that takes 2.1 µs, where an empty launch takes 2; two launches take 4."""
    tflops = 2 * 64**3 / 2.1e6
    found = one(tmp_path, case(tflops, 64), COPY, LAUNCH)
    assert found.bound == "launch"
    assert found.factor("kernel") == pytest.approx(2 / 2.1, rel=1e-3)
    twice = one(tmp_path, case(tflops / 2, 64, compiled=({}, {})), COPY, LAUNCH)
    assert twice.causes.floor is not None
    assert twice.causes.floor.launches == 2
    assert twice.causes.floor.us == pytest.approx(4.0)
    other = one(tmp_path, case(tflops, 64, launch="stream"), COPY, LAUNCH)
    assert math.isnan(other.factor("launch"))


def test_what_is_faster_than_the_model_refutes_it_and_is_not_clipped(tmp_path: Path) -> None:
    found = one(tmp_path, case(1.1 * PEAK * 1410 / CLOCK, clock_mhz=1410))
    assert found.refuted
    assert found.refuted_surely
    assert found.factor("kernel") == pytest.approx(1.1, rel=1e-3)
    slow = one(tmp_path, case(0.99 * PEAK))
    assert not slow.refuted


def test_within_the_interval_it_is_refuted_but_not_surely(tmp_path: Path) -> None:
    at_peak = 2 * 8192**3 / PEAK / 1e6
    shares = (0.98, 0.985, 0.99, 0.995, 0.998, 0.999, 1.0, 1.005, 1.01, 1.02)
    noisy = [turn(number, 1e3 * at_peak * share) for number, share in enumerate(shares)]
    noisy = [replace(one, clock_mhz=CLOCK) for one in noisy]
    line = record(size=8192, precision="bf16", took=noisy, **GRAPH)
    found = one(tmp_path, line)
    assert found.refuted
    assert not found.refuted_surely


def test_without_a_sheet_the_measured_roof_takes_its_place(tmp_path: Path) -> None:
    """At the clock that it was measured at: the case held 2.0 of its 2.5 GHz."""
    lines = (
        case(0.15, 1024, precision="fp32", clock_mhz=2000, launch="loop"),
        roof("vector", 0.25, "TFLOP/s", precision="fp32", clock_mhz=2500),
        roof("launch-loop", 0.1, "us"),
    )
    found = one(tmp_path, *lines, device=CPU)
    assert found.causes.top is not None
    assert (found.causes.top.kind, found.causes.top.id) == ("roof", "run.jsonl: vector fp32")
    assert found.pct_top == pytest.approx(60, rel=1e-3)
    assert found.factor("clock") == pytest.approx(0.8)
    assert found.factor("kernel") == pytest.approx(0.75, rel=1e-3)


def test_without_either_there_is_no_ladder_and_the_reason(tmp_path: Path) -> None:
    found = one(tmp_path, case(0.15, 1024, precision="fp32"), device=CPU)
    assert found.factors == ()
    assert "no spec sheet" in found.causes.why_not
    assert "gemmbench roofs" in found.causes.why_not


def test_a_roof_that_a_kernel_beats_is_none(tmp_path: Path) -> None:
    lines = (
        case(0.3, 1024, precision="fp32"),
        roof("vector", 0.25, "TFLOP/s", precision="fp32"),
    )
    found = explained(tmp_path, *lines, device=CPU)
    assert found.gaps[0].causes.top is None
    assert "void" in found.gaps[0].causes.why_not
    assert found.ceilings[0].void


def test_sparse_ones_against_the_sparse_peak(tmp_path: Path) -> None:
    found = explained(tmp_path, case(1000.0, precision="bf16_sparse"), case(500.0))
    sparse, dense = found.gaps if found.gaps[0].case.precision != "bf16" else found.gaps[::-1]
    assert sparse.causes.top is not None
    assert sparse.causes.top.sparse
    assert sparse.pct_top == pytest.approx(100 * 1000 / 1978.9, rel=1e-3)
    assert dense.pct_top == pytest.approx(100 * 500 / PEAK, rel=1e-3)
    assert {gap.case.precision for gap in found.best} == {"bf16", "bf16_sparse"}


def test_repeats_are_one_case_and_contended_ones_none(tmp_path: Path) -> None:
    lines = [case(500.0 + 10 * repeat, repeat=repeat) for repeat in range(3)]
    found = explained(tmp_path, *lines, record("bad", precision="bf16", status="wrong"))
    (only,) = found.gaps
    assert only.case.tflops == pytest.approx(510, rel=1e-2)
    assert only.causes.clock is not None
    assert only.causes.clock.turns == 30
    assert found.left_out == (("wrong", 1),)


# Tiles.


def tiles_of(
    size: tuple[int, int, int], tile: tuple[int, int, int], *, device: Device = H100, **changes: Any
) -> Tiling | None:
    batch, experts = changes.get("batch", 1), changes.get("experts", 1)
    m, n, k = size
    problem = Problem(m=m, n=n, k=k, precision="bf16", batch=batch, experts=experts)
    return tiling(record(size=size, precision="bf16", tile=tile, **changes), problem, device)


@pytest.mark.parametrize(
    ("size", "tile", "changes", "waves", "busy"),
    [
        ((8192, 8192, 8192), (128, 256, 64), {}, 16, 2048 / (16 * 132)),
        ((8192, 8192, 8192), (128, 256, 64), {"grid": (132,)}, 16, 2048 / (16 * 132)),
        ((8192, 8192, 8192), (128, 256, 64), {"grid": (100,)}, 21, 2048 / (21 * 132)),
        ((128, 256, 8192), (128, 256, 64), {"grid": (1, 4), "splits": 4}, 1, 4 / 132),
        ((128, 256, 64 * 5), (128, 256, 64), {"grid": (1, 4), "splits": 4}, 1, 5 / (2 * 132)),
        ((128, 128, 64), (128, 128, 64), {"batch": 264, "grid": (264,)}, 2, 1.0),
        ((128, 128, 64), (128, 128, 64), {"batch": 265, "grid": (265,)}, 3, 265 / 396),
    ],
)
def test_waves(
    size: tuple[int, int, int], tile: Any, changes: Any, waves: int, busy: float
) -> None:
    found = tiles_of(size, tile, **changes)
    assert found is not None
    assert found.waves == waves
    assert found.busy == pytest.approx(busy)


def test_along_k_the_last_tile_is_whole_too() -> None:
    found = tiles_of((128, 128, 65), (128, 128, 64))
    assert found is not None
    assert found.padded_flop == 2 * 128 * 128 * 128


def test_each_expert_has_tiles_of_its_own() -> None:
    problem = Problem(m=1024, n=128, k=64, precision="bf16", experts=8)
    found = tiles_of((1024, 128, 64), (128, 128, 64), experts=8)
    assert found is not None
    assert found.items == sum(-(-rows // 128) for rows in problem.tokens) > 8


def test_on_a_cpu_only_what_stays_in_registers_is_filled_up() -> None:
    """numba-tiled's blocks end where C does; numba-packed's microkernel does whole tiles."""
    blocks = {"BLOCK_M": 64, "BLOCK_N": 256, "BLOCK_K": 64}
    tiled = tiles_of((100, 100, 100), (64, 256, 64), device=CPU, config=blocks, grid=(2, 1))
    assert tiled is not None
    assert (tiled.padded_flop, tiled.busy) == (2e6, None)
    blocks = {"BLOCK_M": 98, "BLOCK_N": 128, "BLOCK_K": 100}
    packed = tiles_of((100, 100, 100), (14, 32, 100), device=CPU, config=blocks, grid=(2, 1))
    assert packed is not None
    assert packed.padded_flop == 2 * 112 * 128 * 100
    assert packed.busy == 1.0


@pytest.mark.parametrize("tile", [None, (0, 16, 16), (-1, 16, 16)])
def test_tiles_that_nobody_said(tile: Any) -> None:
    assert tiles_of((64, 64, 64), tile) is None


SIZES = st.integers(1, 700)
TILES = st.sampled_from((16, 64, 128))


@given(
    st.tuples(SIZES, SIZES, SIZES),
    st.tuples(TILES, TILES, TILES),
    st.integers(1, 7),
    st.integers(1, 12),
    st.integers(1, 40),
)
def test_no_schedule_is_faster_than_the_bound(
    size: tuple[int, int, int], tile: Any, splits: int, units: int, programs: int
) -> None:
    """Programs walk over the items in turn, and share a unit where there are more of them."""
    device = replace(H100, units=units)
    persistent = programs if splits == 1 else 0
    tiles, steps = (
        math.prod(-(-a // b) for a, b in zip(size[:2], tile, strict=False)),
        -(-size[2] // tile[2]),
    )
    grid = (min(persistent, tiles),) if persistent else (tiles, splits)
    found = tiles_of(size, tile, device=device, grid=grid, splits=splits)
    assert found is not None
    assert found.busy is not None
    work = [steps // splits + (split < steps % splits) for split in range(splits)] * tiles
    load = [0] * units
    for place, item in enumerate(work):
        program = place % math.prod(grid)
        if persistent:
            load[program % units] += item
        else:  # whichever unit is free takes the next one
            load[load.index(min(load))] += item
    assert 0 < found.busy <= 1
    assert sum(work) / (units * max(load)) <= found.busy * (1 + 1e-12)
    assert found.padded_flop >= 2 * math.prod(size)


# What holds of all.

POSITIVE = st.floats(1e-3, 1e6)


@given(
    st.integers(1, 10**15),
    POSITIVE,
    POSITIVE,
    st.one_of(st.none(), st.floats(1, 5000)),
    st.one_of(st.none(), st.tuples(st.floats(1, 4), st.floats(0.01, 1))),
    st.one_of(st.none(), st.tuples(st.integers(1, 10**12), POSITIVE)),
    st.one_of(st.none(), POSITIVE),
)
def test_the_product_of_all_factors_is_the_share_of_the_peak(
    flop: int, time_us: float, tflops: float, held: Any, tiles: Any, memory: Any, floor: Any
) -> None:
    top = Top(kind="spec", tflops=tflops, unit="tensor core", clock_mhz=1830.0, id="x")
    causes = Causes(
        top=top,
        clock=held
        and Clock(
            held_mhz=held,
            turns=1,
            sensor="",
            limits=None,
            power_w=math.nan,
            power_limit_w=None,
            tdp_w=None,
        ),
        tiling=tiles
        and Tiling(
            tile=(1, 1, 1),
            grid=None,
            splits=1,
            units=1,
            items=1,
            padded_flop=flop * tiles[0],
            busy=tiles[1],
        ),
        memory=memory
        and Memory(bytes=memory[0], level="memory", gbps=memory[1], measured=True, source=""),
        floor=floor and Floor(launch="graph", launches=1, us=floor, source=""),
    )
    found = gap(a_case(flop, time_us), causes)
    product = math.prod(factor.value for factor in found.factors)
    assert found.case.tflops == pytest.approx(tflops * product, rel=1e-9)
    for factor in found.factors[1:-1]:
        assert 0 < factor.value <= 1
    assert found.refuted == (found.factors[-1].value > 1)
    assert [one.cause for one in found.factors] == [
        *("clock", "padding", "waves", "memory", "launch", "kernel")
    ]


def a_case(flop: int, time_us: float) -> Case:
    names = ("run_id", "file", "device", "kernel", "tier", "modes", "precision", "shape", "layout")
    return Case(
        **dict.fromkeys((*names, "label", "verdict"), ""),
        flop=flop,
        min_bytes=1,
        time_us=time_us,
        time_us_low=time_us,
        time_us_high=time_us,
        impossible=False,
    )


def test_an_mi300x_is_explained_alike(tmp_path: Path) -> None:
    found = one(
        tmp_path, case(600.0, clock_mhz=1300, tile=(256, 256, 64), grid=(1024,)), device=MI300X
    )
    assert found.causes.top is not None
    assert found.causes.top.id == "mi300x"
    assert found.factor("clock") == pytest.approx(1300 / 2100)
    assert found.factor("waves") == pytest.approx(1024 / (4 * 304))
    assert found.causes.clock is not None
    assert "XCD" in found.causes.clock.sensor
