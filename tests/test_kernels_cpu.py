"""Kernels that run on a CPU, against float64; integers bit for bit."""

import statistics
import time

import numpy as np
import pytest
import torch
from kernel_jobs import CPU, GPUS, LAYOUTS, case, error

from gemmkernels import Problem
from gemmkernels.ladder import LADDER, find
from gemmkernels.operands import DISTRIBUTIONS, allocate, fill, poison
from gemmkernels.probes import chain, chain_cpu

# Primes, ones, less than a tile, several tiles with a rest, tall and wide.
SHAPES = ((1, 1, 1), (31, 37, 29), (1, 300, 5), (129, 2, 67), (65, 257, 131), (6, 7, 1))
# numba-tiled compiles for two seconds for each layout of a precision: all four of one precision.
TILED_LAYOUTS = {"fp64": ("nn", "tt"), "fp32": LAYOUTS, "int8": ("nt", "tn")}
OFFERED = [
    (kernel.name, precision, layout)
    for kernel in LADDER
    if "cpu" in kernel.kinds and not kernel.grouped
    if kernel.name not in ("numba-packed", "numba-amx")  # in files of their own
    for precision in kernel.precisions
    if CPU.lacks(precision) is None
    for layout in (TILED_LAYOUTS[precision] if kernel.name == "numba-tiled" else LAYOUTS)
]


@pytest.mark.parametrize(("name", "precision", "layout"), OFFERED)
def test_agrees_with_float64(name: str, precision: str, layout: str) -> None:
    kernel = find(name)
    for m, n, k in SHAPES:
        problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
        if kernel.max_flop is None or problem.flop <= kernel.max_flop:
            assert kernel.why_not(problem, CPU) is None
            assert case(kernel, problem, CPU) <= 1, problem


@pytest.mark.parametrize("name", ["python-naive", "numba-naive", "numba-tiled", "torch"])
@pytest.mark.parametrize("data", DISTRIBUTIONS)
def test_takes_every_distribution(name: str, data: str) -> None:
    for precision in ("fp32", "int8"):
        problem = Problem(m=33, n=17, k=20, precision=precision)
        assert case(find(name), problem, CPU, data=data) <= 1


def test_torch_multiplies_batches() -> None:
    for precision in ("fp64", "fp32", "bf16"):
        problem = Problem(m=33, n=17, k=20, precision=precision, batch=3, layout="nt")
        assert case(find("torch"), problem, CPU) <= 1


@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
def test_torch_scales_fp8(precision: str) -> None:
    """Bound directly: no CPU offers fp8, but torch's reference product runs there."""
    problem = Problem(m=33, n=32, k=48, precision=precision, layout="nt")
    assert case(find("torch"), problem, CPU) <= 1


def test_torch_returns_fp8_where_there_is_no_out_form(monkeypatch: pytest.MonkeyPatch) -> None:
    (operands,) = allocate(Problem(m=17, n=32, k=48, precision="fp8_e4m3", layout="nt"), CPU)
    fill(operands)
    monkeypatch.setattr("torch.ops.aten._scaled_mm_v2", None)
    launch = find("torch").launch(operands)
    assert launch.returns_output
    result = launch.run()
    assert isinstance(result, torch.Tensor)
    operands.out.copy_(result)
    assert error(operands) <= 1


def test_prepare_sets_the_switches_of_the_precision() -> None:
    matmul = torch.backends.cuda.matmul
    for precision, tf32 in (("tf32", True), ("fp32", False)):
        (operands,) = allocate(Problem(m=2, n=2, k=2, precision=precision), GPUS["sm_90"])
        launch = find("torch").launch(operands)
        assert launch.prepare is not None
        launch.prepare()
        assert matmul.allow_tf32 is tf32
        assert matmul.allow_fp16_reduced_precision_reduction is False
        assert matmul.allow_bf16_reduced_precision_reduction is False


@pytest.mark.parametrize("name", ["numba-naive", "numba-tiled"])
def test_numba_compiles_as_it_is_bound(name: str) -> None:
    (operands,) = allocate(Problem(m=8, n=8, k=8, precision="fp32", layout="tt"), CPU)
    launch = find(name).launch(operands)
    dispatcher = launch.run.func  # type: ignore[attr-defined]
    known = len(dispatcher.signatures)
    assert known > 0
    launch.run()
    assert len(dispatcher.signatures) == known


def test_tiled_spreads_a_small_problem_over_the_threads() -> None:
    import numba

    (operands,) = allocate(Problem(m=64, n=64, k=64, precision="fp32"), CPU)
    before = numba.get_num_threads()
    numba.set_num_threads(min(2, before))
    try:
        launch = find("numba-tiled").launch(operands)
    finally:
        numba.set_num_threads(before)
    assert launch.config["threads"] == min(2, before)
    assert launch.config["BLOCK_M"] == 64 // min(2, before)


@pytest.mark.parametrize("spoil", ["one element", "nan", "a row twice", "a term short"])
def test_the_check_sees_a_planted_mistake(spoil: str) -> None:
    (operands,) = allocate(Problem(m=33, n=31, k=64, precision="fp32"), CPU)
    fill(operands)
    poison(operands)
    assert error(operands) == float("inf")
    torch.mm(operands.a, operands.b, out=operands.out)
    assert error(operands) <= 1
    if spoil == "one element":
        operands.out[7, 5] *= 1.001
    elif spoil == "nan":
        operands.out[7, 5] = float("nan")
    elif spoil == "a row twice":
        operands.out[3] = operands.out[4]
    else:
        operands.out.sub_(torch.outer(operands.a[:, -1], operands.b[-1]))
    assert error(operands) > 1


def xorshift64(state: int, steps: int) -> int:
    for _ in range(steps):
        state = (state ^ state << 13) % 2**64
        state ^= state >> 7
        state = (state ^ state << 17) % 2**64
    return state


def test_chain_makes_every_step() -> None:
    seed = 88172645463325252
    for steps in (0, 1, 2, 37):
        assert int(chain_cpu.xorshift(np.uint64(seed), steps)) == xorshift64(seed, steps)


def test_chain_pair_does_137_times_the_work() -> None:
    assert round(chain.WORK * 100, 9) == 137
    less, more = chain.pair(CPU)
    ratios = []
    for _ in range(30):
        start = time.perf_counter_ns()
        less()
        middle = time.perf_counter_ns()
        more()
        ratios.append((time.perf_counter_ns() - middle) / (middle - start))
    # Wide enough for a busy machine: what the pair resolves is the self-test's to say.
    assert 1.2 < statistics.median(ratios) < 1.55


def test_run_allocates_no_output() -> None:
    (operands,) = allocate(Problem(m=16, n=16, k=16, precision="fp32"), CPU)
    fill(operands)
    for name in ("python-naive", "numba-naive", "numba-tiled", "torch"):
        launch = find(name).launch(operands)
        poison(operands)
        place = operands.out.data_ptr()
        launch.run()
        assert not launch.returns_output
        assert operands.out.data_ptr() == place
        assert error(operands) <= 1
