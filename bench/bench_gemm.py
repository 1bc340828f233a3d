"""Our own suite under pytest-benchmark: the ladder on the shapes of the suite `quick`.

    pytest bench --benchmark-only
    pytest bench --benchmark-only --gemm-device cpu -k torch --benchmark-autosave

Each test is measured alone, so that speedups between them are unpaired: `gemmbench run` pairs.
"""

from typing import Any

import pytest

from gemmbench.devices.detect import detect
from gemmbench.pytest_plugin import GemmBenchmark
from gemmbench.suites.reader import load_suite
from gemmkernels import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.precision import PRECISIONS

SUITE = "quick"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Kernel × precision × shape, of what the device can do at all."""
    try:
        device = detect(metafunc.config.getoption("gemm_device"))
    except GemmbenchError as error:
        raise pytest.UsageError(str(error)) from None
    suite = load_suite(SUITE)
    cases = [
        (kernel.name, precision, f"{shape.m}x{shape.n}x{shape.k}")
        for shape in suite.shapes(device.kind)
        for precision in suite.precisions(device.kind) or PRECISIONS
        for kernel in LADDER
        if device.kind in kernel.kinds
        and precision in kernel.precisions
        and not device.lacks(precision)
    ]
    metafunc.parametrize(("kernel", "precision", "shape"), cases)


def test_gemm(
    gemm_benchmark: GemmBenchmark, benchmark: Any, kernel: str, precision: str, shape: str
) -> None:
    """One kernel on one problem; tables are grouped by precision and shape."""
    benchmark.group = f"{precision} {shape}"
    gemm_benchmark(kernel, shape, precision=precision)
