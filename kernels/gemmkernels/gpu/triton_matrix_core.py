# mypy: allow-untyped-defs, allow-incomplete-defs
"""tl.dot: a tile of C a program on Tensor Cores or MFMA, the next tiles of A and B on their way."""

from dataclasses import replace

import triton
import triton.language as tl

from gemmkernels.gpu.config import chosen
from gemmkernels.gpu.dot import dot_constants, dot_tile
from gemmkernels.gpu.host import Call, arguments, launch, store_tile
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
    BLOCK_K: tl.constexpr,
    EVEN_K: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    MAX_IMPRECISE: tl.constexpr,
    UPCAST: tl.constexpr,
):
    pid = tl.program_id(0)
    tiles_n = tl.cdiv(N, BLOCK_N)
    offs_m = pid // tiles_n * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    offs_n = pid % tiles_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    if WIDE:
        offs_m, offs_n = offs_m.to(tl.int64), offs_n.to(tl.int64)
    acc = dot_tile(
        a_ptr,
        b_ptr,
        offs_m,
        offs_n,
        M,
        N,
        K,
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
    )
    store_tile(c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE)


def bind(operands: Operands, settings: Settings | None = None) -> Launch:
    problem = operands.problem
    config = replace(chosen("triton-matrix-core", problem, operands.device, settings), GROUP_M=None)
    grid = (triton.cdiv(problem.m, config.BLOCK_M) * triton.cdiv(problem.n, config.BLOCK_N),)
    named = {
        **dot_constants(operands, config.BLOCK_K),
        **config.constants(),
        **config.options(),
    }
    call = Call(matmul_kernel, grid, arguments(operands), named)
    return launch(call, config=config.record(), tile=config.tile)
