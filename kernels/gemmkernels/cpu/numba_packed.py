"""A tile of C that stays in vector registers over K, fed from panels packed in the order of use.

The step beyond blocks in cache: panels of A and B are copied so that the microkernel reads both
from end to end (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS
34(3), 2008). Bytes are summed in pairs, two 16-bit terms to an instruction.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numba
import numpy as np
from numba import types

from gemmkernels.cpu.microkernel import ROWS, VECTORS, microkernel, moved, vector_bytes
from gemmkernels.cpu.packing import flat, packer
from gemmkernels.cpu.sharing import aligned, over_threads, planned
from gemmkernels.device import Device
from gemmkernels.kernel import Launch, Settings
from gemmkernels.operands import Operands
from gemmkernels.problem import Problem

DEFAULT = {"BLOCK_M": 336, "BLOCK_N": 2048, "BLOCK_K": 512}
"""In fp32 a block of A takes 672 KiB of L2, a panel of B 4 MiB of L3."""


def space(_problem: Problem, _device: Device) -> Sequence[Settings]:
    """What a tuner may try, the default first."""
    found = [
        {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k}
        for block_n in (2048, 512)
        for block_m in (336, 168, 84)
        for block_k in (512, 256, 128, 1024)
    ]
    assert found[0] == DEFAULT
    return found


@cache
def compiled(source: str, word: str, terms: int, vector: int) -> Any:
    """The product on all threads; one compilation serves every layout and shape of a precision."""
    rows, pack = ROWS[vector], packer(terms)
    width = VECTORS[vector] * vector // np.dtype(word).itemsize
    inputs, words = (types.CPointer(getattr(types, name)) for name in (source, word))
    numbers = types.CPointer(types.int64)

    @numba.cfunc(types.void(inputs, inputs, words, words, numbers))
    def share(a: Any, b: Any, c: Any, panel: Any, job: Any) -> None:
        i0, i1, j0, j1 = job[0], job[1], job[2], job[3]
        block_m, block_n, block_k = job[4], job[5], job[6]
        N, K, a_m, a_k, b_k, b_n = job[7], job[8], job[9], job[10], job[11], job[12]
        edge = moved(panel, job[13])
        block = moved(edge, rows * width)
        for left in range(j0, j1, block_n):
            columns = min(block_n, j1 - left)
            for k0 in range(0, K, block_k):
                count, first = min(block_k, K - k0), k0 == 0
                depth = (count + terms - 1) // terms
                pack(b, left * b_n + k0 * b_k, b_k, b_n, count, columns, panel, depth, width)
                for top in range(i0, i1, block_m):
                    high = min(block_m, i1 - top)
                    pack(a, top * a_m + k0 * a_k, a_k, a_m, count, high, block, depth, rows)
                    for j in range(0, columns, width):
                        of_b, wide = moved(panel, j * depth), min(width, columns - j)
                        for i in range(0, high, rows):
                            of_a, to = moved(block, i * depth), (top + i) * N + left + j
                            if i + rows <= high and wide == width:
                                microkernel(moved(c, to), N, of_a, of_b, depth, first, vector)
                                continue
                            microkernel(edge, width, of_a, of_b, depth, True, vector)
                            for r in range(min(rows, high - i)):
                                for q in range(to + r * N, to + r * N + wide):
                                    found = edge[q - to - r * N + r * width]
                                    c[q] = found if first else c[q] + found

    return over_threads(share)


def bind(operands: Operands, settings: Settings | None = None) -> Launch:
    problem, vector = operands.problem, vector_bytes(operands.device)
    (a, a_m, a_k), (b, b_k, b_n) = flat(operands.a), flat(operands.b)
    c = operands.out.numpy().reshape(-1)
    rows, width = ROWS[vector], VECTORS[vector] * vector // c.itemsize
    terms = 2 if problem.numerics.is_integer else 1
    found = settings or DEFAULT
    plan = planned("numba-packed", problem, (rows, width, terms), found)
    of_panel, of_block = (plan.block_k // terms * size for size in (plan.block_n, plan.block_m))
    jobs = plan.jobs(problem.n, problem.k, a_m, a_k, b_k, b_n, of_panel)
    scratch = aligned((len(jobs), of_panel + rows * width + of_block), c.dtype)
    matmul = compiled(a.dtype.name, c.dtype.name, terms, vector)
    arguments = (a, b, c, scratch, jobs)
    matmul.compile(tuple(numba.typeof(one) for one in arguments))
    return Launch(
        run=partial(matmul, *arguments),
        config={**plan.config, "vector_bits": 8 * vector},
        tile=(rows, width, plan.block_k),
        grid=plan.grid,
    )
