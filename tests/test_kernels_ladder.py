"""The one list of kernels, and what each says it cannot do."""

import dataclasses
import importlib.util
import itertools
import re
import subprocess
import sys

import pytest
from kernel_jobs import CPU, GPUS

from gemmkernels import GemmbenchError, Kernel, Problem, UnknownNameError
from gemmkernels.gpu.config import chosen, default, dies, tile_bytes
from gemmkernels.gpu.config_persistent import loads, persistent, shared, stores
from gemmkernels.ladder import LADDER, find


def test_importing_the_ladder_imports_no_framework() -> None:
    code = (
        "import sys, gemmkernels.ladder, gemmkernels.userfile\n"
        "print([name for name in ('torch', 'triton', 'numba', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ladder_names_one_base_for_each_kind_of_device() -> None:
    assert len({kernel.name for kernel in LADDER}) == len(LADDER)
    assert [(kernel.name, kernel.kinds) for kernel in LADDER if kernel.base] == [
        ("numba-naive", ("cpu",)),
        ("triton-naive", ("gpu",)),
    ]


@pytest.mark.parametrize("kernel", LADDER, ids=lambda kernel: kernel.name)
def test_every_kernel_has_its_file_and_function(kernel: Kernel) -> None:
    assert isinstance(kernel.bind, str)
    module, _, name = kernel.bind.partition(":")
    assert importlib.util.find_spec(module) is not None
    if kernel.backend != "triton":
        assert callable(getattr(importlib.import_module(module), name))


def test_find_offers_the_nearest_name() -> None:
    assert find("torch").tier == "library"
    with pytest.raises(UnknownNameError, match="did you mean triton-tiled"):
        find("triton-tile")


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Problem(m=16, n=64, k=64, precision="int8"), "M > 16.*m = 16"),
        (Problem(m=64, n=60, k=64, precision="int8"), "divisible by 8.*n = 60"),
        (Problem(m=64, n=64, k=64, precision="int8", batch=2), "no batched int8"),
        (Problem(m=64, n=64, k=64, precision="fp8_e4m3"), "layout nt only, not nn"),
        (Problem(m=64, n=64, k=24, precision="fp8_e4m3", layout="nt"), "by 16.*k = 24"),
        (Problem(m=64, n=64, k=64, precision="fp8_e5m2", layout="nt"), "fp8_e5m2 by fp8_e5m2"),
    ],
)
def test_torch_says_what_its_products_refuse(problem: Problem, reason: str) -> None:
    found = find("torch").why_not(problem, GPUS["sm_90"])
    assert found is not None
    assert re.search(reason, found)


def test_torch_takes_what_it_can() -> None:
    fp8 = Problem(m=7, n=64, k=64, precision="fp8_e5m2", layout="nt")
    assert find("torch").why_not(fp8, GPUS["gfx942"]) is None
    assert find("torch").why_not(Problem(m=1, n=3, k=5, precision="int8"), CPU) is None
    batched = Problem(m=1, n=3, k=5, precision="bf16", batch=4)
    assert find("torch").why_not(batched, GPUS["sm_90"]) is None


def test_a_missing_triton_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(m=64, n=64, k=64, precision="fp32")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = find("triton-naive").why_not(problem, GPUS["sm_90"])
    assert found is not None
    assert found.startswith("Triton is not installed")


def test_naive_kernels_bound_the_work() -> None:
    large = Problem(m=129, n=128, k=128, precision="fp32")
    found = find("python-naive").why_not(large, CPU)
    assert found is not None
    assert "too long" in found
    assert find("python-naive").why_not(dataclasses.replace(large, m=128), CPU) is None


