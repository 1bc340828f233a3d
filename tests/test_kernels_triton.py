"""The Triton kernels: interpreted, compiled for GPUs that are not there, run where there is one.

The interpreter shows that the arithmetic is right, the compiler that a rung uses what its tier
says; only a GPU shows both at once.
"""

import importlib.util
import itertools
import re
from typing import Any

import pytest
import torch
from kernel_jobs import (
    GPUS,
    LAYOUTS,
    TRITON,
    case,
    compiled_cases,
    edges,
    job,
    pairwise,
    problems,
    verified,
)

from gemmkernels import Device, Problem
from gemmkernels.gpu.config_persistent import loads, specialises, stores
from gemmkernels.ladder import find
from gemmkernels.operands import allocate, fill, poison
from gemmkernels.precision import PRECISIONS
from gemmkernels.probes import chain

HERE = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: pip install triton"
)


@HERE
@pytest.mark.parametrize("name", TRITON)
def test_interpreted_agrees_with_float64(name: str) -> None:
    lines = job("interpret", name, TRITON_INTERPRET="1")
    kernel = find(name)
    cases = [line for line in lines if "error" in line]
    assert len(cases) == len(problems(kernel)) + len(kernel.precisions)
    assert [line for line in cases if not line["error"] <= 1] == []
    offered = itertools.product(kernel.precisions, LAYOUTS)
    assert {(line["precision"], line["layout"]) for line in cases} == set(offered)
    assert [line for line in lines if line.get("fault")] == []
    for line in lines:
        if "chain" in line:
            assert line["chain"] == [xorshift32(lane + 2463534242, 5) for lane in range(32)]


def test_pairwise_has_every_pair() -> None:
    factors = ("abcd", (1, 2, 3), (True, False), "xyz")
    cases = pairwise(*factors)
    assert len(cases) < 20
    for i, j in itertools.combinations(range(4), 2):
        found = {(case[i], case[j]) for case in cases}
        assert found == set(itertools.product(factors[i], factors[j]))


def xorshift32(state: int, steps: int) -> int:
    for _ in range(steps):
        state = (state ^ state << 13) % 2**32
        state ^= state >> 17
        state = (state ^ state << 5) % 2**32
    return state


TARGETS = [
    "sm_90",
    "gfx942",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in GPUS
        if name not in ("sm_90", "gfx942")
    ),
]

# What the instruction that multiplies each precision in its own encoding is called (a pattern).
NATIVE = {
    ("sm_80", "tf32"): "HMMA.1688.F32.TF32",
    ("sm_80", "fp16"): "HMMA.16816.F32",
    ("sm_80", "bf16"): "HMMA.16816.F32.BF16",
    ("sm_80", "int8"): "IMMA.16832.S8.S8",
    ("sm_90", "tf32"): ".F32.TF32",
    ("sm_90", "fp16"): "HGMMA",
    ("sm_90", "bf16"): ".F32.BF16",
    ("sm_90", "fp8_e4m3"): "QGMMA",
    ("sm_90", "fp8_e5m2"): ".E5M2.E5M2",
    ("sm_90", "int8"): "IGMMA",
    ("sm_100", "tf32"): "UTCHMMA",
    ("sm_100", "fp16"): "UTCHMMA",
    ("sm_100", "bf16"): "UTCHMMA",
    ("sm_100", "fp8_e4m3"): "UTCQMMA",
    ("sm_100", "fp8_e5m2"): "UTCQMMA",
    ("sm_100", "int8"): "MMA",
    ("gfx942", "tf32"): "_xf32",
    ("gfx942", "fp16"): "_f16",
    ("gfx942", "bf16"): "_bf16",
    ("gfx942", "fp8_e4m3"): "_fp8_fp8",
    ("gfx942", "fp8_e5m2"): "_bf8_bf8",
    ("gfx942", "int8"): "_i8",
    ("gfx950", "fp16"): "x32_f16",
    ("gfx950", "bf16"): "x32_bf16",
    ("gfx950", "fp8_e4m3"): "f8f6f4|fp8_fp8",
    ("gfx950", "fp8_e5m2"): "f8f6f4|bf8_bf8",
    ("gfx950", "int8"): "_i8",
    ("sm_120", "tf32"): "HMMA.1688.F32.TF32",
    ("sm_120", "fp16"): "HMMA.16816.F32",
    ("sm_120", "bf16"): "HMMA.16816.F32.BF16",
    ("sm_120", "fp8_e4m3"): "QMMA",
    ("sm_120", "fp8_e5m2"): "QMMA",
    ("sm_120", "int8"): "IMMA.16832.S8.S8",
    ("gfx90a", "fp16"): "x16f16|x8f16",
    ("gfx90a", "bf16"): "bf16_1k",
    ("gfx90a", "int8"): "i8",
}


