"""Configurations of the persistent kernel, and when a tensor descriptor can be made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from gemmkernels.device import Device
from gemmkernels.gpu.config import (
    LEAST_SHARED,
    Config,
    aligned,
    default,
    imprecise,
    read,
)
from gemmkernels.kernel import Settings
from gemmkernels.problem import Problem

BARRIERS = 2048
"""Bytes of shared memory that barriers and warps' hand-overs take beside the tiles."""


@dataclass(frozen=True, kw_only=True)
class Persistent(Config):
    """PARTS: a tile is stored in so many, one after the other. PROGRAMS: how many share a unit."""

    PARTS: int = 1
    PROGRAMS: int = 1
    WARP_SPECIALIZE: bool = False

    def constants(self) -> Mapping[str, int | None]:
        return {
            **super().constants(),
            "PARTS": self.PARTS,
            "WARP_SPECIALIZE": self.WARP_SPECIALIZE,
        }


def loads(problem: Problem, device: Device) -> bool:
    """Whether A and B can come by TMA: rows as stored are whole multiples of 16 bytes."""
    a = problem.k if problem.layout[0] == "n" else problem.m
    b = problem.n if problem.layout[1] == "n" else problem.k
    width = problem.numerics.bits_in // 8
    return device.sm >= 90 and a * width % 16 == 0 and b * width % 16 == 0


def stores(problem: Problem, device: Device) -> bool:
    """Whether C can leave by TMA."""
    return loads(problem, device) and problem.n * problem.numerics.bytes_out % 16 == 0


def along_k(problem: Problem) -> bool:
    """Whether the instruction takes A and B as they lie in memory.

    wgmma and tcgen05 take 16-bit types either way, others along K only: the compiler turns them
    around in shared memory, and Hopper's warp specialisation breaks on that (an assertion of
    Triton 3.9).
    """
    return problem.numerics.bits_in == 16 or problem.layout == "nt"


def persistent(
    problem: Problem, device: Device, settings: Settings | None, *, fast: bool
) -> Persistent:
    """A tuner's choice, or the default; `fast` leaves sums of fp8 to the hardware.

    Raises GemmbenchError as `config.chosen` does.
    """
    if settings is not None:
        found = read(Persistent, "triton-persistent", settings)
    elif loads(problem, device):
        found = _by_descriptor(problem, device, fast=fast)
    else:
        found = _by_pointers(Persistent(**asdict(default(problem, device))), problem, device)
    short = None if fast else imprecise(problem, device, found.BLOCK_K)
    return replace(found, MAX_IMPRECISE=short)


def _by_pointers(config: Persistent, problem: Problem, device: Device) -> Persistent:
    """Fewer columns or more warps: walking over tiles takes registers too."""
    if config.BLOCK_N == 256:
        config = replace(config, BLOCK_N=128)
    if device.sm < 90 and not aligned(problem):
        config = replace(config, num_warps=8)
    if device.sm in range(80, 90) and problem.precision == "int8":
        config = replace(config, BLOCK_N=min(64, config.BLOCK_N))
    return config


def _by_descriptor(problem: Problem, device: Device, *, fast: bool) -> Persistent:
    """The largest tile that leaves no unit idle; warp-specialised where that takes effect.

    On Hopper that is with 4 warps, which become 12; Triton 3.6 refuses PARTS = 2 with it.
    """
    depth = 1024 // problem.numerics.bits_in
    tiles = [(128, 256), (128, 128), (64, 128), (64, 64)]
    if _narrow(problem, device, fast=fast):
        tiles = tiles[1:]
    units = device.units
    block_m, block_n = next(
        (
            (m, n)
            for m, n in tiles
            if -(-problem.m // m) * -(-problem.n // n) >= units and (m == 64 or problem.m > 64)
        ),
        tiles[-1],
    )
    special = stores(problem, device) and block_m == 128 and specialises(problem, device)
    few = block_m == 64 or (special and device.sm == 90)
    if device.sm >= 100 and special:  # one warp group reads the sums out: 256 registers hold 2¹⁵
        few = block_n < 256 or not _wide(problem)
    config = Persistent(
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_K=depth,
        num_warps=4 if few else 8,
        num_stages=4,
        PARTS=2 if device.sm >= 100 and block_n > 64 else 1,
        WARP_SPECIALIZE=special,
    )
    return _fitted(config, problem, device)


def _wide(problem: Problem) -> bool:
    """Whether a tile of C takes 4 bytes an element on its way out; rows' scales turn it around."""
    return problem.numerics.bytes_out >= 4 or problem.numerics.scaling == "rowwise"


def _narrow(problem: Problem, device: Device, *, fast: bool) -> bool:
    """Whether 256 columns would spill (fp64, split inputs, two accumulators) or leave room for few
    stages (sums that leave in 32 bits, on Hopper in one part; tiles that are turned around).
    """
    row = problem.numerics
    if row.name in ("fp64", "bf16x3") or device.sm >= 120:
        return True
    if device.sm == 90:
        return row.bytes_out == 4 or (row.is_fp8 and not fast)
    return row.bytes_out == 4 and not along_k(problem)


def specialises(problem: Problem, device: Device) -> bool:
    """Whether warps can be specialised. Of bf16x3 the pass failed 14 of 16 times (Triton 3.9)."""
    if problem.precision in ("fp64", "bf16x3"):
        return False
    if device.sm == 90:
        return along_k(problem)
    return device.sm in (100, 103)


def _fitted(config: Persistent, problem: Problem, device: Device) -> Persistent:
    """Fewer stages, then a shorter BLOCK_K, until it fits into shared memory."""
    while shared(config, problem) > (device.shared_bytes or LEAST_SHARED):
        if config.num_stages > 2:
            config = replace(config, num_stages=config.num_stages - 1)
        else:
            config = replace(config, BLOCK_K=config.BLOCK_K // 2)
    return config


def shared(config: Persistent, problem: Problem) -> int:
    """Bytes of shared memory: the tiles in flight, the part of C that leaves, barriers."""
    row = problem.numerics
    one = (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * row.bits_in // 8
    in_flight = config.num_stages + (not along_k(problem))  # one that is turned around
    turned = 4 if row.scaling == "rowwise" and config.PARTS > 1 else 0  # for the scales of rows
    out = config.BLOCK_M * config.BLOCK_N * max(turned, row.bytes_out) // config.PARTS
    return in_flight * one + out + BARRIERS
