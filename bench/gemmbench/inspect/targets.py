"""GPUs that code can be made for, with what one of their units holds.

NVIDIA: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; units of the
largest product (A100, A10, L40S, H100, B200, B300, RTX PRO 6000, GB10). AMD: LLVM's
AMDGPUBaseInfo.cpp (EUs and waves a CU, local memory), CDNA3 and CDNA4 ISA guides (64 and 160 KB);
units of one die of an MI250X, of an MI300X, MI355X, RX 7900 XTX, RX 9070 XT. RDNA's are work group
processors of two CUs: 4 SIMDs and 128 KB between them, of which a program takes 64.
"""

import math
from dataclasses import dataclass

from gemmkernels.device import Device, Vendor
from gemmkernels.errors import UnknownNameError

KB = 1024


@dataclass(frozen=True, kw_only=True)
class Target:
    """One architecture. `warps` and `programs` are the most that a unit holds at once."""

    name: str
    units: int
    warps: int
    programs: int
    shared_limit: int
    shared_of_unit: int
    lanes: int = 32
    simds: int = 4

    @property
    def vendor(self) -> Vendor:
        return "amd" if self.name.startswith("gfx") else "nvidia"

    def device(self) -> Device:
        """The device as kernels see it; torch's operands for it have no memory."""
        return Device(
            kind="gpu",
            vendor=self.vendor,
            name=self.name,
            architecture=self.name,
            torch_device="meta",
            slug=self.name,
            units=self.units,
            memory_bytes=2**37,
            shared_bytes=self.shared_limit,
        )


def _nvidia(name: str, units: int, warps: int, programs: int, shared_kb: int) -> Target:
    """Of a unit's shared memory each program takes 1 KB for the system."""
    return Target(
        name=name,
        units=units,
        warps=warps,
        programs=programs,
        shared_limit=(shared_kb - 1) * KB,
        shared_of_unit=shared_kb * KB,
    )


def _cdna(name: str, units: int, shared_kb: int) -> Target:
    return Target(
        name=name,
        units=units,
        warps=4 * (10 if name == "gfx908" else 8),
        programs=32,
        shared_limit=shared_kb * KB,
        shared_of_unit=shared_kb * KB,
        lanes=64,
    )


def _rdna(name: str, units: int) -> Target:
    return Target(
        name=name,
        units=units,
        warps=4 * 16,
        programs=64,
        shared_limit=64 * KB,
        shared_of_unit=128 * KB,
    )


_TABLE = (
    _nvidia("sm_80", 108, 64, 32, 164),
    _nvidia("sm_86", 72, 48, 16, 100),
    _nvidia("sm_89", 142, 48, 24, 100),
    _nvidia("sm_90", 132, 64, 32, 228),
    _nvidia("sm_100", 148, 64, 32, 228),
    _nvidia("sm_103", 148, 64, 32, 228),
    _nvidia("sm_120", 188, 48, 24, 100),
    _nvidia("sm_121", 48, 48, 24, 100),
    _cdna("gfx908", 120, 64),
    _cdna("gfx90a", 110, 64),
    _cdna("gfx942", 304, 64),
    _cdna("gfx950", 256, 160),
    _rdna("gfx1100", 48),
    _rdna("gfx1201", 32),
)
TARGETS: dict[str, Target] = {row.name: row for row in _TABLE}
USUAL = ("sm_80", "sm_90", "sm_100", "gfx942", "gfx950")
"""The data centre's GPUs, of which the page in docs is made."""


def target(name: str) -> Target:
    """The target of that name; raises UnknownNameError with the nearest names."""
    try:
        return TARGETS[name]
    except KeyError:
        raise UnknownNameError("target", name, TARGETS) from None


def occupancy(
    architecture: str,
    *,
    warps: int,
    registers: int | None,
    waves: int | None,
    shared_bytes: int,
) -> tuple[int | None, float | None]:
    """(Programs that a unit holds at once, the share of its warps that they are in percent).

    NVIDIA, as cuda_occupancy.h counts: a warp takes registers by 256, of the 16384 of its quarter
    of the SM. AMD: `waves` a SIMD as the compiler allows for registers, shared out over the SIMDs.
    Nothing for a target that is not in the table.
    """
    row = TARGETS.get(architecture)
    if row is None or warps < 1:
        return None, None
    own = 0
    if row.vendor == "nvidia":
        own = KB
        if registers is None:
            return None, None
        of_warp = max(256, math.ceil(registers * row.lanes / 256) * 256)
        by_registers = 16384 // of_warp * row.simds
    else:
        if waves is None:
            return None, None
        by_registers = waves * row.simds
    by_shared = row.shared_of_unit // (shared_bytes + own) if shared_bytes + own else row.programs
    programs = min(min(by_registers, row.warps) // warps, by_shared, row.programs)
    if shared_bytes > row.shared_limit:
        programs = 0
    return programs, 100 * programs * warps / row.warps
