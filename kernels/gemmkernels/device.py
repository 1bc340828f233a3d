"""What a device is, in the words that kernels need. `gemmbench.devices` fills it in."""

import re
from dataclasses import dataclass
from typing import Literal

from gemmkernels.precision import precision

Vendor = Literal["nvidia", "amd", "intel", "other"]

_NVIDIA_NEEDS = {
    "fp16": 70,
    "int8": 75,
    "tf32": 80,
    "bf16": 80,
    "bf16x3": 80,
    "fp8_e4m3": 89,
    "fp8_e5m2": 89,
    "mxfp8": 100,
    "mxfp4": 100,
    "nvfp4": 100,
}
"""The first compute capability whose units have the arithmetic."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device as torch sees it; holds nothing that identifies the machine's owner.

    `architecture` is `sm_90`, `gfx942`, or for a CPU `x86-64-v4+amx`. Sizes are in bytes; `None`
    is "not known". `units` are SMs, CUs, or the cores that a run uses. `power_limit_w` is the limit
    in force as the run began.
    """

    kind: Literal["cpu", "gpu"]
    vendor: Vendor
    name: str
    architecture: str
    torch_device: str
    slug: str
    units: int
    memory_bytes: int
    llc_bytes: int | None = None
    shared_bytes: int | None = None
    features: tuple[str, ...] = ()
    partition: str | None = None
    pci_id: str | None = None
    power_limit_w: float | None = None

    @property
    def is_gpu(self) -> bool:
        return self.kind == "gpu"

    @property
    def sm(self) -> int:
        """Compute capability as a number, 90 for sm_90; 0 where there is none."""
        found = re.fullmatch(r"sm_(\d+)[a-z]?", self.architecture)
        return int(found.group(1)) if found else 0

    @property
    def gfx(self) -> str:
        """The AMD target, `gfx942`; empty elsewhere."""
        return self.architecture if self.architecture.startswith("gfx") else ""

    def encoding(self, name: str) -> str:
        """The torch dtype name that this device takes for the inputs of a precision.

        gfx942 multiplies only the FNUZ encodings of fp8, everything else OCP's (hipBLASLt's data
        type table; PyTorch's ScaledBlas.cpp). Two 4-bit numbers share a byte.
        """
        family = precision(name).input
        if family == "float4_e2m1":
            return "float4_e2m1fn_x2"
        if not family.startswith("float8"):
            return family
        if self.gfx == "gfx942":
            return family + "fnuz"
        return family + ("fn" if family.endswith("e4m3") else "")

    def lacks(self, name: str) -> str | None:
        """Why the hardware has no arithmetic of its own for a precision, or None if it has."""
        row = precision(name)
        if self.kind == "cpu":
            return self._cpu_lacks(name)
        if self.vendor == "nvidia":
            need = 80 if row.sparse else _NVIDIA_NEEDS.get(row.arithmetic, 0)
            return None if self.sm >= need else f"{name} needs sm_{need}, this is sm_{self.sm}"
        if self.vendor == "amd":
            return self._amd_lacks(name)
        return f"no list of precisions for the architecture {self.architecture}"

    def _cpu_lacks(self, name: str) -> str | None:
        wanted = {
            "fp16": ("avx512_fp16", "amx_fp16"),
            "bf16": ("avx512_bf16", "amx_bf16"),
            "int8": ("avx512_vnni", "avx_vnni", "amx_int8"),
        }
        if name in ("fp64", "fp32"):
            return None
        if name in wanted:
            if set(wanted[name]) & set(self.features):
                return None
            return f"{name} would be emulated: this CPU has none of {', '.join(wanted[name])}"
        return f"x86-64 CPUs have no {name} arithmetic"

    def _amd_lacks(self, name: str) -> str | None:
        cdna = ("gfx908", "gfx90a", "gfx942", "gfx950")
        with_bf16 = (*cdna, "gfx1100", "gfx1101", "gfx1200", "gfx1201")
        only: dict[str, tuple[str, ...]] = {
            "tf32": ("gfx942",),
            "bf16": with_bf16,
            "bf16x3": with_bf16,
            "fp8_e4m3": ("gfx942", "gfx950", "gfx1200", "gfx1201"),
            "fp8_e5m2": ("gfx942", "gfx950", "gfx1200", "gfx1201"),
            "mxfp8": ("gfx950",),
            "mxfp4": ("gfx950",),
        }
        row = precision(name)
        if row.sparse:
            return f"{name}: torch multiplies 2:4 sparse matrices on NVIDIA's GPUs only"
        if name == "nvfp4":
            return "nvfp4 is NVIDIA's own format"
        found = only.get(row.arithmetic)
        if found is not None and self.gfx not in found:
            return f"{name} needs one of {', '.join(found)}, this is {self.gfx}"
        return None
