"""What says that there is a GPU here: device files, the PCI bus, the driver's own words."""

import os
import re
from pathlib import Path

from gemmbench.devices.files import text
from gemmbench.devices.software import container
from gemmbench.doctor.facts import Signs

_FILES = ("dev/nvidiactl", "dev/kfd", "dev/dxg")
_VENDORS = {"0x10de": "nvidia", "0x1002": "amd"}
_CLASSES = ("0x03", "0x12")
"""PCI's display controllers and processing accelerators."""


def read_signs(
    root: Path = Path("/"),
    *,
    driver: str | None = None,
    cuda: str | None = None,
    nvml_problem: str | None = None,
) -> Signs:
    """`driver` and `cuda` are what NVML says, `nvml_problem` why it says nothing."""
    kfd = root / "dev/kfd"
    version = text(root / "proc/driver/nvidia/version") or ""
    # A container may have been given any of them, and each says the same: the first will do.
    numbered = sorted(path.name for path in (root / "dev").glob("nvidia[0-9]*"))[:1]
    files = [*(f"dev/{name}" for name in numbered), *_FILES]
    shown = re.search(r"NVRM version:.*?\b(\d{3}\.\d+(?:\.\d+)?)\b", version)
    return Signs(
        files=tuple(f"/{name}" for name in files if (root / name).exists()),
        pci=_on_bus(root),
        nvidia_driver=driver or (shown[1] if shown else None),
        cuda=cuda,
        nvml_problem=nvml_problem,
        kfd_refused=kfd.exists() and not os.access(kfd, os.R_OK | os.W_OK),
        render_nodes=len(list((root / "dev/dri").glob("renderD*"))),
        container=container(root),
    )


def _on_bus(root: Path) -> tuple[str, ...]:
    """The vendors of the GPUs on the PCI bus, each once."""
    found = {
        _VENDORS.get(text(folder / "vendor") or "")
        for folder in (root / "sys/bus/pci/devices").glob("*")
        if (text(folder / "class") or "").startswith(_CLASSES)
    }
    return tuple(sorted(vendor for vendor in found if vendor))
