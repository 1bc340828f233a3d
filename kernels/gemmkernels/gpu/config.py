"""Configurations of the kernels with tl.dot: by architecture and precision, then by size."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Settings
from gemmkernels.problem import Problem

LEAST_SHARED = 65536
"""Bytes of shared memory that every GPU of interest has, where the device does not say."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One configuration; None is "not said".

    `MAX_IMPRECISE` is Triton's max_num_imprecise_acc: no tuner's to choose, it changes the result.
    """

    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int
    num_warps: int
    num_stages: int
    GROUP_M: int | None = 8
    MAX_IMPRECISE: int | None = None
    waves_per_eu: int | None = None
    matrix_instr_nonkdim: int | None = None
    kpack: int | None = None

    def constants(self) -> Mapping[str, int | None]:
        """The kernel's compile-time arguments."""
        order = {} if self.GROUP_M is None else {"GROUP_M": self.GROUP_M}
        names = ("BLOCK_M", "BLOCK_N", "BLOCK_K", "MAX_IMPRECISE")
        return {name: getattr(self, name) for name in names} | order

    def options(self) -> Mapping[str, int | bool]:
        """The compiler's options; AMD's appear on AMD only."""
        names = ("num_warps", "num_stages", "waves_per_eu", "matrix_instr_nonkdim", "kpack")
        said = {name: getattr(self, name) for name in names}
        return {name: value for name, value in said.items() if value is not None} | {
            "enable_fp_fusion": True
        }

    @property
    def tile(self) -> tuple[int, int, int]:
        return self.BLOCK_M, self.BLOCK_N, self.BLOCK_K

    def record(self) -> Mapping[str, int]:
        return {name: value for name, value in asdict(self).items() if value is not None}


AnyConfig = TypeVar("AnyConfig", bound=Config)


def chosen(kernel: str, problem: Problem, device: Device, settings: Settings | None) -> Config:
    """A tuner's choice, or the default.

    Raises GemmbenchError for settings that name what a configuration has not.
    """
    if settings is None:
        return default(problem, device)
    config = read(Config, kernel, settings)
    return replace(config, MAX_IMPRECISE=imprecise(problem, device, config.BLOCK_K))


def read(kind: type[AnyConfig], kernel: str, settings: Settings) -> AnyConfig:
    """The configuration that settings name; raises GemmbenchError as `chosen` does."""
    named: Mapping[str, Any] = settings
    try:
        return kind(**named)
    except TypeError as error:
        raise GemmbenchError(f"{kernel}: {error}") from None


def imprecise(problem: Problem, device: Device, block_k: int) -> int | None:
    """How many terms Hopper may sum in short: it sums fp8 in about 14 bits.

    The partial sums are added in fp32 every 128 terms, as cuBLAS does without fast accumulation.
    """
    return min(128, block_k) if device.sm == 90 and problem.numerics.is_fp8 else None


def default(problem: Problem, device: Device) -> Config:
    """The configuration that a problem gets there; fits the device's shared memory."""
    large = _amd(problem, device) if device.vendor == "amd" else _nvidia(problem, device)
    if not aligned(problem):
        # Loads go element by element, each with an address of its own: larger tiles would spill.
        large = replace(
            large,
            BLOCK_M=128,
            BLOCK_N=128,
            BLOCK_K=min(32, large.BLOCK_K),
            num_warps=8,
            num_stages=2 if device.vendor == "amd" else min(3, large.num_stages),
        )
    return fit(shrink(large, problem, device), problem, device)


def aligned(problem: Problem) -> bool:
    """Whether the rows of A and B, as stored, have multiples of 16 elements: Triton's own test."""
    row_a = problem.k if problem.layout[0] == "n" else problem.m
    row_b = problem.n if problem.layout[1] == "n" else problem.k
    return row_a % 16 == 0 and row_b % 16 == 0


