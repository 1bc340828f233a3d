"""Kernels for few rows, batches, experts and block scales, interpreted: one JSON line a case.

`python kernel_jobs_shapes.py KERNEL`, with TRITON_INTERPRET=1. Each case is held against float64 by
the rounding bound of `kernel_jobs`, then by `verify`'s exact check on the same launch, with inputs
and scales that were not there when the kernel was bound.
"""

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from typing import Any

import torch
from kernel_jobs import GPUS, LAYOUTS, error, show

from gemmbench.verify import Verifier
from gemmkernels import Device, Kernel, Launch, Operands, Problem
from gemmkernels.kernel import Settings
from gemmkernels.ladder import find
from gemmkernels.operands import allocate, fill, poison

Shape = dict[str, Any]
# Two programs a unit: those of a device with few units have many tiles each.
FEW = dataclasses.replace(GPUS["sm_90"], units=2)
SHAPES: dict[str, Sequence[tuple[Device, Shape]]] = {
    "triton-split-k": (
        (GPUS["sm_90"], {"m": 16, "n": 80, "k": 1000}),  # Cᵀ; K ragged, splits uneven
        (GPUS["gfx942"], {"m": 1, "n": 13, "k": 67}),
        (GPUS["gfx942"], {"m": 70, "n": 33, "k": 512}),
        (FEW, {"m": 129, "n": 70, "k": 40}),
    ),
    "triton-batched": (
        (GPUS["sm_90"], {"m": 17, "n": 70, "k": 19, "batch": 3}),
        (GPUS["gfx942"], {"m": 32, "n": 32, "k": 32, "batch": 5}),
        (GPUS["sm_90"], {"m": 1, "n": 70, "k": 70}),
        (FEW, {"m": 140, "n": 130, "k": 40, "batch": 2}),
    ),
    "triton-grouped": (
        (FEW, {"m": 40, "n": 150, "k": 70, "experts": 4}),
        (GPUS["sm_90"], {"m": 3, "n": 70, "k": 33, "experts": 5}),  # some have no rows
        (GPUS["gfx942"], {"m": 300, "n": 37, "k": 48, "experts": 2}),
    ),
    "triton-block-scaled": (
        (GPUS["sm_100"], {"m": 40, "n": 37, "k": 64}),  # Cᵀ
        (GPUS["gfx950"], {"m": 200, "n": 130, "k": 288}),
        (GPUS["gfx950"], {"m": 1, "n": 7, "k": 32}),
    ),
}
NOT_INTERPRETED = {"bf16x3"}
"""The interpreter's tl.dot takes no such word."""


def interpret(name: str) -> None:
    kernel = find(name)
    if name == "triton-block-scaled":
        mend_interpreter()
    for p, precision in enumerate(kernel.precisions):
        if precision in NOT_INTERPRETED:
            continue
        for s, (device, shape) in enumerate(SHAPES[name]):
            blockwise = name == "triton-block-scaled"
            if (p + s) % 2 and not blockwise:
                continue  # half of the pairs: in each shape every layout, each type in two of them
            layout = "nt" if blockwise else LAYOUTS[(p // 2 + s) % 4]
            problem = Problem(precision=precision, layout=layout, **shape)
            show(**case(kernel, problem, device))
    more: dict[str, Sequence[tuple[Device, Problem, Settings | None]]] = {
        "triton-split-k": [
            (device, Problem(m=5, n=70, k=200, precision="fp16"), settings)
            for device, settings in (
                (GPUS["gfx942"], tile() | {"SPLITS": 7}),
                (GPUS["gfx942"], tile() | {"SPLITS": 33}),  # of 13 steps
                (GPUS["gfx942"], tile() | {"SPLITS": 1}),
            )
        ],
        "triton-batched": [
            (FEW, Problem(m=8, n=8, k=8, batch=200, precision="int8"), None),
        ],
        "triton-grouped": [
            (FEW, Problem(m=90, n=130, k=40, experts=6, precision="bf16"), tile() | {"GROUP_M": 2}),
            (FEW, Problem(m=9, n=20, k=40, experts=130, precision="fp16"), None),
        ],
    }
    for device, problem, settings in more.get(name, ()):
        show(**case(kernel, problem, device, settings=settings))
    if name == "triton-grouped":
        show(**other_rows(kernel))


def tile() -> dict[str, int | str | bool]:
    return {"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 16, "num_warps": 4, "num_stages": 2}


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
