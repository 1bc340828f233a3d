"""The power limit in force, read in the process that owns the device: NVML, or sysfs on AMD.

Not AMD SMI: it and torch break each other in one process.
"""

import warnings
from pathlib import Path
from typing import Any

from gemmbench.devices.files import number
from gemmbench.devices.sample import ask, attempt, within
from gemmbench.devices.target import TelemetryTarget
from gemmbench.devices.telemetry_nvidia import find_gpu

_MAX_W = 5_000


def power_limit(target: TelemetryTarget, root: Path = Path("/")) -> float | None:
    """Watts that the driver holds this GPU to, or None where that is not known.

    A part of a GPU has no limit of its own: the board's is shared.
    """
    if target.partition:
        return None
    read = _amd if target.vendor == "amd" else _nvidia
    return attempt(read, target, root)


def _amd(target: TelemetryTarget, root: Path) -> float | None:
    """hwmon's power1_cap, in µW."""
    if target.pci is None:
        return None
    folder = root / "sys/bus/pci/devices" / target.pci / "hwmon"
    caps = (number(hwmon / "power1_cap") for hwmon in sorted(folder.glob("hwmon*")))
    found = next((cap for cap in caps if within(cap, 1e6, _MAX_W * 1e6)), None)
    return None if found is None else found / 1e6


def _nvidia(target: TelemetryTarget, _root: Path) -> float | None:
    """The lowest of the user's, the board's and the rack's limits; NVML says milliwatts."""
    with warnings.catch_warnings():  # the old package pynvml has one about itself
        warnings.simplefilter("ignore")
        import pynvml

    nvml: Any = pynvml
    nvml.nvmlInit()
    try:
        handle = find_gpu(nvml, target)
        if handle is None or ask(nvml, "nvmlDeviceIsMigDeviceHandle", handle):
            return None
        found = within(ask(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle), 1e3, _MAX_W * 1e3)
        return None if found is None else found / 1e3
    finally:
        ask(nvml, "nvmlShutdown")
