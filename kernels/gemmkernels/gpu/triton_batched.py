# mypy: allow-untyped-defs, allow-incomplete-defs
"""A batch as one launch: a program finds its product, then its tile of it.

The tiles of one product are neighbours, so that they share its A and B in the caches.
"""

import triton
import triton.language as tl

from gemmkernels.gpu.config_shapes import batched_default, chosen
from gemmkernels.gpu.dot import dot_constants
from gemmkernels.gpu.host import Call, launch, store_tile
from gemmkernels.gpu.skinny import skinny_tile
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
    stride_ab,
    stride_am,
    stride_ak,
    stride_bb,
    stride_bk,
    stride_bn,
    stride_cb,
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
    SWAP: tl.constexpr,
):
    pid = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    tile = pid % (tiles_m * tiles_n)
    # Products of a batch are many: only the offset of one takes 64 bits.
    batch = (pid // (tiles_m * tiles_n)).to(tl.int64)
    offs_m = tile % tiles_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    offs_n = tile // tiles_m * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    if WIDE:
        offs_m, offs_n = offs_m.to(tl.int64), offs_n.to(tl.int64)
    acc = skinny_tile(
        a_ptr + batch * stride_ab,
        b_ptr + batch * stride_bb,
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
        SWAP,
    )
    if ROWWISE:
        scale_a_ptr += batch * M
        scale_b_ptr += batch * N
    c_ptr += batch * stride_cb
    store_tile(c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE)


def bind(operands: Operands, settings: Settings | None = None) -> Launch:
    problem = operands.problem
    config = chosen("triton-batched", problem, operands.device, settings, batched_default)
    tiles = triton.cdiv(problem.m, config.BLOCK_M) * triton.cdiv(problem.n, config.BLOCK_N)
    a, b, out = (
        tensor if tensor.dim() == 3 else tensor[None]
        for tensor in (operands.a, operands.b, operands.out)
    )
    found = (
        a,
        b,
        out,
        operands.scale_a,
        operands.scale_b,
        problem.m,
        problem.n,
        problem.k,
        *a.stride(),
        *b.stride(),
        *out.stride()[:2],
    )
    named = {
        **dot_constants(operands, config.BLOCK_K),
        **config.constants(),
        **config.options(),
        "WIDE": any(tensor[0].numel() >= 2**31 for tensor in (a, b, out)),
    }
    call = Call(matmul_kernel, (tiles * problem.batch,), found, named)
    return launch(call, config=config.record(), tile=config.tile)
