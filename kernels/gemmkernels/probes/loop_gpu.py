# mypy: allow-untyped-defs, allow-incomplete-defs
"""What the arithmetic probes of a GPU share: where sums go, and how they are checked."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from gemmkernels.device import Device
from gemmkernels.gpu.host import Call
from gemmkernels.kernel import Launch
from gemmkernels.probes.roofs import BoundProbe

TILES = 8
"""Places for sums: every eighth program writes to the same one, and the same sums. Places of their
own would be hundreds of MB, and writing them a share of the launch."""

FEW = 3
"""Steps of the second check: so few that no accumulator loses what it adds."""


def bound(
    call: Call,
    device: Device,
    *,
    out: torch.Tensor,
    product: torch.Tensor,
    spread: torch.Tensor,
    unit: float,
    flop_of_step: float,
    config: Mapping[str, int | str],
) -> BoundProbe:
    """A probe of `call`, whose last argument is the number of steps.

    `out` [TILES, elements] is where sums go; a step adds `product` [elements], float64. `unit` is
    what of `spread` [elements], the sum of the terms' magnitudes, a step's additions may lose once
    each; 0 where sums are integers modulo 2³². `flop_of_step` is of one program.
    """
    steps = int(call.arguments[-1])  # type: ignore[call-overload]
    few = replace(call, arguments=(*call.arguments[:-1], FEW))
    run, run_few = call.bound(), few.bound()

    def check(launched: Callable[[], object]) -> str:
        _spoil(out)
        run_few()
        said = difference(out, FEW, product, spread, unit)
        if not said:
            _spoil(out)
            launched()
            said = difference(out, steps, product, spread, unit)
        return said

    programs = call.grid[0]
    return BoundProbe(
        launch=Launch(run=run, grid=call.grid, calls=(call,)),
        work=float(programs) * steps * flop_of_step,
        check=check,
        config={**config, "steps": steps, "programs": programs, "units": device.units},
    )


def _spoil(out: torch.Tensor) -> None:
    out.fill_(float("nan") if out.dtype.is_floating_point else torch.iinfo(out.dtype).min)


def difference(
    out: torch.Tensor, steps: int, product: torch.Tensor, spread: torch.Tensor, unit: float
) -> str:
    """What is wrong with sums after so many steps, or nothing.

    A sum of n terms loses at most n · u of their magnitudes (Higham, Accuracy and Stability, 4.2).
    """
    found = out.cpu()
    if unit == 0:
        expected: Any = (steps * product).to(torch.int64).to(torch.int32)
        off = found != expected
    else:
        expected = steps * product
        off = ~((found.double() - expected).abs() <= steps * unit * (steps * spread))
    if not bool(off.any()):
        return ""
    tile, place = (int(at) for at in off.nonzero()[0])
    return (
        f"{int(off.sum())} of {off.numel()} sums are wrong after {steps} steps: one is "
        f"{float(found[tile, place]):.6g} where the loop must give {float(expected[place]):.6g}"
    )
