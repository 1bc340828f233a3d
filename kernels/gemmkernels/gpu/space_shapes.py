"""What a tuner may try of the kernels for few rows, batches, experts and block scales."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from gemmkernels.device import Device
from gemmkernels.gpu.config import LEAST_SHARED
from gemmkernels.gpu.config_shapes import (
    Shaped,
    batched_default,
    block_scaled,
    block_scaled_default,
    grouped_default,
    has_tcgen05,
    shaped,
    shared,
    split_k_default,
)
from gemmkernels.kernel import Settings
from gemmkernels.problem import Problem

MOST_TRIED = 48


def space_split_k(problem: Problem, device: Device) -> Sequence[Settings]:
    """Tiles, and half to four times as many splits; with one split it is a plain product."""
    first = split_k_default(problem, device)
    splits = first.SPLITS or 1
    counts = [n for n in (splits, splits * 2, -(-splits // 2), splits * 4) if n <= problem.k // 64]
    tried = (
        replace(config, SPLITS=count)
        for config, count in itertools.product(_tried(first, problem, device), counts or [1])
    )
    return _listed(first, tried, problem, device)


def space_batched(problem: Problem, device: Device) -> Sequence[Settings]:
    first = batched_default(problem, device)
    return _listed(first, _tried(first, problem, device), problem, device)


def space_grouped(problem: Problem, device: Device) -> Sequence[Settings]:
    """Tiles, how many programs share a unit, and in what order they take the tiles."""
    first = grouped_default(problem, device)
    more = (
        replace(first, PROGRAMS=programs, GROUP_M=rows)
        for programs, rows in itertools.product((1, 2, 4), (4, 8, 16))
    )
    others = (
        replace(config, PROGRAMS=programs)
        for config, programs in itertools.product(_tried(first, problem, device), (1, 2))
    )
    return _listed(first, itertools.chain(more, others), problem, device)


def space_block_scaled(problem: Problem, device: Device) -> Sequence[Settings]:
    first = block_scaled_default(problem, device)
    tried = (block_scaled(config, device) for config in _tried(first, problem, device))
    if has_tcgen05(device):  # 128 rows
        tried = (c for c in tried if (c.BLOCK_N if c.SWAP else c.BLOCK_M) == 128)
    return _listed(first, tried, problem, device)


def _listed(
    first: Shaped, tried: Iterable[Shaped], problem: Problem, device: Device
) -> Sequence[Settings]:
    """The first, then others that fit into shared memory, each once."""
    limit = device.shared_bytes or LEAST_SHARED
    fit = (config for config in tried if shared(config, problem, device) <= limit)
    found = dict.fromkeys(itertools.chain((first,), fit))
    return [config.record() for config in itertools.islice(found, MOST_TRIED)]


def _tried(first: Shaped, problem: Problem, device: Device) -> Iterator[Shaped]:
    """Tiles about the size of the first one's, the nearest first."""
    area = first.BLOCK_M * first.BLOCK_N
    sides = (16, 32, 64, 128, 256)
    tiles = sorted(
        itertools.product(sides, sides),
        key=lambda tile: (max(tile[0] * tile[1], area) / min(tile[0] * tile[1], area), tile),
    )
    for (block_m, block_n), deeper in itertools.product(tiles, (1, 2)):
        if block_m > max(16, 2 * problem.m) or block_n > max(16, 2 * problem.n):
            continue
        base = shaped(problem, device, block_m, block_n)
        for stages in (2, 3) if device.vendor == "amd" else (3, 4, 6):
            config = replace(
                base,
                BLOCK_K=base.BLOCK_K * deeper,
                num_stages=stages,
                GROUP_M=first.GROUP_M,
                SPLITS=first.SPLITS,
                PROGRAMS=first.PROGRAMS,
            )
            if 2 * problem.k >= config.BLOCK_K:
                yield config
