"""torch's scaled products: one scale a tensor, a row or a block."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from gemmkernels.kernel import Launch
from gemmkernels.library.switches import switches_for
from gemmkernels.operands import Operands

ROWS, COLUMNS = 128, 4
"""What one tile of swizzled scales covers: rows of the matrix, and blocks along K."""

_RECIPES = {
    ("tensorwise", 0): "TensorWise",
    ("rowwise", 0): "RowWise",
    ("blockwise", 16): "BlockWise1x16",
    ("blockwise", 32): "BlockWise1x32",
}


def bind(operands: Operands, *, fast: bool = False) -> Launch:
    """`scaled_mm` into the output that is there; `fast` is `use_fast_accum`.

    NVIDIA's libraries take the scales of blocks swizzled: `prepare` swizzles them.
    """
    row, scale_a, scale_b = operands.problem.numerics, operands.scale_a, operands.scale_b
    assert scale_a is not None
    assert scale_b is not None
    a, b = (_four_bits(tensor) for tensor in (operands.a, operands.b))
    functional = torch.nn.functional
    recipe = getattr(functional.ScalingType, _RECIPES[row.scaling, row.block])
    swizzle = functional.SwizzleType.NO_SWIZZLE
    derive: list[Callable[[], None]] = []
    if row.is_blockwise and operands.device.vendor == "nvidia":
        swizzle = functional.SwizzleType.SWIZZLE_32_4_4
        stored = scale_a, scale_b
        scale_a, scale_b = (torch.empty_like(swizzled(scale)) for scale in stored)
        targets = (scale_a, scale_b)
        derive = [
            partial(_derive, scale, target) for scale, target in zip(stored, targets, strict=True)
        ]
    run, returns = _run(operands, (a, b), (scale_a, scale_b), recipe, swizzle, fast=fast)
    switches = switches_for(operands)
    prepare = partial(_each, [switches, *derive] if switches else derive)
    return Launch(run=run, prepare=prepare if switches else None, returns_output=returns)


def bind_fast(operands: Operands) -> Launch:
    """The same with fp8 sums that are not promoted to fp32 on their way."""
    return bind(operands, fast=True)


def swizzled(scales: torch.Tensor) -> torch.Tensor:
    """Scales [rows, blocks] as cuBLASLt reads them, padded with zeros, in one dimension.

    Tiles of 128 rows and 4 blocks, row-major; in a tile rows 32 apart stand side by side
    (cuBLAS's documentation, 1D block scaling factors layout).
    """
    rows, columns = scales.shape
    pad = (0, -columns % COLUMNS, 0, -rows % ROWS)
    whole = torch.nn.functional.pad(scales.view(torch.uint8), pad)
    tiles = whole.view(-1, 4, 32, whole.shape[1] // COLUMNS, COLUMNS)
    return tiles.permute(0, 3, 2, 1, 4).flatten().view(scales.dtype)


def _derive(scales: torch.Tensor, target: torch.Tensor) -> None:
    target.view(torch.uint8).copy_(swizzled(scales).view(torch.uint8))


def _each(steps: list[Callable[[], None]]) -> None:
    for step in steps:
        step()


def _four_bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.float4_e2m1fn_x2) if tensor.dtype == torch.uint8 else tensor


def _run(
    operands: Operands,
    matrices: tuple[torch.Tensor, torch.Tensor],
    scales: tuple[torch.Tensor, torch.Tensor],
    recipe: Any,
    swizzle: Any,
    *,
    fast: bool,
) -> tuple[Callable[[], object], bool]:
    """(what runs, whether it returns its output): the form with `out` where torch has it."""
    (a, b), (scale_a, scale_b), out = matrices, scales, operands.out
    overload = getattr(getattr(torch.ops.aten, "_scaled_mm_v2", None), "out", None)
    if overload is None:
        return partial(
            torch.nn.functional.scaled_mm,
            a,
            b,
            scale_a,
            recipe,
            scale_b,
            recipe,
            swizzle_a=swizzle,
            swizzle_b=swizzle,
            output_dtype=out.dtype,
            use_fast_accum=fast,
        ), True
    first, second = (([scale], [recipe.value], [swizzle.value]) for scale in (scale_a, scale_b))
    bias = None
    run = partial(overload, a, b, *first, *second, bias, out.dtype, use_fast_accum=fast, out=out)
    return run, False
