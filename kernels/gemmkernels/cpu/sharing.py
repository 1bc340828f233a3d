"""Which thread makes which part of C, in what blocks; and the loop that runs them all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import prange

from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Settings
from gemmkernels.operands import ALIGNMENT
from gemmkernels.problem import Problem

BLOCKS = ("BLOCK_M", "BLOCK_N", "BLOCK_K")


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """`cuts` is int64 [shares, 4]: i0, i1, j0, j1 of each thread's part of C."""

    cuts: np.ndarray[Any, Any]
    block_m: int
    block_n: int
    block_k: int
    threads: int
    grid: tuple[int, int]

    @property
    def config(self) -> Mapping[str, int]:
        sizes = (self.block_m, self.block_n, self.block_k)
        return dict(zip(BLOCKS, sizes, strict=True)) | {"threads": self.threads}

    def jobs(self, *numbers: int) -> np.ndarray[Any, Any]:
        """What each share is told, a row of int64 each: its cuts, the blocks, then `numbers`."""
        rest = (self.block_m, self.block_n, self.block_k, *numbers)
        return np.array([(*cut, *rest) for cut in self.cuts], dtype=np.int64)


def planned(kernel: str, problem: Problem, tile: tuple[int, int, int], settings: Settings) -> Plan:
    """Blocks in whole tiles of (M, N, K), no larger than a share of C or than K.

    Raises GemmbenchError for settings that are not three positive sizes of blocks.
    """
    if set(settings) != set(BLOCKS) or not all(
        type(size) is int and size > 0 for size in settings.values()
    ):
        raise GemmbenchError(
            f"{kernel} takes {', '.join(BLOCKS)}, each a positive whole number: {dict(settings)}"
        )
    threads = numba.get_num_threads()
    cuts = shares(problem.m, problem.n, tile[:2], threads)
    high, wide = (int((cuts[:, end] - cuts[:, end - 1]).max()) for end in (1, 3))
    sizes = (
        whole(min(int(settings[name]), most), unit)
        for name, most, unit in zip(BLOCKS, (high, wide, problem.k), tile, strict=True)
    )
    block_m, block_n, block_k = sizes
    return Plan(
        cuts=cuts,
        block_m=block_m,
        block_n=block_n,
        block_k=block_k,
        threads=threads,
        grid=(len(set(cuts[:, 0])), len(set(cuts[:, 2]))),
    )


def shares(m: int, n: int, tile: tuple[int, int], threads: int) -> np.ndarray[Any, Any]:
    """Rows and columns of C for each thread, in whole tiles: int64 [shares, 4] of i0, i1, j0, j1.

    No thread waits for another, but what two of them read, both pack: a packed element costs about
    as much as 32 multiply-adds.
    """
    rows, columns = -(-m // tile[0]), -(-n // tile[1])

    def cost(down: int) -> int:
        high, wide = -(-rows // down) * tile[0], -(-columns // (threads // down)) * tile[1]
        return high * wide + 32 * (high + wide)

    down = min(range(1, threads + 1), key=cost)
    down, across = min(down, rows), min(threads // down, columns)
    at_m = [min(m, rows * part // down * tile[0]) for part in range(down + 1)]
    at_n = [min(n, columns * part // across * tile[1]) for part in range(across + 1)]
    found = [
        (at_m[i], at_m[i + 1], at_n[j], at_n[j + 1]) for i in range(down) for j in range(across)
    ]
    return np.array(found, dtype=np.int64)


def over_threads(share: Any) -> Any:
    """The parallel loop over shares: `share` is a cfunc of pointers to A, B, C, scratch and a job.

    It is called by its address: inlined into the loop, it would be optimised three times over.
    """
    call = share.ctypes

    @numba.njit(parallel=True, nogil=True)
    def matmul(a: Any, b: Any, c: Any, scratch: Any, jobs: Any) -> None:
        for t in prange(jobs.shape[0]):
            call(a.ctypes, b.ctypes, c.ctypes, scratch[t].ctypes, jobs[t].ctypes)

    return matmul


def whole(size: int, unit: int) -> int:
    """The least multiple of `unit` that is not below `size`."""
    return -(-size // unit) * unit


def aligned(shape: tuple[int, int], dtype: Any) -> np.ndarray[Any, Any]:
    """Uninitialised rows, each on a page of its own: vectors straddle no line, threads no page."""
    per_page = ALIGNMENT // np.dtype(dtype).itemsize
    row = whole(shape[1], per_page)
    pool = np.empty(shape[0] * row + per_page, dtype)
    start = -pool.ctypes.data % ALIGNMENT // pool.itemsize
    return pool[start : start + shape[0] * row].reshape(shape[0], row)