@pytest.mark.parametrize(
    ("name", "precision", "architecture", "reason"),
    [
        ("triton-matrix-core", "fp32", "sm_90", "no matrix unit here multiplies IEEE fp32"),
        ("triton-matrix-core", "fp32", "gfx942", None),
        ("triton-swizzled", "fp32", "gfx1201", "no matrix unit here multiplies IEEE fp32"),
        ("triton-swizzled", "fp64", "gfx1201", "gfx1201 has no matrix unit for fp64"),
        ("triton-swizzled", "fp64", "sm_90", None),
        ("triton-swizzled", "fp64", "sm_120", "Triton has no fp64 on Tensor Cores of sm_120"),
        ("triton-persistent", "tf32", "gfx950", "tf32 needs one of gfx942"),
        ("triton-persistent", "fp8_e4m3_rowwise", "sm_80", "needs sm_89"),
        ("triton-persistent", "fp16", "sm_75", "Triton compiles for sm_80 and newer"),
        ("triton-persistent-fast-accum", "fp8_e4m3", "sm_90", None),
        ("triton-persistent-fast-accum", "fp8_e4m3", "sm_100", "only sm_90 sums fp8 in short"),
        ("triton-persistent-fast-accum", "fp8_e4m3", "gfx942", "only sm_90 sums fp8 in short"),
        ("triton-naive", "bf16x3", "sm_90", "has no bf16x3"),
        ("triton-tiled", "fp8_e5m2_rowwise", "gfx942", None),
    ],
)
def test_triton_refuses_what_would_be_emulated(
    name: str, precision: str, architecture: str, reason: str | None
) -> None:
    amd = architecture.startswith("gfx")
    device = dataclasses.replace(
        GPUS["gfx942" if amd else "sm_90"], architecture=architecture, slug=architecture
    )
    problem = Problem(m=64, n=64, k=64, precision=precision, layout="nt")
    found = find(name).why_not(problem, device)
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)


@pytest.mark.parametrize(
    ("architecture", "units", "expected"),
    [
        ("gfx942", 304, 8),
        ("gfx942", 228, 6),
        ("gfx942", 38, 1),
        ("gfx942", 80, 1),
        ("gfx950", 256, 8),
        ("gfx950", 32, 1),
        ("gfx90a", 104, 1),
    ],
)
def test_dies_follow_from_the_units(architecture: str, units: int, expected: int) -> None:
    device = dataclasses.replace(GPUS["gfx942"], architecture=architecture, units=units)
    assert dies(device) == expected


SIZES = ((8192, 8192, 8192), (1, 8192, 8192), (1, 1, 1), (100, 7, 4097), (4096, 16, 64))


@pytest.mark.parametrize("architecture", GPUS)
@pytest.mark.parametrize("precision", find("triton-persistent").precisions)
def test_persistent_configurations_fit(architecture: str, precision: str) -> None:
    device = GPUS[architecture]
    for (m, n, k), layout, fast in itertools.product(SIZES, ("nn", "nt"), (True, False)):
        problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
        config = persistent(problem, device, None, fast=fast)
        assert config.num_stages >= 2
        short = architecture == "sm_90" and problem.numerics.is_fp8 and not fast
        assert (config.MAX_IMPRECISE is not None) == short
        if loads(problem, device):
            assert shared(config, problem) <= (device.shared_bytes or 0)
        if config.WARP_SPECIALIZE:
            assert stores(problem, device)
            assert device.sm != 90 or config.num_warps == 4


