"""The library rungs: what each refuses and why, and what it hands to torch."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kernel_jobs import CPU, GPUS, case

from gemmbench.runner.turners import make_bench
from gemmbench.timing.method import timing
from gemmbench.verify import Verifier
from gemmkernels import Kernel, Launch, Operands, Problem
from gemmkernels.ladder import LADDER, find
from gemmkernels.library import needs, scaled, sparse, tunable
from gemmkernels.library.switches import set_switches
from gemmkernels.operands import allocate, fill

LIBRARY = [kernel for kernel in LADDER if kernel.tier == "library"]
H200, B200, MI300X, MI355X = (GPUS[name] for name in ("sm_90", "sm_100", "gfx942", "gfx950"))


@pytest.fixture
def blas(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The libraries that torch was told to prefer; the switches are put back."""
    matmul = torch.backends.cuda.matmul
    kept = matmul.allow_tf32
    asked: list[str] = []
    monkeypatch.setattr("torch.backends.cuda.preferred_blas_library", asked.append)
    yield asked
    matmul.allow_tf32 = kept
    matmul.allow_fp16_reduced_precision_reduction = True
    matmul.allow_bf16_reduced_precision_reduction = True


def at(m: int, n: int, k: int, precision: str, **more: Any) -> Problem:
    return Problem(m=m, n=n, k=k, precision=precision, **more)


NT: Any = {"layout": "nt"}
EIGHT: Any = {"experts": 8}


@pytest.mark.parametrize(
    ("kernel", "problem", "device", "told"),
    [
        ("torch", at(64, 64, 64, "fp8_e5m2_rowwise", **NT), MI300X, "has no fp8_e5m2_rowwise"),
        ("torch", at(64, 60, 64, "fp8_e4m3_rowwise", **NT), H200, "by 16: n = 60"),
        ("torch", at(64, 64, 64, "fp8_e4m3_rowwise"), H200, "layout nt only, not nn"),
        ("torch", at(64, 64, 64, "fp8_e4m3_rowwise", batch=2, **NT), H200, "no batched fp8_e4m3_r"),
        ("torch", at(64, 64, 64, "mxfp8", **NT), H200, "mxfp8 needs sm_100"),
        ("torch", at(64, 64, 64, "mxfp4", **NT), B200, "without MSLK or FBGEMM GenAI"),
        ("torch", at(64, 64, 64, "mxfp8", **NT), MI355X, "needs ROCm 7.0 or newer for mxfp8"),
        ("torch", at(48, 64, 64, "mxfp8", **NT), MI355X, "M, N divisible by 32.*m = 48"),
        ("torch", at(64, 64, 96, "mxfp4", **NT), MI355X, "K by 64 here: .*k = 96"),
        ("torch", at(64, 64, 64, "nvfp4", **NT), MI355X, "NVIDIA's own"),
        ("cublas", at(64, 64, 64, "bf16"), MI300X, "NVIDIA's library, this is gfx942"),
        ("cublaslt", at(64, 64, 64, "bf16"), MI300X, "NVIDIA's library"),
        ("rocblas", at(64, 64, 64, "bf16"), H200, "AMD's library, this is sm_90"),
        ("hipblaslt", at(64, 64, 64, "bf16"), H200, "AMD's library, this is sm_90"),
        (
            "hipblaslt",
            at(64, 64, 64, "fp32"),
            replace(MI300X, architecture="gfx906"),
            "is for gfx908.*this is gfx906",
        ),
        ("hipblaslt", at(64, 64, 64, "fp64"), MI300X, "has no fp64"),
        ("torch-tunable", at(64, 64, 64, "bf16"), H200, "nothing to choose from"),
        ("torch-tunable", at(64, 64, 64, "fp8_e4m3"), MI300X, "layout nt only"),
        ("torch-fast-accum", at(64, 64, 64, "fp8_e4m3", **NT), B200, "on sm_90 only, this is sm_1"),
        ("torch-fast-accum", at(64, 64, 64, "fp8_e4m3"), H200, "layout nt only"),
        ("torch-sparse", at(40, 64, 64, "fp16_sparse"), H200, "M, K divisible by 16.*m = 40"),
        (
            "torch",
            at(64, 64, 64, "mxfp4", **NT),
            replace(B200, architecture="sm_120"),
            "needs compute capability 10.x, this is sm_120",
        ),
        ("torch", at(64, 64, 1040, "nvfp4", **NT), B200, "N divisible by 16 and K by 32.*k = 1040"),
        ("torch-sparse", at(64, 60, 64, "fp16_sparse"), H200, "N by 8.*n = 60"),
        ("torch-sparse", at(48, 64, 64, "int8_sparse", **NT), H200, "by 32 and N by 16: m = 48"),
        ("torch-sparse", at(64, 64, 64, "int8_sparse"), H200, "int8 in layout nt only, not nn"),
        ("torch-sparse", at(64, 64, 64, "bf16_sparse"), H200, "built without cuSPARSELt"),
        ("torch-sparse", at(64, 64, 64, "bf16_sparse"), MI300X, "on NVIDIA's GPUs only"),
        ("torch-grouped", at(64, 64, 64, "bf16"), H200, "does grouped products only"),
        ("torch-grouped", at(64, 64, 60, "bf16", **EIGHT), CPU, "rows of A.*16 bytes: 60"),
        ("torch-grouped", at(64, 60, 64, "bf16", **EIGHT), CPU, "rows of B.*16 bytes: 60"),
        (
            "torch-grouped",
            at(60, 64, 64, "bf16", layout="tn", **EIGHT),
            CPU,
            "rows of A.*16 bytes: 60",
        ),
        ("torch-grouped", at(64, 64, 64, "fp8_e4m3_rowwise", **EIGHT), H200, "layout nn, n = 64"),
        (
            "torch-grouped",
            at(64, 64, 64, "fp8_e4m3_rowwise", **NT, **EIGHT),
            replace(H200, architecture="sm_89"),
            "is for sm_90 and sm_100, this is sm_89",
        ),
        (
            "torch-grouped",
            at(64, 64, 64, "fp8_e4m3_rowwise", **NT, **EIGHT),
            MI355X,
            "is for gfx942, this is gfx950",
        ),
        (
            "torch-grouped",
            at(64, 64, 64, "fp8_e4m3_rowwise", **NT, **EIGHT),
            MI300X,
            "without FBGEMM GenAI",
        ),
        ("torch-compile", at(64, 64, 64, "bf16"), CPU, "runs on a GPU only"),
    ],
)
def test_each_says_what_it_refuses(kernel: str, problem: Problem, device: Any, told: str) -> None:
    found = find(kernel).why_not(problem, device)
    assert found is not None
    assert re.search(told, found), found


