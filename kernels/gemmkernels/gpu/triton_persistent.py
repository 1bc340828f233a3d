# mypy: allow-untyped-defs, allow-incomplete-defs
"""As many programs as units, each walking over tiles; tiles come and go by tensor descriptors.

On Hopper and Blackwell a descriptor is TMA: one thread asks for a whole tile, which spares the
others the addresses. Warp-specialised, some warps fetch while others multiply. Where rows are not
aligned to 16 bytes, and on other GPUs, tiles are loaded by pointers.
"""

from dataclasses import replace

import triton
import triton.language as tl

from gemmkernels.gpu.config import dies
from gemmkernels.gpu.config_persistent import loads, persistent, stores
from gemmkernels.gpu.dot import (
    descriptor,
    dot_constants,
    dot_step,
    dot_tile,
    grouped,
    load_block,
    over_dies,
    store_block,
)
from gemmkernels.gpu.host import Call, arguments, launch, scale_tile, store_tile, with_workspace
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
    A_T: tl.constexpr,
    B_T: tl.constexpr,
    LOADS: tl.constexpr,
    STORES: tl.constexpr,
    PARTS: tl.constexpr,
    WARP_SPECIALIZE: tl.constexpr,
    FLATTEN: tl.constexpr,
    EVEN_K: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    MAX_IMPRECISE: tl.constexpr,
    UPCAST: tl.constexpr,
):
    if LOADS:
        a_desc = descriptor(a_ptr, M, K, stride_ak if A_T else stride_am, BLOCK_M, BLOCK_K, A_T)
        b_desc = descriptor(b_ptr, K, N, stride_bn if B_T else stride_bk, BLOCK_K, BLOCK_N, B_T)
    if STORES:
        c_desc = tl.make_tensor_descriptor(
            c_ptr, [M, N], [stride_cm, 1], [BLOCK_M, BLOCK_N // PARTS]
        )
    programs = tl.num_programs(0)
    tiles_m, tiles_n = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    for tile in tl.range(
        over_dies(tl.program_id(0), programs, DIES),
        tiles_m * tiles_n,
        programs,
        flatten=FLATTEN,
        warp_specialize=WARP_SPECIALIZE,
    ):
        pid_m, pid_n = grouped(tile, tiles_m, tiles_n, GROUP_M)
        first_m, first_n = pid_m * BLOCK_M, pid_n * BLOCK_N
        offs_m = first_m + tl.arange(0, BLOCK_M)[:, None]
        offs_n = first_n + tl.arange(0, BLOCK_N)[None, :]
        if WIDE:
            offs_m, offs_n = offs_m.to(tl.int64), offs_n.to(tl.int64)
        if LOADS:
            acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=ACC)
            for k in range(tl.cdiv(K, BLOCK_K)):
                a = load_block(a_desc, first_m, k * BLOCK_K, A_T)
                b = load_block(b_desc, k * BLOCK_K, first_n, B_T)
                acc = dot_step(a, b, acc, INPUT_PRECISION, MAX_IMPRECISE, UPCAST)
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
        if STORES:
            acc = scale_tile(acc, offs_m, offs_n, M, N, scale_a_ptr, scale_b_ptr, ROWWISE)
            store_block(c_desc, acc.to(c_ptr.dtype.element_ty), first_m, first_n, PARTS)
        else:
            store_tile(
                c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE
            )


def bind(operands: Operands, settings: Settings | None = None, *, fast: bool = False) -> Launch:
    problem, device = operands.problem, operands.device
    config = persistent(problem, device, settings, fast=fast)
    tiles = triton.cdiv(problem.m, config.BLOCK_M) * triton.cdiv(problem.n, config.BLOCK_N)
    grid = (min(tiles, device.units * config.PROGRAMS),)
    by_descriptor = loads(problem, device)
    named = {
        **dot_constants(operands, config.BLOCK_K),
        **config.constants(),
        **config.options(),
        "DIES": dies(device),
        "A_T": problem.layout[0] == "t",
        "B_T": problem.layout[1] == "t",
        "LOADS": by_descriptor,
        "STORES": stores(problem, device),
        # Blackwell's warps walk over one loop; Hopper's are not specialised in a flattened one.
        "FLATTEN": config.WARP_SPECIALIZE and device.sm >= 100,
    }
    call = Call(matmul_kernel, grid, arguments(operands), named)
    bound = launch(call, config=config.record(), tile=config.tile)
    if not by_descriptor:
        return bound
    return replace(bound, run=with_workspace(bound.run, grid[0], operands.a.device))


def bind_fast(operands: Operands, settings: Settings | None = None) -> Launch:
    return bind(operands, settings, fast=True)
