"""The CPU's matrix engine: AMX multiplies tiles of 16 rows by 64 bytes.

The step beyond vectors: two tiles of A and two of B, loaded once, make four products, which stay in
four tiles of C over K. A is packed as it is, B with the 2 or 4 terms of a word side by side, both
filled up with zeros to whole tiles (Intel, Optimization Reference Manual, chapter "Intel AMX").

oneDNN, torch's own user of tiles, loads its configuration whenever the registers do not hold it; a
share here loads its own and releases it. So neither finds what the other left.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numba
import numpy as np
from numba import types

from gemmkernels.cpu import amx_tiles
from gemmkernels.cpu.amx_share import TILE, share_of
from gemmkernels.cpu.microkernel import compiled_for
from gemmkernels.cpu.needs import refusal
from gemmkernels.cpu.packing import flat
from gemmkernels.cpu.sharing import Plan, aligned, over_threads, planned
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Launch, Settings
from gemmkernels.operands import Operands
from gemmkernels.problem import Problem

DEFAULT = {"BLOCK_M": 256, "BLOCK_N": 512, "BLOCK_K": 1024}
"""In bf16 a block of A and a panel of B take 1.5 MiB of L2."""


def space(_problem: Problem, _device: Device) -> Sequence[Settings]:
    """What a tuner may try, the default first."""
    return [
        {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k}
        for block_k in (1024, 2048, 512)
        for block_m in (256, 128, 512)
        for block_n in (512, 256, 1024)
    ]


def machine_code(terms: int) -> Any:
    """A share, compiled for the CPU that numba compiles for; LLVM aborts where that has no AMX."""
    source, result = (types.uint16, types.uint16) if terms == 2 else (types.int8, types.int32)
    pointers = (types.CPointer(one) for one in (source, source, result, source, types.int64))
    return numba.cfunc(types.void(*pointers))(share_of(amx_tiles, terms, numba.njit(nogil=True)))


@cache
def compiled(terms: int) -> Any:
    return over_threads(machine_code(terms))


def arguments(operands: Operands, plan: Plan) -> tuple[np.ndarray[Any, Any], ...]:
    """A, B, C, scratch and jobs, as a share takes them; bfloat16 as the bits that it is."""
    import torch

    problem = operands.problem
    tensors = (operands.a, operands.b, operands.out)
    bits = [one if problem.numerics.is_integer else one.view(torch.uint16) for one in tensors]
    (a, a_m, a_k), (b, b_k, b_n), (c, _, _) = (flat(one) for one in bits)
    terms = 4 // a.itemsize
    of_sums = TILE * TILE if plan.block_k >= problem.k else plan.block_m * plan.block_n
    to_block = terms * of_sums + plan.block_k * plan.block_n
    jobs = plan.jobs(problem.n, problem.k, a_m, a_k, b_k, b_n, of_sums, to_block)
    of_block = plan.block_k * plan.block_m
    scratch = aligned((len(jobs), 16 * terms + to_block + of_block), a.dtype)
    scratch[:, : 16 * terms] = amx_tiles.CONFIGURATION.view(a.dtype)
    return a, b, c, scratch, jobs


def bind(operands: Operands, settings: Settings | None = None) -> Launch:
    if reason := refusal():
        raise GemmbenchError(f"numba-amx: {reason}")
    if missing := {"amx-tile", "amx-bf16", "amx-int8"} - compiled_for():
        raise GemmbenchError(f"numba-amx: numba compiles without {', '.join(sorted(missing))} here")
    problem = operands.problem
    terms = 32 // problem.numerics.bits_in
    tile = (TILE, TILE, 16 * terms)
    found = settings or DEFAULT
    plan = planned("numba-amx", problem, tile, found)
    given, matmul = arguments(operands, plan), compiled(terms)
    matmul.compile(tuple(numba.typeof(one) for one in given))
    run = partial(matmul, *given)
    return Launch(run=run, config=plan.config, tile=tile, grid=plan.grid)
