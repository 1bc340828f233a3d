"""Evidence for the claims, asked for anew: of the compiler, of torch, and of this device.

`python -m gemmbench.runner.evidence` prints what ships as `records/evidence.json`. What it measures
there names the device; the rest is the same on every machine with the same versions.
"""

import warnings

import msgspec

from gemmbench.devices.detect import detect
from gemmbench.inspect.cache import triton_version
from gemmbench.inspect.examine import examine
from gemmbench.inspect.matrix import questions
from gemmbench.records.evidence import Cast, Emitted, Evidence, kept
from gemmbench.runner.apart import DiedError, run_apart
from gemmbench.runner.attention import measure_attention
from gemmbench.runner.mlp import measure_mlp
from gemmkernels.device import Device
from gemmkernels.errors import one_line

KERNEL = "triton-matrix-core"
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942", "gfx950")
PRECISIONS = ("fp64", "tf32", "fp16", "bf16", "fp8_e4m3", "int8")
DTYPES = ("bfloat16", "float16", "float8_e4m3fn", "float8_e4m3fnuz")
ENCODINGS = "gemmbench.runner.encodings"
TIMEOUT_S = 180.0


def gather(device: Device | None) -> Evidence:
    """The compiler's, autocast's and, with a device, the evidence of the layers measured on it.

    Without Triton the compiler's is what ships.
    """
    import torch

    # In a process of its own, and so before this one holds memory of the device.
    blocks = measure_mlp(device) if device is not None else ()
    layers = measure_attention(device) if device is not None else ()
    has_compiler = triton_version() is not None
    old = None if has_compiler else kept()
    return Evidence(
        triton=old.triton if old else triton_version() or "",
        torch=str(torch.__version__),
        emitted=old.emitted if old else (*_instructions(), *_encodings()),
        casts=casts("cuda" if device is not None and device.is_gpu else "cpu"),
        attention=layers,
        mlp=blocks,
    )


def casts(device_type: str) -> tuple[Cast, ...]:
    """Each type under torch.autocast on that kind of device: does a linear layer run in it?"""
    return tuple(_cast(device_type, name) for name in DTYPES)


def _cast(device_type: str, name: str) -> Cast:
    import torch

    said: list[str] = []
    accepted, made = False, ""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            with torch.autocast(device_type, dtype=getattr(torch, name)):
                accepted = torch.is_autocast_enabled(device_type)
                x = torch.ones(16, 16, device=device_type)
                made = str(torch.nn.functional.linear(x, x).dtype).removeprefix("torch.")
        except (RuntimeError, TypeError, ValueError) as error:  # a type that no product takes
            said.append(one_line(error))
    said += [one_line(one.message) for one in heard]
    return Cast(
        device_type=device_type,
        dtype=name,
        accepted=accepted,
        made=made,
        said="; ".join(dict.fromkeys(said)),
    )


def _instructions() -> tuple[Emitted, ...]:
    asked = questions((KERNEL,), targets=TARGETS, precisions=PRECISIONS)
    return tuple(
        Emitted(
            target=report.question.target,
            precision=report.question.problem.precision,
            encoding="",
            verdict=report.verdict,
            instructions={n: c for call in report.calls for n, c in call.instructions.items()},
        )
        for report in examine(asked)
        if report.calls
    )


def _encodings() -> tuple[Emitted, ...]:
    try:
        return run_apart(ENCODINGS, "", tuple[Emitted, ...], told=b"", timeout_s=TIMEOUT_S)
    except DiedError:  # what it did not say is not claimed
        return ()


def shipped(device: Device) -> Evidence:
    """What ships: autocast as a CPU has it, whatever device the layers were measured on, since the
    tests hold it on any machine; and only layers that have a figure to tell."""
    found = gather(device)
    return msgspec.structs.replace(
        found,
        casts=casts("cpu"),
        attention=tuple(
            one for one in found.attention if one.time_us and one.verdict != "contended"
        ),
        mlp=tuple(one for one in found.mlp if one.ratio),
    )


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(shipped(detect("auto")))).decode())
