"""This machine's CPU as a device."""

import math
import os
import platform
import re
from pathlib import Path

from gemmbench.devices.cgroup import cpu_quota, memory_available
from gemmbench.devices.files import text
from gemmkernels.device import Device, Vendor
from gemmkernels.errors import GemmbenchError

FEATURES = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_fp16",
    "amx_int8",
)
"""The flags, as Linux spells them, that decide how fast a CPU can multiply matrices."""

_LEVELS = (
    (2, "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3"),
    (3, "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    (4, "avx512bw avx512cd avx512dq avx512f avx512vl"),
)
"""The x86-64 microarchitecture levels of the System V ABI."""

_NOISE = re.compile(r"\((?:r|tm|c)\)|@.*|\bcpu\b|\bprocessor\b|\b\d+-core\b", re.IGNORECASE)


def cpu_device(threads: int | None = None, *, root: Path = Path("/")) -> Device:
    """The CPU, with the cores that a run uses and the memory it may still take.

    `threads` is how many of them to use, by default every physical core that the affinity mask and
    the cgroup's quota leave. Raises GemmbenchError for more threads than there are CPUs.
    """
    cpus = allowed_cpus()
    quota = cpu_quota(root) or len(cpus)
    cores = min(_cores(cpus, root), max(1, math.floor(quota)))
    most = min(len(cpus), math.ceil(quota))
    if threads is not None and not 1 <= threads <= most:
        raise GemmbenchError(
            f"threads = {threads}: this process may use {most} CPUs ({cores} cores): "
            f"choose 1 … {most}"
        )
    info = cpuinfo(root)
    flags = frozenset((info.get("flags") or info.get("Features") or "").split())
    vendor = _vendor(info)
    name = cpu_name(root)
    return Device(
        kind="cpu",
        vendor=vendor,
        name=name,
        architecture=_architecture(flags),
        torch_device="cpu",
        slug=slugify(vendor, name),
        units=threads or cores,
        memory_bytes=_memory(root),
        llc_bytes=_llc(cpus, root),
        features=tuple(name for name in FEATURES if name in flags),
    )


def cpuinfo(root: Path = Path("/")) -> dict[str, str]:
    """The first core's lines of /proc/cpuinfo; empty where there is none."""
    first = (text(root / "proc/cpuinfo") or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def cpu_name(root: Path = Path("/")) -> str:
    name = cpuinfo(root).get("model name") or platform.processor() or platform.machine()
    return " ".join(name.split()) or "unknown CPU"


def allowed_cpus() -> tuple[int, ...]:
    """The logical CPUs of this process's affinity mask."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _cores(cpus: tuple[int, ...], root: Path) -> int:
    """Physical cores among them: two threads of one core share its multipliers."""
    topology = root / "sys/devices/system/cpu"
    return len({text(topology / f"cpu{n}/topology/thread_siblings_list") or n for n in cpus})


def slugify(vendor: str, name: str) -> str:
    """A folder name: the vendor and the name in lower case, without trademarks and clocks."""
    plain = _NOISE.sub(" ", name).replace("+", " plus ").lower()
    words = re.findall(r"[a-z0-9]+", plain)
    if vendor != "other" and vendor not in words:
        words.insert(0, vendor)
    return "-".join(words) or "unknown"


def _vendor(info: dict[str, str]) -> Vendor:
    known: dict[str, Vendor] = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}
    return known.get(info.get("vendor_id", ""), "other")


def _architecture(flags: frozenset[str]) -> str:
    machine = platform.machine().lower()
    if machine not in ("x86_64", "amd64"):
        return "aarch64" if machine == "arm64" else machine or "unknown"
    level = 1
    for number, needed in _LEVELS:
        if not flags.issuperset(needed.split()):
            break
        level = number
    return f"x86-64-v{level}" + ("+amx" if "amx_tile" in flags else "")


def _memory(root: Path) -> int:
    import psutil

    limit = memory_available(root)
    available = int(psutil.virtual_memory().available)
    return available if limit is None else min(available, limit)


def _llc(cpus: tuple[int, ...], root: Path) -> int | None:
    """Bytes of last-level cache: each instance that one of the CPUs shares counts once."""
    found: dict[tuple[int, str], int] = {}
    for cpu in cpus:
        for index in (root / f"sys/devices/system/cpu/cpu{cpu}/cache").glob("index[0-9]*"):
            level, size = text(index / "level"), text(index / "size")
            shared = text(index / "shared_cpu_list") or str(cpu)
            if level and size:
                found[int(level), shared] = _kib(size)
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last) if last > 1 else None


def _kib(size: str) -> int:
    """Bytes of sysfs's "32768K"."""
    unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(size[-1].upper(), 1)
    return int(re.sub(r"\D", "", size) or 0) * unit
