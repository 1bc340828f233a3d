# mypy: allow-untyped-defs, allow-incomplete-defs
"""A grouped product in one launch: the programs walk over the tiles of all experts.

How many rows an expert has is read on the device, when the kernel runs: no host knows the routing
of a mixture of experts in time. Experts without rows have no tiles.
"""

import triton
import triton.language as tl

from gemmkernels.gpu.config_shapes import chosen, grouped_default
from gemmkernels.gpu.dot import dot_constants
from gemmkernels.gpu.dot import grouped as in_groups
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
    ends_ptr,
    experts,
    M,
    N,
    K,
    stride_am,
    stride_ak,
    stride_be,
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
    SWAP: tl.constexpr,
    GROUP_M: tl.constexpr,
    EXPERTS: tl.constexpr,
):
    offs_e = tl.arange(0, EXPERTS)
    ends = tl.load(ends_ptr + offs_e, mask=offs_e < experts, other=M)
    starts = tl.load(ends_ptr + offs_e - 1, mask=(offs_e > 0) & (offs_e < experts), other=0)
    starts = tl.where(offs_e < experts, starts, M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    tiles = tl.cdiv(ends - starts, BLOCK_M) * tiles_n
    tiles_to = tl.cumsum(tiles, 0)
    for tile in range(tl.program_id(0), tl.sum(tiles, 0), tl.num_programs(0)):
        expert = tl.sum((tiles_to <= tile).to(tl.int32), 0)
        own = offs_e == expert
        start = tl.sum(tl.where(own, starts, 0), 0)
        end = tl.sum(tl.where(own, ends, 0), 0)
        first = tl.sum(tl.where(own, tiles_to - tiles, 0), 0)
        tiles_m = tl.cdiv(end - start, BLOCK_M)
        pid_m, pid_n = in_groups(tile - first, tiles_m, tiles_n, GROUP_M)
        offs_m = start + pid_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
        offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
        if WIDE:
            offs_m, offs_n = offs_m.to(tl.int64), offs_n.to(tl.int64)
        acc = skinny_tile(
            a_ptr,
            b_ptr + expert.to(tl.int64) * stride_be,
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
        scales_ptr = scale_b_ptr
        if ROWWISE:
            scales_ptr += expert * N
        store_tile(c_ptr, acc, offs_m, offs_n, end, N, stride_cm, scale_a_ptr, scales_ptr, ROWWISE)


def bind(operands: Operands, settings: Settings | None = None) -> Launch:
    problem, device = operands.problem, operands.device
    config = chosen("triton-grouped", problem, device, settings, grouped_default)
    found = (
        operands.a,
        operands.b,
        operands.out,
        operands.scale_a,
        operands.scale_b,
        operands.offsets,
        problem.experts,
        problem.m,
        problem.n,
        problem.k,
        *operands.a.stride(),
        *operands.b.stride(),
        operands.out.stride(0),
    )
    named = {
        **dot_constants(operands, config.BLOCK_K),
        **config.constants(),
        **config.options(),
        "GROUP_M": config.GROUP_M or 1,
        "EXPERTS": triton.next_power_of_2(problem.experts),
        "WIDE": any(t.numel() >= 2**31 for t in (operands.a, operands.b[0], operands.out)),
    }
    # No more programs than tiles, if every expert's last one is nearly empty.
    tiles_m = triton.cdiv(problem.m, config.BLOCK_M) + problem.experts
    tiles = tiles_m * triton.cdiv(problem.n, config.BLOCK_N)
    programs = min(tiles, (config.PROGRAMS or 1) * device.units)
    call = Call(matmul_kernel, (programs,), found, named)
    return launch(call, config=config.record(), tile=config.tile)
