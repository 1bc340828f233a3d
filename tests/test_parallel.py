"""Several ranks: what their figures are by definition, what they plan, and what users read."""

import math
import re
from pathlib import Path

import msgspec
import numpy as np
import parallel_runs
import pytest
import synthetic
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from parallel_runs import collective, layer, run_of

from gemmbench.analysis.compare import compare
from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.cli import app
from gemmbench.records.frame import load
from gemmbench.records.parallel import bus_factor
from gemmbench.records.schema import Place
from gemmbench.runner.parallel.launcher import launcher
from gemmbench.runner.parallel.plan import make_groups, make_timing
from gemmbench.runner.parallel.request import ParallelRequest
from gemmbench.runner.parallel.turns import Samples, Subject, counts, others_on
from gemmbench.suites.parallel.reader import load_parallel, names, size_of
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Launch
from gemmkernels.parallel.kernel import CHUNKS
from gemmkernels.parallel.ladder import COLLECTIVES, PARALLEL
from gemmkernels.parallel.task import Task
from gemmkernels.problem import Problem

ROOT = Path(__file__).parents[1]
MIB = 2**20


def written(path: Path, *records: object) -> Path:
    header = synthetic.header(synthetic.H100, synthetic=True)
    return synthetic.write(path, [header, *records])  # type: ignore[list-item]


