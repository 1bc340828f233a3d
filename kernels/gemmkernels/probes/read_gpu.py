# mypy: allow-untyped-defs, allow-incomplete-defs
"""Read bandwidth of a GPU's memory: each program adds up a block of words.

A product of few rows reads nearly all that it moves, and a copy is no bound of it: between reads
and writes memory has to turn around.
"""

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from gemmkernels.device import Device
from gemmkernels.gpu.host import Call
from gemmkernels.kernel import Launch
from gemmkernels.probes.copy_gpu import BLOCK, buffer_bytes
from gemmkernels.probes.roofs import BoundProbe


@triton.jit
def read_kernel(source_ptr, sums_ptr, BLOCK: tl.constexpr):
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(sums_ptr + tl.program_id(0), tl.sum(tl.load(source_ptr + offs), 0))


def call_of(source: torch.Tensor, sums: torch.Tensor) -> Call:
    named: dict[str, Any] = {"BLOCK": BLOCK, "num_warps": 4, "enable_fp_fusion": True}
    return Call(read_kernel, (sums.numel(),), (source, sums), named)


def bind(device: Device, _precision: str) -> BoundProbe:
    blocks = buffer_bytes(device) // (4 * BLOCK)
    source = torch.arange(blocks * BLOCK, dtype=torch.int32, device=device.torch_device)
    sums = torch.empty(blocks, dtype=torch.int32, device=device.torch_device)
    call = call_of(source, sums)
    expected = source.view(blocks, BLOCK).sum(1, dtype=torch.int64).to(torch.int32)

    def check(run: Callable[[], object]) -> str:
        sums.fill_(-1)
        run()
        off = int((sums != expected).sum())
        return f"{off} of {blocks} sums are not those of the source" if off else ""

    total = 4 * source.numel()
    return BoundProbe(
        launch=Launch(run=call.bound(), grid=call.grid, calls=(call,)),
        work=float(total),
        check=check,
        config={"bytes": total},
    )
