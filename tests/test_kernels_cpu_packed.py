"""numba-packed on this CPU: precisions, layouts, ragged shapes, threads, vector widths."""

import dataclasses
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba
import pytest
import torch
from kernel_jobs import CPU, GPUS

from gemmbench.devices.detect import detect
from gemmbench.verify import Verifier
from gemmkernels import Device, GemmbenchError, Problem
from gemmkernels.cpu import numba_packed
from gemmkernels.cpu.sharing import shares
from gemmkernels.kernel import Settings
from gemmkernels.ladder import find
from gemmkernels.operands import allocate, poison

HERE = detect("cpu")
KERNEL = find("numba-packed")
PRECISIONS = ("fp64", "fp32", "int8")
LAYOUTS = ("nn", "nt", "tn", "tt")
SMALL = {"BLOCK_M": 12, "BLOCK_N": 70, "BLOCK_K": 33}
"""Blocks so small that a small shape has several of each, none a whole number of tiles."""

# A multiple of no tile, ones, less than a tile, one tile, exact blocks, tall, wide, long.
SHAPES = ((61, 67, 71), (1, 1, 1), (5, 3, 2), (6, 64, 33), (24, 140, 66), (131, 1, 40), (1, 259, 9))

needs_avx2 = pytest.mark.skipif(
    bool(KERNEL.why_not(Problem(m=1, n=1, k=1, precision="fp32"), HERE)),
    reason=f"{HERE.name} has no AVX2 and FMA",
)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def verified(problem: Problem, device: Device, settings: Settings | None = None) -> None:
    """Exact and within the rounding bound, with fresh inputs in the same operands."""
    (operands,) = allocate(problem, device)
    launch = KERNEL.launch(operands, settings=settings)

    def execute() -> tuple[torch.Tensor]:
        launch.run()
        return (operands.out,)

    verifier = Verifier(operands=operands)
    verifier.exact(execute, salt=1)
    verifier.rounding(execute)
    verifier.exact(execute, salt=2)