# nccl-tests, doc/PERFORMANCE.md: S = 64 MiB in 1 ms is an algorithm bandwidth of 67.108864 GB/s.
@pytest.mark.parametrize(
    ("name", "ranks", "bus"),
    [
        ("all-reduce", 8, 67.108864 * 14 / 8),
        ("all-gather", 8, 67.108864 * 7 / 8),
        ("reduce-scatter", 8, 67.108864 * 7 / 8),
        ("all-reduce", 2, 67.108864),
        ("reduce-scatter", 2, 67.108864 / 2),
    ],
)
def test_bandwidths_by_hand(tmp_path: Path, name: str, ranks: int, bus: float) -> None:
    record = synthetic.record(
        name,
        size=(ranks, 64 * MIB // ranks // 2, 1),
        precision="bf16",
        collective=name,
        ranks=ranks,
        message_bytes=64 * MIB,
        took=synthetic.turns(1000.0, noise=0.0),
    )
    row = load(written(tmp_path / "a.jsonl", record)).iloc[0]
    assert row["algbw_gbps"] == pytest.approx(67.108864)
    assert row["busbw_gbps"] == pytest.approx(bus)
    for name_ in ("tflops", "gbps", "intensity", "pct_peak", "comm_pct"):
        assert math.isnan(row[name_]), name_


def test_a_layer_has_a_device_s_rate_and_the_share_of_communication(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl",
        layer("local-products-row", collective="", split="row", time_us=150.0),
        layer("row-parallel", collective="all-reduce", split="row", time_us=200.0),
    )
    local, whole = (row for _, row in load(path).iterrows())
    # 2 · 2048 · 4096 · 14336 FLOP among 8 in 200 µs.
    assert whole["tflops"] == pytest.approx(2 * 2048 * 4096 * 14336 / 8 / 200e-6 / 1e12, rel=0.01)
    assert whole["pct_peak"] == pytest.approx(100 * whole["tflops"] / 989.4, rel=0.001)
    assert whole["comm_pct"] == pytest.approx(25.0, abs=0.5)
    assert math.isnan(local["comm_pct"])
    assert math.isnan(whole["busbw_gbps"])


def test_communication_is_paired_by_rounds(tmp_path: Path) -> None:
    """Both drift to twice the time: of each round's pair the share is the same."""
    drift = [1.0 + number / 10 for number in range(10)]
    local, whole = (
        tuple(synthetic.turn(i, time * 1e3 * one) for i, one in enumerate(drift))
        for time in (60.0, 100.0)
    )
    records = (
        layer("local-products-column", collective="", split="column", time_us=1.0),
        layer("column-parallel", collective="all-gather", split="column", time_us=1.0),
    )
    found = load(
        written(
            tmp_path / "a.jsonl",
            msgspec.structs.replace(records[0], turns=local[:5]),
            msgspec.structs.replace(records[1], turns=whole),
        )
    )
    assert found["comm_pct"].iloc[1] == pytest.approx(40.0)


def test_without_local_products_or_in_another_precision_there_is_no_share(tmp_path: Path) -> None:
    local = layer("local-products-row", collective="", split="row", time_us=150.0)
    whole = layer("row-parallel", collective="all-reduce", split="row", time_us=200.0)
    others = (
        msgspec.structs.replace(local, precision="fp16"),
        msgspec.structs.replace(local, group="another"),
        msgspec.structs.replace(local, repeat=1),
        msgspec.structs.replace(local, sitting=1),
    )
    for number, other in enumerate(others):
        found = load(written(tmp_path / f"{number}.jsonl", other, whole))
        assert found["comm_pct"].isna().all(), number


@given(ranks=st.integers(2, 10_000), collective_=st.sampled_from(COLLECTIVES))
def test_bus_factors_stay_within_their_limits(ranks: int, collective_: str) -> None:
    trips = 2 if collective_ == "all-reduce" else 1
    factor = bus_factor(collective_, ranks)
    assert trips / 2 <= factor < trips
    assert factor * ranks == pytest.approx(trips * (ranks - 1))


def test_one_rank_has_no_bus() -> None:
    assert math.isnan(bus_factor("all-reduce", 1))
    assert math.isnan(bus_factor("broadcast", 8))


@given(
    ranks=st.integers(1, 64),
    rows=st.integers(1, 64),
    split=st.sampled_from(("column", "row")),
)
def test_chunks_hold_as_many_whole_rows_of_every_rank(ranks: int, rows: int, split: str) -> None:
    problem = Problem(m=ranks * rows, n=ranks * 2, k=ranks * 3, precision="bf16")
    task = Task(problem=problem, split=split, ranks=ranks)  # type: ignore[arg-type]
    assert task.misfit is None
    chunks = task.chunks(CHUNKS)
    assert rows % chunks == 0
    assert chunks == CHUNKS or rows % (2 * chunks)


def test_what_does_not_split_evenly_is_refused_with_the_numbers() -> None:
    kernels = {one.name: one for one in PARALLEL}
    task = Task(
        problem=Problem(m=16, n=30, k=64, precision="fp32", layout="nt"), split="column", ranks=4
    )
    told = kernels["column-parallel"].why_not(task, synthetic.CPU)
    assert told == "N = 30 does not split among 4 ranks"
    odd = Task(problem=Problem(m=12, n=32, k=64, precision="fp32"), split="column", ranks=4)
    assert kernels["column-parallel"].why_not(odd, synthetic.CPU) is None
    told = kernels["column-parallel-overlap"].why_not(odd, synthetic.CPU)
    assert told is not None
    assert "M = 12" in told


@given(size=st.integers(1, 2**32), ranks=st.integers(1, 1024))
def test_messages_are_whole_granules_near_the_size(size: int, ranks: int) -> None:
    suite = load_parallel("collectives")
    part = msgspec.structs.replace(suite.cpu, bytes=(size,))
    one = msgspec.structs.replace(suite, cpu=part)
    groups = make_groups(ParallelRequest(), [one], synthetic.CPU, ranks=ranks)
    task = groups[0].task(groups[0].cases[0])
    assert task.exchanged_bytes % (16 * ranks) == 0
    assert size - 16 * ranks < task.exchanged_bytes <= max(size, 16 * ranks)


def test_all_shipped_suites_are_done_by_eight_gpus() -> None:
    for name in names():
        suite = load_parallel(name)
        for group in make_groups(ParallelRequest(), [suite], synthetic.H100, ranks=8):
            for case in group.cases:
                kernel = next(one for one in PARALLEL if one.name == case.kernel)
                told = kernel.why_not(group.task(case), synthetic.H100)
                tokens = case.problem.m
                assert told is None or (tokens == 16 and told.startswith("M = 16")), told
    assert set(names()) == {"collectives", "tensor-parallel"}


def test_layers_are_those_of_the_llm_suite() -> None:
    from gemmbench.suites.reader import load_suite

    known = {(one.n, one.k) for one in load_suite("llm").shapes("gpu")}
    for one in load_parallel("tensor-parallel").gpu.layers:
        assert (one.n, one.k) in known, one


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gpu]\nbytes = ['1X']", "1X"),
        ("[gpu]\nbytes = [0]", "size '0'"),
        ("[gpu]\n", "neither layers nor messages"),
        ("kernels = ['all-reduc']\n[gpu]\nbytes = ['1K']", "did you mean all-reduce"),
        ("[gpu]\nlayers = [{m = [8], n = 8, k = 8, split = 'rows'}]", "split"),
        ("[gpu]\nlayers = [{m = [], n = 8, k = 8, split = 'row'}]", "m is empty"),
        ("[gpu]\nsizes = ['1K']", "sizes"),
    ],
)
def test_a_suite_that_is_none_says_so_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(GemmbenchError, match=re.escape(told)) as error:
        load_parallel(str(path))
    assert str(error.value).startswith("mine.toml: ")


