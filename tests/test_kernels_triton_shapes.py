"""Split-K, batched, grouped and block-scaled kernels: interpreted, compiled, run on a GPU."""

import dataclasses
import importlib.util
import itertools
import re
from typing import Any

import kernel_jobs_shapes
import pytest
import torch
from kernel_jobs import GPUS, LAYOUTS, job
from kernel_jobs_shapes import NAMES, Shape

from gemmbench.inspect.examine import examine
from gemmbench.inspect.question import Question
from gemmbench.verify import Verifier
from gemmkernels import Device, GemmbenchError, Problem
from gemmkernels.gpu.config import tile_bytes
from gemmkernels.gpu.config_shapes import Shaped, split_k_default
from gemmkernels.ladder import find
from gemmkernels.operands import allocate

HERE = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: pip install triton"
)


@HERE
@pytest.mark.parametrize("name", [name for name in NAMES if name != "triton-block-scaled"])
def test_interpreted_in_pairs_agrees_with_float64(name: str) -> None:
    lines = job("interpret", name, TRITON_INTERPRET="1")
    assert [line for line in lines if not line["error"] <= 1] == []
    assert {line["layout"] for line in lines} == set(LAYOUTS)
    assert {line["precision"] for line in lines} == set(find(name).precisions)


@HERE
@pytest.mark.parametrize("name", NAMES)
def test_interpreted_agrees_with_float64(name: str) -> None:
    lines = job(name, script=kernel_jobs_shapes.__file__, TRITON_INTERPRET="1")
    cases = [line for line in lines if "error" in line]
    assert [line for line in cases if not line["error"] <= 1] == []
    assert {line["config"]["SWAP"] for line in cases} == {True, False}
    if name == "triton-split-k":
        assert {1, 7, 8, 33} <= {line["splits"] for line in cases}
    if name == "triton-grouped":
        of_few = [line for line in cases if line["shape"] == "4@40x150x70"]
        assert of_few
        for line in of_few:  # a program walks over several tiles
            assert line["grid"][0] < 4 * -(-150 // line["config"]["BLOCK_N"])
        (rows,) = (line for line in lines if "rows" in line)
        assert rows["worst"] <= 1


# With few rows an instruction that wants 64 is lost, with ragged ones registers spill.
COMPILED: list[tuple[str, str, str, Shape]] = [
    ("triton-split-k", "fp16", "nt", {"m": 16, "n": 4096, "k": 4096}),
    ("triton-split-k", "fp8_e4m3", "nt", {"m": 16, "n": 4096, "k": 4096}),
    ("triton-split-k", "fp64", "nn", {"m": 64, "n": 64, "k": 32768}),
    ("triton-split-k", "int8", "nn", {"m": 1021, "n": 131, "k": 4099}),
    ("triton-batched", "bf16", "nn", {"m": 32, "n": 32, "k": 32, "batch": 1000}),
    ("triton-batched", "fp8_e5m2", "nt", {"m": 32, "n": 32, "k": 32, "batch": 1000}),
    ("triton-batched", "tf32", "nt", {"m": 128, "n": 128, "k": 64, "batch": 768}),
    ("triton-grouped", "bf16", "nn", {"m": 8192, "n": 4096, "k": 4096, "experts": 8}),
    ("triton-grouped", "fp8_e4m3_rowwise", "nt", {"m": 128, "n": 4096, "k": 4096, "experts": 8}),
    ("triton-grouped", "fp16", "nt", {"m": 1021, "n": 1031, "k": 1033, "experts": 5}),
    ("triton-block-scaled", "mxfp8", "nt", {"m": 8192, "n": 8192, "k": 8192}),
    ("triton-block-scaled", "mxfp4", "nt", {"m": 16, "n": 4096, "k": 4096}),
    ("triton-block-scaled", "mxfp4", "nt", {"m": 1, "n": 7, "k": 32}),
    ("triton-block-scaled", "nvfp4", "nt", {"m": 1021, "n": 1031, "k": 1040}),
]
NATIVE = {
    "sm_90": {"fp8": "QGMMA", "int8": "IGMMA"},
    "sm_100": {"fp8": "UTCQMMA", "mxfp8": "UTCQMMA", "mxfp4": "UTCOMMA", "nvfp4": "UTCOMMA"},
    "gfx942": {"fp8": "_fp8_fp8|_bf8_bf8", "int8": "_i8", "bf16": "_bf16"},
    "gfx950": {"fp8": "f8f6f4|_bf8_bf8", "mxfp8": "mfma_scale", "mxfp4": "mfma_scale"},
    "sm_80": {"int8": "IMMA"},
    "sm_120": {"fp8": "QMMA", "mxfp8": "QMMA.SF", "mxfp4": "OMMA.SF", "nvfp4": "OMMA.SF"},
    "gfx90a": {"bf16": "bf16"},
}


@HERE
@pytest.mark.parametrize(
    "target",
    [
        "sm_90",
        "gfx942",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("sm_80", "sm_100", "sm_120", "gfx90a", "gfx950")
        ),
    ],
)
def test_compiled_uses_matrix_units_within_the_limits(target: str) -> None:
    asked = [
        Question(name, Problem(precision=precision, layout=layout, **sizes), target)
        for name, precision, layout, sizes in COMPILED
    ]
    for report in examine(asked):
        problem = report.question.problem
        assert report.as_declared, report
        assert report.spills == 0, report
        if report.verdict == "unsupported":
            continue
        found = " ".join(name for call in report.calls for name in call.instructions)
        family = "fp8" if problem.numerics.is_fp8 else problem.precision
        assert re.search(NATIVE[target].get(family, ""), found), report
        assert len(report.calls) == (2 if (report.config.get("SPLITS") or 1) > 1 else 1)  # type: ignore[operator]