def test_each_takes_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.version.hip", "7.2.53211-e1a6bc5663")
    monkeypatch.setattr(needs, "_built_with", lambda *flags: True)
    monkeypatch.setattr("torch.backends.cusparselt.is_available", lambda: True)
    for kernel, device, precisions in (
        ("torch", H200, "fp64 fp32 tf32 fp16 bf16 fp8_e4m3 fp8_e4m3_rowwise int8"),
        ("torch", B200, "fp8_e4m3_rowwise mxfp8 mxfp4 nvfp4"),
        ("torch", MI300X, "tf32 fp8_e4m3 fp8_e5m2 fp8_e4m3_rowwise int8"),
        ("torch", MI355X, "fp8_e4m3_rowwise mxfp8 mxfp4"),
        ("cublas", H200, "fp64 fp32 tf32 fp16 bf16"),
        ("cublaslt", B200, "fp64 fp32 tf32 fp16 bf16"),
        ("rocblas", MI300X, "fp64 fp32 fp16 bf16"),
        ("hipblaslt", MI355X, "fp32 fp16 bf16"),
        ("torch-tunable", MI300X, "fp64 bf16 fp8_e5m2 fp8_e4m3_rowwise"),
        ("torch-fast-accum", H200, "fp8_e4m3 fp8_e4m3_rowwise"),
        ("torch-sparse", H200, "fp16_sparse bf16_sparse int8_sparse"),
        ("torch-compile", H200, "fp32 tf32 fp16 bf16"),
    ):
        for precision in precisions.split():
            problem = at(256, 256, 256, precision, **NT)
            assert find(kernel).why_not(problem, device) is None, (kernel, precision)
    for device in (H200, B200, MI300X):
        problem = at(256, 256, 256, "fp8_e4m3_rowwise", **NT, **EIGHT)
        assert find("torch-grouped").why_not(problem, device) is None
    for precision in ("fp32", "bf16"):
        assert find("torch-grouped").why_not(at(9, 256, 256, precision, **EIGHT), CPU) is None


