# mypy: allow-untyped-defs, allow-incomplete-defs
"""tl.dot: a tile of C a program on Tensor Cores or MFMA, the next tiles of A and B on their way.

Programs run down GROUP_M rows of tiles before the next column, so that L2 serves what neighbours
share (Triton's tutorial 03).
"""

import triton
import triton.language as tl

from gemmkernels.gpu.config import chosen
from gemmkernels.gpu.host import Call, arguments, constants, launch, store_tile
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
    EVEN_K: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    MAX_IMPRECISE: tl.constexpr,
    UPCAST: tl.constexpr,
):
    pid = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    group = pid // (GROUP_M * tiles_n)
    group_size = min(tiles_m - group * GROUP_M, GROUP_M)
    in_group = pid % (GROUP_M * tiles_n)
    offs_m = (group * GROUP_M + in_group % group_size) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    offs_n = in_group // group_size * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    offs_k = tl.arange(0, BLOCK_K)
    step = BLOCK_K
    if WIDE:
        offs_m, offs_n, offs_k = offs_m.to(tl.int64), offs_n.to(tl.int64), offs_k.to(tl.int64)
        step = tl.full((), BLOCK_K, tl.int64)
    # Rows and columns outside C read others inside it: only K needs a mask, if it is ragged.
    a_ptrs = a_ptr + offs_m % M * stride_am + offs_k[None, :] * stride_ak
    b_ptrs = b_ptr + offs_k[:, None] * stride_bk + offs_n % N * stride_bn
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=ACC)
    for k in range(tl.cdiv(K, BLOCK_K)):
        if EVEN_K:
            a = tl.load(a_ptrs)
            b = tl.load(b_ptrs)
        else:
            left = K - k * BLOCK_K
            a = tl.load(a_ptrs, mask=offs_k[None, :] < left, other=0.0)
            b = tl.load(b_ptrs, mask=offs_k[:, None] < left, other=0.0)
        if UPCAST:
            a, b = a.to(tl.float32), b.to(tl.float32)
        acc = tl.dot(
            a,
            b,
            acc,
            input_precision=INPUT_PRECISION,
            max_num_imprecise_acc=MAX_IMPRECISE,
            out_dtype=ACC,
        )
        a_ptrs += step * stride_ak
        b_ptrs += step * stride_bk
    store_tile(c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE)


def bind(operands: Operands, settings: Settings | None = None) -> Launch:
    problem = operands.problem
    config = chosen("triton-matrix-core", problem, operands.device, settings)
    grid = (triton.cdiv(problem.m, config.BLOCK_M) * triton.cdiv(problem.n, config.BLOCK_N),)
    # The interpreter's dot takes bf16 for integers.
    upcast = triton.knobs.runtime.interpret and problem.precision == "bf16"
    named = {
        **constants(operands),
        **config.constants(),
        **config.options(),
        "EVEN_K": problem.k % config.BLOCK_K == 0,
        "INPUT_PRECISION": "tf32" if problem.precision == "tf32" else "ieee",
        "UPCAST": upcast,
    }
    call = Call(matmul_kernel, grid, arguments(operands), named)
    return launch(call, config=config.record(), tile=config.tile)
