"""The same triple loop, compiled: one thread, no blocking.

Floating sums keep their order, so that nothing vectorises; sums of integers the compiler may split.
"""

from functools import partial
from typing import Any

import numba

from gemmkernels.kernel import Launch
from gemmkernels.operands import Operands


@numba.njit(nogil=True)
def matmul(a: Any, b: Any, c: Any) -> None:
    """C[M, N] = A[M, K] @ B[K, N], summed in the type of C."""
    M, K = a.shape
    N = b.shape[1]
    kind = c.dtype.type
    for i in range(M):
        for j in range(N):
            acc = kind(0)
            for k in range(K):
                acc = kind(acc + kind(a[i, k]) * kind(b[k, j]))
            c[i, j] = acc


def bind(operands: Operands) -> Launch:
    arrays = tuple(tensor.numpy() for tensor in (operands.a, operands.b, operands.out))
    matmul.compile(tuple(numba.typeof(array) for array in arrays))
    return Launch(run=partial(matmul, *arrays))
