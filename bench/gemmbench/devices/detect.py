"""Which device to measure. A GPU that torch can't use is an error, never a silent CPU."""

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gemmbench.devices.cpu import allowed_cpus, cpu_device
from gemmbench.devices.gpu import gpu_device, gpu_target
from gemmbench.devices.place import cpus_of
from gemmbench.devices.spec import Spec, match
from gemmbench.devices.target import TelemetryTarget
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError

_DEVICE_FILES = ("dev/nvidia0", "dev/nvidiactl", "dev/kfd", "dev/dxg")
_MASKS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def detect(
    name: str = "auto",
    *,
    threads: int | None = None,
    own: Sequence[Spec] = (),
    root: Path = Path("/"),
) -> Device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:1`; ROCm's GPUs bear the same names.

    `cpu:0-3` is the CPU as well: its cores are those that this process is bound to. `auto` is the
    first GPU that torch can use, or the CPU of a machine without one; `threads` is for a CPU; `own`
    are datasheets that the user added, for what torch doesn't show. Imports torch and starts its
    GPU runtime, unless a CPU is asked for. Raises UnknownNameError for another name, and
    GemmbenchError, with the reason and the remedy, for a GPU that isn't there or that torch can't
    use.
    """
    if name == "cpu" or cpus_of(name) is not None:
        return _cpu(threads, own, root)
    wanted = re.fullmatch(r"cuda(?::(\d{1,3}))?", name)
    if name != "auto" and not wanted:
        count, _ = _count()
        raise UnknownNameError("device", name, ["auto", "cpu", "cpu:0", "cuda", *_numbered(count)])
    count, reason = _count()
    if wanted and wanted.group(1) is not None:
        index = int(wanted.group(1))
        if reason is None and index >= count:
            plural = "GPU" if count == 1 else "GPUs"
            raise GemmbenchError(
                f"device {name!r}: torch sees {count} {plural}: {', '.join(_numbered(count))}"
            )
        numbers = range(index, index + 1)
    else:
        numbers = range(count)
    for number in numbers if reason is None else ():
        reason = _try(number)
        if reason is None:
            return gpu_device(number, own=own, root=root)
    present = gpu_present(root)
    if name == "auto" and present is None and count == 0:
        return _cpu(threads, own, root)
    where = f"this machine has a GPU ({present}) that torch can't use" if present else "no GPU"
    raise GemmbenchError(
        f"device {name!r}: {where}: {_explain(reason or 'torch sees none', root)}, "
        "or measure the CPU with --device cpu"
    )


def gpus() -> tuple[str, ...]:
    """All GPUs that torch can use, by its names. Raises GemmbenchError, with why there are none."""
    count, reason = _count()
    if count and reason is None:
        return tuple(_numbered(count))
    present = gpu_present()
    where = f"this machine has a GPU ({present}) that torch can't use" if present else "no GPU"
    raise GemmbenchError(
        f"device 'all': {where}: {_explain(reason or 'torch sees none', Path('/'))}, or measure "
        "the CPU with --device cpu, or its cores with --device cpu:0 --device cpu:1"
    )


def gpu_present(root: Path = Path("/")) -> str | None:
    """The device file that says there is a GPU here, or None."""
    return next((f"/{name}" for name in _DEVICE_FILES if (root / name).exists()), None)


def telemetry_target(device: Device) -> TelemetryTarget:
    """What the telemetry needs to find the device. Call it in the process that owns the device.

    It holds a serial number: hand it to `Telemetry.start`, and never to a record.
    """
    if device.is_gpu:
        return gpu_target(device)
    return TelemetryTarget(kind="cpu", vendor=device.vendor, cpus=allowed_cpus(), busy=device.units)


def _cpu(threads: int | None, own: Sequence[Spec], root: Path) -> Device:
    """Its slug is the sheet's id, as a GPU's is; only users have sheets of CPUs."""
    device = cpu_device(threads, root=root)
    spec = match(device, own) if own else None
    return replace(device, slug=spec.id) if spec else device


def _numbered(count: int) -> list[str]:
    return [f"cuda:{index}" for index in range(count)]


def _count() -> tuple[int, str | None]:
    """How many GPUs torch can use, and why it can't use any."""
    import torch

    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return 0, f"torch {torch.__version__} is a build for CPUs only"
    # torch warns, and counts 0, where the driver is missing or too old: the warning is the reason.
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
            count = torch.cuda.device_count()
        except (RuntimeError, AssertionError) as error:
            return 0, _first_line(error)
    if count > 0:
        return count, None
    return 0, _first_line(warned[-1].message) if warned else "torch sees none"


def _try(index: int) -> str | None:
    """Run something on the GPU: a torch without code for it, or a GPU in use, shows here first."""
    import torch

    try:
        torch.ones(8, device=f"cuda:{index}").sum().item()
    except (RuntimeError, AssertionError) as error:
        return f"cuda:{index}: {_first_line(error)}"
    return None


def _first_line(error: Warning | Exception | str) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")[
        :200
    ].rstrip(".")


def _explain(reason: str, root: Path) -> str:
    """The reason, and what to do about it."""
    masked = [f"{name}={os.environ[name]!r}" for name in _MASKS if name in os.environ]
    if "CPUs only" in reason:
        return f"{reason}: install torch's CUDA or ROCm build"
    if masked and "torch sees none" in reason:
        return f"{' and '.join(masked)} hides it: unset it"
    if (root / "dev/nvidiactl").exists() and not any(root.glob("dev/nvidia[0-9]*")):
        return f"{reason}: this container has no /dev/nvidia0: start it with --gpus all"
    if (root / "dev/kfd").exists() and not any(root.glob("dev/dri/renderD*")):
        return f"{reason}: this container has no /dev/dri: start it with --device /dev/dri"
    if "driver" in reason.lower():
        return f"{reason}: install or update the GPU's driver"
    return f"{reason}: free the GPU, or check its driver and the groups video and render"
