"""What the Triton kernels refuse, and why; imports no Triton."""

import importlib.util

from gemmkernels.device import Device
from gemmkernels.problem import Problem

CDNA = ("gfx908", "gfx90a", "gfx942", "gfx950")
MOST_EXPERTS = 1024


def triton(_problem: Problem, device: Device) -> str | None:
    """Any Triton kernel."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: a GPU build of torch brings its own, or pip install triton"
    if device.vendor == "nvidia" and device.sm < 80:
        return f"Triton compiles for sm_80 and newer, this is sm_{device.sm}"
    return None


def matrix_core(problem: Problem, device: Device) -> str | None:
    """Kernels with tl.dot: what would run on vector units, or another precision's, is refused."""
    if reason := triton(problem, device):
        return reason
    match problem.precision:
        case "fp32" if device.gfx not in CDNA:
            return "no matrix unit here multiplies IEEE fp32: tl.dot would run on vector units"
        case "fp64" if device.vendor == "nvidia" and device.sm not in (80, 90, 100, 103):
            return f"Triton has no fp64 on Tensor Cores of {device.architecture}: it runs on FMAs"
        case "fp64" if device.vendor == "amd" and device.gfx not in ("gfx90a", "gfx942", "gfx950"):
            return f"{device.gfx} has no matrix unit for fp64: tl.dot would run on vector units"
    return None


def fast_accumulation(problem: Problem, device: Device) -> str | None:
    """Sums of fp8 in about 14 bits, which only Hopper has."""
    if device.sm != 90:
        where = device.architecture
        return f"only sm_90 sums fp8 in short: on {where} it would be triton-persistent itself"
    return matrix_core(problem, device)


def grouped(problem: Problem, device: Device) -> str | None:
    """Every program of a grouped product holds how many tiles each expert has."""
    if problem.experts > MOST_EXPERTS:
        return f"takes up to {MOST_EXPERTS} experts, and experts = {problem.experts}"
    return matrix_core(problem, device)
