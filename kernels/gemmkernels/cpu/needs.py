"""Why a CPU, or its operating system, cannot run a kernel; asked before numba is imported."""

import ctypes
import os
import platform

from gemmkernels.device import Device
from gemmkernels.problem import Problem

_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18
"""arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA): Linux's Documentation/arch/x86/xstate.rst"""


def vectors(_problem: Problem, device: Device) -> str | None:
    """Vectors of 32 bytes with fused multiply-adds; every AVX-512 CPU has both."""
    missing = [name for name in ("avx2", "fma") if name not in device.features]
    return f"needs AVX2 and FMA: this CPU has no {' and no '.join(missing)}" if missing else None


def tiles(problem: Problem, device: Device) -> str | None:
    """AMX for the precision, and the operating system's leave to use it."""
    wanted = ("amx_tile", "amx_int8" if problem.numerics.is_integer else "amx_bf16")
    missing = [name for name in wanted if name not in device.features]
    return f"needs AMX: this CPU has no {' and no '.join(missing)}" if missing else refusal()


def refusal() -> str | None:
    """Ask Linux for the tiles' registers, for all threads of this process; None if granted.

    Asking twice is harmless, and what is granted costs nothing until a tile is used.
    """
    if platform.system() != "Linux" or platform.machine().lower() not in ("x86_64", "amd64"):
        return f"AMX needs Linux on x86-64, this is {platform.system()} on {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    request = (ctypes.c_long(value) for value in (_ARCH_PRCTL, _REQUEST, _TILE_DATA))
    if libc.syscall(*request) != 0:
        return f"the operating system refused AMX: {os.strerror(ctypes.get_errno())}"
    return None
