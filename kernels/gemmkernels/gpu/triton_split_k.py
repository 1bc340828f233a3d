# mypy: allow-untyped-defs, allow-incomplete-defs
"""Split-K: where C has too few tiles to fill the device, programs share the sum along K.

Each writes its part; a second launch adds the parts, always in the same order. The result is the
same every time, which atomic additions do not promise.
"""

import torch
import triton
import triton.language as tl

from gemmkernels.gpu.config_shapes import chosen, split_k_default
from gemmkernels.gpu.dot import dot_constants
from gemmkernels.gpu.host import Call, arguments, launch, store_tile
from gemmkernels.gpu.skinny import skinny_tile
from gemmkernels.kernel import Launch, Settings
from gemmkernels.operands import Operands

SUM_TILE = 512  # elements of C that a program of the second launch adds, four a lane


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
    parts_ptr,
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
    ROWWISE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    EVEN_K: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    MAX_IMPRECISE: tl.constexpr,
    UPCAST: tl.constexpr,
    SWAP: tl.constexpr,
    SPLITS: tl.constexpr,
):
    pid, split = tl.program_id(0), tl.program_id(1)
    # Down the rows first: programs that run at once share columns of B, the larger matrix.
    tiles_m = tl.cdiv(M, BLOCK_M)
    offs_m = pid % tiles_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    offs_n = pid // tiles_m * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    # The first splits take one step more, if the steps along K do not go round evenly.
    steps = tl.cdiv(K, BLOCK_K)
    first = split * (steps // SPLITS) + min(split, steps % SPLITS)
    own = steps // SPLITS + (split < steps % SPLITS)
    start = first * BLOCK_K
    if WIDE:
        offs_m, offs_n, start = offs_m.to(tl.int64), offs_n.to(tl.int64), start.to(tl.int64)
    acc = skinny_tile(
        a_ptr + start * stride_ak,
        b_ptr + start * stride_bk,
        offs_m,
        offs_n,
        M,
        N,
        min(K - first * BLOCK_K, own * BLOCK_K),
        stride_am,
        stride_ak,
        stride_bk,
        stride_bn,
        ACC,
        WIDE,
        BLOCK_K,
        EVEN_K,
        INPUT_PRECISION,
        MAX_IMPRECISE,
        UPCAST,
        SWAP,
    )
    if SPLITS == 1:
        store_tile(c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE)
    else:
        part_ptr = parts_ptr + split.to(tl.int64) * M * N
        tl.store(part_ptr + offs_m * N + offs_n, acc, mask=(offs_m < M) & (offs_n < N))


@triton.jit
def sum_kernel(
    parts_ptr,
    c_ptr,
    scale_a_ptr,
    scale_b_ptr,
    M,
    N,
    stride_cm,
    ROWWISE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    SPLITS: tl.constexpr,
):
    pid, tiles_n = tl.program_id(0), tl.cdiv(N, BLOCK_N)
    offs_m = pid // tiles_n * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    offs_n = pid % tiles_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    offs, inside = offs_m * N + offs_n, (offs_m < M) & (offs_n < N)
    acc = tl.load(parts_ptr + offs, mask=inside, other=0)
    for _ in tl.static_range(SPLITS - 1):
        parts_ptr += M * N
        acc += tl.load(parts_ptr + offs, mask=inside, other=0)
    store_tile(c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE)


def bind(operands: Operands, settings: Settings | None = None) -> Launch:
    problem, out = operands.problem, operands.out
    config = chosen("triton-split-k", problem, operands.device, settings, split_k_default)
    splits = config.SPLITS or 1
    tiles = triton.cdiv(problem.m, config.BLOCK_M) * triton.cdiv(problem.n, config.BLOCK_N)
    named = {
        **dot_constants(operands, config.BLOCK_K),
        **config.constants(),
        **config.options(),
        "SPLITS": splits,
    }
    accumulate = getattr(torch, problem.numerics.accumulate)
    shape = (splits, problem.m, problem.n) if splits > 1 else (1,)
    parts = torch.empty(shape, dtype=accumulate, device=out.device)
    calls = [Call(matmul_kernel, (tiles, splits), (*arguments(operands), parts), named)]
    if splits > 1:
        calls.append(_sum(operands, parts, splits))
    return launch(*calls, config=config.record(), tile=config.tile, splits=splits)


def _sum(operands: Operands, parts: torch.Tensor, splits: int) -> Call:
    problem, out = operands.problem, operands.out
    block_n = min(SUM_TILE, triton.next_power_of_2(problem.n))
    block_m = SUM_TILE // block_n
    where = (parts, out, operands.scale_a, operands.scale_b)
    named = {
        "ROWWISE": problem.numerics.scaling == "rowwise",
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "SPLITS": splits,
        "num_warps": 4,
        "enable_fp_fusion": True,
    }
    grid = (triton.cdiv(problem.m, block_m) * triton.cdiv(problem.n, block_n),)
    return Call(sum_kernel, grid, (*where, problem.m, problem.n, out.stride(0)), named)
