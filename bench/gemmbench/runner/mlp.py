"""A Llama MLP block, measured against its own three products on one device.

The process that compiles and measures is started as `python -m gemmbench.runner.mlp compiled`, or
`eager`: a compiler that dies or hangs takes it alone along. It reads a device as JSON, and prints a
JSON list of `Mlp`.
"""

import math
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from gemmbench.devices.spec import match
from gemmbench.records.evidence import Mlp
from gemmbench.runner.apart import DiedError, run_apart
from gemmbench.runner.attention import known, scale_for
from gemmbench.timing.callables import Measurement, measure, speedup
from gemmbench.verify import FAILURE, gamma
from gemmkernels.device import Device
from gemmkernels.errors import one_line
from gemmkernels.probes.mlp import BLOCKS, Block, Tensors, forward, products, tensors

if TYPE_CHECKING:
    import torch

MODULE = "gemmbench.runner.mlp"
MAX_TIME_S = 4.0
TIMEOUT_S = 300.0
ROWS = 16
"""Rows of the result that are checked: one of float64 costs as much as a hundred of bf16."""

WAYS = ("eager", "compiled")


def measure_mlp(device: Device) -> tuple[Mlp, ...]:
    """Each block eager and compiled, in turns with its products alone.

    Without a compiler that works the compiled ones have a reason in place of figures, and all of
    them where the process dies without it too.
    """
    told = msgspec.json.encode(device)
    try:
        return run_apart(MODULE, "compiled", tuple[Mlp, ...], told=told, timeout_s=TIMEOUT_S)
    except DiedError as error:
        reason = f"torch.compile: {error}"
    try:
        found = run_apart(MODULE, "eager", tuple[Mlp, ...], told=told, timeout_s=TIMEOUT_S)
    except DiedError as error:
        reasons = {"eager": str(error), "compiled": reason}
        return tuple(
            msgspec.structs.replace(
                _nothing(block, device, by=scale_for(device)), how=how, reason=why
            )
            for block in BLOCKS
            for how, why in reasons.items()
        )
    return tuple(
        msgspec.structs.replace(one, reason=reason) if one.how == "compiled" else one
        for one in found
    )


def measured(
    device: Device,
    *,
    blocks: tuple[Block, ...] = BLOCKS,
    compiling: bool = True,
    scale: int | None = None,
    max_time_s: float = MAX_TIME_S,
) -> tuple[Mlp, ...]:
    """The same in this process; `scale` divides every dimension, as `measure_attention` has it."""
    by = scale or scale_for(device)
    return tuple(
        one
        for block in blocks
        for one in _of_block(block, device, by=by, compiling=compiling, max_time_s=max_time_s)
    )


def _nothing(block: Block, device: Device, *, by: int) -> Mlp:
    """What is known of a block before it is measured."""
    import torch

    small, spec = block.scaled(by), match(device)
    return Mlp(
        device=device.name,
        device_id=spec.id if spec and spec.scaled == 1.0 else "",
        torch=str(torch.__version__),
        dtype="bfloat16",
        model=block.model,
        hidden=small.hidden,
        ffn=small.ffn,
        tokens=small.tokens,
        scale=by,
        how="",
    )


def _of_block(
    block: Block, device: Device, *, by: int, compiling: bool, max_time_s: float
) -> tuple[Mlp, ...]:
    import torch

    small, dtype = block.scaled(by), torch.bfloat16
    nothing = _nothing(block, device, by=by)
    functions: dict[str, Callable[[], object]] = {}
    found: dict[str, Measurement] = {}
    reasons = {} if compiling else {"compiled": "not compiled"}
    try:
        data = tensors(small, device=device.torch_device, dtype=dtype)
        for how in WAYS:
            if how not in reasons:
                run = forward(data, compiled=how == "compiled")
                if reason := _fault(run, data):
                    reasons[how] = reason
                else:
                    functions[how] = run
        if functions:
            functions["products"] = products(data)
            found = measure(functions, device=device.torch_device, max_time_s=max_time_s)
    except RuntimeError as error:  # out of memory, or a product that the device has not
        found, reasons = {}, dict.fromkeys(WAYS, one_line(error))
    return tuple(
        msgspec.structs.replace(nothing, how=how, reason=reasons[how])
        if how in reasons
        else _with_times(nothing, how, found)
        for how in WAYS
    )


def _fault(run: Callable[[], "torch.Tensor"], data: Tensors) -> str:
    """Why the block is not timed; empty if it is right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        try:
            error = error_of(run(), data)
        except Exception as failure:  # a compiler raises anything
            return f"{type(failure).__name__}: {one_line(failure)}"
    return "" if error <= 1 else f"wrong: its error is {error:.3g} times the bound"


def error_of(out: "torch.Tensor", of: Tensors) -> float:
    """max |out − R| / bound over the first rows, R in float64 of the tensors as stored.

    The bound is of Higham & Mary's kind (as in `verify`): a rounding of an element between the
    products is a random one with a mean of zero, and sums of `ffn` of them grow as the root of the
    sum of their squares (Hoeffding). SiLU's slope is below 1.1. Infinite where `out` has a NaN.
    """
    import torch

    x, gate, up, down = (one.double() for one in (of.x[:ROWS], of.gate, of.up, of.down))
    unit = torch.finfo(of.x.dtype).eps / 2
    single = torch.finfo(torch.float32).eps / 2
    terms = x.shape[0] * (gate.shape[0] + down.shape[0])
    inner, outer = gamma(x.shape[1], single, terms), gamma(up.shape[0], single, terms)
    a, b, size = x @ gate.T, x @ up.T, x.abs()
    s = torch.nn.functional.silu(a)
    h = s * b
    off_a = unit * a.abs() + inner * (size @ gate.abs().T)
    off_b = unit * b.abs() + inner * (size @ up.abs().T)
    off_s = 1.1 * off_a + (unit + 8 * single) * s.abs()  # exp in fp32 is off by some units
    off_h = off_s * (b.abs() + off_b) + s.abs() * off_b + unit * h.abs()
    steps = math.sqrt(2 * math.log(2 * terms / FAILURE))
    result = h @ down.T
    bound = steps * (off_h.square() @ down.square().T).sqrt()
    bound += outer * (h.abs() @ down.abs().T) + unit * (result.abs() + bound)
    error = ((out[:ROWS].double() - result).abs() / bound).max().item()
    return error if math.isfinite(error) else math.inf


def _with_times(nothing: Mlp, how: str, found: dict[str, Measurement]) -> Mlp:
    took, alone = found[how], found["products"]
    ratio = speedup(took, alone)
    return msgspec.structs.replace(
        nothing,
        how=how,
        time_us=known(took.median_us),
        low_us=known(took.low_us),
        high_us=known(took.high_us),
        verdict=took.verdict,
        products_us=known(alone.median_us),
        ratio=known(ratio.ratio),
        ratio_low=known(ratio.low),
        ratio_high=known(ratio.high),
    )


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Device)
    found = measured(asked, compiling=sys.argv[1] == "compiled")
    sys.stdout.buffer.write(msgspec.json.encode(found))
