"""What a tuner may try of the persistent kernel: its tiles, warps, and how it stores them."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from gemmkernels.device import Device
from gemmkernels.gpu.config import LEAST_SHARED
from gemmkernels.gpu.config_persistent import (
    Persistent,
    loads,
    persistent,
    shared,
    specialises,
    stores,
)
from gemmkernels.gpu.space import MOST_TRIED, space_swizzled
from gemmkernels.kernel import Settings
from gemmkernels.problem import Problem


def space(problem: Problem, device: Device) -> Sequence[Settings]:
    """What a tuner may try."""
    return _space(problem, device, fast=False)


def space_fast(problem: Problem, device: Device) -> Sequence[Settings]:
    """The same for fast accumulation."""
    return _space(problem, device, fast=True)


def _space(problem: Problem, device: Device, *, fast: bool) -> Sequence[Settings]:
    first = persistent(problem, device, None, fast=fast)
    if not loads(problem, device):
        pointers = (
            persistent(problem, device, one, fast=fast) for one in space_swizzled(problem, device)
        )
        return [config.record() for config in dict.fromkeys((first, *pointers))][:MOST_TRIED]
    found = dict.fromkeys((first, *_tried(first, problem, device)))
    return [config.record() for config in found][:MOST_TRIED]


def _tried(first: Persistent, problem: Problem, device: Device) -> list[Persistent]:
    special = (
        (True, False) if stores(problem, device) and specialises(problem, device) else (False,)
    )
    tiles = ((128, 256), (256, 128), (128, 128), (64, 256), (64, 128), (128, 64), (64, 64))
    found = []
    for (block_m, block_n), warp, rows, parts, stages, warps in itertools.product(
        tiles, special, (8, 16), (1, 2), (3, 4, 5), (4, 8)
    ):
        config = replace(
            first,
            BLOCK_M=block_m,
            BLOCK_N=block_n,
            GROUP_M=rows,
            PARTS=parts,
            num_stages=stages,
            num_warps=warps,
            WARP_SPECIALIZE=warp,
        )
        sums = block_m * block_n / (32 * (8 if warp and device.sm == 90 else warps))
        if warp and (block_m < 128 or (device.sm == 90 and warps != 4)):
            continue
        if 32 <= sums <= 128 and shared(config, problem) <= (device.shared_bytes or LEAST_SHARED):
            found.append(config)
    return found