def native(architecture: str, precision: str) -> str:
    """The pattern for a precision: fp64, fp32 and bf16x3 are called alike everywhere."""
    row = PRECISIONS[precision].arithmetic
    amd = architecture.startswith("gfx")
    if row == "fp64":
        return "mfma_f64" if amd else "DMMA"
    if row == "fp32":
        return r"mfma_f32_\d+x\d+x\d_?f32"
    return NATIVE[architecture, "bf16" if row == "bf16x3" else row]


@HERE
@pytest.mark.parametrize("architecture", TARGETS)
def test_compiled_uses_what_its_tier_says(architecture: str) -> None:
    device = GPUS[architecture]
    lines = job("compile", architecture)
    for name in TRITON:
        offered = {problem.precision for problem in compiled_cases(name, device)}
        assert {line["precision"] for line in lines if line["kernel"] == name} == offered
    faults = [fault for line in lines if (fault := _fault(architecture, line))]
    assert faults == []


def _fault(architecture: str, line: dict[str, Any]) -> str | None:
    limit = GPUS[architecture].shared_bytes or 0
    if line["shared"] > limit:
        return f"{line}: more shared memory than {limit}"
    if line["spills"]:
        return f"{line}: spills"
    if find(line["kernel"]).tier != "matrix-core":
        return f"{line}: matrix instructions" if line["matrix"] else None
    wanted = native(architecture, line["precision"])
    if not any(re.search(wanted, instruction) for instruction in line["matrix"]):
        return f"{line}: no {wanted}"
    if "persistent" in line["kernel"]:
        return _fault_of_persistent(architecture, line)
    return None


def _fault_of_persistent(architecture: str, line: dict[str, Any]) -> str | None:
    """Aligned shapes come by TMA; large ones are warp-specialised where that takes effect."""
    m, n, k = map(int, line["shape"].split("x"))
    layout, precision = line["layout"], line["precision"]
    problem, device = Problem(m=m, n=n, k=k, layout=layout, precision=precision), GPUS[architecture]
    if line["tma"] != loads(problem, device):
        return f"{line}: tma should be {loads(problem, device)}"
    large = min(m, n) >= 8192 and stores(problem, device) and specialises(problem, device)
    if line["setmaxnreg"] != large and (large or not line["tma"]):
        return f"{line}: setmaxnreg should be {large}"
    return None


def test_the_check_of_compiled_code_sees_a_fault() -> None:
    good: dict[str, Any] = {"kernel": "triton-naive", "precision": "fp16", "layout": "nt"}
    good |= {"shape": "8192x8192x8192", "matrix": [], "shared": 0, "spills": 0}
    assert _fault("sm_90", good) is None
    assert _fault("sm_90", good | {"matrix": ["HGMMA.64x256x16.F32"]})
    assert _fault("sm_90", good | {"kernel": "triton-matrix-core"})
    assert _fault("gfx942", good | {"shared": 65537})
    assert _fault("gfx942", good | {"spills": 1})
    tma = good | {
        "kernel": "triton-persistent",
        "matrix": ["HGMMA"],
        "tma": True,
        "setmaxnreg": True,
    }
    assert _fault("sm_90", tma) is None
    assert _fault("sm_90", tma | {"tma": False})
    assert _fault("sm_90", tma | {"setmaxnreg": False})
    assert _fault("sm_90", tma | {"shape": "1021x1031x1033"})


