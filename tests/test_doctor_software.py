"""The doctor's checks of torch, packages and variables: why no GPU is seen, and what slows one."""

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor.facts import Packages, Signs, TorchState
from gemmbench.doctor.finding import Finding
from gemmbench.doctor.packages import package_findings, read_packages
from gemmbench.doctor.settings import environment_finding, torch_findings
from gemmbench.doctor.signs import read_signs
from gemmbench.doctor.visible import datasheet_finding, device_finding, signs_of, torch_finding
from gemmkernels.device import Device

CPU = TelemetryTarget(kind="cpu", vendor="intel")
NVIDIA = TelemetryTarget(kind="gpu", vendor="nvidia")
AMD = TelemetryTarget(kind="gpu", vendor="amd")


def device(kind: str = "gpu", vendor: str = "nvidia") -> Device:
    return Device(
        kind=kind,  # type: ignore[arg-type]
        vendor=vendor,  # type: ignore[arg-type]
        name="It",
        architecture="sm_90" if kind == "gpu" else "x86-64-v4",
        torch_device="cuda:0" if kind == "gpu" else "cpu",
        slug="it",
        units=4,
        memory_bytes=2**30,
    )


CUDA = TorchState(version="2.13.0", cuda="13.0", problem="torch sees none")
ROCM = TorchState(version="2.13.0", hip="7.2", problem="torch sees none")
PLAIN = TorchState(version="2.13.0+cpu", device=device("cpu"))
H200 = Signs(
    files=("/dev/nvidia0", "/dev/nvidiactl"), pci=("nvidia",), nvidia_driver="580.1", cuda="13.0"
)
MI300X = Signs(files=("/dev/kfd",), pci=("amd",), render_nodes=8)


def seen(
    torch: TorchState, signs: Signs, asked: str = "auto", environment: dict[str, str] | None = None
) -> Finding:
    return device_finding(torch, signs, asked=asked, environment=environment or {})


def changed(signs: Signs, **values: Any) -> Signs:
    names = Signs.__struct_fields__
    return Signs(**{name: getattr(signs, name) for name in names} | values)


def test_what_is_measured_is_named() -> None:
    found = seen(TorchState(version="2.13.0", cuda="13.0", device=device()), H200)
    assert (found.grade, found.what) == ("ok", "It (sm_90)")
    assert seen(PLAIN, Signs()).grade == "note"
    assert "the CPU will be measured" in seen(PLAIN, Signs()).what
    assert seen(PLAIN, H200, asked="cpu").grade == "ok"
    nothing = seen(TorchState(version="2", problem="x"), Signs(), asked="cuda:0")
    assert (nothing.grade, "no sign" in nothing.what) == ("fault", True)


