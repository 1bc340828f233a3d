# mypy: allow-untyped-defs, allow-incomplete-defs
"""The chain on a GPU: one warp a compute unit, the number of steps known only at run time."""

from collections.abc import Callable
from functools import partial

import torch
import triton
import triton.language as tl

from gemmkernels.device import Device

LANES = 32


@triton.jit(do_not_specialize=["steps"])
def chain_kernel(out_ptr, steps, LANES: tl.constexpr):
    offs = tl.program_id(0) * LANES + tl.arange(0, LANES)
    state = offs.to(tl.uint32) + 2463534242
    for _ in range(steps):
        state ^= state << 13
        state ^= state >> 17
        state ^= state << 5
    tl.store(out_ptr + offs, state.to(tl.int32, bitcast=True))


def launch(device: Device, *, steps: int) -> Callable[[], object]:
    """A run of `steps` steps of xorshift32 in each lane of one warp a unit."""
    out = torch.empty(device.units * LANES, dtype=torch.int32, device=device.torch_device)
    return partial(
        chain_kernel[(device.units,)],
        out,
        steps,
        LANES=LANES,
        num_warps=1,
        enable_fp_fusion=True,  # left unsaid, Triton 3.9 warns
    )
