"""Configurations for shapes that no large tile fits: few rows, batches, experts; and block scales.

Small matrices wait for memory, not for the matrix units: tiles are small, so that several programs
share a unit and hide each other's waits.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.gpu.config import (
    LEAST_SHARED,
    Config,
    aligned,
    default,
    imprecise,
    power_of_two,
    read,
    tile_bytes,
)
from gemmkernels.kernel import Settings
from gemmkernels.problem import Problem

MOST_SPLITS = 64
WGMMA = (90, 100, 103, 110)
"""Compute capabilities whose matrix instructions take 64 rows or 128."""


@dataclass(frozen=True, kw_only=True)
class Shaped(Config):
    """SWAP: Cᵀ = Bᵀ @ Aᵀ, so that the instruction's rows are columns of C. SPLITS: of K.
    PROGRAMS: how many share a unit, where a kernel launches as many as the device holds.
    """

    GROUP_M: int | None = None
    SWAP: bool = False
    SPLITS: int | None = None
    PROGRAMS: int | None = None

    def constants(self) -> Mapping[str, int | None]:
        names = ("BLOCK_M", "BLOCK_N", "BLOCK_K", "MAX_IMPRECISE", "SWAP")
        return {name: getattr(self, name) for name in names}


def chosen(
    kernel: str,
    problem: Problem,
    device: Device,
    settings: Settings | None,
    standard: Callable[[Problem, Device], Shaped],
) -> Shaped:
    """A tuner's choice, or the kernel's standard.

    Raises GemmbenchError for settings that name what a configuration has not.
    """
    if settings is None:
        return standard(problem, device)
    config = read(Shaped, kernel, settings)
    for name in ("GROUP_M", "SPLITS", "PROGRAMS"):
        number = getattr(config, name)
        if number is not None and number < 1:
            raise GemmbenchError(f"{kernel}: {name} = {number}, expected 1 or more")
    return replace(config, MAX_IMPRECISE=imprecise(problem, device, config.BLOCK_K))


def split_k_default(problem: Problem, device: Device) -> Shaped:
    """Tiles of all rows, and K split until two programs share a unit."""
    block_m = _side(problem.m, 128)
    config = shaped(problem, device, block_m, _side(problem.n, 128 if block_m > 64 else 64))
    tiles = -(-problem.m // config.BLOCK_M) * -(-problem.n // config.BLOCK_N)
    if tiles >= device.units:
        few = min(problem.m, problem.n) <= 64
        return replace(config if few else large(problem, device), SPLITS=1)
    steps = -(-problem.k // config.BLOCK_K)
    # Fewer than four steps a split would be spent on filling the pipeline.
    splits = min(2 * device.units // tiles, steps // 4, MOST_SPLITS)
    return replace(config, SPLITS=max(1, splits))


def batched_default(problem: Problem, device: Device) -> Shaped:
    """Tiles no larger than a product; the largest ones where the batch still fills the device."""
    if min(problem.m, problem.n) > 128:
        share = replace(device, units=max(1, device.units // problem.batch))
        return large(replace(problem, batch=1), share)
    return shaped(problem, device, _side(problem.m, 128), _side(problem.n, 128))


def grouped_default(problem: Problem, device: Device) -> Shaped:
    """Tiles of all rows of an expert that has few; else large ones."""
    rows = -(-problem.m * 13 // (problem.experts * 10))  # the most, of 0.7 … 1.3 of the mean
    if rows > 128:
        share = replace(device, units=max(1, device.units // problem.experts))
        config = _lighter(large(replace(problem, experts=1, m=rows), share), problem, device)
    else:
        config = shaped(
            problem, device, _side(rows, 128), _side(problem.n, 64 if rows <= 32 else 128)
        )
    fit = (device.shared_bytes or LEAST_SHARED) // shared(config, problem, device)
    return replace(config, GROUP_M=8, PROGRAMS=max(1, min(fit, 16 // config.num_warps)))


def _lighter(config: Shaped, problem: Problem, device: Device) -> Shaped:
    """Smaller: what a program knows of its expert takes registers too, and must not spill sums."""
    most = 2**15 if device.vendor == "amd" or device.sm in WGMMA else 2**14
    if not aligned(problem):
        most, config = 2**13, replace(config, num_stages=2)
    while most < config.BLOCK_M * config.BLOCK_N:
        if config.BLOCK_N >= config.BLOCK_M:
            config = replace(config, BLOCK_N=config.BLOCK_N // 2)
        else:
            config = replace(config, BLOCK_M=config.BLOCK_M // 2)
    return config


def block_scaled_default(problem: Problem, device: Device) -> Shaped:
    """Blackwell's instructions with scales take 128 rows: with fewer Triton multiplies in fp16."""
    tcgen05 = has_tcgen05(device)
    block_m, block_n = (256, 128) if device.gfx else (128, 256 if tcgen05 else 128)
    least_m, least_n = (128, 64) if tcgen05 else (64, 64)
    if tcgen05 and problem.m <= 64:  # columns of C are the rows
        block_m, least_m, least_n = 64, 64, 128
    if not tcgen05:
        block_m = min(block_m, _side(problem.m, 256))
    block_n = min(block_n, max(least_n if tcgen05 else 16, _side(problem.n, 256)))
    while -(-problem.m // block_m) * -(-problem.n // block_n) < device.units:
        if block_n >= block_m and block_n > least_n:
            block_n //= 2
        elif block_m > least_m:
            block_m //= 2
        else:
            break
    return block_scaled(shaped(problem, device, block_m, block_n), device)


def block_scaled(config: Shaped, device: Device) -> Shaped:
    """As the instructions with scales take it: with one warp Triton multiplies in bf16 on gfx950,
    and 128 terms of K are what a tile of scales has at least.
    """
    return replace(
        config,
        BLOCK_K=max(128, config.BLOCK_K),
        num_warps=max(4, config.num_warps),
        GROUP_M=8,
        SWAP=has_tcgen05(device) and config.BLOCK_M < 128,
    )


def large(problem: Problem, device: Device) -> Shaped:
    """The configuration of the kernel with tl.dot."""
    return Shaped(**{**asdict(default(problem, device)), "GROUP_M": None})


def shaped(problem: Problem, device: Device, block_m: int, block_n: int) -> Shaped:
    """A configuration of that tile, deep enough in flight, that fits into shared memory."""
    row = problem.numerics
    rows_64 = device.sm in WGMMA
    if rows_64 and row.is_fp8 and max(block_m, block_n) < 64:
        block_n = 64  # with fewer, fp8 runs as fp16
    wide = rows_64 and max(block_m, block_n) >= 64
    longest, split = 1024 // row.bits_in, row.name == "bf16x3"
    whole = aligned(problem) or row.is_blockwise
    if not whole:  # each element has an address of its own, as `default` says
        longest = min(32, longest)
    if split and (device.vendor == "amd" or not whole):  # in registers, before the unit
        longest = 16
    block_k = min(longest, max(32 if row.bits_in <= 8 else 16, power_of_two(problem.k)))
    # Enough lanes for the sums, 32 each, and for the loads, of 128 bytes each.
    area = block_m * block_n * (2 if split else 1)  # two parts of each input
    size = max(area // 1024, (block_m + block_n) * block_k * row.bits_in // 2**15, 1)
    least, most = (4 if wide else 1), (8 if area >= 128 * 128 else 4)
    num_warps = max(least, min(most, 1 << (size.bit_length() - 1)))
    num_warps = num_warps if whole else min(8, 2 * num_warps)
    amd, cdna = device.vendor == "amd", device.gfx.startswith("gfx9")
    config = Shaped(
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        num_warps=num_warps,
        num_stages=2 if amd else max(2, min(4, -(-problem.k // block_k))),
        SWAP=wide and block_m < 64,
        MAX_IMPRECISE=imprecise(problem, device, block_k),
        waves_per_eu=(2 if num_warps == 8 else 0) if cdna else None,
        matrix_instr_nonkdim=16 if cdna else None,
        kpack=1 if cdna else None,
    )
    while shared(config, problem, device) > (device.shared_bytes or LEAST_SHARED):
        if config.num_stages > 2:
            config = replace(config, num_stages=config.num_stages - 1)
        else:
            config = replace(config, BLOCK_K=config.BLOCK_K // 2)
    return config


def has_tcgen05(device: Device) -> bool:
    """Blackwell's tensor memory; the consumer cards, sm_120 and on, have none."""
    return 100 <= device.sm < 120


def shared(config: Config, problem: Problem, device: Device) -> int:
    """Bytes of shared memory: the tiles in flight, a sixteenth for their scales, barriers."""
    return tile_bytes(config, problem, device) * 17 // 16 + 1024


def _side(size: int, most: int) -> int:
    """The side of a tile: at least the 16 that matrix instructions take, at most `most`."""
    return min(most, max(16, power_of_two(size)))
