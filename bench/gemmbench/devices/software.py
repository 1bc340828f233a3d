"""What the device was measured with: versions, the host, and the environment that matters.

Nothing here identifies a machine or its owner: no host or user names, serial numbers or absolute
paths. What can't be found is left out.
"""

import ctypes
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from gemmbench.devices.cpu import cpu_name, cpuinfo
from gemmbench.devices.files import text

_TRITONS = ("triton", "triton-rocm", "pytorch-triton-rocm", "pytorch-triton", "triton-windows")
"""Who may provide `import triton`; ROCm's wheels have borne several names."""

_PACKAGES = {
    "numpy": ("numpy",),
    "numba": ("numba",),
    "llvmlite": ("llvmlite",),
    "scipy": ("scipy",),
    "cublas": ("nvidia-cublas", "nvidia-cublas-cu13", "nvidia-cublas-cu12"),
    "nvidia-ml-py": ("nvidia-ml-py",),
}

_VARIABLES = re.compile(
    r"""
    CUDA_ | CUBLAS | NVIDIA_TF32_ | TORCH_(ALLOW_TF32|BLAS|CUBLASLT)_ | DISABLE_ADDMM_ | PYTORCH_
    | HIP_ | HIPBLASLT_ | HSA_ | ROCR_ | ROCBLAS_ | TENSILE_ | AMD_SERIALIZE_ | GPU_MAX_HW_QUEUES
    | TRITON_ | OMP_ | GOMP_ | KMP_ | MKL_ | ONEDNN_ | DNNL_ | OPENBLAS_ | BLIS_ | ATEN_CPU_
    | NUMBA_ | MALLOC_ | NCCL_(?!COMM_ID|HOSTID) | RCCL_ | GLOO_ | TORCH_NCCL_
    """,
    re.VERBOSE,
)
_PATH = re.compile(r"""(?<![^:;,="'])[^:;,="'/\\]*+[/\\][^:;,"']*|~[^:;,"']*""")
_SERIAL = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]+", re.IGNORECASE)


def software() -> dict[str, str]:
    """Versions of everything that decides speed. Imports torch; call it in a worker."""
    import torch

    found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    for key in ("cuda", "hip", "git_version"):
        found[f"torch_{key}".removesuffix("_version")] = getattr(torch.version, key, None)
    for name in _TRITONS:
        if version := _version(name):
            found |= {"triton": version, "triton_package": name}
            break
    for key, names in _PACKAGES.items():
        found[key] = next(filter(None, map(_version, names)), None)
    found["cublas"] = found["cublas"] or _loaded_cublas()
    found |= _libraries(torch.__config__.show())
    found["nvidia_driver"] = _nvidia_driver()
    found["amdgpu_driver"] = text(Path("/sys/module/amdgpu/version"))
    found["rocm"] = text(Path(os.environ.get("ROCM_PATH", "/opt/rocm")) / ".info/version")
    found |= _rocm_libraries(torch)
    return {key: str(value) for key, value in found.items() if value}


def host(root: Path = Path("/")) -> dict[str, str]:
    """The machine around the device: what makes two runs on the same device differ."""
    memory = re.search(r"^MemTotal:\s+(\d+) kB", text(root / "proc/meminfo") or "", re.MULTILINE)
    governor = root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    flags = cpuinfo(root).get("flags", "").split()
    found = {
        "cpu": cpu_name(root),
        "logical_cpus": str(os.cpu_count() or ""),
        "memory_gib": f"{int(memory[1]) / 2**20:.0f}" if memory else None,
        "system": platform.system(),
        # Its number alone: a kernel of one's own making may bear any name.
        "kernel": platform.release().partition("-")[0],
        "machine": platform.machine(),
        "virtual": ("yes" if "hypervisor" in flags else "no") if flags else None,
        "container": container(root),
        "governor": text(governor),
        "numa_balancing": text(root / "proc/sys/kernel/numa_balancing"),
        "transparent_hugepage": _chosen(text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
    }
    return {key: value for key, value in found.items() if value}


def environment() -> dict[str, str]:
    """The environment variables that change results; paths and serial numbers are masked."""
    return {
        name: _PATH.sub("<path>", _SERIAL.sub("<uuid>", value))
        for name, value in sorted(os.environ.items())
        if _VARIABLES.match(name)
    }


def container(root: Path = Path("/")) -> str:
    """Which kind of container this is, or "none" where no sign of one is seen."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    if (text(root / "proc/version") or "").startswith("Linux version 4.4.0 "):
        return "gvisor"
    groups = text(root / "proc/1/cgroup") or ""
    kinds = {"kubepods": "kubernetes", "docker": "docker", "containerd": "containerd"}
    kinds |= {"libpod": "podman", "lxc": "lxc"}
    return next((kind for sign, kind in kinds.items() if sign in groups), "none")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _libraries(config: str) -> dict[str, str]:
    """The CPU libraries that torch names in its build: MKL and oneDNN."""
    patterns = {
        "mkl": r"Math Kernel Library Version (\S+)",
        "onednn": r"MKL-DNN v(\S+)",
        "cpu_capability": r"CPU capability usage: (\S+)",
    }
    found = {key: re.search(pattern, config) for key, pattern in patterns.items()}
    return {key: match[1] for key, match in found.items() if match}


def _loaded_cublas() -> str | None:
    """The number that the loaded cuBLASLt gives itself, 120900 for 12.9.0, in images without
    NVIDIA's wheels."""
    maps = text(Path("/proc/self/maps")) or ""
    found = re.search(r"/\S*/libcublasLt\.so\S*", maps)
    try:
        version = ctypes.CDLL(found[0]).cublasLtGetVersion if found else None
    except (OSError, AttributeError):
        return None
    if version is None:
        return None
    version.restype = ctypes.c_size_t
    return str(version())


def _nvidia_driver() -> str | None:
    # Not by NVML: it can block, and this process has work to do.
    shown = text(Path("/proc/driver/nvidia/version")) or ""
    found = re.search(r"NVRM version:.*?\b(\d{3}\.\d+(?:\.\d+)?)\b", shown)
    return found[1] if found else None


def _rocm_libraries(torch: Any) -> dict[str, str]:
    """ROCm's libraries as torch loaded them; reading the validators tunes nothing."""
    if getattr(torch.version, "hip", None) is None:
        return {}
    try:
        validators = dict(torch.cuda.tunable.get_validators())
    except Exception:
        return {}
    wanted = ("ROCM_VERSION", "ROCBLAS_VERSION", "HIPBLASLT_VERSION")
    return {f"torch_{k.lower()}": str(validators[k]) for k in wanted if k in validators}


def _chosen(shown: str | None) -> str | None:
    """ "madvise" of "always [madvise] never"."""
    found = re.search(r"\[(\w+)\]", shown or "")
    return found[1] if found else None