@pytest.fixture(scope="module")
def device() -> Device:
    from gemmbench.devices.gpu import gpu_device

    return gpu_device(0)


# Whole tiles, ragged in each dimension, primes, one row, one column, one term, tall and wide.
GPU_SHAPES = (
    (1024, 1024, 1024),
    (257, 129, 67),
    (1021, 1031, 1033),
    (1, 4096, 4096),
    (4096, 1, 515),
    (17, 16, 1),
    (8192, 64, 48),
)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, p) for name in (*TRITON, "torch") for p in find(name).precisions],
)
def test_on_a_gpu_agrees_with_float64(
    name: str, precision: str, layout: str, device: Device
) -> None:
    kernel, refused = find(name), ""
    errors = {}
    for m, n, k in GPU_SHAPES:
        problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
        if reason := kernel.why_not(problem, device):
            refused = reason
        else:
            errors[problem.shape] = case(kernel, problem, device)
    if not errors:
        pytest.skip(refused)
    assert {shape: found for shape, found in errors.items() if not found <= 1} == {}


@pytest.mark.gpu
@pytest.mark.parametrize("name", TRITON)
def test_on_a_gpu_passes_verification_in_pairs(name: str, device: Device) -> None:
    kernel, shapes = (
        find(name),
        ((1024, 1024, 1024), (257, 129, 67), (4096, 512, 4096), (1, 64, 80)),
    )
    errors = {}
    for precision, layout, (m, n, k) in pairwise(kernel.precisions, LAYOUTS, shapes):
        problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
        if kernel.why_not(problem, device) is None:
            errors[precision, layout, problem.shape] = verified(kernel, problem, device)
    if not errors:
        pytest.skip(f"{name} does nothing on {device.architecture}")
    assert {case: found for case, found in errors.items() if not found <= 1} == {}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("name", TRITON)
def test_on_a_gpu_fp8_is_right_at_its_edges(name: str, precision: str, device: Device) -> None:
    assert edges(find(name), precision, device) is None


@pytest.mark.gpu
def test_on_a_gpu_a_users_allocator_stays(device: Device) -> None:
    import triton
    from triton.runtime import _allocation

    def theirs(size: int, _alignment: int, _stream: int | None) -> torch.Tensor:
        raise AssertionError(f"asked for {size} bytes")

    triton.set_allocator(theirs)
    problem = Problem(m=256, n=256, k=256, precision="fp16", layout="nt")
    assert verified(find("triton-persistent"), problem, device) <= 1
    assert _allocation._allocator.get() is theirs


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in TRITON if "fast" not in name])
def test_on_a_gpu_offsets_pass_2_to_31(name: str, device: Device) -> None:
    problem = Problem(m=70_016, n=16, k=32_768, precision="int8")
    (operands,) = allocate(problem, device)
    fill(operands)
    poison(operands)
    find(name).launch(operands).run()
    for rows in (slice(0, 8), slice(65_532, 65_540), slice(-8, None)):
        exact = operands.a[rows].double() @ operands.b.double()
        assert torch.equal(operands.out[rows].double(), exact)


@pytest.mark.gpu
def test_on_a_gpu_the_chain_keeps_its_ratio(device: Device) -> None:
    less, more = chain.pair(device)
    times: list[float] = []
    event: Any = torch.cuda.Event
    for run in (less, more, less, more):
        start, end = event(enable_timing=True), event(enable_timing=True)
        run()
        start.record()
        for _ in range(20):
            run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    assert times[3] / times[2] == pytest.approx(chain.WORK, rel=0.02)