def cases() -> Iterator[tuple[str, str, int]]:
    """Every pair of a precision, a layout and a number of threads."""
    for index, (precision, layout) in enumerate(itertools.product(PRECISIONS, LAYOUTS)):
        yield precision, layout, 1 + (index + index // 4) % 2


@needs_avx2
@pytest.mark.parametrize(("precision", "layout", "count"), list(cases()))
def test_agrees_with_float64(precision: str, layout: str, count: int) -> None:
    with threads(count):
        for m, n, k in SHAPES:
            problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
            verified(problem, HERE, SMALL)
        verified(dataclasses.replace(problem, m=250, n=300, k=700), HERE)


@needs_avx2
@pytest.mark.parametrize("precision", PRECISIONS)
def test_with_vectors_of_32_bytes(precision: str) -> None:
    features = tuple(name for name in HERE.features if not name.startswith("avx512"))
    device = dataclasses.replace(HERE, features=features)
    for (m, n, k), layout in zip(SHAPES, itertools.cycle(LAYOUTS), strict=False):
        verified(Problem(m=m, n=n, k=k, precision=precision, layout=layout), device, SMALL)
    (operands,) = allocate(Problem(m=9, n=9, k=9, precision=precision), device)
    launch = KERNEL.launch(operands)
    assert launch.config["vector_bits"] == 256
    assert launch.tile is not None
    assert launch.tile[:2] == (4, 3 * 32 // operands.out.itemsize)


JOB = """
from gemmkernels import Problem
from gemmkernels.cpu import microkernel, numba_packed
from test_kernels_cpu_packed import HERE, SMALL, verified
assert microkernel.vector_bytes(HERE) == 32
verified(Problem(m=61, n=67, k=71, precision="fp32", layout="nt"), HERE, SMALL)
"""


@needs_avx2
def test_where_numba_compiles_for_avx2_only() -> None:
    """Really without AVX-512 registers, whatever the device has."""
    environment = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2,+popcnt",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    subprocess.run([sys.executable, "-c", JOB], check=True, env={**os.environ, **environment})


def test_a_cpu_without_avx2_is_told() -> None:
    problem = Problem(m=8, n=8, k=8, precision="fp32")
    older = dataclasses.replace(CPU, features=("avx2",))
    assert KERNEL.why_not(problem, older) == "needs AVX2 and FMA: this CPU has no fma"
    none = dataclasses.replace(CPU, features=())
    assert KERNEL.why_not(problem, none) == "needs AVX2 and FMA: this CPU has no avx2 and no fma"
    assert KERNEL.why_not(problem, dataclasses.replace(CPU, features=("avx2", "fma"))) is None
    assert KERNEL.why_not(problem, GPUS["sm_90"]) == "runs on a CPU only"


def test_a_numba_that_compiles_for_less_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gemmkernels.cpu.microkernel.compiled_for", lambda: frozenset({"avx", "sse4.2"})
    )
    (operands,) = allocate(Problem(m=8, n=8, k=8, precision="fp32"), HERE)
    with pytest.raises(GemmbenchError, match="unset NUMBA_CPU_NAME"):
        KERNEL.launch(operands)


@needs_avx2
def test_one_compilation_serves_every_layout_and_shape() -> None:
    compiled = set()
    for (m, n, k), layout in zip(SHAPES, itertools.cycle(LAYOUTS), strict=False):
        (operands,) = allocate(Problem(m=m, n=n, k=k, precision="fp32", layout=layout), HERE)
        launch = KERNEL.launch(operands)
        matmul = launch.run.func  # type: ignore[attr-defined]
        assert len(matmul.signatures) == 1
        launch.run()
        assert len(matmul.signatures) == 1
        compiled.add(matmul)
    assert len(compiled) == 1


@needs_avx2
def test_settings_are_taken_and_the_default_comes_first() -> None:
    problem = Problem(m=2048, n=4096, k=2048, precision="fp32")
    offered = KERNEL.settings(problem, HERE)
    assert offered[0] == numba_packed.DEFAULT
    assert len({tuple(one.items()) for one in offered}) == len(offered) > 8
    small = dataclasses.replace(problem, m=600, n=700, k=600)
    (operands,) = allocate(small, HERE)
    with threads(1):
        for settings in (offered[0], offered[-1]):
            config = KERNEL.launch(operands, settings=settings).config
            assert config["BLOCK_K"] == min(int(settings["BLOCK_K"]), 600)
            assert config["BLOCK_M"] == settings["BLOCK_M"]
            poison(operands)


@needs_avx2
@pytest.mark.parametrize(
    "settings",
    [{"BLOCK_M": 8}, {**SMALL, "BLOCK_K": 0}, {**SMALL, "GROUP_M": 8}, {**SMALL, "BLOCK_M": "8"}],
)
def test_settings_that_mean_nothing_are_told(settings: Settings) -> None:
    (operands,) = allocate(Problem(m=8, n=8, k=8, precision="fp32"), HERE)
    with pytest.raises(GemmbenchError, match="numba-packed takes BLOCK_M, BLOCK_N, BLOCK_K"):
        KERNEL.launch(operands, settings=settings)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 12, 64])
@pytest.mark.parametrize(("m", "n"), [(512, 512), (1, 4096), (4096, 1), (7, 65), (1, 1), (37, 500)])
def test_every_element_belongs_to_one_thread(m: int, n: int, count: int) -> None:
    cuts = shares(m, n, (6, 64), count)
    assert len(cuts) <= count
    seen = torch.zeros(m, n, dtype=torch.int32)
    for i0, i1, j0, j1 in cuts.tolist():
        assert i0 < i1
        assert j0 < j1
        seen[i0:i1, j0:j1] += 1
    assert bool((seen == 1).all())


def test_threads_share_evenly() -> None:
    sizes = [(i1 - i0) * (j1 - j0) for i0, i1, j0, j1 in shares(512, 512, (6, 64), 2).tolist()]
    assert len(sizes) == 2
    assert max(sizes) <= 1.05 * min(sizes)
    # 16 threads on a square: four by four, not sixteen strips that would each pack all of B
    assert len(set(shares(4096, 4096, (6, 64), 16)[:, 0])) in (4, 8)
