"""One product for all experts of a mixture: torch's grouped_mm, and its scaled form."""

from functools import partial
from typing import Any

import torch

from gemmkernels.kernel import Launch
from gemmkernels.library.switches import switches_for
from gemmkernels.operands import Operands


def bind(operands: Operands) -> Launch:
    """It has no form with `out`. Rows of one scale each are told apart by the scales' shape.

    Only bf16 on Hopper and Blackwell, and fp8, have kernels of their own: else torch reads the
    offsets on the host, which no graph can hold (aten/src/ATen/native/cuda/GroupedBlas.cpp).
    """
    functional: Any = torch.nn.functional
    a, b, ends = operands.a, operands.b, operands.offsets
    assert ends is not None
    if operands.scale_a is None or operands.scale_b is None:
        run = partial(functional.grouped_mm, a, b, offs=ends)
    else:
        rowwise = functional.ScalingType.RowWise
        scale_a, scale_b = operands.scale_a.view(-1), operands.scale_b.squeeze(1)
        run = partial(
            functional.scaled_grouped_mm,
            a,
            b,
            scale_a,
            rowwise,
            scale_b,
            rowwise,
            offs=ends,
            output_dtype=operands.out.dtype,
        )
    own = operands.problem.precision == "bf16" and operands.device.sm in (90, 100)
    return Launch(
        run=run,
        prepare=switches_for(operands),
        returns_output=True,
        capturable=own or operands.problem.numerics.is_fp8,
    )
