# mypy: allow-untyped-defs, allow-incomplete-defs
"""What every Triton kernel shares: its arguments on the host, and how a tile is written."""

from collections.abc import Mapping
from typing import Any

import triton
import triton.language as tl

from gemmkernels.device import Device
from gemmkernels.operands import Operands


def lanes(device: Device) -> int:
    """Lanes of a warp: 64 on AMD's gfx9 (GCN, CDNA), 32 elsewhere."""
    return 64 if device.gfx.startswith("gfx9") else 32


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
    """ACC, the type of sums, and WIDE: an offset may pass 2³¹, so that 32 bits do not hold it."""
    tensors = (operands.a, operands.b, operands.out)
    return {
        "ACC": getattr(tl, operands.problem.numerics.accumulate),
        "WIDE": any(tensor.numel() >= 2**31 for tensor in tensors),
    }


@triton.jit
def store_tile(c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr):
    """C[offs_m, offs_n] = acc · scales, in C's type; elements outside C are dropped."""
    if scale_a_ptr is not None:
        acc *= tl.load(scale_a_ptr) * tl.load(scale_b_ptr)
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
