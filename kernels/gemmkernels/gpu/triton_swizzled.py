# mypy: allow-untyped-defs, allow-incomplete-defs
"""The same tiles in another order: programs that run together share rows of A and columns of B.

They go down GROUP_M rows of tiles before the next column (Triton's tutorial 03). A GPU of several
dies hands programs out to them in turn, each with an L2 of its own: there a die's programs get
neighbouring tiles first.
"""

import triton
import triton.language as tl

from gemmkernels.gpu.config import chosen, dies
from gemmkernels.gpu.dot import dot_constants, dot_tile, grouped, over_dies
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
    GROUP_M: tl.constexpr,
    DIES: tl.constexpr,
    EVEN_K: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    MAX_IMPRECISE: tl.constexpr,
    UPCAST: tl.constexpr,
):
    tiles_m, tiles_n = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    pid = over_dies(tl.program_id(0), tiles_m * tiles_n, DIES)
    pid_m, pid_n = grouped(pid, tiles_m, tiles_n, GROUP_M)
    offs_m = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
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
    config = chosen("triton-swizzled", problem, operands.device, settings)
    grid = (triton.cdiv(problem.m, config.BLOCK_M) * triton.cdiv(problem.n, config.BLOCK_N),)
    named = {
        **dot_constants(operands, config.BLOCK_K),
        **config.constants(),
        **config.options(),
        "DIES": dies(operands.device),
    }
    call = Call(matmul_kernel, grid, arguments(operands), named)
    return launch(call, config=config.record(), tile=config.tile)
