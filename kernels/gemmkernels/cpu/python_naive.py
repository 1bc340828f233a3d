"""The textbook's triple loop, as Python runs it: every multiply-add is a call into the interpreter.

Sums are Python's own numbers (double, or integers of any length) and are rounded once, when they
are stored: never less precise than the precision asks.
"""

from typing import Any

from gemmkernels.kernel import Launch
from gemmkernels.operands import Operands


def bind(operands: Operands) -> Launch:
    # A memoryview hands out a number in half of a NumPy array's time, a 30th of a tensor's.
    arrays: list[Any] = [tensor.numpy() for tensor in (operands.a, operands.b, operands.out)]
    a, b, c = (memoryview(array) for array in arrays)
    M, N, K = operands.problem.m, operands.problem.n, operands.problem.k

    def run() -> None:
        for i in range(M):
            for j in range(N):
                acc = 0
                for k in range(K):
                    acc += a[i, k] * b[k, j]
                c[i, j] = acc

    return Launch(run=run)
