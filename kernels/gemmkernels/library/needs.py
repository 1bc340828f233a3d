"""What the libraries refuse, and why: asked of a kernel before anything is bound.

By torch's sources: aten/src/ATen/native/cuda/Blas.cpp, ScaledBlas.cpp, GroupedBlas.cpp,
GroupedMMUtils.h, and torch/sparse/semi_structured.py. Importing this imports no torch.
"""

import importlib.util
import re

from gemmkernels.device import Device
from gemmkernels.problem import Problem

_HIPBLASLT = ("gfx908", "gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1200", "gfx1201")


def dense(problem: Problem, device: Device) -> str | None:
    """What torch's integer and scaled products refuse; the others take anything."""
    row = problem.numerics
    if row.scaling != "none":
        return _scaled(problem, device)
    return _integers(problem, device) if row.is_integer else None


def cublas(_problem: Problem, device: Device) -> str | None:
    return None if device.vendor == "nvidia" else f"NVIDIA's library, this is {device.architecture}"


def rocblas(_problem: Problem, device: Device) -> str | None:
    return None if device.vendor == "amd" else f"AMD's library, this is {device.architecture}"


def hipblaslt(problem: Problem, device: Device) -> str | None:
    if device.vendor == "amd" and device.gfx not in _HIPBLASLT:
        return f"hipBLASLt is for {', '.join(_HIPBLASLT)}, this is {device.gfx}"
    return rocblas(problem, device)


def tunable(problem: Problem, device: Device) -> str | None:
    if device.vendor != "amd":
        return "on NVIDIA's GPUs TunableOp has nothing to choose from but what torch takes anyway"
    return dense(problem, device)


def fast_accum(problem: Problem, device: Device) -> str | None:
    if device.sm != 90:
        return f"torch has fast fp8 accumulation on sm_90 only, this is {device.architecture}"
    return dense(problem, device)


def compiled(_problem: Problem, _device: Device) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: a GPU build of torch brings its own, or pip install triton"
    return None


def sparse(problem: Problem, _device: Device) -> str | None:
    m, n, k = problem.m, problem.n, problem.k
    of_a, of_b = (32, 16) if problem.numerics.is_integer else (16, 8)
    if m % of_a or k % of_a or n % of_b:
        return (
            f"torch's sparse product needs M, K divisible by {of_a} and N by {of_b}: "
            f"{m = }, {n = }, {k = }"
        )
    if problem.numerics.is_integer and problem.layout != "nt":
        return f"cuSPARSELt multiplies int8 in layout nt only, not {problem.layout}"
    import torch

    if not torch.backends.cusparselt.is_available():
        return f"torch {torch.__version__} was built without cuSPARSELt"
    return None


def grouped(problem: Problem, device: Device) -> str | None:
    """Rows of A and B must begin at multiples of 16 bytes; fp8 needs a kernel of its own."""
    row = problem.numerics
    strides = {
        "A": problem.m if problem.layout[0] == "t" else problem.k,
        "B": problem.k if problem.layout[1] == "t" else problem.n,
    }
    for name, stride in strides.items():
        if row.input_bytes(1, stride) % 16:
            return f"torch's grouped_mm needs rows of {name} of a multiple of 16 bytes: {stride}"
    if not row.is_fp8:
        return None
    if problem.layout != "nt" or problem.n % 16:
        return (
            "torch's scaled_grouped_mm takes layout nt and N divisible by 16: "
            f"layout {problem.layout}, n = {problem.n}"
        )
    if device.vendor == "nvidia" and device.sm not in (90, 100):
        return f"torch's scaled_grouped_mm is for sm_90 and sm_100, this is {device.architecture}"
    if device.vendor == "amd" and device.gfx != "gfx942":
        return f"torch's scaled_grouped_mm is for gfx942, this is {device.gfx}"
    if device.vendor == "amd" and not _built_with("USE_FBGEMM_GENAI"):
        return "this torch was built without FBGEMM GenAI, which brings scaled_grouped_mm on ROCm"
    return None


def _integers(problem: Problem, device: Device) -> str | None:
    """Of int8 cuBLASLt promises layout nt only; on an A100 nn fails (PyTorch's issue 169956)."""
    m, n, k = problem.m, problem.n, problem.k
    if problem.batch > 1:
        return f"torch has no batched int8 product, and batch = {problem.batch}"
    if device.is_gpu and (m <= 16 or n % 8 or k % 8):
        return f"torch._int_mm needs M > 16 and N, K divisible by 8: {m = }, {n = }, {k = }"
    if device.vendor == "nvidia" and problem.layout != "nt":
        return f"cuBLASLt promises int8 products of layout nt only, not {problem.layout}"
    return None


def _scaled(problem: Problem, device: Device) -> str | None:
    """A row-major A, a column-major B; what the types and the blocks add."""
    row, n, k = problem.numerics, problem.n, problem.k
    if problem.batch > 1:
        return f"torch has no batched {row.name} product, and batch = {problem.batch}"
    if problem.layout != "nt":
        return f"torch's scaled_mm takes layout nt only, not {problem.layout}"
    of_k = 32 if row.bits_in == 4 else 16  # torch counts bytes, and two terms share one
    if n % 16 or k % of_k:
        return f"torch's scaled_mm needs N divisible by 16 and K by {of_k}: {n = }, {k = }"
    if row.arithmetic == "fp8_e5m2" and device.vendor == "nvidia":
        return "cuBLASLt multiplies no fp8_e5m2 by fp8_e5m2"
    if row.is_blockwise:
        return (
            _blockwise_rocm(problem) if device.vendor == "amd" else _blockwise_cuda(problem, device)
        )
    return None


def _blockwise_cuda(problem: Problem, device: Device) -> str | None:
    if problem.precision != "mxfp4":
        return None
    if device.sm not in range(100, 110):
        return f"torch's mxfp4 needs compute capability 10.x, this is {device.architecture}"
    if not _built_with("USE_MSLK", "USE_FBGEMM_GENAI"):
        return "this torch was built without MSLK or FBGEMM GenAI, which bring its mxfp4"
    return None


def _blockwise_rocm(problem: Problem) -> str | None:
    import torch

    m, n, k = problem.m, problem.n, problem.k
    of_k = 64 if problem.precision == "mxfp4" else 32
    if m % 32 or n % 32 or k % of_k:
        return (
            f"torch's scaled_mm needs M, N divisible by 32 and K by {of_k} here: "
            f"{m = }, {n = }, {k = }"
        )
    hip = torch.version.hip or ""
    version = tuple(int(part) for part in re.findall(r"\d+", hip)[:2])
    if version < (7, 0):
        return f"torch needs ROCm 7.0 or newer for {problem.precision}, this is {hip or 'none'}"
    if version >= (7, 13) and hasattr(
        torch.nn.functional.ScalingType, "BlockWiseBlk32Ue8m0_32_8_EXT"
    ):
        return f"with ROCm {hip} torch takes scales in an order that gemmbench does not make yet"
    return None


def _built_with(*flags: str) -> bool:
    import torch

    built = torch.__config__.show()
    return any(f"-D{flag}" in built for flag in flags)
