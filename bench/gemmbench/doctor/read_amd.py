"""AMD GPUs by the files of the amdgpu driver; AMD SMI only tells what held the clock."""

import re
from pathlib import Path

from gemmbench.devices.files import number, text
from gemmbench.devices.sample import within
from gemmbench.devices.sampler import open_sensors
from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor.facts import Gpu
from gemmbench.doctor.watched import Load, Watched

_MAX_W = 5_000


def read_amd(root: Path = Path("/")) -> list[Watched]:
    """All GPUs of the amdgpu driver, in the order of their cards."""
    cards = [
        path
        for path in (root / "sys/class/drm").glob("card[0-9]*/device")
        if path.parent.name[4:].isdecimal() and text(path / "vendor") == "0x1002"
    ]
    cards.sort(key=lambda path: int(path.parent.name[4:]))
    return [_watched(folder, index, root) for index, folder in enumerate(cards)]


def _watched(folder: Path, index: int, root: Path) -> Watched:
    hwmon = next(iter(sorted((folder / "hwmon").glob("hwmon*"))), folder)
    address = folder.resolve().name
    pci = address if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d", address) else None
    uuid = text(folder / "unique_id")
    temperature_c, headroom_c = _temperature(hwmon)
    busy_percent, used_bytes = _load(folder)
    gpu = Gpu(
        vendor="amd",
        index=index,
        name=text(folder / "product_name") or "",
        uuid=uuid,
        pci=pci,
        power_w=_watts(hwmon / "power1_cap"),
        power_default_w=_watts(hwmon / "power1_cap_default"),
        temperature_c=temperature_c,
        headroom_c=headroom_c,
        busy_percent=busy_percent,
        used_bytes=used_bytes,
        total_bytes=number(folder / "mem_info_vram_total"),
        uncorrected=_uncorrected(folder / "ras"),
        level=text(folder / "power_dpm_force_performance_level"),
        compute_partition=text(folder / "current_compute_partition"),
        memory_partition=text(folder / "current_memory_partition"),
    )
    target = TelemetryTarget(kind="gpu", vendor="amd", uuid=uuid, pci=pci)
    return Watched(gpu, lambda: open_sensors(target, root), lambda: _load(folder))


def _load(folder: Path) -> Load:
    busy_percent = within(number(folder / "gpu_busy_percent"), 0, 100)
    return busy_percent, number(folder / "mem_info_vram_used")


def _watts(path: Path) -> float | None:
    """Files are in µW; 0 is a partition that has no power of its own."""
    found = within(number(path), 1e6, _MAX_W * 1e6)
    return None if found is None else found / 1e6


def _temperature(hwmon: Path) -> tuple[float | None, float | None]:
    """(°C, degrees left to the critical one) of the junction, where the chip is hottest."""
    for label in sorted(hwmon.glob("temp*_label")):
        if text(label) == "junction":
            stem = label.name.removesuffix("label")
            now = within(number(hwmon / f"{stem}input"), 1e3, 150e3)
            critical = within(number(hwmon / f"{stem}crit"), 30e3, 200e3)
            left = None if now is None or critical is None else (critical - now) / 1e3
            return (None if now is None else now / 1e3), left
    return None, None


def _uncorrected(ras: Path) -> int | None:
    """Errors that ECC could not correct, over all blocks: lines "ue: 0" and "ce: 3"."""
    counts = [
        int(found[1])
        for path in ras.glob("*_err_count")
        if (found := re.search(r"^ue:\s*(\d+)", text(path) or "", re.MULTILINE))
    ]
    return sum(counts) if counts else None
