"""Blocks that stay in cache: a tile of C a thread, panels of B packed, four terms a pass.

The innermost loop runs along a row of C, which vector units can do without reordering a sum; the
packed panel makes that row contiguous in every layout.
"""

from functools import partial
from typing import Any

import numba
import numpy as np
from numba import prange

from gemmkernels.kernel import Launch
from gemmkernels.operands import Operands

BLOCK_M, BLOCK_N, BLOCK_K = 64, 256, 64
"""A panel of B (64 KiB in fp32) stays in L2 while 64 rows of C pass over it."""


@numba.njit(nogil=True, fastmath={"contract"})
def pack(b: Any, panel: Any, k0: int, k1: int, j0: int, j1: int) -> None:
    kind = panel.dtype.type
    for k in range(k0, k1):
        row = panel[k - k0, : j1 - j0]
        for j in range(j1 - j0):
            row[j] = kind(b[k, j0 + j])


@numba.njit(nogil=True, fastmath={"contract"})
def update(a: Any, panel: Any, row: Any) -> None:
    """row[j] += Σ a[k] · panel[k, j], four terms at a time: one load and store of C for four."""
    kind = row.dtype.type
    K, width = a.size, row.size
    whole = K - K % 4
    for k in range(0, whole, 4):
        a0, a1, a2, a3 = kind(a[k]), kind(a[k + 1]), kind(a[k + 2]), kind(a[k + 3])
        b0, b1, b2, b3 = panel[k], panel[k + 1], panel[k + 2], panel[k + 3]
        for j in range(width):
            row[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]
    for k in range(whole, K):
        a0, b0 = kind(a[k]), panel[k]
        for j in range(width):
            row[j] += a0 * b0[j]


@numba.njit(parallel=True, nogil=True, fastmath={"contract"})
def matmul(a: Any, b: Any, c: Any, panels: Any, block_m: int) -> None:
    """C[M, N] = A[M, K] @ B[K, N]; `panels` is one [BLOCK_K, BLOCK_N] of C's type a thread."""
    M, K = a.shape
    N = b.shape[1]
    threads, block_k, block_n = panels.shape
    tiles_n = (N + block_n - 1) // block_n
    tiles = (M + block_m - 1) // block_m * tiles_n
    for thread in prange(threads):
        panel = panels[thread]
        for tile in range(thread, tiles, threads):
            i0, j0 = tile // tiles_n * block_m, tile % tiles_n * block_n
            i1, j1 = min(M, i0 + block_m), min(N, j0 + block_n)
            c[i0:i1, j0:j1] = 0
            for k0 in range(0, K, block_k):
                k1 = min(K, k0 + block_k)
                pack(b, panel, k0, k1, j0, j1)
                for i in range(i0, i1):
                    # Rows are sliced here: indexing C[i, j] in the inner loop ran 7 times slower.
                    update(a[i, k0:k1], panel, c[i, j0:j1])


def bind(operands: Operands) -> Launch:
    arrays = tuple(tensor.numpy() for tensor in (operands.a, operands.b, operands.out))
    problem, threads = operands.problem, numba.get_num_threads()
    tiles_n = -(-problem.n // BLOCK_N)
    block_m = BLOCK_M
    while block_m > 8 and -(-problem.m // block_m) * tiles_n < threads:
        block_m //= 2
    panels = np.empty((threads, BLOCK_K, BLOCK_N), dtype=arrays[2].dtype)
    matmul.compile((*(numba.typeof(array) for array in (*arrays, panels)), numba.int64))
    return Launch(
        run=partial(matmul, *arrays, panels, block_m),
        config={"BLOCK_M": block_m, "BLOCK_N": BLOCK_N, "BLOCK_K": BLOCK_K, "threads": threads},
        tile=(block_m, BLOCK_N, BLOCK_K),
        grid=(-(-problem.m // block_m), tiles_n),
    )
