"""torch.compile in mode max-autotune: Triton's templates measured against the library."""

import types
from collections.abc import Callable
from functools import lru_cache, partial

import torch

from gemmkernels.device import Device
from gemmkernels.kernel import Launch
from gemmkernels.library.switches import switches_for
from gemmkernels.operands import Operands
from gemmkernels.problem import Problem

MODE = "max-autotune-no-cudagraphs"
"""Graphs are the timing method's to make."""


def bind(operands: Operands) -> Launch:
    """Compiles and tunes here; the compiled function allocates its output."""
    a, b = operands.a, operands.b
    switches = switches_for(operands)
    if switches:
        switches()  # what is compiled depends on them
    run = partial(_compiled(operands.problem, operands.device), a, b)
    run()
    return Launch(run=run, prepare=switches, returns_output=True, config={"mode": MODE})


@lru_cache(maxsize=64)
def _compiled(_problem: Problem, _device: Device) -> Callable[..., object]:
    """One for all operands of a problem.

    Of a copy of the code: the compiler counts shapes by code object, and after eight gives up.
    """
    copied = types.FunctionType(_product.__code__.replace(), globals())
    compiled: Callable[..., object] = torch.compile(
        copied, mode=MODE, dynamic=False, fullgraph=True
    )
    return compiled


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.matmul(a, b)
