"""Evidence for the claims, asked for anew: of the compiler, of torch, and of this device.

`python -m gemmbench.runner.evidence` prints what ships as `records/evidence.json`: it measures
nothing, and so is the same on every machine with the same versions.
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import msgspec

import gemmbench
import gemmkernels
from gemmbench.inspect.cache import triton_version
from gemmbench.inspect.examine import examine
from gemmbench.inspect.matrix import questions
from gemmbench.records.evidence import Cast, Emitted, Evidence, kept
from gemmbench.runner.attention import measure_attention
from gemmkernels.device import Device
from gemmkernels.errors import one_line
from gemmkernels.tuning import VARIABLE

KERNEL = "triton-matrix-core"
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942", "gfx950")
PRECISIONS = ("fp64", "tf32", "fp16", "bf16", "fp8_e4m3", "int8")
DTYPES = ("bfloat16", "float16", "float8_e4m3fn", "float8_e4m3fnuz")
TIMEOUT_S = 180.0


def gather(device: Device | None) -> Evidence:
    """The compiler's, autocast's and, with a device, the attention module's evidence.

    Without Triton the compiler's is what ships.
    """
    import torch

    has_compiler = triton_version() is not None
    shipped = None if has_compiler else kept()
    return Evidence(
        triton=shipped.triton if shipped else triton_version() or "",
        torch=str(torch.__version__),
        emitted=shipped.emitted if shipped else (*_instructions(), *_encodings()),
        casts=casts("cuda" if device is not None and device.is_gpu else "cpu"),
        attention=measure_attention(device) if device is not None else (),
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
    roots = [str(Path(m.__file__ or "").parents[1]) for m in (gemmbench, gemmkernels)]
    path = [*dict.fromkeys(roots), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept_ = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    found = subprocess.run(
        [sys.executable, "-P", "-m", "gemmbench.runner.encodings"],
        capture_output=True,
        env=kept_ | {"PYTHONPATH": os.pathsep.join(path), VARIABLE: ""},
        timeout=TIMEOUT_S,
        check=False,
    )
    try:
        return msgspec.json.decode(found.stdout, type=tuple[Emitted, ...])
    except msgspec.MsgspecError:  # a compiler that crashed: what it did not say is not claimed
        return ()


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(gather(None))).decode())
