"""The process-wide switches of torch that choose or change a GPU's products."""

from collections.abc import Callable
from functools import partial

import torch

from gemmkernels.operands import Operands


def set_switches(*, tf32: bool, blas: str | None = None) -> None:
    """Keep fp32 IEEE unless `tf32`, and forbid reduced split-K sums, which torch allows.

    Only `allow_tf32` is touched, as mixing it with `fp32_precision` raises. `blas` is the library
    that torch is to prefer, "cublas" or "cublaslt"; on ROCm those are rocBLAS and hipBLASLt.
    """
    matmul = torch.backends.cuda.matmul
    matmul.allow_tf32 = tf32
    matmul.allow_fp16_reduced_precision_reduction = False
    matmul.allow_bf16_reduced_precision_reduction = False
    if blas is not None:
        torch.backends.cuda.preferred_blas_library(blas)


def switches_for(operands: Operands, *, blas: str | None = None) -> Callable[[], None] | None:
    """What sets them for these operands; a CPU has none. The runner puts back what was there."""
    if not operands.device.is_gpu:
        return None
    return partial(set_switches, tf32=operands.problem.precision == "tf32", blas=blas)
