"""Is what the ranks compute together right? Every rank compares its part with the whole result.

Small whole numbers, so that products, sums and what is sent of them are exact in every precision
and in any order: each rank makes the whole of X and W from a seed, multiplies them alone, and
compares its own part bit for bit.
"""

import zlib
from typing import TYPE_CHECKING

from gemmbench.verify import WrongError
from gemmkernels.kernel import Launch
from gemmkernels.parallel.kernel import ParallelKernel
from gemmkernels.parallel.shards import Shards

if TYPE_CHECKING:
    import torch

SPREAD = 30.0
"""Standard deviation of a sum, at most: bf16 holds whole numbers up to 256, over 8 times that."""

LARGEST = 3
"""Of what is summed over ranks: less where over 85 ranks could reach 256."""


class ExactCheck:
    """Fills a rank's tensors with whole numbers, and knows what must come of them.

    Keeps the whole result of the last few seeds: kernels of a group share them.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], torch.Tensor] = {}

    def fill(self, shards: Shards, kernel: ParallelKernel, salt: int) -> None:
        """Inputs of whole numbers, and NaN in all that the kernel is to write."""
        nan = float("nan")
        shards.part.fill_(nan)
        if not shards.task.split:
            self._fill_message(shards, kernel, salt)
            return
        x, weight = _x(shards, salt), _weight(shards, salt)
        task, rank = shards.task, shards.rank
        shards.tensor("out").fill_(nan)
        if task.split == "column":
            shards.tensor("whole").fill_(nan)
            shards.part.copy_(x.chunk(task.ranks)[rank])
            shards.tensor("x").copy_(x)
            shards.tensor("weight").copy_(weight.chunk(task.ranks)[rank])
        else:
            shards.tensor("x").copy_(x.chunk(task.ranks, dim=1)[rank])
            shards.tensor("weight").copy_(weight.chunk(task.ranks, dim=1)[rank])

    def compare(self, shards: Shards, kernel: ParallelKernel, launch: Launch, salt: int) -> None:
        """Raises WrongError where an element of the output differs."""
        import torch

        found = shards.tensor(kernel.output)
        expected = self._expected(shards, kernel, launch, salt).to(found.dtype)
        if torch.equal(found, expected):
            return
        differ = found != expected
        row, column = (int(i) for i in differ.nonzero()[0])
        raise WrongError(
            f"exact: element ({row}, {column}) is {float(found[row, column]):.9g}, expected "
            f"{float(expected[row, column]):.9g}; {int(differ.sum())} of {found.numel()} differ"
        )

    def forget(self) -> None:
        self._known.clear()

    def _fill_message(self, shards: Shards, kernel: ParallelKernel, salt: int) -> None:
        task, rank, whole = shards.task, shards.rank, shards.tensor("whole")
        if kernel.collective == "all-gather":
            whole.fill_(float("nan"))
            shards.part.copy_(_message(shards, salt, task.ranks)[rank : rank + 1])
        else:
            whole.copy_(_message(shards, salt, rank))

    def _expected(
        self, shards: Shards, kernel: ParallelKernel, launch: Launch, salt: int
    ) -> "torch.Tensor":
        task, rank = shards.task, shards.rank
        if not task.split:
            return self._exchanged(shards, kernel, salt)
        if kernel.name == "local-products" and task.split == "row":
            return _product(shards.tensor("x"), shards.tensor("weight"))
        whole = self._kept(shards, salt)
        chunks = int(launch.config.get("chunks", 1))
        rows = whole.shape[0] // (task.ranks * chunks)
        if task.split == "column":
            # Of each chunk the rows of every rank: see column_parallel_overlap.
            dealt = whole.view(task.ranks, chunks, rows, -1).transpose(0, 1)
            return dealt.reshape(whole.shape)
        if kernel.output == "part":
            dealt = whole.view(chunks, task.ranks, rows, -1)[:, rank]
            return dealt.reshape(shards.part.shape)
        return whole

    def _kept(self, shards: Shards, salt: int) -> "torch.Tensor":
        """X W^T, of the columns that this rank has any of."""
        problem = shards.task.problem
        key = (salt, shards.task.split, f"{problem.shape} {problem.precision}")
        if key not in self._known:
            x, weight = _x(shards, salt), _weight(shards, salt)
            if shards.task.split == "column":
                weight = weight.chunk(shards.task.ranks)[shards.rank]
            self._known[key] = _product(x, weight)
        return self._known[key]

    def _exchanged(self, shards: Shards, kernel: ParallelKernel, salt: int) -> "torch.Tensor":
        task, rank = shards.task, shards.rank
        if kernel.collective == "all-gather":
            return _message(shards, salt, task.ranks)
        total = sum(_message(shards, salt, other).float() for other in range(task.ranks))
        assert not isinstance(total, int)
        return total if kernel.output == "whole" else total[rank : rank + 1]


def _product(x: "torch.Tensor", weight: "torch.Tensor") -> "torch.Tensor":
    """In fp32, which holds every whole number on the way, whatever it is multiplied as."""
    return x.float() @ weight.float().T


def _generator(shards: Shards, name: str, salt: int) -> "torch.Generator":
    import torch

    generator = torch.Generator(device=shards.device.torch_device)
    generator.manual_seed(zlib.crc32(f"parallel:{name}:{salt}".encode()))
    return generator


def _message(shards: Shards, salt: int, rank: int) -> "torch.Tensor":
    """[R, N] whole numbers of -3 … 3 that a rank gives; others for each rank and salt."""
    import torch

    largest = max(1, min(LARGEST, 256 // shards.task.ranks))
    generator = _generator(shards, f"message {rank}", salt)
    shape, device = shards.tensor("whole").shape, shards.device.torch_device
    return torch.randint(
        *(-largest, largest + 1, shape), generator=generator, device=device, dtype=torch.int8
    )


def _x(shards: Shards, salt: int) -> "torch.Tensor":
    """[M, K] of -1, 0 and 1, so thin that no sum of K products strays far."""
    import torch

    problem = shards.task.problem
    generator, device = _generator(shards, "x", salt), shards.device.torch_device
    shape = (problem.m, problem.k)
    kept = min(1.0, SPREAD**2 / (problem.k * (2 / 3) * (2 / 3)))
    thin = torch.rand(shape, generator=generator, device=device) < kept
    found = torch.randint(-1, 2, shape, generator=generator, device=device, dtype=torch.int8)
    return found * thin


def _weight(shards: Shards, salt: int) -> "torch.Tensor":
    """[N, K] of -1, 0 and 1."""
    import torch

    problem = shards.task.problem
    generator, device = _generator(shards, "weight", salt), shards.device.torch_device
    shape = (problem.n, problem.k)
    return torch.randint(-1, 2, shape, generator=generator, device=device, dtype=torch.int8)
