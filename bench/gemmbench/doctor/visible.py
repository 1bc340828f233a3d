"""Can torch use the GPU that is here; and if not, why not: driver, container or torch's build."""

import re
from collections.abc import Mapping

from gemmbench.devices.spec import Spec
from gemmbench.doctor.facts import Signs, TorchState
from gemmbench.doctor.finding import Finding

_NAME = "GPU"
_MASKS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_BUILDS = {"nvidia": "CUDA", "amd": "ROCm"}


def signs_of(signs: Signs) -> tuple[str, ...]:
    """The vendors of which there is a sign."""
    files = " ".join(signs.files)
    nvidia = "nvidia" in files or "dxg" in files or signs.nvidia_driver is not None
    found = {"nvidia": nvidia, "amd": "kfd" in files}
    return tuple(name for name, seen in found.items() if seen or name in signs.pci)


def torch_finding(torch: TorchState) -> Finding:
    """Does torch import, and for what is it built?"""
    name = "torch"
    if not torch.imports:
        remedy = "reinstall torch"
        if "amdsmi" in (torch.problem or "") or "amd_smi" in (torch.problem or ""):
            remedy = "pip uninstall amdsmi: that of ROCm itself must be used"
        what = f"cannot be imported: {torch.problem}"
        return Finding(check=name, grade="fault", what=what, remedy=remedy)
    return Finding(check=name, grade="ok", what=f"{torch.version} ({_build(torch)})")


def device_finding(
    torch: TorchState, signs: Signs, *, asked: str, environment: Mapping[str, str]
) -> Finding:
    """Which device would be measured, and where that is no GPU but one is here, why."""
    found, device = signs_of(signs), torch.device
    if device is not None and device.is_gpu:
        return Finding(check=_NAME, grade="ok", what=f"{device.name} ({device.architecture})")
    if asked == "cpu":
        what = "a CPU was asked for"
        return Finding(check=_NAME, grade="ok", what=what)
    if not found and asked == "auto" and device is not None:
        return Finding(check=_NAME, grade="note", what="no GPU; the CPU will be measured")
    what, remedy = _reason(torch, signs, found, environment)
    where = f"{' and '.join(signs.files or found)} is here, but " if found else ""
    cpu = "" if asked != "auto" else ", or say --device cpu"
    return Finding(check=_NAME, grade="fault", what=f"{where}{what}", remedy=f"{remedy}{cpu}")


def datasheet_finding(spec: Spec | None, miss: str | None = None) -> Finding:
    """`miss` is why the sheet of that name is not this device's."""
    name = "datasheet"
    if spec is None:
        why = f" ({miss})" if miss else ""
        what = f"none is known for this device{why}: no percentage of peak is given"
        remedy = "gemmbench list devices --template begins one of your own"
        return Finding(check=name, grade="note", what=what, remedy=remedy)
    return Finding(check=name, grade="ok", what=spec.id)


def _build(torch: TorchState) -> str:
    if torch.hip is not None:
        return f"ROCm {torch.hip}"
    return f"CUDA {torch.cuda}" if torch.cuda is not None else "for CPUs only"


def _reason(
    torch: TorchState, signs: Signs, found: tuple[str, ...], environment: Mapping[str, str]
) -> tuple[str, str]:
    """(why torch uses no GPU, what to do), the first that holds from the hardware up."""
    masks = [f"{name}={environment[name]!r}" for name in _MASKS if name in environment]
    built = "amd" if torch.hip is not None else "nvidia" if torch.cuda is not None else None
    if not torch.imports:
        return "torch cannot be imported", "mend torch first"
    if not found:
        return (
            "there is no sign of a GPU on this machine",
            "see that lspci lists one; in a container, that it was started with --gpus all "
            "or --device /dev/kfd --device /dev/dri",
        )
    if built is None:
        builds = " or ".join(_BUILDS[vendor] for vendor in found)
        return (
            f"torch {torch.version} is built for CPUs only",
            f"install torch's {builds} build, or use the python that has it: "
            "make bench PYTHON=/opt/venv/bin/python",
        )
    if built not in found:
        wanted = _BUILDS[found[0]]
        what = f"torch {torch.version} is built for {_BUILDS[built]}"
        return what, f"install torch's {wanted} build"
    trouble = _nvidia(torch, signs) if built == "nvidia" else _amd(signs)
    if trouble:
        return trouble
    if masks:
        return (
            f"{' and '.join(masks)} hides it",
            f"unset {' '.join(m.split('=')[0] for m in masks)}",
        )
    return (
        torch.problem or "torch sees none",
        "see that nvidia-smi lists it" if built == "nvidia" else "see that rocminfo lists it",
    )


def _nvidia(torch: TorchState, signs: Signs) -> tuple[str, str] | None:
    contained = signs.container != "none"
    if not any(re.fullmatch(r"/dev/(dxg|nvidia\d+)", name) for name in signs.files):
        if contained:
            what = f"this container ({signs.container}) was given no /dev/nvidia0"
            return what, "start it with docker run --gpus all"
        if signs.nvidia_driver is None:
            what = "the NVIDIA driver is not loaded"
            return what, "install the driver, or sudo modprobe nvidia"
    if "mismatch" in (signs.nvml_problem or "").lower():
        return f"driver and library differ: {signs.nvml_problem}", "reboot, or reload the driver"
    if torch.cuda and signs.cuda and _digits(signs.cuda)[0] < _digits(torch.cuda)[0]:
        driver = f"driver {signs.nvidia_driver or 'of an unknown version'}"
        return (
            f"{driver} runs CUDA {signs.cuda} at most, torch {torch.version} needs {torch.cuda}",
            f"update the driver, or install a torch built for CUDA {signs.cuda} or older",
        )
    return None


def _amd(signs: Signs) -> tuple[str, str] | None:
    devices = "docker run --device /dev/kfd --device /dev/dri --group-add video --group-add render"
    contained = signs.container != "none"
    if "/dev/kfd" not in signs.files:
        if contained:
            what = f"this container ({signs.container}) was given no /dev/kfd"
            return what, f"start it with {devices}"
        return "the amdgpu driver shows no /dev/kfd", "sudo modprobe amdgpu"
    if signs.kfd_refused:
        remedy = "sudo usermod -a -G render,video $USER, then log in again"
        what = "/dev/kfd may not be opened by this user"
        return what, f"start the container with {devices}" if contained else remedy
    if signs.render_nodes == 0:
        return "there is no /dev/dri/renderD*", f"start the container with {devices}"
    return None


def _digits(version: str) -> tuple[int, ...]:
    """Of "12.4": (12, 4). Within a major version an older driver runs newer builds of torch."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) or (0,)
