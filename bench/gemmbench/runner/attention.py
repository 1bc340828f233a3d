"""torch's multi-head attention, measured against its floor on one device."""

import math
from collections.abc import Callable

from gemmbench.devices.spec import match
from gemmbench.records.evidence import Attention
from gemmbench.timing.callables import Measurement, measure
from gemmkernels.device import Device
from gemmkernels.probes.attention import (
    CLAIMED,
    DEFAULT,
    Shape,
    forward,
    projection,
    projection_flop,
)

CPU_SCALE = 8
"""On a CPU an eighth of every dimension: 1/4096 of the work."""

SMALL_SCALE = 2
ROOMY_BYTES = 24 * 2**30
"""The claim's size keeps scores of 2 GiB in 16 bits, and takes them in fp32 once more."""

MAX_TIME_S = 8.0


def measure_attention(
    device: Device, *, scale: int | None = None, max_time_s: float = MAX_TIME_S
) -> tuple[Attention, ...]:
    """The claim's module, with and without the weights that it returns by default, and once with
    the default order of dimensions; each in turns with the in-projection's product alone.

    `scale` divides every dimension: 1 on a GPU with room for it, 8 on a CPU unless it is said.
    """
    import torch

    by = scale or scale_for(device)
    dtype = torch.bfloat16
    cases = [
        (CLAIMED.scaled(by), True),
        (CLAIMED.scaled(by), False),
        (DEFAULT.scaled(by), True),
    ]
    main = cases[0][0]
    functions: dict[str, Callable[[], object]] = {
        str(number): forward(shape, need_weights=weights, device=device.torch_device, dtype=dtype)
        for number, (shape, weights) in enumerate(cases)
    }
    functions["product"] = projection(main, device=device.torch_device, dtype=dtype)
    found = measure(functions, device=device.torch_device, max_time_s=max_time_s)
    tflops = known(projection_flop(main) / found["product"].median_us / 1e6)
    spec = match(device)
    return tuple(
        _record(
            *(shape, weights, found[str(number)]),
            device=device.name,
            device_id=spec.id if spec and spec.scaled == 1.0 else "",
            torch_version=str(torch.__version__),
            scale=by,
            tflops=tflops,
        )
        for number, (shape, weights) in enumerate(cases)
    )


def scale_for(device: Device) -> int:
    """What the dimensions of a model's layer are divided by to be measured there."""
    if not device.is_gpu:
        return CPU_SCALE
    return 1 if device.memory_bytes >= ROOMY_BYTES else SMALL_SCALE


def _record(
    shape: Shape,
    need_weights: bool,
    took: Measurement,
    *,
    device: str,
    device_id: str,
    torch_version: str,
    scale: int,
    tflops: float | None,
) -> Attention:
    return Attention(
        device=device,
        device_id=device_id,
        torch=torch_version,
        dtype="bfloat16",
        embed=shape.embed,
        heads=shape.heads,
        batch=shape.batch,
        sequence=shape.sequence,
        batch_first=shape.batch_first,
        need_weights=need_weights,
        scale=scale,
        time_us=known(took.median_us),
        low_us=known(took.low_us),
        high_us=known(took.high_us),
        verdict=took.verdict,
        matmul_tflops=tflops,
    )


def known(value: float) -> float | None:
    """The value, or None for one that is not finite, which JSON has not."""
    return value if math.isfinite(value) else None