def _nvidia(problem: Problem, device: Device) -> Config:
    """Triton's tutorial 09, torch inductor's and tritonbench's lists for H100 and H200."""
    width = problem.numerics.bits_in // 8
    block_k = 128 // width
    if device.sm == 90 and problem.numerics.is_fp8:
        # Two accumulators, see `imprecise`: 256 columns would spill.
        return Config(BLOCK_M=128, BLOCK_N=128, BLOCK_K=128, num_warps=8, num_stages=4)
    if width == 8 or problem.precision == "bf16x3":  # sums of two registers, inputs of two parts
        return Config(BLOCK_M=128, BLOCK_N=128, BLOCK_K=block_k, num_warps=8, num_stages=3)
    if width == 4 or device.sm in (86, 89, 120, 121) or (device.sm < 90 and width == 1):
        return Config(BLOCK_M=128, BLOCK_N=128, BLOCK_K=block_k, num_warps=8, num_stages=4)
    return Config(BLOCK_M=128, BLOCK_N=256, BLOCK_K=block_k, num_warps=8, num_stages=3)


def _amd(problem: Problem, device: Device) -> Config:
    """aiter's, tritonBLAS's and torch inductor's 256×256 for MI300X, at a BLOCK_K without spills.

    gfx950 copies to shared memory past the registers: a third stage costs none. Its fastest fp8
    instruction takes 128 terms.
    """
    width = problem.numerics.bits_in // 8
    if not device.gfx.startswith("gfx9"):
        block_k = 64 // width
        return Config(BLOCK_M=128, BLOCK_N=128, BLOCK_K=block_k, num_warps=8, num_stages=2)
    side = 128 if width >= 4 else 256
    block_k, num_stages = (128 // width if width >= 4 else 64), 2
    if device.gfx == "gfx90a" and width == 2:
        block_k = 32
    elif device.gfx == "gfx950" and width == 2:
        block_k, num_stages = 32, 3
    elif device.gfx == "gfx950" and problem.numerics.is_fp8:
        block_k = 128
    return Config(
        BLOCK_M=side,
        BLOCK_N=side,
        BLOCK_K=block_k,
        num_warps=8,
        num_stages=num_stages,
        waves_per_eu=2,
        matrix_instr_nonkdim=16,
        kpack=1,
    )


def shrink(config: Config, problem: Problem, device: Device) -> Config:
    """No tile larger than C, nor so large that units stay idle; the larger side halves first."""
    least_k = 32 if problem.numerics.bits_in == 8 else 16
    # Hopper's and Blackwell's matrix instructions take 64 rows; with fewer, fp8 runs as fp16.
    least_m = 64 if device.sm in (90, 100, 103) else 16
    block_m = min(config.BLOCK_M, max(least_m, power_of_two(problem.m)))
    block_n = min(config.BLOCK_N, max(16, power_of_two(problem.n)))
    block_k = min(config.BLOCK_K, max(least_k, power_of_two(problem.k)))
    while -(-problem.m // block_m) * -(-problem.n // block_n) < device.units:
        if max(block_m, block_n) <= 64:
            break
        if block_m >= block_n:
            block_m //= 2
        else:
            block_n //= 2
    small = block_m * block_n < 128 * 128
    return replace(
        config,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        num_warps=4 if small else config.num_warps,
        num_stages=config.num_stages + (device.vendor == "nvidia" and small),
        MAX_IMPRECISE=imprecise(problem, device, block_k),
    )


def fit(config: Config, problem: Problem, device: Device) -> Config:
    """Fewer stages, then a shorter BLOCK_K, until the tiles in flight fit into shared memory."""
    limit = device.shared_bytes or LEAST_SHARED
    while tile_bytes(config, problem, device) > limit:
        if config.num_stages > 2:
            config = replace(config, num_stages=config.num_stages - 1)
        else:
            config = replace(config, BLOCK_K=config.BLOCK_K // 2)
    return config


def tile_bytes(config: Config, problem: Problem, device: Device) -> int:
    """Shared memory of the tiles in flight, in bytes, as the compiler lays them out.

    On AMD the last stage waits in registers, but on gfx950, which pads the rows by up to 1/16.
    """
    one = (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * problem.numerics.bits_in // 8
    if device.gfx == "gfx950":
        return config.num_stages * one * 17 // 16
    return (config.num_stages - (device.vendor == "amd")) * one


def dies(device: Device) -> int:
    """Dies with an L2 of their own, by the compute units of one; 1 where that is not known.

    A partition has fewer units, and so fewer dies.
    """
    of_one = {"gfx942": 38, "gfx950": 32}.get(device.gfx, 0)
    return device.units // of_one if of_one and device.units % of_one == 0 else 1


def power_of_two(size: int) -> int:
    """The least power of two that is not below `size`."""
    return 1 << (size - 1).bit_length()
