"""The one list of kernels, in ladder order. The CLI, tests, suites and plots are made from it."""

import importlib.util

from gemmkernels.device import Device
from gemmkernels.errors import UnknownNameError
from gemmkernels.kernel import Kernel
from gemmkernels.problem import Problem

_CPU_PRECISIONS = ("fp64", "fp32", "int8")
_GPU_PRECISIONS = ("fp64", "fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8")


def _triton_needs(_problem: Problem, _device: Device) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: a GPU build of torch brings its own, or pip install triton"
    return None


def _torch_needs(problem: Problem, device: Device) -> str | None:
    """What torch's integer and scaled products refuse.

    On GPUs `_int_mm` needs M > 16 and K, N divisible by 8, `scaled_mm` a row-major A, a
    column-major B and K, N divisible by 16 (aten/src/ATen/native/cuda/Blas.cpp, ScaledBlas.cpp).
    Of int8 cuBLASLt promises that layout only; on an A100 nn fails (PyTorch's issue 169956).
    """
    name, m, n, k = problem.precision, problem.m, problem.n, problem.k
    if name != "int8" and not problem.numerics.is_fp8:
        return None
    if problem.batch > 1:
        return f"torch has no batched {name} product, and batch = {problem.batch}"
    if name == "int8":
        if device.is_gpu and (m <= 16 or n % 8 or k % 8):
            return f"torch._int_mm needs M > 16 and N, K divisible by 8: {m = }, {n = }, {k = }"
        if device.vendor == "nvidia" and problem.layout != "nt":
            return f"cuBLASLt promises int8 products of layout nt only, not {problem.layout}"
        return None
    if problem.layout != "nt":
        return f"torch's scaled_mm takes layout nt only, not {problem.layout}"
    if n % 16 or k % 16:
        return f"torch's scaled_mm needs N and K divisible by 16: {n = }, {k = }"
    if name == "fp8_e5m2" and device.vendor == "nvidia":
        return "cuBLASLt multiplies no fp8_e5m2 by fp8_e5m2"
    return None


LADDER: tuple[Kernel, ...] = (
    Kernel(
        name="python-naive",
        tier="naive",
        backend="python",
        kinds=("cpu",),
        precisions=_CPU_PRECISIONS,
        summary="the triple loop of a textbook, in the interpreter",
        bind="gemmkernels.cpu.python_naive:bind",
        max_flop=2 * 128**3,
    ),
    Kernel(
        name="numba-naive",
        tier="naive",
        backend="numba",
        kinds=("cpu",),
        precisions=_CPU_PRECISIONS,
        summary="the same triple loop, compiled, on one thread",
        bind="gemmkernels.cpu.numba_naive:bind",
        max_flop=2 * 512**3,
        base=True,
    ),
    Kernel(
        name="numba-tiled",
        tier="tiled",
        backend="numba",
        kinds=("cpu",),
        precisions=_CPU_PRECISIONS,
        summary="blocks that stay in cache, vector units, all threads",
        bind="gemmkernels.cpu.numba_tiled:bind",
    ),
    Kernel(
        name="triton-naive",
        tier="naive",
        backend="triton",
        kinds=("gpu",),
        precisions=_GPU_PRECISIONS,
        summary="one element a lane, straight from memory",
        bind="gemmkernels.gpu.triton_naive:bind",
        max_flop=2**38,
        base=True,
        needs=_triton_needs,
    ),
    Kernel(
        name="triton-tiled",
        tier="tiled",
        backend="triton",
        kinds=("gpu",),
        precisions=_GPU_PRECISIONS,
        summary="blocked outer products in registers, on vector units",
        bind="gemmkernels.gpu.triton_tiled:bind",
        needs=_triton_needs,
    ),
    Kernel(
        name="triton-matrix-core",
        tier="matrix-core",
        backend="triton",
        kinds=("gpu",),
        precisions=("tf32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8"),
        summary="tl.dot on Tensor Cores or MFMA, loads pipelined",
        bind="gemmkernels.gpu.triton_matrix_core:bind",
        needs=_triton_needs,
    ),
    Kernel(
        name="torch",
        tier="library",
        backend="torch",
        precisions=("fp64", "fp32", "tf32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8"),
        summary="what the vendor ships: cuBLAS, hipBLASLt, MKL or oneDNN by way of torch",
        bind="gemmkernels.library:bind",
        batched=True,
        needs=_torch_needs,
    ),
)


def find(name: str) -> Kernel:
    """The kernel of that name; raises UnknownNameError with the nearest names."""
    for kernel in LADDER:
        if kernel.name == name:
            return kernel
    raise UnknownNameError("kernel", name, (kernel.name for kernel in LADDER))
