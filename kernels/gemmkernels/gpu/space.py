"""What a tuner may try of the kernels with tl.dot: settings about the default."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gemmkernels.device import Device
from gemmkernels.gpu.config import LEAST_SHARED, Config, default, imprecise, tile_bytes
from gemmkernels.kernel import Settings
from gemmkernels.problem import Problem

MOST_TRIED = 48


def space(problem: Problem, device: Device) -> Sequence[Settings]:
    """What a tuner may try of a tile a program, in launch order."""
    found = dict.fromkeys(replace(config, GROUP_M=None) for config in _tried(problem, device))
    return [config.record() for config in found][:MOST_TRIED]


def space_swizzled(problem: Problem, device: Device) -> Sequence[Settings]:
    """The same with the order of tiles, of which a few are tried on the default."""
    first, *others = _tried(problem, device)
    orders = [replace(first, GROUP_M=rows) for rows in (4, 16, 32)]
    return [config.record() for config in dict.fromkeys((first, *orders, *others))][:MOST_TRIED]


def _tried(problem: Problem, device: Device) -> Iterator[Config]:
    """The default, then tiles about its size that fit, the nearest first."""
    first = default(problem, device)
    yield first
    amd = device.vendor == "amd"
    sides = (32, 64, 128, 256)
    depths = (first.BLOCK_K, first.BLOCK_K * 2, first.BLOCK_K // 2)
    stages = (2, 3) if amd else (3, 4, 5)
    hints = ((2, 16), (0, 16), (0, 32)) if amd else ((None, None),)
    area = first.BLOCK_M * first.BLOCK_N
    tiles = sorted(
        itertools.product(sides, sides),
        key=lambda tile: (max(tile[0] * tile[1], area) / min(tile[0] * tile[1], area), tile),
    )
    for (waves, kdim), depth, (block_m, block_n), warps, stage in itertools.product(
        hints, depths, tiles, (first.num_warps, 12 - first.num_warps), stages
    ):
        config = replace(
            first,
            BLOCK_M=block_m,
            BLOCK_N=block_n,
            BLOCK_K=depth,
            num_warps=warps,
            num_stages=stage,
            waves_per_eu=waves,
            matrix_instr_nonkdim=kdim,
            MAX_IMPRECISE=imprecise(problem, device, depth),
        )
        if _sensible(config, problem, device):
            yield config


def _sensible(config: Config, problem: Problem, device: Device) -> bool:
    """Whether a tile is within twice C, its sums leave registers, and what is in flight fits."""
    lanes = (64 if device.gfx.startswith("gfx9") else 32) * config.num_warps
    sums = config.BLOCK_M * config.BLOCK_N * (2 if problem.precision == "fp64" else 1)
    least = 32 if problem.numerics.bits_in == 8 else 16
    return (
        max(64, 2 * problem.m) >= config.BLOCK_M
        and max(64, 2 * problem.n) >= config.BLOCK_N
        and least <= config.BLOCK_K
        and 8 <= sums / lanes <= 128
        and tile_bytes(config, problem, device) <= (device.shared_bytes or LEAST_SHARED)
    )
