# mypy: allow-untyped-defs, allow-incomplete-defs
"""Copy bandwidth of a GPU: memory, and the last-level cache.

Bytes read plus bytes written. Within the cache each program goes through another block each time,
so that what it reads is not in an L1; NVIDIA's loads also pass it by (`.cg`).
"""

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.gpu.host import Call
from gemmkernels.kernel import Launch
from gemmkernels.probes.roofs import BoundProbe

BLOCK = 4096
"""Words of four bytes that a program copies at a time."""

TIMES_LLC = 4
UNKNOWN_LLC = 256 * 2**20
LEAST = 256 * 2**20
PASSES = 64
"""Through half of an H100's L2, 25 MB: 0.3 ms, so that the launch itself is lost in it."""


@triton.jit
def copy_kernel(source_ptr, target_ptr, blocks, passes, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    block = tl.program_id(0)
    for _ in range(passes):
        at = block.to(tl.int64) * BLOCK + offs
        tl.store(target_ptr + at, tl.load(source_ptr + at, cache_modifier=".cg"))
        block = (block + 61) % blocks  # a neighbour's, of another unit


def bind_copy(device: Device, _precision: str) -> BoundProbe:
    return _bound(device, buffer_bytes(device), passes=1)


def buffer_bytes(device: Device) -> int:
    """Of a buffer that no cache holds; raises GemmbenchError where two are too much."""
    size = max(LEAST, TIMES_LLC * (device.llc_bytes or UNKNOWN_LLC))
    if 2 * size > device.memory_bytes // 2:
        raise GemmbenchError(
            f"two buffers of {size / 2**20:.4g} MiB, {TIMES_LLC} times the cache, are over half of "
            f"the memory: {device.memory_bytes / 2**20:.4g} MiB"
        )
    return size


def bind_cache(device: Device, _precision: str) -> BoundProbe:
    """Half of the last-level cache, source and target together."""
    assert device.llc_bytes is not None
    return _bound(device, device.llc_bytes // 4, passes=PASSES)


def call_of(source: torch.Tensor, target: torch.Tensor, *, passes: int) -> Call:
    blocks = source.numel() // BLOCK
    named: dict[str, Any] = {"BLOCK": BLOCK, "num_warps": 4, "enable_fp_fusion": True}
    return Call(copy_kernel, (blocks,), (source, target, blocks, passes), named)


def _bound(device: Device, size: int, *, passes: int) -> BoundProbe:
    words = max(1, size // (4 * BLOCK)) * BLOCK
    source = torch.arange(words, dtype=torch.int32, device=device.torch_device)
    target = torch.empty_like(source)
    call = call_of(source, target, passes=passes)

    def check(run: Callable[[], object]) -> str:
        target.fill_(-1)
        run()
        off = int((target != source).sum())
        return f"{off} of {words} words are not those of the source" if off else ""

    total = 2 * 4 * words
    return BoundProbe(
        launch=Launch(run=call.bound(), grid=call.grid, calls=(call,)),
        work=float(passes * total),
        check=check,
        config={"bytes": total, "passes": passes},
    )