@pytest.mark.parametrize("architecture", GPUS)
def test_splits_fill_the_device(architecture: str) -> None:
    device = GPUS[architecture]

    def found(m: int, n: int, k: int) -> tuple[int, int]:
        config = split_k_default(Problem(m=m, n=n, k=k, precision="fp16"), device)
        return -(-m // config.BLOCK_M) * -(-n // config.BLOCK_N), config.SPLITS or 0

    for m, n, k in ((16, 4096, 4096), (1, 1536, 7168), (256, 2048, 8192)):
        tiles, splits = found(m, n, k)
        assert device.units < tiles * splits + tiles <= 2 * device.units + tiles
    assert found(64, 64, 32768) == (1, 64)
    assert found(64, 64, 64)[1] == 1  # too short
    for m, n, k in ((8192, 8192, 8192), (16, 57344, 8192)):
        assert found(m, n, k)[1] == 1  # full without


@pytest.mark.parametrize("architecture", GPUS)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_tuner_may_try_fits(name: str, architecture: str) -> None:
    device, kernel = GPUS[architecture], find(name)
    large: Shape = {"experts": 8} if kernel.grouped else {"batch": 4} if kernel.batched else {}
    for precision in kernel.precisions:
        if device.lacks(precision):
            continue
        for m, n, k in ((16, 4096, 4096), (4096, 4096, 4096)):
            problem = Problem(m=m, n=n, k=k, precision=precision, layout="nt", **large)
            found = kernel.settings(problem, device)
            assert 4 <= len(found) <= 48
            for settings in found:
                config = Shaped(**settings)  # type: ignore[arg-type]
                assert tile_bytes(config, problem, device) <= (device.shared_bytes or 0)
                if precision.startswith("fp8") and device.sm == 90:
                    assert max(config.BLOCK_M, config.BLOCK_N) >= 64
                    assert config.SWAP or config.BLOCK_M >= 64


@HERE
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"SPLITS": 0}, "triton-split-k: SPLITS = 0, expected 1 or more"),
        ({"SPLIT": 2}, "SPLIT"),
    ],
)
def test_settings_that_cannot_be_are_one_line(settings: dict[str, int], told: str) -> None:
    (operands,) = allocate(Problem(m=16, n=64, k=256, precision="fp16"), GPUS["sm_90"])
    tile = {"BLOCK_M": 16, "BLOCK_N": 64, "BLOCK_K": 64, "num_warps": 4, "num_stages": 3}
    with pytest.raises(GemmbenchError, match=told) as caught:
        find("triton-split-k").launch(operands, settings=tile | settings)
    assert "\n" not in str(caught.value)


