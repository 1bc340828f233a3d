# mypy: allow-untyped-defs, allow-incomplete-defs
"""What the kernels with tl.dot share: the loop along K, the order of tiles, and their constants."""

from collections.abc import Mapping
from typing import Any

import triton
import triton.language as tl

from gemmkernels.gpu.host import constants
from gemmkernels.operands import Operands

_PRECISION = {"tf32": "tf32", "bf16x3": "bf16x3"}


def dot_constants(operands: Operands, block_k: int) -> Mapping[str, Any]:
    """`host.constants`, and EVEN_K: K needs no mask; INPUT_PRECISION; UPCAST, for the interpreter,
    whose dot takes bf16 for integers, and which knows no bf16x3.
    """
    problem = operands.problem
    interpreted = triton.knobs.runtime.interpret
    known = {"tf32": "tf32"} if interpreted else _PRECISION
    return {
        **constants(operands),
        "EVEN_K": problem.k % block_k == 0,
        "INPUT_PRECISION": known.get(problem.precision, "ieee"),
        "UPCAST": interpreted and problem.numerics.input == "bfloat16",
    }


@triton.jit
def grouped(pid, tiles_m, tiles_n, GROUP_M: tl.constexpr):
    """(pid_m, pid_n) of a tile: down GROUP_M rows of tiles before the next column."""
    group = pid // (GROUP_M * tiles_n)
    group_size = min(tiles_m - group * GROUP_M, GROUP_M)
    in_group = pid % (GROUP_M * tiles_n)
    return group * GROUP_M + in_group % group_size, in_group // group_size


@triton.jit
def over_dies(pid, programs, DIES: tl.constexpr):
    """A program's place, so that those on one die (every DIES-th is) have neighbouring tiles."""
    if DIES > 1:
        die = pid % DIES
        # The first dies get one more, if the programs do not go round evenly.
        pid = die * (programs // DIES) + min(die, programs % DIES) + pid // DIES
    return pid


@triton.jit
def descriptor(
    ptr, rows, columns, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr, T: tl.constexpr
):
    """A tensor descriptor of [rows, columns], as stored: transposed where T says so."""
    if T:
        found = tl.make_tensor_descriptor(ptr, [columns, rows], [stride, 1], [COLUMNS, ROWS])
    else:
        found = tl.make_tensor_descriptor(ptr, [rows, columns], [stride, 1], [ROWS, COLUMNS])
    return found


@triton.jit
def load_block(desc, row, column, T: tl.constexpr):
    """The block [ROWS, COLUMNS] at a row and column of what `descriptor` described."""
    return desc.load([column, row]).T if T else desc.load([row, column])


@triton.jit
def store_block(desc, block, row, column, PARTS: tl.constexpr):
    """Write a block, in one part or in two: then half the shared memory is enough."""
    if PARTS == 2:
        half: tl.constexpr = block.shape[1] // 2
        halves = tl.permute(tl.reshape(block, (block.shape[0], 2, half)), (0, 2, 1))
        left, right = tl.split(halves)
        desc.store([row, column], left)
        desc.store([row, column + half], right)
    else:
        desc.store([row, column], block)


@triton.jit
def dot_step(a, b, acc, INPUT_PRECISION: tl.constexpr, MAX_IMPRECISE: tl.constexpr, UPCAST):
    """acc + a @ b, on matrix units."""
    if UPCAST:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(
        a,
        b,
        acc,
        input_precision=INPUT_PRECISION,
        max_num_imprecise_acc=MAX_IMPRECISE,
        out_dtype=acc.dtype,
    )


@triton.jit
def dot_tile(
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
):
    """A[offs_m, :] @ B[:, offs_n] by pointers; offs_m [BLOCK_M, 1], offs_n [1, BLOCK_N]."""
    offs_k = tl.arange(0, BLOCK_K)
    step = BLOCK_K
    if WIDE:
        offs_k = offs_k.to(tl.int64)
        step = tl.full((), BLOCK_K, tl.int64)
    # Rows and columns outside C read others inside it: only K needs a mask, if it is ragged.
    a_ptrs = a_ptr + offs_m % M * stride_am + offs_k[None, :] * stride_ak
    b_ptrs = b_ptr + offs_k[:, None] * stride_bk + offs_n % N * stride_bn
    acc = tl.zeros((offs_m.shape[0], offs_n.shape[1]), dtype=ACC)
    for k in range(tl.cdiv(K, BLOCK_K)):
        if EVEN_K:
            a = tl.load(a_ptrs)
            b = tl.load(b_ptrs)
        else:
            left = K - k * BLOCK_K
            a = tl.load(a_ptrs, mask=offs_k[None, :] < left, other=0.0)
            b = tl.load(b_ptrs, mask=offs_k[:, None] < left, other=0.0)
        acc = dot_step(a, b, acc, INPUT_PRECISION, MAX_IMPRECISE, UPCAST)
        a_ptrs += step * stride_ak
        b_ptrs += step * stride_bk
    return acc
