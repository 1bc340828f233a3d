"""The table of datasheets: which one is a device's, and what is left of it for a part.

The figures live in `spec/*.toml`, one file a family. A device that is not in them has no peak.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from gemmbench.devices.datasheet import Peak, Source, Spec
from gemmbench.devices.sheetfile import check, parse
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError

__all__ = ["Peak", "Source", "Spec", "by_id", "match", "parse", "restore", "sources", "specs"]

_FOLDER = Path(__file__).with_name("spec")
_MIG = re.compile(
    r"(?P<name>.+) (?P<slice>MIG (?P<part>\d+c\.)?\d+g\.(?P<gb>\d+)gb.*)", re.IGNORECASE
)
_EIGHTHS = 8
"""A MIG slice has so many eighths of the memory, its bandwidth and L2, which its name tells rounded
to GB (NVIDIA MIG User Guide, "Supported MIG Profiles": fraction of memory, of L2)."""

MEMORY_SHARE = (0.90, 1.08)
"""What drivers show of the GB on the sheet: 80 GB are 80 GiB less a reserve (H100 1.06, MI300X
1.07), and on GDDR6 with ECC 15/16 of that (L40S 1.00)."""


@lru_cache(maxsize=1)
def sources() -> Mapping[str, Source]:
    """Every source that the table cites, by its id."""
    path = _FOLDER / "sources.toml"
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, Source])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise GemmbenchError(f"{path.name}: {error}") from None


@lru_cache(maxsize=1)
def specs() -> tuple[Spec, ...]:
    """All datasheets, by file and in the file's order. Read once, on first use."""
    found: list[Spec] = []
    for path in sorted(_FOLDER.glob("*.toml")):
        if path.name != "sources.toml":
            found += parse(path.read_text("utf-8"), file=path.name, known=sources())
    for kind, names in (
        ("id", [spec.id for spec in found]),
        ("name", [name for spec in found for name in spec.names]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                raise GemmbenchError(f"spec/*.toml: the {kind} {name!r} is there {count} times")
    return tuple(found)


def by_id(name: str, own: Sequence[Spec] = ()) -> Spec:
    """The datasheet of that id; raises UnknownNameError with the nearest ids."""
    for spec in (*specs(), *own):
        if spec.id == name:
            return spec
    raise UnknownNameError("datasheet", name, [spec.id for spec in (*specs(), *own)])


def match(device: Device, own: Sequence[Spec] = ()) -> Spec | None:
    """The datasheet of a device; None where that is not certain. `own` are sheets of the user's.

    Vendor, name, PCI id, units and memory must all be the sheet's, as far as they are known: see
    `differs`. A MIG slice, an AMD partition, and some of a CPU's cores get the whole device's
    peaks by their share of the units: each unit of them runs at full rate. A power limit changes
    no peak: it is `Device.power_limit_w`.
    """
    for spec in (*own, *specs()):
        if _whole_name(device) in spec.names and differs(spec, device) is None:
            part = partition_of(spec, device)
            return _part(spec, device, part) if part else spec
    return None


def differs(spec: Spec, device: Device) -> str | None:
    """Why a sheet of that name is not this device's; None where it is."""
    if spec.vendor != device.vendor:
        return f"is of {spec.vendor}, this is of {device.vendor}"
    if device.is_gpu is (spec.unit_kind == "core"):
        return f"counts {spec.unit_kind}s, this is a {device.kind.upper()}"
    if spec.pci_ids and device.pci_id and device.pci_id.lower() not in spec.pci_ids:
        return f"is of PCI id {' or '.join(spec.pci_ids)}, this is {device.pci_id}"
    part = partition_of(spec, device)
    whole = (spec.units, spec.shown_units)
    if part is None and spec.units is not None and device.units not in whole:
        shown = " or ".join(str(units) for units in whole if units is not None)
        return f"has {shown} {spec.unit_kind}s, this shows {device.units}"
    if part is not None and not (spec.units and 0 < device.units <= spec.units):
        return f"has {spec.units or 'an unknown number of'} {spec.unit_kind}s, this {device.units}"
    if device.is_gpu and spec.memory_gb is not None and device.memory_bytes > 0:
        least, most = MEMORY_SHARE
        held_gb = min(device.memory_bytes, 2**63) / 1e9  # a damaged file can hold any number
        share = held_gb / spec.memory_gb
        if share > most or (share < least and part is None):
            return f"has {spec.memory_gb:g} GB, this {held_gb:.1f}"
    return None


def nearest_miss(device: Device, own: Sequence[Spec] = ()) -> str | None:
    """What the sheet of that very name has and the device has not; None where no sheet has it."""
    for spec in (*own, *specs()):
        if _whole_name(device) in spec.names and (why := differs(spec, device)):
            return f"the sheet {spec.id} {why}"
    return None


def partition_of(spec: Spec, device: Device) -> str | None:
    """Which part of the sheet's device this one is, or None of a whole one."""
    if found := _mig(device):
        return found["slice"]
    if not device.is_gpu:
        used = spec.units is not None and device.units < spec.units
        return f"{device.units} of {spec.units} cores" if used else None
    return next((mode for mode, units in spec.partitions.items() if units == device.units), None)


def restore(sheet: Mapping[str, object], device: Device | None = None) -> Spec | None:
    """The sheet that a run's header holds, of a device that a user added.

    Of a `device` that is a part it is the share, as of any sheet. None where the sheet is damaged,
    or not that device's.
    """
    try:
        spec = msgspec.convert(sheet, Spec)
        check(spec, where=spec.id, known={*sources(), *spec.references})
    except (msgspec.ValidationError, GemmbenchError):
        return None
    return spec if device is None else match(device, [spec])


def source_of(spec: Spec, name: str) -> Source | None:
    """A source that the sheet cites, by its id: the user's own first."""
    return spec.references.get(name) or sources().get(name)


def _mig(device: Device) -> re.Match[str] | None:
    return _MIG.fullmatch(device.name) if device.vendor == "nvidia" and device.is_gpu else None


def _whole_name(device: Device) -> str:
    found = _mig(device)
    return found["name"] if found else device.name


def _part(spec: Spec, device: Device, part: str) -> Spec:
    """Peaks by the share of the units; power is the whole board's, and so is AMD's bandwidth: how
    its partitions share the memory is a mode of its own, which torch does not show."""
    assert spec.units is not None
    share = device.units / spec.units
    bandwidth, l2 = spec.bandwidth_gbps, spec.l2_mib
    if found := _mig(device):
        memory = None if found["part"] else _memory_share(spec, int(found["gb"]))
        bandwidth = bandwidth * memory if bandwidth and memory else None
        l2 = l2 * memory if l2 and memory else None
    elif device.is_gpu:
        bandwidth, l2 = None, l2 and l2 * share  # of the L2 each XCD has its own
    peaks = tuple(
        msgspec.structs.replace(
            peak,
            tflops=peak.tflops * share,
            sparse_tflops=peak.sparse_tflops and peak.sparse_tflops * share,
        )
        for peak in spec.peaks
    )
    return msgspec.structs.replace(
        spec,
        units=device.units,
        peaks=peaks,
        bandwidth_gbps=bandwidth,
        l2_mib=l2,
        tdp_w=None,
        partition=part,
        scaled=share,
    )


def _memory_share(spec: Spec, gb: int) -> float | None:
    """How much of the memory a MIG slice of so many GB has; None where that is no eighth."""
    if spec.memory_gb is None:
        return None
    eighths = round(_EIGHTHS * gb / spec.memory_gb)
    apart = abs(_EIGHTHS * gb / spec.memory_gb - eighths)
    return eighths / _EIGHTHS if 1 <= eighths <= _EIGHTHS and apart < 0.25 else None