def test_only_whole_16_bytes_come_by_descriptor() -> None:
    fp8 = Problem(m=64, n=64, k=64, precision="fp8_e4m3", layout="nt")
    assert stores(fp8, GPUS["sm_90"])
    assert not loads(dataclasses.replace(fp8, k=72, layout="nn"), GPUS["sm_90"])  # A alone
    assert not loads(dataclasses.replace(fp8, k=72, layout="tt"), GPUS["sm_90"])  # B alone
    assert loads(dataclasses.replace(fp8, k=72, precision="fp16"), GPUS["sm_90"])
    assert loads(dataclasses.replace(fp8, n=63), GPUS["sm_90"])
    assert not stores(dataclasses.replace(fp8, n=63), GPUS["sm_90"])
    assert not loads(dataclasses.replace(fp8, m=63, layout="tt"), GPUS["sm_90"])
    assert not loads(fp8, GPUS["gfx950"])


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100", "gfx942", "gfx950"])
@pytest.mark.parametrize("name", ["triton-matrix-core", "triton-swizzled", "triton-persistent"])
def test_a_tuner_gets_settings_that_fit(name: str, architecture: str) -> None:
    device, kernel = GPUS[architecture], find(name)
    for precision in ("fp16", "fp64", "int8", "fp8_e4m3_rowwise"):
        problem = Problem(m=4096, n=4096, k=4096, precision=precision, layout="nt")
        if kernel.why_not(problem, device):
            continue
        found = kernel.settings(problem, device)
        assert 5 <= len(found) <= 60
        if "persistent" in name:
            configs = [persistent(problem, device, one, fast=False) for one in found]
            assert configs[0] == persistent(problem, device, None, fast=False)
            if loads(problem, device):
                assert max(shared(one, problem) for one in configs) <= (device.shared_bytes or 0)
            continue
        plain = [chosen(name, problem, device, one) for one in found]
        assert found[0]["BLOCK_M"] == default(problem, device).BLOCK_M
        assert max(tile_bytes(one, problem, device) for one in plain) <= (device.shared_bytes or 0)


def test_settings_of_another_kernel_are_refused() -> None:
    problem = Problem(m=64, n=64, k=64, precision="fp16")
    with pytest.raises(GemmbenchError, match=r"triton-swizzled.*TILE"):
        chosen("triton-swizzled", problem, GPUS["sm_90"], {"TILE": 3})


@pytest.mark.parametrize("architecture", GPUS)
@pytest.mark.parametrize("precision", find("triton-matrix-core").precisions)
def test_default_configurations_fit(architecture: str, precision: str) -> None:
    device = GPUS[architecture]
    for m, n, k in ((8192, 8192, 8192), (1, 8192, 8192), (1, 1, 1), (100, 7, 4097), (4096, 16, 64)):
        problem = Problem(m=m, n=n, k=k, precision=precision)
        config = default(problem, device)
        assert tile_bytes(config, problem, device) <= (device.shared_bytes or 0)
        assert config.MAX_IMPRECISE is None or 32 <= config.MAX_IMPRECISE <= config.BLOCK_K
        assert (config.MAX_IMPRECISE is None) != (
            problem.numerics.is_fp8 and architecture == "sm_90"
        )
        assert (config.waves_per_eu is None) == (device.vendor != "amd")
    small = default(Problem(m=512, n=512, k=512, precision=precision), device)
    large = default(Problem(m=8192, n=8192, k=8192, precision=precision), device)
    assert small.BLOCK_M * small.BLOCK_N < large.BLOCK_M * large.BLOCK_N


def test_fewer_stages_where_shared_memory_is_small() -> None:
    problem = Problem(m=8192, n=8192, k=8192, precision="fp16")
    card = dataclasses.replace(GPUS["sm_80"], architecture="sm_89", shared_bytes=101376)
    assert tile_bytes(default(problem, card), problem, card) <= 101376
    unsaid = dataclasses.replace(card, shared_bytes=None)
    assert tile_bytes(default(problem, unsaid), problem, unsaid) <= 65536
    tiny = dataclasses.replace(card, shared_bytes=32768)
    config = default(problem, tiny)
    assert config.num_stages == 2
    assert tile_bytes(config, problem, tiny) <= 32768


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("h100", "did you mean h100-pcie or h100-sxm5?"),
        ("FP32", "did you mean fp32?"),
        ("fp8", "did you mean fp8_e4m3 or fp8_e4m3_rowwise or mxfp8?"),
        ("fp23", "did you mean fp32"),
        ("?", "known: "),
    ],
)
def test_a_name_that_is_unknown_gets_the_nearest(asked: str, offered: str) -> None:
    known = ("h100-sxm5", "h100-pcie", "mi100", "fp32", "tf32", "fp8_e4m3", "fp8_e4m3_rowwise")
    assert offered in str(UnknownNameError("name", asked, [*known, "mxfp8"]))
