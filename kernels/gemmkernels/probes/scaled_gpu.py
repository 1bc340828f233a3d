# mypy: allow-untyped-defs, allow-incomplete-defs
"""The ceiling of matrix units for block-scaled formats: tl.dot_scaled, as `matrix_gpu` does dots.

Tiles and scales are what the project stores of N(0, 1); both stay where the instruction takes them.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from gemmkernels import encoding
from gemmkernels.device import Device
from gemmkernels.gpu.config_shapes import has_tcgen05
from gemmkernels.gpu.host import Call
from gemmkernels.precision import PRECISIONS
from gemmkernels.probes.loop_gpu import TILES, bound
from gemmkernels.probes.matrix_gpu import PROGRAMS, steps_of
from gemmkernels.probes.roofs import BoundProbe

WARPS = 8


def sides(device: Device) -> tuple[int, int]:
    """BLOCK_M and BLOCK_N; without tensor memory NVIDIA's sums of 256 columns would spill."""
    return 128, 256 if has_tcgen05(device) or device.gfx else 128


@triton.jit(do_not_specialize=["steps"])
def scaled_kernel(
    a_ptr,
    b_ptr,
    scale_a_ptr,
    scale_b_ptr,
    out_ptr,
    steps,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BYTES: tl.constexpr,
    BLOCKS: tl.constexpr,
    FORMAT: tl.constexpr,
    TILES: tl.constexpr,
):
    """BYTES and BLOCKS: of data and of scales in a row of A or a column of B."""
    offs_m, offs_n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    offs_k, offs_s = tl.arange(0, BYTES), tl.arange(0, BLOCKS)
    a = tl.load(a_ptr + offs_m[:, None] * BYTES + offs_k[None, :])
    b = tl.load(b_ptr + offs_n[None, :] * BYTES + offs_k[:, None])
    scale_a = tl.load(scale_a_ptr + offs_m[:, None] * BLOCKS + offs_s[None, :])
    scale_b = tl.load(scale_b_ptr + offs_n[:, None] * BLOCKS + offs_s[None, :])
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for _ in range(steps):
        acc = tl.dot_scaled(a, scale_a, FORMAT, b, scale_b, FORMAT, acc)
    at = (tl.program_id(0) % TILES) * (BLOCK_M * BLOCK_N)
    tl.store(out_ptr + at + offs_m[:, None] * BLOCK_N + offs_n[None, :], acc)


def bind(device: Device, precision: str) -> BoundProbe:
    row = PRECISIONS[precision]
    (block_m, block_n), block_k = sides(device), 1024 // row.bits_in
    draw = torch.Generator().manual_seed(0)
    a, scale_a = encoding.quantise(torch.randn((block_m, block_k), generator=draw), row)
    b, scale_b = encoding.quantise(torch.randn((block_n, block_k), generator=draw), row)
    left, right = encoding.scaled(a, scale_a, row), encoding.scaled(b, scale_b, row)
    out = torch.empty((TILES, block_m * block_n), dtype=torch.float32, device=device.torch_device)
    return bound(
        call_of(device, precision, (a, b, scale_a, scale_b), out),
        device,
        out=out,
        product=(left @ right.T).flatten(),
        spread=(left.abs() @ right.abs().T).flatten(),
        unit=block_k * 2.0**-22,
        flop_of_step=2.0 * block_m * block_n * block_k,
        config={"tile": f"{block_m}x{block_n}x{block_k}", "num_warps": WARPS},
    )


def call_of(
    device: Device,
    precision: str,
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    out: torch.Tensor,
) -> Call:
    """A, B and their scales on the host → the launch, with all of it on the device of `out`."""
    row = PRECISIONS[precision]
    block_m, block_n = sides(device)
    block_k = 1024 // row.bits_in
    a, b, scale_a, scale_b = (one.to(out.device) for one in tensors)
    if row.scale == "float8_e8m0fnu":  # Triton has no such type: it takes bytes
        scale_a, scale_b = scale_a.view(torch.uint8), scale_b.view(torch.uint8)
    named: dict[str, Any] = {
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "BYTES": block_k * row.bits_in // 8,
        "BLOCKS": block_k // row.block,
        "FORMAT": "e2m1" if row.bits_in == 4 else "e4m3",
        "TILES": TILES,
        "num_warps": WARPS,
        "enable_fp_fusion": True,
    }
    if device.gfx:
        named["matrix_instr_nonkdim"] = 16
    steps = steps_of(row.bits_in, 2 * block_m * block_n * block_k)
    arguments = (a, b, scale_a, scale_b, out, steps)
    return Call(scaled_kernel, (PROGRAMS * device.units,), arguments, named)
