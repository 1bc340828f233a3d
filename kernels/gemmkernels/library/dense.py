"""torch's own products into the output that is there: what a user of PyTorch gets."""

from collections.abc import Callable
from functools import partial

import torch

from gemmkernels.kernel import Launch
from gemmkernels.library import scaled
from gemmkernels.library.switches import switches_for
from gemmkernels.operands import Operands


def bind(operands: Operands, *, blas: str | None = None) -> Launch:
    """`torch.mm`, `bmm`, `_int_mm` or `scaled_mm`; fp8 accumulates accurately."""
    if operands.scale_a is not None:
        return scaled.bind(operands)
    a, b = operands.a, operands.b
    run: Callable[[], object]
    if a.dtype == torch.int8:
        run = partial(torch._int_mm, _plain(a), _plain(b), out=operands.out)
    else:
        run = partial(torch.bmm if operands.problem.batch > 1 else torch.mm, a, b, out=operands.out)
    return Launch(run=run, prepare=switches_for(operands, blas=blas))


def bind_cublas(operands: Operands) -> Launch:
    """The same from cuBLAS, on ROCm from rocBLAS."""
    return bind(operands, blas="cublas")


def bind_cublaslt(operands: Operands) -> Launch:
    """The same from cuBLASLt, on ROCm from hipBLASLt."""
    return bind(operands, blas="cublaslt")


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory with a contiguous tensor's usual strides.

    On a CPU `_int_mm` misreads the strides (1, 1) of one transposed row (torch 2.13).
    """
    return tensor.view(-1).view(tensor.shape) if tensor.is_contiguous() else tensor
