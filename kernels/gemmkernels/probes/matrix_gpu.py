# mypy: allow-untyped-defs, allow-incomplete-defs
"""The ceiling of a GPU's matrix units: tl.dot of one pair of tiles, again and again.

The tiles are loaded once, and stay in registers or shared memory, as the instruction takes them;
the loop loads nothing from global memory. They hold N(0, 1), since zeros draw less power and so run
at a higher clock. The number of steps is known only at run time. Tiles are about those of the
ladder's `triton-matrix-core`. fp8 sums as the instruction does: on Hopper in about 14 bits, which
is what its printed peak holds for.
"""

from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl

from gemmkernels.device import Device
from gemmkernels.gpu.config import Config, default
from gemmkernels.gpu.host import Call
from gemmkernels.precision import PRECISIONS
from gemmkernels.probes.loop_gpu import TILES, bound
from gemmkernels.probes.roofs import BoundProbe
from gemmkernels.problem import Problem

PROGRAMS = 6
"""A unit, so that units that hold one, two or three at a time come out even."""

FLOP_OF_PROGRAM = 2**36
"""Of one-bit terms: 2³² of 16 bits, 0.6 ms of an H100's SM and 1 ms of an MI300X's CU."""

SIZE = 8192
"""Of the problem whose tiles are taken: large, so that no tile is cut to fit."""


@triton.jit(do_not_specialize=["steps"])
def matrix_kernel(
    a_ptr,
    b_ptr,
    out_ptr,
    steps,
    ACC: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    TILES: tl.constexpr,
):
    """A [BLOCK_M, BLOCK_K] and B [BLOCK_N, BLOCK_K] as stored."""
    offs_m, offs_n, offs_k = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_K)
    a = tl.load(a_ptr + offs_m[:, None] * BLOCK_K + offs_k[None, :])
    b = tl.load(b_ptr + offs_n[None, :] * BLOCK_K + offs_k[:, None])
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=ACC)
    for _ in range(steps):
        acc = tl.dot(a, b, acc, input_precision=INPUT_PRECISION, out_dtype=ACC)
    at = (tl.program_id(0) % TILES) * (BLOCK_M * BLOCK_N)
    tl.store(out_ptr + at + offs_m[:, None] * BLOCK_N + offs_n[None, :], acc)


def bind(device: Device, precision: str) -> BoundProbe:
    row = PRECISIONS[precision]
    if row.is_blockwise:
        from gemmkernels.probes import scaled_gpu

        return scaled_gpu.bind(device, precision)
    config = config_of(device, precision)
    a, b = operands(device, precision, config)
    elements = config.BLOCK_M * config.BLOCK_N
    out = torch.empty(
        (TILES, elements), dtype=getattr(torch, row.accumulate), device=device.torch_device
    )
    call = call_of(device, precision, config, (a.to(out.device), b.to(out.device), out))
    left, right = a.double(), b.double()
    return bound(
        call,
        device,
        out=out,
        product=(left @ right.T).flatten(),
        spread=(left.abs() @ right.abs().T).flatten(),
        unit=_unit(device, precision, config.BLOCK_K),
        flop_of_step=2.0 * elements * config.BLOCK_K,
        config={
            "tile": f"{config.BLOCK_M}x{config.BLOCK_N}x{config.BLOCK_K}",
            "num_warps": config.num_warps,
            "encoding": device.encoding(precision),
        },
    )


def config_of(device: Device, precision: str) -> Config:
    """The tile that the ladder takes for a large product.

    On Hopper and Blackwell it has 256 columns, fp64 apart: with fewer, shared memory has to hand
    over as much as it can (96 to 128 bytes a clock). Where a warp multiplies alone (mma.sync) two
    programs share a unit, so that one multiplies while the other waits at its barrier.
    """
    problem = Problem(m=SIZE, n=SIZE, k=SIZE, precision=precision, layout="nt")
    found = default(problem, device)
    if precision == "fp64" or not device.sm:
        return found
    if device.sm in (90, 100, 103):
        return replace(found, BLOCK_M=128, BLOCK_N=256)
    return replace(found, BLOCK_M=128, BLOCK_N=128, num_warps=4)


def operands(device: Device, precision: str, config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B on the host, N(0, 1) in the encoding that the device takes; of int8 32 · N(0, 1).

    tf32 has numbers that its 10 bits hold: rounding them on the way in is no part of the check.
    """
    draw = torch.Generator().manual_seed(0)
    dtype = getattr(torch, device.encoding(precision))

    def tile(rows: int) -> torch.Tensor:
        wide = torch.float64 if precision == "fp64" else torch.float32
        found = torch.randn((rows, config.BLOCK_K), generator=draw, dtype=wide)
        if precision == "int8":
            found = found.mul_(32).round_().clamp_(-127, 127)
        if precision == "tf32":
            found = found.half().float()
        return found.to(dtype)

    return tile(config.BLOCK_M), tile(config.BLOCK_N)


def call_of(
    device: Device,
    precision: str,
    config: Config,
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> Call:
    """A, B, where sums go → the launch."""
    row = PRECISIONS[precision]
    options = dict(config.options())
    options.pop("num_stages")  # nothing is loaded in the loop
    named: dict[str, Any] = {
        "ACC": getattr(tl, row.accumulate),
        "BLOCK_M": config.BLOCK_M,
        "BLOCK_N": config.BLOCK_N,
        "BLOCK_K": config.BLOCK_K,
        "INPUT_PRECISION": "tf32" if precision == "tf32" else "ieee",
        "TILES": TILES,
        **options,
    }
    flop = 2 * config.BLOCK_M * config.BLOCK_N * config.BLOCK_K
    steps = steps_of(row.bits_in, flop)
    return Call(matrix_kernel, (PROGRAMS * device.units,), (*tensors, steps), named)


def steps_of(bits: int, flop_of_step: int) -> int:
    """How many steps make a program's share of work, for terms of so many bits."""
    return max(64, FLOP_OF_PROGRAM // bits // flop_of_step)


def _unit(device: Device, precision: str, block_k: int) -> float:
    """What a step's additions may lose, as `loop_gpu.bound` takes it.

    Matrix units truncate: a bit more than rounding. Hopper sums fp8 in about 14 bits, once an
    instruction of 32 terms (DeepSeek-V3, section 3.3.2).
    """
    row = PRECISIONS[precision]
    if row.is_integer:
        return 0.0
    if device.sm == 90 and row.is_fp8:
        return block_k / 32 * 2.0**-13
    return block_k * 2.0 ** (-52 if precision == "fp64" else -22)
