"""Verification catches the faults that kernels have, and passes what is right."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from gemmbench.verify import Verifier, WrongError, fill_exact, gamma
from gemmkernels import operands as words
from gemmkernels.device import Device
from gemmkernels.operands import Operands, allocate, fill, poison
from gemmkernels.precision import PRECISIONS
from gemmkernels.problem import Problem

CPU = Device(
    kind="cpu",
    vendor="other",
    name="test",
    architecture="x86-64-v3",
    torch_device="cpu",
    slug="test",
    units=2,
    memory_bytes=2**33,
)
SHAPES = [(64, 64, 64), (1000, 777, 513), (2048, 2048, 4096)]
Fault = Callable[[Operands, int], None]


def product(operands: Operands) -> torch.Tensor:
    """The right answer, by a product that is exact for the exact check's integers."""
    return words.product(operands, *words.values(operands))


def library(operands: Operands) -> None:
    if operands.out.dtype in (torch.float32, torch.float64):
        torch.mm(operands.a, operands.b, out=operands.out)
    else:
        operands.out.copy_(product(operands))


def last_tile_left_out(operands: Operands, call: int) -> None:
    tile = min(32, operands.problem.k // 2)
    torch.mm(operands.a[:, :-tile], operands.b[:-tile], out=operands.out)


def tile_unwritten(operands: Operands, call: int) -> None:
    rows = operands.problem.m // 2
    torch.mm(operands.a[:rows], operands.b, out=operands.out[:rows])


def one_nan(operands: Operands, call: int) -> None:
    library(operands)
    operands.out[-1, -1] = float("nan")


def one_off(operands: Operands, call: int) -> None:
    library(operands)
    operands.out[operands.problem.m // 3, operands.problem.n // 2] += 1


def rows_swapped(operands: Operands, call: int) -> None:
    library(operands)
    last = operands.problem.m - 1
    operands.out[[0, last]] = operands.out[[last, 0]]


def sums_in_fp16(operands: Operands, call: int) -> None:
    """Sums in fp16, in blocks as a matrix unit does."""
    total = torch.zeros(operands.out.shape, dtype=torch.float16)
    for start in range(0, operands.problem.k, 16):
        part = operands.a[:, start : start + 16] @ operands.b[start : start + 16]
        total += part.half()
    operands.out.copy_(total)


def wrong_on_third(operands: Operands, call: int) -> None:
    library(operands)
    if call >= 3:
        operands.out[0, 0] += 1


FAULTS: list[Fault] = [
    last_tile_left_out,
    tile_unwritten,
    one_nan,
    one_off,
    rows_swapped,
    sums_in_fp16,
    wrong_on_third,
]


def as_the_runner_does(verifier: Verifier, kernel: Callable[[int], torch.Tensor]) -> None:
    """Both checks, a second exact one, and both again after the turns."""
    calls = iter(range(1, 1000))

    def execute() -> tuple[torch.Tensor, ...]:
        return (kernel(next(calls)),)

    verifier.exact(execute, salt=1)
    verifier.rounding(execute)
    verifier.exact(execute, salt=2)
    verifier.restore()
    for _ in range(3):
        execute()
    verifier.rounding(execute)
    verifier.exact(execute, salt=2)


def bound_to(operands: Operands, fault: Fault) -> Callable[[int], torch.Tensor]:
    def run(call: int) -> torch.Tensor:
        fault(operands, call)
        return operands.out

    return run


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_fault_is_caught_and_the_library_passes(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    (operands,) = allocate(Problem(m=m, n=n, k=k, precision="fp32"), CPU)
    verifier = Verifier(operands=operands)
    as_the_runner_does(verifier, bound_to(operands, lambda o, call: library(o)))
    assert verifier.error <= 1
    for fault in FAULTS:
        with pytest.raises(WrongError):
            as_the_runner_does(verifier, bound_to(operands, fault))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_kernel_that_returns_its_last_result_is_caught(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    (operands,) = allocate(Problem(m=m, n=n, k=k, precision="fp32"), CPU)
    kept: list[torch.Tensor] = []

    def stale(call: int) -> torch.Tensor:
        library(operands)
        fresh = operands.out.clone()
        operands.out.copy_(kept[-1] if kept else fresh)
        kept[:] = [fresh]
        return operands.out

    with pytest.raises(WrongError):
        as_the_runner_does(Verifier(operands=operands), stale)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_freivalds_catches_them_too(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemmbench.verify.PRODUCT_FLOP", {"cpu": 1.0})
    (operands,) = allocate(Problem(m=300, n=200, k=256, precision="fp32"), CPU)
    verifier = Verifier(operands=operands)
    assert verifier.exact_by == "freivalds"
    as_the_runner_does(verifier, bound_to(operands, lambda o, call: library(o)))
    with pytest.raises(WrongError):
        as_the_runner_does(verifier, bound_to(operands, fault))


def test_tf32_does_not_pass_for_fp32() -> None:
    (operands,) = allocate(Problem(m=64, n=64, k=1024, precision="fp32"), CPU)

    def truncated(call: int) -> torch.Tensor:
        a, b = (
            (t.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)
            for t in (operands.a, operands.b)
        )
        torch.mm(a, b, out=operands.out)
        return operands.out

    with pytest.raises(WrongError, match="exact"):
        as_the_runner_does(Verifier(operands=operands), truncated)


def test_fp32_does_not_pass_for_fp64() -> None:
    (operands,) = allocate(Problem(m=64, n=64, k=256, precision="fp64"), CPU)

    def narrowed(call: int) -> torch.Tensor:
        operands.out.copy_(operands.a.float() @ operands.b.float())
        return operands.out

    with pytest.raises(WrongError, match="exact"):
        as_the_runner_does(Verifier(operands=operands), narrowed)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp8_e4m3"])
def test_sums_in_fp16_are_caught_where_fp32_is_promised(precision: str) -> None:
    (operands,) = allocate(Problem(m=64, n=64, k=512, precision=precision), CPU)

    def half(call: int) -> torch.Tensor:
        a, b = operands.a.float(), operands.b.float()
        total = torch.zeros(64, 64, dtype=torch.float16)
        for k in range(0, 512, 16):
            total += (a[:, k : k + 16] @ b[k : k + 16]).half()
        if operands.scale_a is not None and operands.scale_b is not None:
            total = total * (operands.scale_a * operands.scale_b)
        operands.out.copy_(total)
        return operands.out

    with pytest.raises(WrongError, match="exact"):
        as_the_runner_does(Verifier(operands=operands), half)


@pytest.mark.parametrize("scale", ["scale_a", "scale_b"])
def test_a_scale_that_is_not_applied_is_caught(scale: str) -> None:
    (operands,) = allocate(Problem(m=48, n=32, k=64, precision="fp8_e4m3"), CPU)

    def unscaled(call: int) -> torch.Tensor:
        operands.out.copy_(product(operands) / float(getattr(operands, scale)))
        return operands.out

    with pytest.raises(WrongError):
        as_the_runner_does(Verifier(operands=operands), unscaled)


def of(precision: str, m: int, n: int, k: int, *, experts: int = 1) -> Problem:
    """A problem in a layout and with a K that the precision has."""
    row = PRECISIONS[precision]
    along = row.block or (4 if row.sparse else 1)
    layout = "nt" if row.is_blockwise else "nn"
    k = -(-k // along) * along
    return Problem(m=m, n=n, k=k, precision=precision, layout=layout, experts=experts)


@pytest.mark.parametrize("experts", [1, 3])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_right_passes_in_every_precision(precision: str, experts: int) -> None:
    (operands,) = allocate(of(precision, 50, 37, 96, experts=experts), CPU)
    verifier = Verifier(operands=operands)
    as_the_runner_does(verifier, lambda call: operands.out.copy_(product(operands)))
    assert verifier.error <= 1


def shifted(scale: torch.Tensor, dim: int) -> torch.Tensor:
    """Each the scale of its neighbour."""
    same_size = torch.uint8 if scale.element_size() == 1 else torch.int32
    return scale.view(same_size).roll(1, dim).view(scale.dtype)


MANY_SCALES = [row.name for row in PRECISIONS.values() if row.scaling in ("rowwise", "blockwise")]


@pytest.mark.parametrize("precision", MANY_SCALES)
@pytest.mark.parametrize("which", ["scale_a", "scale_b"])
@pytest.mark.parametrize("dim", [-2, -1])
def test_the_scale_of_a_neighbour_is_caught(precision: str, which: str, dim: int) -> None:
    (operands,) = allocate(of(precision, 50, 37, 96), CPU)
    scale = getattr(operands, which)
    if scale.shape[dim] == 1:
        pytest.skip("has one scale along it")

    def wrong(call: int) -> torch.Tensor:
        right = scale.clone()
        scale.copy_(shifted(scale, dim))
        result = product(operands)
        scale.copy_(right)
        return operands.out.copy_(result)

    with pytest.raises(WrongError, match="exact"):
        as_the_runner_does(Verifier(operands=operands), wrong)


@pytest.mark.parametrize("freivalds", [False, True])
def test_a_row_that_goes_to_another_expert_is_caught(
    freivalds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if freivalds:
        monkeypatch.setattr("gemmbench.verify.PRODUCT_FLOP", {"cpu": 1.0})
    (operands,) = allocate(of("fp32", 30, 20, 40, experts=4), CPU)
    as_the_runner_does(
        Verifier(operands=operands), lambda call: operands.out.copy_(product(operands))
    )

    def wrong(call: int) -> torch.Tensor:
        operands.out.copy_(product(operands))
        first = operands.problem.tokens[0]
        operands.out[first - 1] = operands.a[first - 1] @ operands.b[1]
        return operands.out

    with pytest.raises(WrongError, match="exact"):
        as_the_runner_does(Verifier(operands=operands), wrong)


@pytest.mark.parametrize("k", [4, 8, 12, 100, 1000])
@pytest.mark.parametrize("data", ["exact", "normal", "integers"])
def test_a_sparse_a_has_two_zeros_in_four(k: int, data: str) -> None:
    (operands,) = allocate(of("fp16_sparse", 33, 8, k), CPU)
    if data == "exact":
        fill_exact(operands, 5)
    else:
        fill(operands, data=data)
    blocks = (operands.a.float() != 0).view(33, -1, 4).sum(-1)
    assert int(blocks.max()) == 2


def test_bf16_does_not_pass_for_three_times_bf16() -> None:
    (operands,) = allocate(Problem(m=64, n=64, k=256, precision="bf16x3"), CPU)

    def once(call: int) -> torch.Tensor:
        return operands.out.copy_(operands.a.bfloat16().double() @ operands.b.bfloat16().double())

    with pytest.raises(WrongError, match="exact"):
        as_the_runner_does(Verifier(operands=operands), once)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("k", [1, 2, 3, 7, 64, 1001, 20_000])
def test_the_exact_inputs_are_exact(precision: str, k: int) -> None:
    """A product in the promised accumulator, in any order, is the float64 product."""
    (operands,) = allocate(of(precision, 16, 8, k), CPU)
    row, k = PRECISIONS[precision], operands.problem.k
    for scale in (operands.scale_a, operands.scale_b):
        if scale is not None:
            scale.copy_(torch.ones(scale.shape))
    fill_exact(operands, 3)
    a, b = words.values(operands)
    assert torch.equal(a, a.round())
    assert torch.equal(b, b.round())
    assert int(a.abs().max()) > 0
    total = torch.zeros(16, 8, dtype=torch.float64)
    largest = 0.0
    for index in range(k):
        total += a[:, index : index + 1] * b[index : index + 1]
        largest = max(largest, float(total.abs().max()))
    exact_up_to = {"fp64": 2.0**53, "int8": 2.0**31, "fp8_e4m3": 2.0**13, "fp8_e5m2": 2.0**13}
    assert largest <= exact_up_to.get(row.arithmetic, 2.0**24)
    if k >= 1000:
        assert largest > (2**11 if row.bits_in == 4 and k < 2000 else 2**12)
        assert len(set(total.flatten().tolist())) > 4
    assert torch.equal(
        total.to(operands.out.dtype).double(), (a @ b).to(operands.out.dtype).double()
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("precision", ["fp64", "fp32", "int8", "bf16"])
def test_right_kernels_pass_on_twenty_seeds(precision: str, seed: int) -> None:
    (operands,) = allocate(Problem(m=65, n=33, k=129, precision=precision), CPU)
    verifier = Verifier(operands=operands, seed=seed)
    as_the_runner_does(verifier, bound_to(operands, lambda o, call: library(o)))
    assert verifier.error <= 1


@pytest.mark.parametrize("data", ["zeros", "zeros50", "integers", "uniform"])
def test_other_data_are_verified_too(data: str) -> None:
    (operands,) = allocate(Problem(m=40, n=24, k=56, precision="fp32"), CPU)
    verifier = Verifier(operands=operands, data=data)
    as_the_runner_does(verifier, bound_to(operands, lambda o, call: library(o)))
    with pytest.raises(WrongError):
        as_the_runner_does(verifier, bound_to(operands, one_nan))


def test_batches_are_verified_element_by_element() -> None:
    (operands,) = allocate(Problem(batch=3, m=20, n=12, k=40, precision="fp32"), CPU)
    verifier = Verifier(operands=operands)

    def batched(call: int, fault: bool = False) -> torch.Tensor:
        torch.bmm(operands.a, operands.b, out=operands.out)
        if fault:
            operands.out[2, 5, 7] += 1
        return operands.out

    as_the_runner_does(verifier, batched)
    with pytest.raises(WrongError, match=r"\(5, 7\)"):
        as_the_runner_does(verifier, partial(batched, fault=True))


def test_few_rows_are_looked_at_when_a_product_would_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gemmbench.verify.ROUNDING_FLOP", {"cpu": 1.0})
    (operands,) = allocate(Problem(m=500, n=40, k=30, precision="fp32"), CPU)
    verifier = Verifier(operands=operands)

    def execute() -> tuple[torch.Tensor, ...]:
        library(operands)
        return (operands.out,)

    verifier.rounding(execute)
    assert 2 <= verifier.rows <= 8


def test_an_output_that_is_not_written_is_poison() -> None:
    (operands,) = allocate(Problem(m=8, n=8, k=8, precision="int8"), CPU)
    fill(operands)
    poison(operands)
    assert int(operands.out.max()) == -(2**31)
    with pytest.raises(WrongError, match=r"-2.14748365e\+09"):
        Verifier(operands=operands).exact(lambda: (operands.out,), salt=1)


def test_the_bound_grows_as_the_root_of_k() -> None:
    assert gamma(400, 2.0**-24, 10**6) == pytest.approx(2 * gamma(100, 2.0**-24, 10**6), rel=1e-3)
    assert gamma(100, 0.0, 10) == 0
