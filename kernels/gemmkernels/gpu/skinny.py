# mypy: allow-untyped-defs, allow-incomplete-defs
"""Tiles with few rows: Cᵀ = Bᵀ @ Aᵀ, where the matrix instruction wants 64 rows and C has not."""

import triton
import triton.language as tl

from gemmkernels.gpu.dot import dot_tile


@triton.jit
def skinny_tile(
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
    ACC: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_K: tl.constexpr,
    EVEN_K: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    MAX_IMPRECISE: tl.constexpr,
    UPCAST: tl.constexpr,
    SWAP: tl.constexpr,
):
    """`dot.dot_tile`; with SWAP the columns of C are the rows of the instruction."""
    if SWAP:
        transposed = dot_tile(
            b_ptr,
            a_ptr,
            tl.trans(offs_n),
            tl.trans(offs_m),
            N,
            M,
            K,
            stride_bn,
            stride_bk,
            stride_ak,
            stride_am,
            ACC,
            WIDE,
            BLOCK_K,
            EVEN_K,
            INPUT_PRECISION,
            MAX_IMPRECISE,
            UPCAST,
        )
        acc = tl.trans(transposed)
    else:
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
    return acc