def test_sizes() -> None:
    assert [size_of(one) for one in (1024, "1K", "4M", "1GiB")] == [1024, 1024, 4 * MIB, 2**30]


def test_a_launcher_is_asked_for(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["parallel"], env=dict.fromkeys(("RANK", "WORLD_SIZE")))
    assert found.exit_code == 2
    assert found.stderr.count("\n") == 1
    assert "torchrun --nproc-per-node 8 -m gemmbench parallel" in found.stderr
    whole = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "a",
        "MASTER_PORT": "1",
    }
    assert launcher(whole).local_rank == 1
    for change in ({"RANK": "4"}, {"RANK": "x"}, {"MASTER_PORT": ""}):
        with pytest.raises(GemmbenchError):
            launcher(whole | change)


def test_turns_have_five_samples_or_fewer_of_long_launches() -> None:
    how = make_timing(ParallelRequest(), synthetic.CPU)
    subject = Subject(launches=[Launch(run=lambda: None)], per_sample=10, launch_s=0.001)
    assert counts(subject, how) == (1, 10)
    subject.per_sample, subject.launch_s = 1, 1.0
    assert counts(subject, how) == (0, 1)
    assert how.repeats == 1


def test_show_has_bandwidths_and_shares(tmp_path: Path) -> None:
    path = run_of(tmp_path / "nccl.jsonl")
    found = CliRunner().invoke(app, ["show", str(path), "--format", "markdown"]).stdout
    assert "8 ranks by nccl 2.27.5" in found
    line = next(one for one in found.splitlines() if "all-reduce" in one and "1 GiB" in one)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    # 400 · 2^30 / (2^30 + 2^22) GB/s of bus; all-reduce over 8 has 4/7 of it.
    assert float(cells[6]) == pytest.approx(398.4, rel=0.005)
    assert float(cells[5]) == pytest.approx(398.4 * 4 / 7, rel=0.005)
    layer_line = next(one for one in found.splitlines() if one.startswith("| column-parallel"))
    assert "20.0%" in layer_line or "19.9%" in layer_line or "20.1%" in layer_line


def test_nccl_against_rccl_is_by_collective_ranks_and_size(tmp_path: Path) -> None:
    a = run_of(tmp_path / "nccl.jsonl")
    b = run_of(tmp_path / "rccl.jsonl", device=synthetic.MI300X, library="rccl", speed=0.7)
    found = compare(a, b)
    by_name = {(row.name, row.shape): row for row in found.rows}
    row = by_name["all-reduce", "1 GiB, 8 ranks"]
    assert row.ratio == pytest.approx(0.7, rel=0.01)
    assert row.verdict == "slower"
    assert len(found.rows) == 3 * len(parallel_runs.SIZES) + 4
    told = {one.what for one in found.differs}
    assert {"nccl", "rccl"} <= told
    four = run_of(tmp_path / "four.jsonl", ranks=4)
    with pytest.raises(GemmbenchError, match="share no problem"):
        compare(a, four)


def test_ranks_on_two_nodes_are_another_case(tmp_path: Path) -> None:
    def on(name: str, at_once: int) -> Path:
        head = synthetic.header(
            synthetic.H100, run_id=name, synthetic=True, place=Place(at_once=at_once)
        )
        one = collective("all-reduce", 64 * MIB, busbw_gbps=400)
        return synthetic.write(tmp_path / f"{name}.jsonl", [head, one])

    with pytest.raises(GemmbenchError, match="64 MiB, 8 ranks, 4 a node"):
        compare(on("one", 8), on("two", 4))
    single = synthetic.record(precision="fp32", took=synthetic.turns(100.0))
    heads = (
        synthetic.header(synthetic.H100, run_id=str(at), synthetic=True, place=Place(at_once=at))
        for at in (1, 8)
    )
    paths = [synthetic.write(tmp_path / f"{head.run_id}.jsonl", [head, single]) for head in heads]
    assert len(compare(*paths).rows) == 1, "of one device it is no matter what runs beside it"


def test_local_products_of_both_splits_are_two_cases(tmp_path: Path) -> None:
    def of(name: str, column_us: float, row_us: float) -> Path:
        found = [
            msgspec.structs.replace(
                layer(kernel, collective="", split=split, time_us=time_us), m=2048, n=4096, k=4096
            )
            for kernel, split, time_us in (
                ("local-products-column", "column", column_us),
                ("local-products-row", "row", row_us),
            )
        ]
        return written(tmp_path / f"{name}.jsonl", *found)

    found = compare(of("a", 100.0, 100.0), of("b", 50.0, 200.0))
    ratios = {row.name: row.ratio for row in found.rows}
    assert ratios["local-products-column"] == pytest.approx(2, rel=0.01)
    assert ratios["local-products-row"] == pytest.approx(0.5, rel=0.01)
    names = [one.name for one in PARALLEL if not one.collective]
    assert [kernel.splits for kernel in PARALLEL if kernel.name in names] == [("column",), ("row",)]


