"""Is what the ranks compute together right, bit for bit? Every rank checks its part of the result.

Whole numbers. Of a product each rank's K terms are built as in `verify`: column K-1-k of X is minus
its column k, plus a sparse difference, and W is the same there. Partial sums pass 2¹² by far and
are exact in fp32; the result is that of the differences alone, so small that its sum over all ranks
is exact in the type that is sent, in any order.
"""

import zlib
from typing import TYPE_CHECKING

from gemmbench.verify import CACHED_BYTES, WrongError, numerics
from gemmkernels.kernel import Launch
from gemmkernels.parallel.kernel import ParallelKernel
from gemmkernels.parallel.shards import Shards

if TYPE_CHECKING:
    import torch

SPREAD = 30.0
"""Standard deviation of a sum, at most: bf16 holds whole numbers up to 256, over 8 times that."""

PARTIAL = 2.0**22
"""What partial sums come near at most: exact in fp32, truncated or not. Of fp64 it is 2³³."""

_LARGEST_SENT = 2**15 - 1


class ExactCheck:
    """Fills a rank's tensors with whole numbers, and knows what must come of them.

    Keeps whole results for the other kernels of a group, in 256 MiB.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], torch.Tensor] = {}
        self._expected: torch.Tensor | None = None

    def fill(self, shards: Shards, kernel: ParallelKernel, salt: int) -> None:
        """Inputs of whole numbers, NaN in all that the kernel is to write, and what must come of
        it; nothing is exchanged."""
        self._expected = None
        poison(shards)
        task, rank = shards.task, shards.rank
        if not task.split:
            self._fill_message(shards, kernel, salt)
            return
        x, weight, result = _block(shards, salt, rank)
        shards.tensor("weight").copy_(weight)
        shards.tensor("x").copy_(x)
        if task.split == "column":
            shards.part.copy_(x.chunk(task.ranks)[rank])
        del x, weight
        if task.split == "column" or not kernel.collective:
            self._expected = result
            return
        problem = task.problem
        key = (salt, problem.shape, problem.precision)
        if key not in self._known:
            for other in range(task.ranks):
                if other != rank:
                    result += _block(shards, salt, other)[2]
            self._known[key] = result
            while sum(kept.nbytes for kept in self._known.values()) > CACHED_BYTES:
                del self._known[next(iter(self._known))]
            self._expected = result
        else:
            self._expected = self._known[key]

    def compare(self, shards: Shards, kernel: ParallelKernel, launch: Launch) -> None:
        """Raises WrongError where an element of the output differs from what `fill` expects."""
        import torch

        found, expected = shards.tensor(kernel.output), self._expected
        assert expected is not None, "fill comes first"
        if shards.task.split:
            order = rows_of(shards, kernel, launch)
            expected = expected.index_select(0, order.to(expected.device))
        expected = expected.to(found.dtype)
        if torch.equal(found, expected):
            return
        differ = found != expected
        # Rows first: a GPU's nonzero refuses more than 2³¹ elements.
        row = int(differ.any(1).nonzero()[0])
        column = int(differ[row].nonzero()[0])
        raise WrongError(
            f"exact: element ({row}, {column}) is {float(found[row, column]):.9g}, expected "
            f"{float(expected[row, column]):.9g}; {int(differ.sum())} of {found.numel()} differ"
        )

    def forget(self) -> None:
        self._known.clear()
        self._expected = None

    def _fill_message(self, shards: Shards, kernel: ParallelKernel, salt: int) -> None:
        task, rank, whole = shards.task, shards.rank, shards.tensor("whole")
        if kernel.collective == "all-gather":
            self._expected = _message(shards, salt, task.ranks)
            shards.part.copy_(self._expected[rank : rank + 1])
            return
        whole.copy_(_message(shards, salt, rank))
        rows = slice(None) if kernel.output == "whole" else slice(rank, rank + 1)
        total = _message(shards, salt, 0)[rows].double()
        for other in range(1, task.ranks):
            total += _message(shards, salt, other)[rows]
        self._expected = total


def poison(shards: Shards) -> None:
    """NaN in all that the kernels may write, and in what they write on the way."""
    nan = float("nan")
    for name in ("whole", "out", "part"):
        if getattr(shards, name) is not None:
            shards.tensor(name).fill_(nan)


def rows_of(shards: Shards, kernel: ParallelKernel, launch: Launch) -> "torch.Tensor":
    """The row of the whole product that is in each row of a rank's output: kernels in chunks have
    another order (see `column_parallel_overlap`, `row_parallel_scatter_overlap`)."""
    import torch

    task = shards.task
    rows = torch.arange(task.problem.m)
    chunks = int(launch.config.get("chunks", 1))
    if task.split == "column" and kernel.collective:
        return rows.view(task.ranks, chunks, -1).transpose(0, 1).reshape(-1)
    if kernel.output == "part":
        return rows.view(chunks, task.ranks, -1)[:, shards.rank].reshape(-1)
    return rows


def _generator(shards: Shards, name: str, salt: int) -> "torch.Generator":
    import torch

    generator = torch.Generator(device=shards.device.torch_device)
    generator.manual_seed(zlib.crc32(f"parallel:{name}:{salt}".encode()))
    return generator


def _message(shards: Shards, salt: int, rank: int) -> "torch.Tensor":
    """[R, N] whole numbers that a rank gives; others for each rank and salt.

    As large as their sum is exact whatever they are; over so many ranks that not even ones are, so
    thin that it does not stray far.
    """
    import torch

    ranks, whole = shards.task.ranks, shards.tensor("whole")
    exact = int(2 / torch.finfo(whole.dtype).eps)
    largest = max(1, min(_LARGEST_SENT, exact // ranks))
    generator = _generator(shards, f"message {rank}", salt)
    shape, device = whole.shape, shards.device.torch_device
    found = torch.randint(
        *(-largest, largest + 1, shape), generator=generator, device=device, dtype=torch.int16
    )
    if ranks > exact:
        kept = min(1.0, SPREAD**2 / (ranks * 2 / 3))
        found *= torch.rand(shape, generator=generator, device=device) < kept
    return found


def _block(shards: Shards, salt: int, rank: int) -> "tuple[torch.Tensor, ...]":
    """(X, W, X W^T) of a rank: of columns [M, K] and [N/R, K], of rows [M, K/R] and [N, K/R]."""
    import torch

    task, device = shards.task, shards.device.torch_device
    problem, constants = task.problem, numerics(task.problem.numerics)
    by_row = task.split == "row"
    terms = problem.k // task.ranks if by_row else problem.k
    columns = problem.n if by_row else problem.n // task.ranks
    half, middle = divmod(terms, 2)
    wide = torch.float64 if problem.precision == "fp64" else torch.float32
    # All ranks have the same X where W is split along N.
    of_x = _generator(shards, f"x {rank if by_row else ''}", salt)
    of_weight = _generator(shards, f"weight {rank}", salt)

    # Long ones, which a shorter type would round, by short ones.
    largest, least = constants.largest, constants.least or constants.largest // 2 + 1
    partial = max(PARTIAL, constants.partial)
    mean = min(2.0, partial / max(1, half) / (0.75 * largest))
    shape = (problem.m, half)
    left = torch.randint(least, largest, shape, generator=of_x, device=device).to(wide)
    # The mean square of `right` is this at most; the sum over ranks is of as many more terms.
    square = mean**2 * 13 / 12 + min(mean, 0.25)
    summed = max(1, half) * square * (task.ranks if by_row else 1)
    kept = torch.rand(shape, generator=of_x, device=device) < min(1.0, SPREAD**2 / summed)
    sign = torch.randint(0, 2, shape, generator=of_x, device=device, dtype=torch.int8) * 2 - 1
    differ = (sign * kept).to(wide)
    shape = (columns, half)
    u, v = (torch.rand(shape, generator=of_weight, device=device, dtype=wide) for _ in range(2))
    right = (mean * (0.5 + u) + v).floor_().clamp_(max=3.0)
    del u, v, kept, sign
    # An odd K's middle column has no partner.
    x_middle = torch.randint(-1, 2, (problem.m, middle), generator=of_x, device=device).to(wide)
    w_middle = torch.ones((columns, middle), device=device, dtype=wide)
    x = torch.cat((left, x_middle, (differ - left).flip(1)), dim=1)
    weight = torch.cat((right, w_middle, right.flip(1)), dim=1)
    # Small in every factor: exact as whatever it is multiplied.
    result = torch.cat((differ, x_middle), dim=1) @ torch.cat((right, w_middle), dim=1).T
    return x, weight, result
