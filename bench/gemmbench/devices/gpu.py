"""A GPU as a device, from what this version of torch tells of it: every property is optional."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gemmbench.devices.cpu import slugify
from gemmbench.devices.files import text
from gemmbench.devices.power_limit import power_limit
from gemmbench.devices.spec import Spec, match
from gemmbench.devices.target import TelemetryTarget
from gemmkernels.device import Device, Vendor

_SHARED_KIB = {
    ("sm_75",): 64,
    ("sm_86", "sm_89", "sm_120", "sm_121"): 99,
    ("sm_80", "sm_87"): 163,
    ("sm_90", "sm_100", "sm_103"): 227,
    ("gfx908", "gfx90a", "gfx942"): 64,
    ("gfx950",): 160,
}
"""Most shared memory (LDS) a block can have, KiB: CUDA C++ Programming Guide, technical
specifications by compute capability; ROCm's hardware specification table."""

_INFINITY_CACHE = {"gfx942": 256 * 2**20, "gfx950": 256 * 2**20}
"""Of each part of those architectures, also of one without a sheet: operands that rotate through
less never leave it. ROCm's hardware specification table."""


def gpu_device(index: int, *, own: Sequence[Spec] = (), root: Path = Path("/")) -> Device:
    """The GPU that torch calls `cuda:index`, on CUDA and ROCm alike; raises what torch raises.

    `own` are the sheets that the user added.
    """
    import torch

    # Vendor first: on AMD major and minor are digits of the gfx name, so 9.0 is no Hopper there,
    # and on CUDA gcnArchName is the marketing name.
    is_amd = getattr(torch.version, "hip", None) is not None
    vendor: Vendor = "amd" if is_amd else "nvidia"
    found = torch.cuda.get_device_properties(index)
    name = str(found.name)
    target, *suffixes = str(getattr(found, "gcnArchName", "")).split(":")
    architecture = target if is_amd else f"sm_{found.major}{found.minor}"
    device = Device(
        kind="gpu",
        vendor=vendor,
        name=name,
        architecture=architecture,
        torch_device=f"cuda:{index}",
        slug=slugify(vendor, name),
        units=int(found.multi_processor_count),
        memory_bytes=int(found.total_memory),
        # On AMD torch shows the L2 of one XCD, and nothing of the cache behind it.
        llc_bytes=_INFINITY_CACHE.get(architecture)
        if is_amd
        else _positive(getattr(found, "L2_cache_size", None)),
        shared_bytes=_shared(found, architecture, is_amd),
        features=tuple(suffixes) if is_amd else (),
        partition=_mig(name),
        pci_id=_pci_id(pci_address(found), root),
    )
    device = _as_its_sheet(device, match(device, own))
    limit_w = power_limit(gpu_target(device), root)
    return replace(device, power_limit_w=limit_w)


def _as_its_sheet(device: Device, spec: Spec | None) -> Device:
    """With the name of the sheet, and what torch doesn't show."""
    if spec is None:
        return device
    part = spec.partition
    return replace(
        device,
        slug=f"{spec.id}-{slugify('other', part)}" if part else spec.id,
        llc_bytes=device.llc_bytes or spec.llc_bytes,
        partition=part or device.partition,
    )


def gpu_target(device: Device) -> TelemetryTarget:
    """What names this GPU to NVML, AMD SMI and sysfs."""
    import torch

    found = torch.cuda.get_device_properties(int(device.torch_device.partition(":")[2] or 0))
    return TelemetryTarget(
        kind="gpu",
        vendor=device.vendor,
        uuid=_serial(found) if device.vendor == "amd" else _uuid(found),
        pci=pci_address(found),
        partition=device.partition is not None,
    )


def pci_address(properties: Any) -> str | None:
    """`0000:0c:00.0`. torch names no PCI function, so AMD's partitions share one."""
    names = ("pci_domain_id", "pci_bus_id", "pci_device_id")
    domain, bus, device = (getattr(properties, name, None) for name in names)
    if not isinstance(domain, int) or not isinstance(bus, int) or not isinstance(device, int):
        return None
    return f"{domain:04x}:{bus:02x}:{device:02x}.0"


def _mig(name: str) -> str | None:
    found = re.search(r"\bMIG \S+", name)
    return found.group() if found else None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _shared(properties: Any, architecture: str, is_amd: bool) -> int | None:
    asked = "shared_memory_per_block" if is_amd else "shared_memory_per_block_optin"
    table = (kib * 1024 for names, kib in _SHARED_KIB.items() if architecture in names)
    return _positive(getattr(properties, asked, None)) or next(table, None)


def _pci_id(address: str | None, root: Path) -> str | None:
    """Vendor and device, `10de:2335`: which product this is, not which one of them."""
    if address is None:
        return None
    folder = root / "sys/bus/pci/devices" / address
    vendor, device = text(folder / "vendor"), text(folder / "device")
    return f"{vendor}:{device}".replace("0x", "") if vendor and device else None


def _uuid(properties: Any) -> str | None:
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", _spelt(properties))
    return found.group() if found else None


def _spelt(properties: Any) -> str:
    return str(getattr(properties, "uuid", "")).lower()


def _serial(properties: Any) -> str | None:
    """ROCm's uuid is text: the ASIC's serial in 16 hexadecimal digits, or zeros, or "XX"."""
    try:
        spelt = bytes(properties.uuid.bytes).decode("ascii").lower()
    except (AttributeError, TypeError, ValueError):
        return None
    found = re.fullmatch(r"(?:gpu-)?([0-9a-f]{1,16})\0*", spelt)
    return found.group(1) if found and found.group(1).strip("0") else None
