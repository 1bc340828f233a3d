"""The checks of several ranks, in one process: arithmetic stands in for the collectives."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import synthetic
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gemmbench.runner.parallel.checks import ExactCheck
from gemmbench.runner.parallel.rounding import RoundingCheck
from gemmbench.verify import WrongError
from gemmkernels.kernel import Launch
from gemmkernels.parallel.kernel import PRECISIONS
from gemmkernels.parallel.ladder import PARALLEL
from gemmkernels.parallel.shards import Shards, allocate_shards
from gemmkernels.parallel.task import Split, Task
from gemmkernels.problem import Problem

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
KERNELS = {one.name: one for one in PARALLEL}
LAYERS = (
    *("local-products-column", "column-parallel"),
    *("local-products-row", "row-parallel", "row-parallel-scatter"),
)


def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight.T


def short(dtype: torch.dtype) -> Product:
    """Inputs rounded to another type first."""
    return lambda x, weight: (x.to(dtype).float() @ weight.to(dtype).float().T).to(x.dtype)


@dataclass(kw_only=True)
class Together:
    """All ranks of one kernel; `run` is what they would do."""

    name: str
    precision: str
    ranks: int
    shape: tuple[int, int, int]
    multiply: Product = product
    broken: Callable[[Shards], None] = lambda _shards: None
    shards: list[Shards] = field(init=False)

    def __post_init__(self) -> None:
        self.kernel, (m, n, k) = KERNELS[self.name], self.shape
        split: Split = self.kernel.splits[0]  # type: ignore[assignment]
        problem = Problem(m=m, n=n, k=k, precision=self.precision, layout="nt")
        self.task = Task(problem=problem, split=split, ranks=self.ranks)
        self.launch = Launch(run=lambda: None)
        self.shards = [
            allocate_shards(self.task, synthetic.CPU, rank=rank, group=None)[0]
            for rank in range(self.ranks)
        ]

    def run(self) -> None:
        if self.task.split == "column":
            gathered = torch.cat([one.part for one in self.shards])
            for one in self.shards:
                x = gathered if self.kernel.collective else one.tensor("x")
                one.tensor("out").copy_(self.multiply(x, one.tensor("weight")))
        elif self.task.split == "row":
            for one in self.shards:
                one.tensor("out").copy_(self.multiply(one.tensor("x"), one.tensor("weight")))
            if self.kernel.collective:
                self._reduce("out")
        elif self.kernel.collective == "all-gather":
            gathered = torch.cat([one.part for one in self.shards])
            for one in self.shards:
                one.tensor("whole").copy_(gathered)
        else:
            self._reduce("whole")
        self.broken(self.shards[-1])

    def _reduce(self, name: str) -> None:
        total = torch.stack([one.tensor(name) for one in self.shards]).clone()
        while len(total) > 1:  # in the type that is sent
            total = torch.cat((total[:1] + total[1:2], total[2:]))
        for rank, one in enumerate(self.shards):
            if self.kernel.output == "part":
                one.part.copy_(total[0].chunk(self.ranks)[rank])
            else:
                one.tensor(name).copy_(total[0])

    def exact(self, salt: int = 1) -> None:
        checks = [ExactCheck() for _ in self.shards]
        for check, one in zip(checks, self.shards, strict=True):
            check.fill(one, self.kernel, salt)
        self.run()
        for check, one in zip(checks, self.shards, strict=True):
            check.compare(one, self.kernel, self.launch)

    def rounding(self) -> float:
        checks = [
            RoundingCheck(shards=one, kernel=self.kernel, launch=self.launch, data="normal", seed=3)
            for one in self.shards
        ]
        for check in checks:
            check.fill()
        self.run()
        for check in checks:
            check.compare()
        assert all(
            check.looked_at == len(check.shards.tensor(self.kernel.output)) for check in checks
        )
        return max(check.error for check in checks)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_right_in_every_precision(name: str, precision: str) -> None:
    for ranks, shape in ((1, (4, 8, 7)), (2, (16, 32, 66)), (8, (32, 32, 256))):
        every = Together(name=name, precision=precision, ranks=ranks, shape=shape)
        every.exact()
        assert 0 <= every.rounding() <= 1


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(("all-reduce", "all-gather", "reduce-scatter")),
    precision=st.sampled_from(("fp64", "fp32", "fp16", "bf16")),
    ranks=st.integers(2, 12),
    salt=st.integers(0, 2**31),
)
def test_messages_are_exact_in_any_type(name: str, precision: str, ranks: int, salt: int) -> None:
    Together(name=name, precision=precision, ranks=ranks, shape=(ranks, 40, 1)).exact(salt)


def test_over_thousands_of_ranks_messages_are_thin() -> None:
    every = Together(name="all-reduce", precision="bf16", ranks=1, shape=(1, 8, 1))
    ranks = 6000
    task = Task(problem=Problem(m=ranks, n=1, k=1, precision="bf16"), split="", ranks=ranks)
    (shards,) = allocate_shards(task, synthetic.CPU, rank=0, group=None)
    check = ExactCheck()
    check.fill(shards, every.kernel, 1)
    assert check._expected is not None
    assert float(check._expected.std()) == pytest.approx(30, rel=0.1)
    assert float(check._expected.abs().max()) <= 256


def test_partial_sums_pass_2_to_the_12() -> None:
    every = Together(name="row-parallel", precision="bf16", ranks=8, shape=(32, 32, 2048))
    for one in every.shards:
        check = ExactCheck()
        check.fill(one, every.kernel, 1)
        assert check._expected is not None
        assert 20 < float(check._expected.std()) < 32, "over all ranks bf16 holds the sums"
        half = 2048 // 8 // 2
        partial = one.tensor("x").double()[:, :half] @ one.tensor("weight").double()[:, :half].T
        assert float(partial.min()) > 2**12
        assert float(partial.max()) < 2**24


@pytest.mark.parametrize(
    ("precision", "dtype", "by_rounding"),
    [
        ("fp32", torch.bfloat16, True),
        ("fp32", torch.float16, True),
        ("tf32", torch.bfloat16, False),
        ("fp16", torch.bfloat16, True),
        ("fp64", torch.float32, True),
    ],
)
@pytest.mark.parametrize("name", ["column-parallel", "row-parallel"])
def test_a_shorter_type_is_wrong(
    name: str, precision: str, dtype: torch.dtype, *, by_rounding: bool
) -> None:
    every = Together(
        name=name, precision=precision, ranks=4, shape=(16, 16, 512), multiply=short(dtype)
    )
    with pytest.raises(WrongError, match="exact: element"):
        every.exact()
    if by_rounding:
        with pytest.raises(WrongError, match="rounding: element"):
            every.rounding()


@pytest.mark.parametrize("name", [one.name for one in PARALLEL if not one.overlaps])
def test_one_wrong_element_on_one_rank_is_found(name: str) -> None:
    kernel = KERNELS[name]

    def broken(shards: Shards) -> None:
        shards.tensor(kernel.output)[-1, -1] += 1

    shape = (16, 32, 64) if kernel.splits[0] else (4, 32, 1)
    every = Together(name=name, precision="bf16", ranks=4, shape=shape, broken=broken)
    with pytest.raises(WrongError, match=r"exact: element .*; 1 of"):
        every.exact()


def test_a_kernel_that_writes_nothing_is_wrong() -> None:
    every = Together(name="row-parallel", precision="fp32", ranks=2, shape=(8, 8, 16))
    every.rounding()  # its result must not pass for the next one's
    every.run = lambda: None  # type: ignore[method-assign]
    with pytest.raises(WrongError, match="is nan"):
        every.rounding()
    with pytest.raises(WrongError, match="is nan"):
        every.exact()