def test_layers_are_compared_with_what_leaves_the_same_result(tmp_path: Path) -> None:
    times = {
        "local-products-row": ("", 100.0),
        "row-parallel": ("all-reduce", 200.0),
        "row-parallel-overlap": ("all-reduce", 160.0),
        "row-parallel-scatter": ("reduce-scatter", 150.0),
        "row-parallel-scatter-overlap": ("reduce-scatter", 120.0),
    }
    records = [
        layer(kernel, collective=exchanged, split="row", time_us=time_us)
        for kernel, (exchanged, time_us) in times.items()
    ]
    rows = ladder(load(written(tmp_path / "a.jsonl", *records)))
    found = {row.kernel: row for row in rows.itertuples()}
    for name, base, speedup in (
        ("row-parallel", "row-parallel", 1.0),
        ("row-parallel-overlap", "row-parallel", 1.25),
        ("row-parallel-scatter", "row-parallel-scatter", 1.0),
        ("row-parallel-scatter-overlap", "row-parallel-scatter", 1.25),
    ):
        assert found[name].base_kernel == base
        assert found[name].speedup == pytest.approx(speedup, rel=0.01)
    assert np.isnan(rows.loc[rows["kernel"].eq("local-products-row"), "speedup"]).all()
    tops = best(rows)
    assert list(tops["kernel"]) == ["row-parallel-overlap", "row-parallel-scatter-overlap"]


def test_a_collective_alone_ranks_nowhere(tmp_path: Path) -> None:
    path = run_of(tmp_path / "a.jsonl")
    found = CliRunner().invoke(app, ["explain", str(path)])
    assert found.exit_code == 2, "a layer of several ranks is no product of one device"
    df = load(path)
    rows = ladder(df)
    top = best(rows)
    assert set(top["kernel"]) <= {"column-parallel", "row-parallel"}
    alone = rows[rows["kernel"].isin(COLLECTIVES)]
    assert len(alone) == 33
    assert np.isnan(alone["speedup"].to_numpy(dtype=float)).all()


def test_messages_alone_make_no_picture_and_no_gap(tmp_path: Path) -> None:
    header = synthetic.header(synthetic.H100, synthetic=True)
    records = [collective("all-reduce", size, busbw_gbps=200) for size in (MIB, 4 * MIB)]
    path = synthetic.write(tmp_path / "a.jsonl", [header, *records])
    for command in (
        ["explain"],
        ["plot"],
        ["plot", "--kind", "sweep"],
        ["plot", "--kind", "roofline"],
    ):
        found = CliRunner().invoke(app, [*command, str(path)])
        assert found.exit_code == 2, command
        assert found.stderr.count("\n") == 1
    found = CliRunner().invoke(app, ["explain", str(path)])
    assert "several ranks" in found.stderr
    for command in (["export"], ["history"], ["report", "-o", str(tmp_path / "r.html")]):
        found = CliRunner().invoke(app, [*command, str(path)])
        assert found.exit_code == 0, found.stderr


def test_one_kernel_a_file_of_at_most_150_lines() -> None:
    folder = ROOT / "kernels" / "gemmkernels" / "parallel"
    for path in folder.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 150, path
    for kernel in PARALLEL:
        assert (folder / f"{kernel.bind.partition(':')[0]}.py").exists(), kernel.name


def test_the_list_names_all_kernels_and_suites() -> None:
    found = CliRunner().invoke(app, ["parallel", "--list"]).stdout
    for name in (*(one.name for one in PARALLEL), *names()):
        assert name in found


def test_core_time_of_others_on_the_ranks_own_cpus() -> None:
    def rank(cpus: tuple[int, ...], own_s: float, busy_s: float | None) -> Samples:
        return Samples(taken_ns=(), own_s=own_s, busy_s=busy_s, cpus=cpus)

    apart = [rank((0,), 0.9, 1.0), rank((1,), 0.5, 1.0)]
    assert others_on(apart) == pytest.approx(0.6)
    together = [rank((0, 1), 0.9, 2.0), rank((0, 1), 0.5, 2.0)]
    assert others_on(together) == pytest.approx(0.6)
    assert others_on([rank((0,), 0.9, None)]) is None
    assert others_on([rank((0,), 0.9, 0.8)]) == 0.0
