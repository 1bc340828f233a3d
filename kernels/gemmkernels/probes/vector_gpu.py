# mypy: allow-untyped-defs, allow-incomplete-defs
"""The ceiling of a GPU's vector units: chains of multiply-adds in each lane, all in registers.

What is given and the number of steps are known only at run time. A lane's chains share a factor, as
the rows of a tile do: three operands of its own each would keep an NVIDIA register file too busy.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from gemmkernels.device import Device
from gemmkernels.gpu.host import Call, lanes
from gemmkernels.probes.loop_gpu import TILES, bound
from gemmkernels.probes.roofs import BoundProbe

WARPS = 4
CHAINS = {"fp32": 16, "fp64": 8}
STEPS = 8192
PROGRAMS = 40
"""A unit: some 3 ms a launch where a lane makes a product a clock, so that the last wave is little
of it."""


@triton.jit(do_not_specialize=["steps"])
def vector_kernel(
    x_ptr, y_ptr, out_ptr, steps, WIDE: tl.constexpr, CHAINS: tl.constexpr, TILES: tl.constexpr
):
    offs, chains = tl.arange(0, WIDE)[:, None], tl.arange(0, CHAINS)[None, :]
    x = tl.load(x_ptr + offs * CHAINS + chains)
    y = tl.load(y_ptr + offs)
    acc = tl.zeros((WIDE, CHAINS), dtype=x.dtype)
    for _ in range(steps):
        acc = tl.fma(x, tl.broadcast_to(y, (WIDE, CHAINS)), acc)
    tile = tl.program_id(0) % TILES
    tl.store(out_ptr + (tile * WIDE + offs) * CHAINS + chains, acc)


def call_of(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor, *, programs: int) -> Call:
    wide, chains = x.shape
    named: dict[str, Any] = {
        "WIDE": wide,
        "CHAINS": chains,
        "TILES": TILES,
        "num_warps": WARPS,
        "enable_fp_fusion": True,
    }
    return Call(vector_kernel, (programs,), (x, y, out, STEPS), named)


def operands(device: Device, precision: str) -> tuple[torch.Tensor, torch.Tensor]:
    """x [lanes of a program, chains] and y [lanes, 1], N(0, 1), on the host."""
    dtype = {"fp32": torch.float32, "fp64": torch.float64}[precision]
    shape = WARPS * lanes(device), CHAINS[precision]
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(shape, dtype=dtype, generator=draw)
    return x, torch.randn((shape[0], 1), dtype=dtype, generator=draw)


def bind(device: Device, precision: str) -> BoundProbe:
    x, y = operands(device, precision)
    out = torch.empty((TILES, x.numel()), dtype=x.dtype, device=device.torch_device)
    call = call_of(x.to(out.device), y.to(out.device), out, programs=PROGRAMS * device.units)
    product = (x.double() * y.double()).flatten()
    return bound(
        call,
        device,
        out=out,
        product=product,
        spread=product.abs(),
        unit=2.0 ** (-52 if precision == "fp64" else -23),
        flop_of_step=2.0 * x.numel(),
        config={"chains": CHAINS[precision], "num_warps": WARPS},
    )
