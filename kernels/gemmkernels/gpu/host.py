# mypy: allow-untyped-defs, allow-incomplete-defs
"""What every Triton kernel shares: its arguments on the host, and how a tile is written."""

import contextvars
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import triton
import triton.language as tl

from gemmkernels.device import Device
from gemmkernels.kernel import Launch, Settings
from gemmkernels.operands import Operands

DESCRIPTORS = 2048
"""Bytes for the tensor descriptors of a program: 128 each, three or four, and some to spare."""


def lanes(device: Device) -> int:
    """Lanes of a warp: 64 on AMD's gfx9 (GCN, CDNA), 32 elsewhere."""
    return 64 if device.gfx.startswith("gfx9") else 32


@dataclass(frozen=True)
class Call:
    """One launch of a Triton kernel: what runs, and what `inspect` compiles without a GPU.

    `function` is a `triton.jit` function; `named` holds its compile-time arguments and the
    compiler's options.
    """

    function: Any
    grid: tuple[int, ...]
    arguments: Sequence[object]
    named: Mapping[str, Any]

    def bound(self) -> Callable[[], object]:
        return partial(self.function[self.grid], *self.arguments, **self.named)


def launch(
    *calls: Call,
    config: Settings,
    tile: tuple[int, int, int],
    splits: int | None = None,
    prepare: Callable[[], None] | None = None,
) -> Launch:
    """The Launch of these calls, one after the other; the first one's grid is recorded."""
    runs = tuple(call.bound() for call in calls)
    return Launch(
        run=runs[0] if len(runs) == 1 else partial(_in_order, runs),
        prepare=prepare,
        config=config,
        tile=tile,
        grid=calls[0].grid,
        splits=splits,
        calls=calls,
    )


def _in_order(runs: Sequence[Callable[[], object]]) -> None:
    for run in runs:
        run()


def with_workspace(
    run: Callable[[], object], programs: int, device: torch.device
) -> Callable[[], object]:
    """`run`, with memory for the descriptors that each program makes.

    The memory is there before a graph is captured. `set_allocator` is for the context at hand:
    a context of its own leaves another's allocator as it was.
    """
    workspace = torch.empty(DESCRIPTORS * programs, dtype=torch.uint8, device=device)

    def hand_out(size: int, _alignment: int, _stream: int | None) -> torch.Tensor:
        if size > workspace.numel():
            raise RuntimeError(f"descriptors take {size} bytes, expected {workspace.numel()}")
        return workspace

    context = contextvars.copy_context()
    context.run(triton.set_allocator, hand_out)
    return partial(context.run, run)


def arguments(operands: Operands) -> tuple[object, ...]:
    """a, b, c, their scales (or None), M, N, K and the strides of a, b and c's rows."""
    problem = operands.problem
    return (
        operands.a,
        operands.b,
        operands.out,
        operands.scale_a,
        operands.scale_b,
        problem.m,
        problem.n,
        problem.k,
        *operands.a.stride(),
        *operands.b.stride(),
        operands.out.stride(0),
    )


def constants(operands: Operands) -> Mapping[str, Any]:
    """ACC, the type of sums; WIDE: an offset may pass 2³¹, so that 32 bits do not hold it; and
    ROWWISE: scales are of rows and columns, not of the whole.
    """
    tensors = (operands.a, operands.b, operands.out)
    return {
        "ACC": getattr(tl, operands.problem.numerics.accumulate),
        "WIDE": any(tensor.numel() >= 2**31 for tensor in tensors),
        "ROWWISE": operands.problem.numerics.scaling == "rowwise",
    }


@triton.jit
def scale_tile(acc, offs_m, offs_n, M, N, scale_a_ptr, scale_b_ptr, ROWWISE: tl.constexpr):
    """acc · scales, where there are any; offsets are of rows and columns of C."""
    if scale_a_ptr is not None:
        if ROWWISE:
            # One after the other: their product would be a tile that passes through shared memory.
            acc *= tl.load(scale_a_ptr + offs_m, mask=offs_m < M, other=0.0)
            acc *= tl.load(scale_b_ptr + offs_n, mask=offs_n < N, other=0.0)
        else:
            acc *= tl.load(scale_a_ptr) * tl.load(scale_b_ptr)
    return acc


@triton.jit
def store_tile(
    c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE: tl.constexpr
):
    """C[offs_m, offs_n] = acc · scales, in C's type; elements outside C are dropped."""
    acc = scale_tile(acc, offs_m, offs_n, M, N, scale_a_ptr, scale_b_ptr, ROWWISE)
    c = acc.to(c_ptr.dtype.element_ty)
    tl.store(c_ptr + offs_m * stride_cm + offs_n, c, mask=(offs_m < M) & (offs_n < N))


@triton.jit
def multiply_add(acc, a, b):
    """acc + a · b in acc's type, fused for floats on any vendor and Triton."""
    a = a.to(acc.dtype)
    b = b.to(acc.dtype)
    if acc.dtype.is_floating():
        acc = tl.fma(a, b, acc)
    else:
        acc += a * b
    return acc
