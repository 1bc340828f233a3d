# mypy: allow-untyped-defs, allow-incomplete-defs
"""tl.dot_scaled: the matrix unit multiplies each block of K by its scale itself.

Data and scales are read as they lie, K along the rows of A and the columns of B; 4-bit terms stay
two a byte up to the unit. On Blackwell it takes 128 rows, or Triton multiplies in fp16: where A has
few, B's columns are the rows, and C comes out transposed.
"""

import torch
import triton
import triton.language as tl

from gemmkernels.gpu.config_shapes import block_scaled_default, chosen
from gemmkernels.gpu.dot import grouped
from gemmkernels.gpu.host import Call, constants, launch, store_tile
from gemmkernels.kernel import Launch, Settings
from gemmkernels.operands import Operands


@triton.jit
def matmul_kernel(
    a_ptr,
    b_ptr,
    c_ptr,
    scale_a_ptr,
    scale_b_ptr,
    M,
    N,
    BLOCKS,
    stride_cm,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    EVEN_K: tl.constexpr,
    FORMAT: tl.constexpr,
    SCALED: tl.constexpr,
    BYTES: tl.constexpr,
    SWAP: tl.constexpr,
):
    pid_m, pid_n = grouped(tl.program_id(0), tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N), GROUP_M)
    offs_m = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    if WIDE:
        offs_m, offs_n = offs_m.to(tl.int64), offs_n.to(tl.int64)
    # Rows and columns outside C read others inside it: only K needs a mask, if it is ragged. A row
    # is whole blocks of 8 bytes or more: so counted, Triton sees how far its loads are aligned.
    rows, columns, row_bytes = offs_m % M, offs_n % N, BLOCKS * BYTES
    offs_k = tl.arange(0, BLOCK_K // SCALED * BYTES)
    offs_s = tl.arange(0, BLOCK_K // SCALED)
    a_ptrs = a_ptr + rows[:, None] * row_bytes + offs_k[None, :]
    b_ptrs = b_ptr + offs_k[:, None] + columns[None, :] * row_bytes
    scale_a_ptrs = scale_a_ptr + rows[:, None] * BLOCKS + offs_s[None, :]
    scale_b_ptrs = scale_b_ptr + columns[:, None] * BLOCKS + offs_s[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(tl.cdiv(BLOCKS, BLOCK_K // SCALED)):
        if EVEN_K:
            a, b = tl.load(a_ptrs), tl.load(b_ptrs)
            scale_a, scale_b = tl.load(scale_a_ptrs), tl.load(scale_b_ptrs)
        else:
            left = BLOCKS - k * (BLOCK_K // SCALED)
            a = tl.load(a_ptrs, mask=offs_k[None, :] < left * BYTES, other=0.0)
            b = tl.load(b_ptrs, mask=offs_k[:, None] < left * BYTES, other=0.0)
            scale_a = tl.load(scale_a_ptrs, mask=offs_s[None, :] < left, other=0.0)
            scale_b = tl.load(scale_b_ptrs, mask=offs_s[None, :] < left, other=0.0)
        acc = tl.dot_scaled(a, scale_a, FORMAT, b, scale_b, FORMAT, acc)
        a_ptrs += BLOCK_K // SCALED * BYTES
        b_ptrs += BLOCK_K // SCALED * BYTES
        scale_a_ptrs += BLOCK_K // SCALED
        scale_b_ptrs += BLOCK_K // SCALED
    if SWAP:
        acc = tl.trans(acc)
        store_tile(c_ptr, acc, offs_n[:, None], offs_m[None, :], N, M, stride_cm, None, None, False)
    else:
        store_tile(c_ptr, acc, offs_m[:, None], offs_n[None, :], M, N, stride_cm, None, None, False)


def bind(operands: Operands, settings: Settings | None = None) -> Launch:
    problem, row = operands.problem, operands.problem.numerics
    config = chosen("triton-block-scaled", problem, operands.device, settings, block_scaled_default)
    left = (operands.a, operands.scale_a, problem.m, config.BLOCK_M)
    right = (operands.b.mT, operands.scale_b, problem.n, config.BLOCK_N)
    if config.SWAP:
        left, right = right, left
    (a, scale_a, m, block_m), (b, scale_b, n, block_n) = left, right
    assert scale_a is not None
    assert scale_b is not None
    if row.scale == "float8_e8m0fnu":  # Triton has no such type: it takes bytes
        scale_a, scale_b = scale_a.view(torch.uint8), scale_b.view(torch.uint8)
    out, blocks = operands.out, problem.k // row.block
    found = (a, b, out, scale_a, scale_b, m, n, blocks, out.stride(0))
    named = {
        "WIDE": constants(operands)["WIDE"],
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "BLOCK_K": config.BLOCK_K,
        "GROUP_M": config.GROUP_M or 1,
        "SWAP": config.SWAP,
        **config.options(),
        "EVEN_K": problem.k % config.BLOCK_K == 0,
        "FORMAT": "e2m1" if row.bits_in == 4 else "e4m3",
        "SCALED": row.block,
        "BYTES": row.block * row.bits_in // 8,
    }
    grid = (triton.cdiv(m, block_m) * triton.cdiv(n, block_n),)
    call = Call(matmul_kernel, grid, found, named)
    return launch(call, config=config.record(), tile=config.tile)
