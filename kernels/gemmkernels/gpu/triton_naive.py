# mypy: allow-untyped-defs, allow-incomplete-defs
"""One element of C a lane: each walks a row of A and a column of B by itself, through the caches.

Two loads for one multiply-add: the load units, not the arithmetic, set its speed.
"""

import triton
import triton.language as tl

from gemmkernels.gpu.host import Call, arguments, constants, lanes, launch, multiply_add, store_tile
from gemmkernels.kernel import Launch
from gemmkernels.operands import Operands

BLOCK_M, BLOCK_N = 8, 32
"""A warp of 32 lanes covers 32 neighbours of a row of C: its loads of a row-major B coalesce."""


@triton.jit
def matmul_kernel(
    a_ptr,
    b_ptr,
    c_ptr,
    scale_a_ptr,
    scale_b_ptr,
    M,
    N,
    K,
    stride_am,
    stride_ak,
    stride_bk,
    stride_bn,
    stride_cm,
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
    ROWWISE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    pid = tl.program_id(0)
    tiles_n = tl.cdiv(N, BLOCK_N)
    lane = tl.arange(0, BLOCK_M * BLOCK_N)
    offs_m = pid // tiles_n * BLOCK_M + lane // BLOCK_N
    offs_n = pid % tiles_n * BLOCK_N + lane % BLOCK_N
    if WIDE:
        offs_m, offs_n = offs_m.to(tl.int64), offs_n.to(tl.int64)
    # Lanes outside C load an element inside it: the loop needs no mask.
    offs_a = offs_m % M * stride_am
    offs_b = offs_n % N * stride_bn
    acc = tl.zeros((BLOCK_M * BLOCK_N,), dtype=ACC)
    for _ in range(K):
        acc = multiply_add(acc, tl.load(a_ptr + offs_a), tl.load(b_ptr + offs_b))
        a_ptr += stride_ak
        b_ptr += stride_bk
    store_tile(c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE)


def bind(operands: Operands) -> Launch:
    problem = operands.problem
    grid = (triton.cdiv(problem.m, BLOCK_M) * triton.cdiv(problem.n, BLOCK_N),)
    config = {"BLOCK_M": BLOCK_M, "BLOCK_N": BLOCK_N}
    options = {"num_warps": BLOCK_M * BLOCK_N // lanes(operands.device), "num_stages": 1}
    named = {**constants(operands), **config, **options, "enable_fp_fusion": True}
    call = Call(matmul_kernel, grid, arguments(operands), named)
    return launch(call, config=config | options, tile=(BLOCK_M, BLOCK_N, 1))
