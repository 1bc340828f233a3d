"""The vendor's own library, through torch: what a user of PyTorch gets."""

from collections.abc import Callable
from functools import partial

import torch

from gemmkernels.kernel import Launch
from gemmkernels.operands import Operands

TENSORWISE, NO_SWIZZLE = 0, 0
"""`torch.nn.functional.ScalingType.TensorWise.value` and `SwizzleType.NO_SWIZZLE.value`."""


def bind(operands: Operands) -> Launch:
    """`torch.mm`, `bmm`, `_int_mm` or `scaled_mm` into the output that is there.

    fp8 accumulates accurately: `use_fast_accum` is off. The switches of `prepare` keep fp32 IEEE
    and forbid split-K sums in fp16 or bf16, which torch allows by default.
    """
    a, b, returns = operands.a, operands.b, False
    run: Callable[[], object]
    if operands.scale_a is not None and operands.scale_b is not None:
        run, returns = _scaled(operands, operands.scale_a, operands.scale_b)
    elif a.dtype == torch.int8:
        run = partial(torch._int_mm, _plain(a), _plain(b), out=operands.out)
    else:
        run = partial(torch.bmm if operands.problem.batch > 1 else torch.mm, a, b, out=operands.out)
    prepare = None
    if operands.device.is_gpu:
        prepare = partial(set_switches, tf32=operands.problem.precision == "tf32")
    return Launch(run=run, prepare=prepare, returns_output=returns)


def set_switches(*, tf32: bool) -> None:
    """Process-wide; only `allow_tf32` is touched, as mixing it with `fp32_precision` raises."""
    matmul = torch.backends.cuda.matmul
    matmul.allow_tf32 = tf32
    matmul.allow_fp16_reduced_precision_reduction = False
    matmul.allow_bf16_reduced_precision_reduction = False


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory with a contiguous tensor's usual strides.

    On a CPU `_int_mm` misreads the strides (1, 1) of one transposed row (torch 2.13).
    """
    return tensor.view(-1).view(tensor.shape) if tensor.is_contiguous() else tensor


def _scaled(
    operands: Operands, scale_a: torch.Tensor, scale_b: torch.Tensor
) -> tuple[Callable[[], object], bool]:
    a, b, out = operands.a, operands.b, operands.out
    overload = getattr(getattr(torch.ops.aten, "_scaled_mm_v2", None), "out", None)
    if overload is None:
        functional = torch.nn.functional
        recipe = functional.ScalingType.TensorWise
        return partial(
            functional.scaled_mm, a, b, scale_a, recipe, scale_b, recipe, output_dtype=out.dtype
        ), True
    scales = (([scale], [TENSORWISE], [NO_SWIZZLE]) for scale in (scale_a, scale_b))
    (first, second), bias = scales, None
    return partial(overload, a, b, *first, *second, bias, out.dtype, out=out), False
