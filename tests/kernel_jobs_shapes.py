"""Kernels for few rows, batches, experts and block scales, interpreted: one JSON line a case.

`python kernel_jobs_shapes.py KERNEL`, with TRITON_INTERPRET=1. Each case is held against float64 by
the rounding bound of `kernel_jobs`, then by `verify`'s exact check on the same launch, with inputs
and scales that were not there when the kernel was bound.
"""

import dataclasses
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import torch
from kernel_jobs import GPUS, error, show

from gemmbench.verify import Verifier
from gemmkernels import Device, Kernel, Launch, Operands, Problem
from gemmkernels.kernel import Settings
from gemmkernels.ladder import find
from gemmkernels.operands import allocate, fill, poison

Shape = dict[str, Any]
# Its programs have many tiles each: up to four programs share a unit.
FEW = dataclasses.replace(GPUS["sm_90"], units=2)
TILE: Settings = {"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 16, "num_warps": 4, "num_stages": 2}
NAMES = ("triton-split-k", "triton-batched", "triton-grouped", "triton-block-scaled")


def cases(name: str) -> Iterator[tuple[Device, Problem, Settings | None]]:
    """What `kernel_jobs.problems` has not: it covers all but block scales in pairs."""
    sm_90, gfx942 = GPUS["sm_90"], GPUS["gfx942"]
    match name:
        case "triton-split-k":
            for precision in ("fp16", "fp8_e4m3_rowwise", "int8", "fp64"):
                for device in (sm_90, gfx942):  # Cᵀ, and C; K ragged, splits uneven
                    yield device, Problem(m=16, n=80, k=1000, precision=precision), None
            for splits in (1, 7, 33):  # of 13 steps
                problem = Problem(m=5, n=70, k=200, precision="fp16", layout="tt")
                yield gfx942, problem, {**TILE, "SPLITS": splits}
        case "triton-batched":
            for precision in ("fp16", "fp8_e4m3_rowwise"):
                yield sm_90, Problem(m=17, n=70, k=19, batch=3, precision=precision), None
            yield FEW, Problem(m=8, n=8, k=8, batch=200, precision="int8"), None
        case "triton-grouped":
            for precision in ("fp16", "fp8_e4m3_rowwise"):
                yield FEW, Problem(m=40, n=150, k=70, experts=4, precision=precision), None
                yield sm_90, Problem(m=3, n=70, k=33, experts=5, precision=precision), None
            problem = Problem(m=90, n=130, k=40, experts=6, precision="bf16")
            yield FEW, problem, {**TILE, "GROUP_M": 2}
            yield gfx942, Problem(m=9, n=20, k=40, experts=130, precision="fp16"), None
        case "triton-block-scaled":
            for precision in ("mxfp8", "mxfp4", "nvfp4"):
                for target, m, n, k in (
                    ("sm_100", 40, 37, 64),  # Cᵀ
                    ("gfx950", 200, 130, 288),
                    ("gfx950", 1, 7, 32),
                ):
                    problem = Problem(m=m, n=n, k=k, precision=precision, layout="nt")
                    yield GPUS[target], problem, None


def interpret(name: str) -> None:
    kernel = find(name)
    if name == "triton-block-scaled":
        mend_interpreter()
    for device, problem, settings in cases(name):
        show(**case(kernel, problem, device, settings=settings))
    if name == "triton-grouped":
        show(**other_rows(kernel))


def case(
    kernel: Kernel, problem: Problem, device: Device, *, settings: Settings | None = None
) -> dict[str, Any]:
    (operands,) = allocate(problem, device)
    fill(operands, seed=problem.m)
    poison(operands)
    launch = kernel.launch(operands, settings=settings)
    launch.run()
    found = error(operands)
    exact(operands, launch)
    return {
        "kernel": kernel.name,
        "precision": problem.precision,
        "layout": problem.layout,
        "shape": problem.shape,
        "error": found,
        "grid": launch.grid,
        "splits": launch.splits,
        "config": dict(launch.config),
    }


def exact(operands: Operands, launch: Launch) -> None:
    """Raises WrongError; inputs and scales are refilled in place, after `bind`."""

    def execute() -> tuple[torch.Tensor, ...]:
        launch.run()
        return (operands.out,)

    Verifier(operands=operands).exact(execute, salt=1)


def other_rows(kernel: Kernel) -> dict[str, Any]:
    """Experts whose numbers of rows change after `bind`: one has all, others none."""
    problem = Problem(m=50, n=33, k=20, experts=4, precision="fp16", layout="nt")
    (operands,) = allocate(problem, GPUS["sm_90"])
    launch = kernel.launch(operands)
    worst = 0.0
    for rows in ((0, 50, 0, 0), (50, 0, 0, 0), (1, 2, 3, 44), (0, 0, 0, 50)):
        fill(operands)
        poison(operands)
        assert operands.offsets is not None
        operands.offsets.copy_(torch.tensor(list(itertools.accumulate(rows))))
        launch.run()
        parts = zip(torch.split(operands.a, list(rows)), operands.b, strict=True)
        pairs = [(a.double(), b.double()) for a, b in parts]
        expected = torch.cat([a @ b for a, b in pairs])
        size = torch.cat([a.abs() @ b.abs() for a, b in pairs])
        excess = (operands.out.double() - expected).abs()
        worst = max(worst, float((excess / (2**-11 * expected.abs() + 2**-18 * size)).max()))
    return {"rows": [50, 4], "worst": worst}


def mend_interpreter() -> None:
    """Triton 3.9's reads E4M3 scales as powers of two: nvfp4 would be wrong whatever we do."""
    from triton.runtime import interpreter

    as_power: Any = interpreter._dot_scaled_scale_to_f32

    def scale(handle: Any, compute_type: Any) -> Any:
        if handle.dtype.is_int():
            return as_power(handle, compute_type)
        return torch.from_numpy(handle.data.copy()).view(torch.float8_e4m3fn).float().numpy()

    interpreter._dot_scaled_scale_to_f32 = scale


if __name__ == "__main__":
    interpret(sys.argv[1])