@pytest.mark.parametrize(
    ("torch", "signs", "environment", "reason", "remedy"),
    [
        (PLAIN, H200, {}, "built for CPUs only", "install torch's CUDA build"),
        (PLAIN, MI300X, {}, "built for CPUs only", "install torch's ROCm build"),
        (CUDA, MI300X, {}, "is built for CUDA", "install torch's ROCm build"),
        (ROCM, H200, {}, "is built for ROCm", "install torch's CUDA build"),
        (CUDA, changed(H200, cuda="12.4"), {}, "runs CUDA 12.4 at most", "update the driver"),
        (CUDA, changed(H200, files=()), {"A": ""}, "torch sees none", "nvidia-smi"),
        (
            CUDA,
            changed(H200, files=(), nvidia_driver=None),
            {},
            *("driver is not loaded", "modprobe nvidia"),
        ),
        (
            CUDA,
            changed(H200, files=("/dev/nvidiactl",), container="docker"),
            {},
            *("(docker) was given no /dev/nvidia0", "--gpus all"),
        ),
        (
            CUDA,
            changed(H200, files=("/dev/nvidia3", "/dev/nvidiactl"), container="docker"),
            {},
            *("torch sees none", "nvidia-smi"),
        ),
        (
            CUDA,
            changed(H200, nvml_problem="Driver/library version mismatch"),
            {},
            *("driver and library differ", "reboot"),
        ),
        (CUDA, H200, {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES='' hides it", "unset CU"),
        (CUDA, H200, {}, "torch sees none", "nvidia-smi"),
        (ROCM, changed(MI300X, kfd_refused=True), {}, "may not be opened", "usermod -a -G render"),
        (
            ROCM,
            changed(MI300X, kfd_refused=True, container="podman"),
            {},
            *("may not be opened", "--group-add render"),
        ),
        (ROCM, changed(MI300X, render_nodes=0), {}, "no /dev/dri/renderD*", "--device /dev/dri"),
        (
            ROCM,
            changed(MI300X, files=(), container="docker"),
            {},
            *("was given no /dev/kfd", "--device /dev/kfd"),
        ),
        (ROCM, changed(MI300X, files=()), {}, "shows no /dev/kfd", "modprobe amdgpu"),
        (
            ROCM,
            MI300X,
            {"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1"},
            *("HIP_VISIBLE_DEVICES='1' and ROCR", "unset HIP_VISIBLE_DEVICES ROCR"),
        ),
        (ROCM, MI300X, {}, "torch sees none", "rocminfo"),
        (TorchState(problem="boom", imports=False), H200, {}, "cannot be imported", "mend torch"),
    ],
)
def test_why_no_gpu_is_seen(
    torch: TorchState, signs: Signs, environment: dict[str, str], reason: str, remedy: str
) -> None:
    found = seen(torch, signs, environment=environment)
    assert found.grade == "fault"
    assert reason in found.what
    assert remedy in found.remedy
    assert found.remedy.endswith("or say --device cpu")
    assert "is here, but" in found.what


def test_a_newer_minor_cuda_runs_on_an_older_driver() -> None:
    """CUDA's minor versions are compatible: 13.1 on a driver of 13.0 is no reason."""
    newer = TorchState(version="2.13.0", cuda="13.1", problem="torch sees none")
    assert "at most" not in seen(newer, H200).what


def test_torch_that_cannot_be_imported_names_amdsmi() -> None:
    broken = TorchState(problem="KeyError: 'libamd_smi.so'", imports=False)
    found = torch_finding(broken)
    assert (found.grade, "uninstall amdsmi" in found.remedy) == ("fault", True)
    assert "reinstall" in torch_finding(TorchState(problem="OSError: x", imports=False)).remedy
    assert torch_finding(ROCM).what == "2.13.0 (ROCm 7.2)"
    assert torch_finding(CUDA).what == "2.13.0 (CUDA 13.0)"
    assert torch_finding(PLAIN).grade == "ok"
    assert datasheet_finding(None).grade == "note"


def test_signs_are_read_from_files(tmp_path: Path) -> None:
    assert signs_of(read_signs(tmp_path)) == ()
    files = {
        "dev/nvidiactl": "",
        "dev/dri/renderD128": "",
        "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15",
        "sys/bus/pci/devices/a/vendor": "0x10de",
        "sys/bus/pci/devices/a/class": "0x030200",
        "sys/bus/pci/devices/b/vendor": "0x1002",
        "sys/bus/pci/devices/b/class": "0x120000",
        "sys/bus/pci/devices/c/vendor": "0x1002",
        "sys/bus/pci/devices/c/class": "0x060000",
        ".dockerenv": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    found = read_signs(tmp_path)
    assert (found.files, found.pci) == (("/dev/nvidiactl",), ("amd", "nvidia"))
    assert (found.nvidia_driver, found.render_nodes) == ("550.54.15", 1)
    assert (found.container, found.kfd_refused) == ("docker", False)
    (tmp_path / "sys/bus/pci/devices/a/class").write_text("0x020000")
    (tmp_path / "sys/bus/pci/devices/b/class").write_text("0x020000")
    assert read_signs(tmp_path).pci == ()
    for name in ("nvidia3", "nvidia7", "nvidia-uvm"):
        (tmp_path / "dev" / name).write_text("")
    assert read_signs(tmp_path).files == ("/dev/nvidia3", "/dev/nvidiactl")


def packages(target: TelemetryTarget, **values: Any) -> dict[str, Finding]:
    sound: dict[str, Any] = {
        "has_triton": True,
        "triton": ("triton",),
        "pynvml": ("nvidia-ml-py",),
    }
    found = package_findings(Packages(**sound | values), target, CUDA)
    return {finding.check: finding for finding in found}


def test_packages() -> None:
    assert {f.grade for f in packages(NVIDIA).values()} == {"ok"}
    assert packages(CPU).keys() == {"Triton"}
    both = packages(AMD, triton=("triton", "triton-rocm"))["Triton"]
    assert (both.grade, both.what.startswith("triton and triton-rocm")) == ("fault", True)
    assert both.remedy.startswith("pip uninstall triton triton-rocm")
    assert packages(CPU, triton=("triton", "triton-rocm"))["Triton"].grade == "note"
    missing = {"has_triton": False, "triton": ()}
    for target, remedy in (
        (AMD, "pip install triton-rocm"),
        (NVIDIA, "pip install triton,"),
        (CPU, "gemmbench[cpu]"),
    ):
        found = packages(target, **missing)["Triton"]
        assert (found.grade, remedy in found.remedy) == ("note", True)
    old = packages(NVIDIA, pynvml=("nvidia-ml-py", "pynvml"))["nvidia-ml-py"]
    assert (old.grade, "pip uninstall pynvml" in old.remedy) == ("note", True)
    assert "missing" in packages(NVIDIA, pynvml=())["nvidia-ml-py"].what


def test_who_provides_a_module_is_read_from_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        importlib.metadata,
        "packages_distributions",
        lambda: {"triton": ["triton-rocm", "triton", "triton"], "pynvml": ["pynvml"]},
    )
    found = read_packages()
    assert found.triton == ("triton", "triton-rocm")
    assert found.pynvml == ("pynvml",)


@pytest.mark.parametrize(
    ("name", "value", "target"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", NVIDIA),
        ("AMD_SERIALIZE_KERNEL", "3", AMD),
        ("TRITON_INTERPRET", "1", NVIDIA),
        ("NVIDIA_TF32_OVERRIDE", "0", NVIDIA),
        ("NVIDIA_TF32_OVERRIDE", "1", NVIDIA),
        ("ONEDNN_MAX_CPU_ISA", "AVX2", CPU),
        ("ATEN_CPU_CAPABILITY", "default", CPU),
    ],
)
def test_a_variable_that_makes_the_figure_another_one(
    name: str, value: str, target: TelemetryTarget
) -> None:
    found = environment_finding({name: value, "HOME": "/x"}, target)
    assert found.grade == "fault"
    assert found.what.startswith(f"{name}={value}: ")
    assert found.remedy == f"unset {name}"
    other = NVIDIA if target is CPU else CPU
    assert environment_finding({name: value}, other).grade == "ok"
    assert environment_finding({name: ""}, target).grade == "ok"


def test_variables_that_are_off_are_fine() -> None:
    off = {"CUDA_LAUNCH_BLOCKING": "0", "TRITON_INTERPRET": "false"}
    assert environment_finding(off, NVIDIA).grade == "ok"


def state(vendor: str = "nvidia", **values: Any) -> dict[str, Finding]:
    sound: dict[str, Any] = {
        "device": device(vendor=vendor),
        "hip": "7.2" if vendor == "amd" else None,
        "allow_tf32": False,
        "fp16_accumulation": False,
        "blas": "hipBLASLt" if vendor == "amd" else "cuBLAS",
        "tunable": False,
        "tuning": True,
    }
    found = torch_findings(TorchState(**sound | values), {"PYTORCH_TUNABLEOP_ENABLED": "1"})
    return {finding.check: finding for finding in found}


def test_torchs_defaults() -> None:
    assert {f.grade for f in state().values()} == {"ok"}
    assert state("amd")["BLAS library"].grade == "note"
    assert state("amd")["BLAS library"].what.startswith("hipBLASLt")
    assert state(allow_tf32=True)["TF32"].grade == "note"
    assert state(fp16_accumulation=True)["reduced precision"].grade == "note"
    tuned = state(tunable=True)["TunableOp"]
    assert (tuned.grade, tuned.remedy) == ("note", "unset PYTORCH_TUNABLEOP_ENABLED")
    assert "tunes at each new shape" in tuned.what
    assert "tuned before" in state(tunable=True, tuning=False)["TunableOp"].what
    unknown = state("amd", allow_tf32=None, tunable=None, blas=None)
    assert [f.grade for f in unknown.values()] == ["unknown", "ok", "unknown", "unknown"]
    assert not state(device=device("cpu"))
