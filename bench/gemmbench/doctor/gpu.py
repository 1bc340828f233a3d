"""Checks of a GPU of either vendor: who else uses it, what caps its power, heat and memory."""

from collections.abc import Iterator, Sequence

from gemmbench.devices.spec import Spec
from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor.facts import Gpu
from gemmbench.doctor.finding import Finding
from gemmbench.doctor.gpu_modes import amd_modes, nvidia_modes

BUSY_PERCENT = 5.0
"""Below it, this is the display, a monitor, or the last moment of our own look at the GPU."""

HELD_BYTES = 2**30
"""A context of our own takes up to half of that: more is another process."""

HEADROOM_C = 10.0
"""A GPU that idles this near to its limit reaches it in the first second of work."""

_WATT = 1.0
_LIMITS = {
    "thermal": "heat",
    "hw_slowdown": "a hardware slowdown",
    "power_brake": "the power brake of the supply",
}


def find(gpus: Sequence[Gpu], target: TelemetryTarget) -> Gpu | None:
    """The GPU that a run uses: by serial, then by address, or the only one of its vendor."""
    own = [gpu for gpu in gpus if gpu.vendor == target.vendor]
    for gpu in own:
        if target.uuid and gpu.uuid and _plain(gpu.uuid) == _plain(target.uuid):
            return gpu
    for gpu in own:
        if target.pci and gpu.pci == target.pci:
            return gpu
    return own[0] if len(own) == 1 else None


def gpu_findings(gpu: Gpu, spec: Spec | None) -> Iterator[Finding]:
    yield _neighbour(gpu)
    yield _power(gpu)
    yield _heat(gpu)
    yield _held(gpu)
    yield _errors(gpu)
    yield from (nvidia_modes(gpu, spec) if gpu.vendor == "nvidia" else amd_modes(gpu))


def _neighbour(gpu: Gpu) -> Finding:
    name = "GPU in use"
    tool = "nvidia-smi" if gpu.vendor == "nvidia" else "amd-smi process"
    remedy = f"find it with {tool} and end it, or choose another GPU"
    if gpu.busy_percent is None and gpu.used_bytes is None:
        return Finding(check=name, grade="unknown", what="the driver shows neither load nor memory")
    held = "" if gpu.used_bytes is None else f"{gpu.used_bytes / 2**30:.1f} GiB held"
    if gpu.busy_percent is not None and gpu.busy_percent > BUSY_PERCENT:
        what = f"{gpu.busy_percent:.0f}% busy before anything of ours ran"
        return Finding(
            check=name, grade="fault", what=f"{what}, {held}" if held else what, remedy=remedy
        )
    if gpu.used_bytes is not None and gpu.used_bytes > HELD_BYTES:
        load = "load not shown" if gpu.busy_percent is None else "idle just now"
        return Finding(check=name, grade="note", what=f"{held} by another, {load}", remedy=remedy)
    return Finding(check=name, grade="ok", what=held or "idle")


def _power(gpu: Gpu) -> Finding:
    name = "power limit"
    if gpu.power_w is None or gpu.power_default_w is None:
        return Finding(check=name, grade="unknown", what="the driver does not show it")
    what = f"{gpu.power_w:.0f} W of {gpu.power_default_w:.0f} W by default"
    if abs(gpu.power_w - gpu.power_default_w) <= _WATT:
        return Finding(check=name, grade="ok", what=f"{gpu.power_w:.0f} W, the default")
    default = f"{gpu.power_default_w:.0f}"
    return Finding(
        check=name,
        grade="fault" if gpu.power_w < gpu.power_default_w else "note",
        what=what,
        remedy=f"sudo nvidia-smi -i {gpu.index} -pl {default}"
        if gpu.vendor == "nvidia"
        else f"sudo amd-smi set --gpu {gpu.pci or gpu.index} --power-cap {default}",
    )


def _heat(gpu: Gpu) -> Finding:
    name = "temperature"
    now = "" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C"
    if gpu.headroom_c is None:
        what = f"{now}, its limit is not shown" if now else "the driver does not show it"
        return Finding(check=name, grade="unknown", what=what)
    what = f"{gpu.headroom_c:.0f} °C below the slowdown{f' at {now}' if now else ''}"
    if gpu.headroom_c >= HEADROOM_C:
        return Finding(check=name, grade="ok", what=what)
    remedy = "let it cool down; if it idles this hot, look at its fans and the air"
    return Finding(check=name, grade="fault", what=f"only {what}", remedy=remedy)


def _held(gpu: Gpu) -> Finding:
    name = "clock limits"
    if gpu.limits is None:
        what = "no sensor tells what holds the clock"
        return Finding(check=name, grade="unknown", what=what)
    if not gpu.limits:
        return Finding(check=name, grade="ok", what="none now")
    what = f"held now by {' and '.join(_LIMITS[limit] for limit in gpu.limits)}"
    remedy = "cool it, and look at its power supply and cables"
    return Finding(check=name, grade="fault", what=what, remedy=remedy)


def _errors(gpu: Gpu) -> Finding:
    name = "memory errors"
    remedy = "reset the GPU, and replace it if they come back"
    if gpu.remapping_failed:
        what = "a faulty row could not be remapped"
        return Finding(check=name, grade="fault", what=what, remedy="replace the GPU")
    if gpu.uncorrected:
        what = f"{gpu.uncorrected} that ECC could not correct since the driver started"
        return Finding(check=name, grade="fault", what=what, remedy=remedy)
    if gpu.remapped_pending:
        what = "a row waits to be remapped at the next reset"
        reset = f"sudo nvidia-smi -i {gpu.index} --gpu-reset"
        return Finding(check=name, grade="note", what=what, remedy=reset)
    if gpu.uncorrected is None:
        return Finding(check=name, grade="unknown", what="the driver does not count them")
    return Finding(check=name, grade="ok", what="none that ECC could not correct")


def _plain(serial: str) -> str:
    return serial.lower().removeprefix("0x").lstrip("0")