def test_rocm_of_scales_in_another_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = at(64, 64, 64, "mxfp4", **NT)
    monkeypatch.setattr("torch.version.hip", "7.13.1")
    assert find("torch").why_not(problem, MI355X) is None
    kinds = SimpleNamespace(BlockWiseBlk32Ue8m0_32_8_EXT=1)
    monkeypatch.setattr("torch.nn.functional.ScalingType", kinds)
    found = find("torch").why_not(problem, MI355X)
    assert found is not None
    assert "ROCm 7.13.1 torch takes scales in an order" in found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *(("torch", []), ("cublas", ["cublas"]), ("rocblas", ["cublas"])),
        *(("cublaslt", ["cublaslt"]), ("hipblaslt", ["cublaslt"])),
    ],
)
def test_each_asks_for_its_library_as_it_prepares(
    name: str, told: list[str], blas: list[str]
) -> None:
    for precision, tf32 in (("fp32", False), ("tf32", True)):
        device = MI300X if name in ("rocblas", "hipblaslt") else H200
        (operands,) = allocate(at(8, 8, 8, precision), device)
        launch = find(name).launch(operands)
        assert launch.prepare is not None
        assert blas == []
        launch.prepare()
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        assert blas == told
        blas.clear()


def test_torch_takes_all_its_precisions_into_the_output_that_is_there(
    blas: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch is called with; a GPU would be needed to run it."""
    heard: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def out(*arguments: Any, **named: Any) -> None:
        heard.append((arguments, named))

    monkeypatch.setattr("torch.ops.aten._scaled_mm_v2", SimpleNamespace(out=out))
    for kernel, precision, device, recipe, swizzle, dtype in (
        ("torch", "fp8_e4m3", H200, 0, 0, torch.float8_e4m3fn),
        ("torch", "fp8_e4m3_rowwise", MI300X, 1, 0, torch.float8_e4m3fnuz),
        ("torch", "mxfp8", B200, 3, 1, torch.float8_e4m3fn),
        ("torch", "mxfp8", MI355X, 3, 0, torch.float8_e4m3fn),
        ("torch", "mxfp4", MI355X, 3, 0, torch.float4_e2m1fn_x2),
        ("torch", "nvfp4", B200, 2, 1, torch.float4_e2m1fn_x2),
        ("torch-fast-accum", "fp8_e4m3_rowwise", H200, 1, 0, torch.float8_e4m3fn),
    ):
        (operands,) = allocate(at(32, 64, 128, precision, **NT), device)
        launch = find(kernel).launch(operands)
        assert not launch.returns_output
        launch.run()
        arguments, named = heard.pop()
        a, b, (scale_a,), *_ = arguments
        assert a.data_ptr() == operands.a.data_ptr()
        assert b.data_ptr() == operands.b.data_ptr()
        assert (a.dtype, b.stride(0)) == (dtype, 1)
        assert arguments[3:5] == ([recipe], [swizzle])
        assert arguments[6:] == ([recipe], [swizzle], None, torch.bfloat16)
        assert (scale_a is operands.scale_a) == (swizzle == 0)
        assert named["out"] is operands.out
        assert named["use_fast_accum"] is (kernel == "torch-fast-accum")


@pytest.mark.parametrize(("rows", "columns"), [(128, 4), (1, 1), (200, 6), (300, 16), (129, 5)])
def test_scales_are_swizzled_as_the_documentation_says(rows: int, columns: int) -> None:
    """The offset of (row, block) by cuBLAS's formula; what is beyond the matrix is 0."""
    scales = (torch.arange(rows * columns) % 251 + 1).to(torch.uint8).view(rows, columns)
    found = scaled.swizzled(scales)
    wide = -(-columns // 4)
    expected = torch.zeros(-(-rows // 128) * wide * 512, dtype=torch.uint8)
    for row, column in itertools.product(range(rows), range(columns)):
        tile = (row // 128) * wide + column // 4
        inner = (row % 32) * 16 + (row % 128) // 32 * 4 + column % 4
        expected[tile * 512 + inner] = scales[row, column]
    assert torch.equal(found, expected)


def test_swizzled_scales_follow_their_source_in_place(
    blas: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    out = SimpleNamespace(out=lambda *arguments, **_: heard.append(arguments))
    monkeypatch.setattr("torch.ops.aten._scaled_mm_v2", out)
    (operands,) = allocate(at(40, 48, 96, "mxfp8", **NT), B200)
    launch = find("torch").launch(operands)
    places = set()
    for seed in (1, 2):
        fill(operands, seed=seed)
        assert launch.prepare is not None
        launch.prepare()
        launch.run()
        _, _, (scale_a,), _, _, (scale_b,), *_ = heard.pop()
        for scale, source in ((scale_a, operands.scale_a), (scale_b, operands.scale_b)):
            assert source is not None
            assert scale.dtype == torch.float8_e8m0fnu
            assert torch.equal(scale.view(torch.uint8), scaled.swizzled(source).view(torch.uint8))
        places.add((scale_a.data_ptr(), scale_b.data_ptr()))
    assert len(places) == 1


def test_a_is_compressed_again_before_each_turn(
    blas: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuSPARSELt needs a GPU: these stand-ins keep the two terms of each four that are not 0."""

    def compress(a: torch.Tensor) -> torch.Tensor:
        return a.clone()

    def product(compressed: torch.Tensor, b: torch.Tensor, *, out_dtype: Any) -> torch.Tensor:
        found = compressed.double() @ b.double()
        return found.to(out_dtype or b.dtype)

    monkeypatch.setattr("torch._cslt_compress", compress)
    monkeypatch.setattr("torch._cslt_sparse_mm", product)
    for precision, layout in (("fp16_sparse", "nn"), ("int8_sparse", "nt")):
        (operands,) = allocate(at(32, 48, 64, precision, layout=layout), H200)
        launch = sparse.bind(operands)
        assert launch.returns_output
        verifier = Verifier(operands=operands)

        def run(launch: Any = launch) -> tuple[torch.Tensor, ...]:
            launch.prepare()
            return (launch.run(),)

        verifier.exact(run, salt=1)
        verifier.rounding(run)
        assert verifier.error <= 1


GROUPS = ((40, 64, 48, 4), (3, 16, 32, 8), (130, 96, 64, 2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_grouped_products_agree_with_float64(precision: str, layout: str) -> None:
    kernel = find("torch-grouped")
    for m, n, k, experts in GROUPS:
        problem = at(m, n, k, precision, layout=layout, experts=experts)
        assert kernel.why_not(problem, CPU) is None
        (operands,) = allocate(problem, CPU)
        launch = kernel.launch(operands)
        verifier = Verifier(operands=operands)

        def run(launch: Any = launch) -> tuple[torch.Tensor, ...]:
            return (launch.run(),)

        verifier.exact(run, salt=1)
        verifier.rounding(run)
        assert verifier.error <= 1


def test_grouped_fp8_hands_over_scales_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, Any] = {}

    def grouped(
        _a: Any, _b: Any, scale_a: Any, first: Any, scale_b: Any, *_: Any, **named: Any
    ) -> None:
        heard.update(named, scale_a=scale_a, scale_b=scale_b, recipe=first.value)

    monkeypatch.setattr("torch.nn.functional.scaled_grouped_mm", grouped)
    (operands,) = allocate(at(64, 48, 32, "fp8_e4m3_rowwise", experts=4, **NT), H200)
    find("torch-grouped").launch(operands).run()
    assert heard["scale_a"].shape == (64,)
    assert heard["scale_b"].shape == (4, 48)
    assert heard["scale_b"].data_ptr() == operands.scale_b.data_ptr()  # type: ignore[union-attr]
    assert heard["offs"] is operands.offsets
    assert heard["recipe"] == 1
    assert heard["output_dtype"] is torch.bfloat16


class Tunable:
    """TunableOp as torch 2.13 behaves; `tuned` holds what was tuned, `wrote` where results went."""

    def __init__(self) -> None:
        self.filename = "tunableop_results.csv"
        self.enabled = self.tuning = False
        self.tuned: set[object] = set()
        self.wrote: list[str] = []

    def get_filename(self) -> str:
        return self.filename

    def set_filename(self, name: str) -> None:
        self.filename = name

    def set_max_tuning_duration(self, ms: int) -> None:
        assert 0 < ms <= 30

    def enable(self, on: bool) -> None:
        self.enabled = on

    def tuning_enable(self, on: bool) -> None:
        self.tuning = on

    def product(self, a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor) -> None:
        key = (*a.shape, *b.shape)
        if self.enabled and self.tuning and key not in self.tuned:
            self.tuned.add(key)
            self.wrote.append(self.filename)


def test_tunable_tunes_as_it_is_bound_and_writes_nothing(
    blas: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Tunable()
    monkeypatch.setattr("torch.cuda.tunable", fake)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    monkeypatch.setattr("torch.mm", fake.product)
    sets = allocate(at(8, 16, 24, "bf16"), MI300X, sets=3)
    launches = [tunable.bind(operands) for operands in sets]
    assert fake.wrote == ["/dev/null"]
    assert (fake.enabled, fake.tuning) == (False, False)
    assert fake.filename == "tunableop_results.csv"
    assert launches[0].prepare is not None
    launches[0].prepare()
    assert (fake.enabled, fake.tuning) == (True, False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, as it imports its compiler
def test_compiled_products_are_right_beyond_eight_shapes() -> None:
    """On a CPU, where it compiles the same graph; after eight the compiler gives up on a code."""
    pytest.importorskip("triton")
    kernel = find("torch-compile")
    for size in range(8, 18):
        assert case(kernel, at(size, 16, 8, "fp32"), CPU) <= 1


def test_switches_are_those_of_the_precision_whatever_was_there(blas: list[str]) -> None:
    matmul = torch.backends.cuda.matmul
    matmul.allow_tf32 = True
    set_switches(tf32=False)
    assert matmul.allow_tf32 is False
    assert blas == []


def test_a_cpu_s_sets_are_each_prepared() -> None:
    told: list[str] = []
    launches = [
        Launch(run=lambda: None, prepare=lambda index=index: told.append(index))  # type: ignore[misc]
        for index in "abc"
    ]
    bench = make_bench(CPU, timing("quick", kind="cpu", vendor="intel"))
    with contextlib.closing(bench):
        bench.subject(launches, allocate(at(8, 8, 8, "fp32"), CPU, sets=3)).run_checked()
    assert told == ["a", "b", "c"]


@pytest.mark.parametrize("kernel", LIBRARY, ids=lambda kernel: kernel.name)
def test_needs_never_raise(kernel: Kernel) -> None:
    for precision, (device, layout, more) in itertools.product(
        kernel.precisions,
        itertools.product(
            (*GPUS.values(), CPU), ("nn", "nt", "tt"), ({}, {"batch": 3}, {"experts": 3})
        ),
    ):
        for m, n, k in ((1, 1, 1), (17, 40, 64), (256, 256, 256)):
            problem = at(m, n, k, precision, layout=layout, **more)
            found = kernel.why_not(problem, device)
            assert found is None or found.isprintable()


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", LIBRARY, ids=lambda kernel: kernel.name)
def test_on_a_gpu_each_is_right_where_it_says_it_can(kernel: Kernel) -> None:
    from gemmbench.devices.detect import detect

    device = detect("cuda")
    for precision in kernel.precisions:
        more = EIGHT if kernel.grouped else {}
        problem = at(256, 512, 384, precision, **NT, **more)
        if kernel.why_not(problem, device):
            continue
        (operands,) = allocate(problem, device)
        launch = kernel.launch(operands)
        verifier = Verifier(operands=operands)

        def run(launch: Any = launch, operands: Operands = operands) -> tuple[torch.Tensor, ...]:
            if launch.prepare:
                launch.prepare()
            got = launch.run()
            return (got if launch.returns_output else operands.out,)

        verifier.exact(run, salt=1)
        verifier.rounding(run)
        assert verifier.error <= 1, precision
