"""A product whose A is 2:4 sparse, by cuSPARSELt: half of the terms, at up to twice the rate."""

from collections.abc import Callable
from functools import partial

import torch

from gemmkernels.kernel import Launch
from gemmkernels.library.switches import switches_for
from gemmkernels.operands import Operands


def bind(operands: Operands) -> Launch:
    """A is compressed by `prepare`, into memory that stays where it is.

    torch makes a plan of cuSPARSELt's at each call and asks for its workspace: no graph holds that.
    """
    a, b, out = operands.a, operands.b, operands.out
    compressed = torch._cslt_compress(a)
    out_dtype = out.dtype if a.dtype == torch.int8 else None
    switches = switches_for(operands)
    return Launch(
        run=partial(torch._cslt_sparse_mm, compressed, b, out_dtype=out_dtype),
        prepare=partial(_prepare, switches, a, compressed),
        returns_output=True,
        capturable=False,
    )


def _prepare(
    switches: Callable[[], None] | None, a: torch.Tensor, compressed: torch.Tensor
) -> None:
    if switches:
        switches()
    compressed.copy_(torch._cslt_compress(a))
