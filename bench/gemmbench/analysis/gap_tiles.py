"""What a kernel's tiles cost: rows and columns beyond C, and units that wait for the last wave."""

import math
from dataclasses import dataclass, replace

from gemmbench.records.schema import Record
from gemmkernels.device import Device
from gemmkernels.problem import Problem

MOST_EXPERTS = 65_536
"""The rows of more experts are not shared out: a damaged file may name two thousand million."""

_BLOCKS = ("BLOCK_M", "BLOCK_N", "BLOCK_K")


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a product falls into tiles, and the tiles into waves over the units.

    `padded_flop` is the FLOP of whole tiles. `items` is the pieces of work, a tile of C or one of
    its `splits` along K each. `workers` is how many the device takes at once, `waves` how many the
    busiest takes one after the other. `busy` is the share of the units' time with work, if all are
    equally fast; it and `waves` are None where nobody knows which unit gets what.
    """

    tile: tuple[int, int, int]
    grid: tuple[int, ...] | None
    splits: int
    units: int
    items: int
    padded_flop: float
    workers: int | None = None
    waves: int | None = None
    busy: float | None = None


def tiling(record: Record, problem: Problem, device: Device) -> Tiling | None:
    """The tiles of a record; None where its kernel does not say them.

    A GPU's program multiplies its whole tile and drops what lies outside C, K included. On a CPU a
    block of a loop ends where the matrix does: only a tile smaller than the kernel's block, the one
    that stays in registers, is filled up.

    Time is bounded from below, so work is shared out as well as it can be: no unit of `units` has
    fewer than ⌈items ÷ workers⌉, however many programs share a unit, and a program of a grid
    smaller than the device keeps to its unit. Of splits of unequal length the shorter ones count,
    and the longest at least once.
    """
    tile = record.tile
    if tile is None or min(tile) < 1 or problem.experts > MOST_EXPERTS:
        return None
    on_gpu = device.is_gpu
    fills = [
        on_gpu or record.config.get(name) != size for name, size in zip(_BLOCKS, tile, strict=True)
    ]
    rows = problem.tokens if problem.experts > 1 else (problem.m,)
    tiles_m, tiles_n, steps = (
        sum(-(-row // tile[0]) for row in rows),
        -(-problem.n // tile[1]),
        -(-problem.k // tile[2]),
    )
    sizes = (tiles_m * tile[0], tiles_n * tile[1], steps * tile[2])
    asked = (problem.m, problem.n, problem.k)
    padded = [
        size if fill else exact for size, fill, exact in zip(sizes, fills, asked, strict=True)
    ]
    splits = max(1, record.splits or 1)
    found = Tiling(
        tile=tile,
        grid=record.grid,
        splits=splits,
        units=device.units,
        items=tiles_m * tiles_n * problem.batch * splits,
        padded_flop=2.0 * problem.batch * math.prod(padded),
    )
    programs = math.prod(record.grid) if record.grid and min(record.grid) > 0 else 0
    if device.units < 1 or not (fills[0] and fills[1]) or not (on_gpu or programs):
        return found
    return _waves(found, steps, min(device.units, programs or device.units))


def _waves(found: Tiling, steps: int, workers: int) -> Tiling:
    whole = found.items // found.splits * steps  # in steps of one tile along K
    waves = -(-found.items // workers)
    busiest = max(waves * (steps // found.splits), -(-steps // found.splits), -(-whole // workers))
    busy = whole / (found.units * busiest)
    return replace(found, workers=workers, waves=waves, busy=busy)
