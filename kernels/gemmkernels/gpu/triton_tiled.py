# mypy: allow-untyped-defs, allow-incomplete-defs
"""A block of C in the registers of each lane: for every k, the outer product of two short vectors.

An 8×8 block needs 16 loads for 64 multiply-adds, where one element a lane needs 2 for 1. No tl.dot,
nor a sum of products that the compiler would turn into one: vector units only, on every vendor.
"""

import triton
import triton.language as tl

from gemmkernels.gpu.host import Call, arguments, constants, lanes, launch, multiply_add, store_tile
from gemmkernels.kernel import Launch
from gemmkernels.operands import Operands

LANES_M, LANES_N = 16, 16
UNROLL = {"nvidia": 1, "amd": 4}
"""Terms a pass. LLVM merges four loads along K on AMD, and four int8 terms into a dot product; on
NVIDIA one term takes 128 registers, so that two programs share an SM and hide each other's waits.
On gfx90a four spill.
"""


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
    LANES_M: tl.constexpr,
    LANES_N: tl.constexpr,
    UNROLL: tl.constexpr,
):
    pid = tl.program_id(0)
    tiles_n = tl.cdiv(N, BLOCK_N)
    # The last two dimensions fill the program's lanes: the first two lie in a lane's registers.
    rows = tl.reshape(tl.arange(0, BLOCK_M), (BLOCK_M // LANES_M, 1, LANES_M, 1))
    columns = tl.reshape(tl.arange(0, BLOCK_N), (1, BLOCK_N // LANES_N, 1, LANES_N))
    offs_m = pid // tiles_n * BLOCK_M + rows
    offs_n = pid % tiles_n * BLOCK_N + columns
    if WIDE:
        offs_m, offs_n = offs_m.to(tl.int64), offs_n.to(tl.int64)
    # Lanes outside C load an element inside it: the loop needs no mask.
    offs_a = offs_m % M * stride_am
    offs_b = offs_n % N * stride_bn
    acc = tl.zeros((BLOCK_M // LANES_M, BLOCK_N // LANES_N, LANES_M, LANES_N), dtype=ACC)
    for _ in range(K // UNROLL):
        for _ in tl.static_range(UNROLL):
            acc = multiply_add(acc, tl.load(a_ptr + offs_a), tl.load(b_ptr + offs_b))
            a_ptr += stride_ak
            b_ptr += stride_bk
    for _ in range(K % UNROLL):
        acc = multiply_add(acc, tl.load(a_ptr + offs_a), tl.load(b_ptr + offs_b))
        a_ptr += stride_ak
        b_ptr += stride_bk
    store_tile(c_ptr, acc, offs_m, offs_n, M, N, stride_cm, scale_a_ptr, scale_b_ptr, ROWWISE)


def block(operands: Operands) -> tuple[int, int]:
    """(BLOCK_M, BLOCK_N): 8×8 elements a lane, fewer where they would leave units idle.

    fp64 sums take two registers each: 8×8 of them and their operands would spill.
    """
    problem, units = operands.problem, operands.device.units
    unpacked = problem.numerics.is_fp8 and operands.device.sm >= 120  # takes registers of its own
    block_m, block_n = (64 if problem.precision == "fp64" or unpacked else 128), 128
    while block_m * block_n > LANES_M * LANES_N and (
        triton.cdiv(problem.m, block_m) * triton.cdiv(problem.n, block_n) < units
    ):
        if block_m >= block_n:
            block_m //= 2
        else:
            block_n //= 2
    return block_m, block_n


def bind(operands: Operands) -> Launch:
    problem = operands.problem
    block_m, block_n = block(operands)
    grid = (triton.cdiv(problem.m, block_m) * triton.cdiv(problem.n, block_n),)
    unroll = 1 if operands.device.gfx == "gfx90a" else UNROLL.get(operands.device.vendor, 1)
    config = {"BLOCK_M": block_m, "BLOCK_N": block_n, "UNROLL": unroll}
    options = {"num_warps": LANES_M * LANES_N // lanes(operands.device), "num_stages": 1}
    lanes_of = {"LANES_M": LANES_M, "LANES_N": LANES_N}
    named = {**constants(operands), **lanes_of, **config, **options, "enable_fp_fusion": True}
    call = Call(matmul_kernel, grid, arguments(operands), named)
    return launch(call, config=config | options, tile=(block_m, block_n, unroll))