def test_grouped_counts_up_to_so_many_experts() -> None:
    problem = Problem(m=4096, n=64, k=64, experts=1024, precision="bf16")
    kernel = find("triton-grouped")
    assert kernel.why_not(problem, GPUS["sm_90"]) is None
    more = dataclasses.replace(problem, experts=1025)
    assert "up to 1024 experts" in (kernel.why_not(more, GPUS["sm_90"]) or "")
    assert "experts = 1" in (
        kernel.why_not(Problem(m=64, n=64, k=64, precision="bf16"), GPUS["sm_90"]) or ""
    )


def test_block_scales_are_refused_where_triton_would_emulate() -> None:
    problem = Problem(m=64, n=64, k=64, precision="mxfp4", layout="nt")
    kernel = find("triton-block-scaled")
    for architecture, device in GPUS.items():
        refused = kernel.why_not(problem, device)
        assert (refused is None) == (architecture in ("sm_100", "sm_120", "gfx950")), refused


@pytest.fixture(scope="module")
def device() -> Device:
    from gemmbench.devices.gpu import gpu_device

    return gpu_device(0)


GPU_SHAPES: dict[str, tuple[Shape, ...]] = {
    "triton-split-k": (
        {"m": 16, "n": 4096, "k": 4096},
        {"m": 1, "n": 1536, "k": 7168},
        {"m": 64, "n": 64, "k": 32768},
        {"m": 257, "n": 131, "k": 1033},
        {"m": 4096, "n": 16, "k": 2048},
    ),
    "triton-batched": (
        {"m": 32, "n": 32, "k": 32, "batch": 1000},
        {"m": 128, "n": 128, "k": 64, "batch": 96},
        {"m": 197, "n": 64, "k": 197, "batch": 7},
        {"m": 1, "n": 37, "k": 5, "batch": 3},
        {"m": 512, "n": 512, "k": 512},
    ),
    "triton-grouped": (
        {"m": 128, "n": 1024, "k": 512, "experts": 8},
        {"m": 4096, "n": 1024, "k": 512, "experts": 8},
        {"m": 100, "n": 131, "k": 67, "experts": 130},
        {"m": 1021, "n": 1031, "k": 1033, "experts": 5},
    ),
    "triton-block-scaled": (
        {"m": 1024, "n": 1024, "k": 1024},
        {"m": 16, "n": 4096, "k": 4096},
        {"m": 257, "n": 131, "k": 1056},
        {"m": 1, "n": 7, "k": 32},
    ),
}


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "precision", "layout"),
    [
        (name, precision, layout)
        for name in GPU_SHAPES
        for precision in find(name).precisions
        for layout in (("nt",) if name == "triton-block-scaled" else LAYOUTS)
    ],
)
def test_on_a_gpu_is_verified(name: str, precision: str, layout: str, device: Device) -> None:
    kernel, refused, checked = find(name), "", 0
    for sizes in GPU_SHAPES[name]:
        problem = Problem(precision=precision, layout=layout, **sizes)
        if reason := kernel.why_not(problem, device):
            refused = reason
            continue
        (operands,) = allocate(problem, device)
        launch = kernel.launch(operands)

        def execute(operands: Any = operands, launch: Any = launch) -> tuple[torch.Tensor, ...]:
            launch.run()
            torch.cuda.synchronize()
            return (operands.out,)

        verifier = Verifier(operands=operands)
        verifier.exact(execute, salt=1)
        verifier.rounding(execute)
        first = operands.out.clone()
        execute()
        assert torch.equal(first, operands.out)  # the same every time
        checked += 1
    if not checked:
        pytest.skip(refused)


@pytest.mark.gpu
def test_on_a_gpu_rows_of_experts_may_change(device: Device) -> None:
    problem = Problem(m=4096, n=512, k=256, experts=4, precision="fp16")
    (operands,) = allocate(problem, device)
    launch = find("triton-grouped").launch(operands)
    for rows in ((0, 4096, 0, 0), (1, 2, 3, 4090)):
        operands.a.fill_(1.0)
        operands.b.copy_(torch.arange(4, device=operands.b.device)[:, None, None])
        operands.out.fill_(float("nan"))
        assert operands.offsets is not None
        operands.offsets.copy_(torch.tensor(list(itertools.accumulate(rows))))
        launch.run()
        expected = torch.repeat_interleave(
            torch.arange(4.0), torch.tensor(rows), output_size=problem.m
        )
        assert torch.equal(operands.out[:, 0].cpu().float(), 256 * expected)
