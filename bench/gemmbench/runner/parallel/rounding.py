"""How far is a layer from the float64 product of the timed data? Every rank checks its own rows.

As `gemmbench.verify` has it, on sampled rows. What a rank reads of the others it draws from their
seeds, so that the reference needs nothing of what is checked.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gemmbench.runner.parallel.checks import poison, rows_of
from gemmbench.verify import ROUNDING_FLOP, gamma, hold, numerics, sample
from gemmkernels.kernel import Launch
from gemmkernels.parallel.kernel import ParallelKernel
from gemmkernels.parallel.shards import Shards, fill_shards, shard_of

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True, eq=False)
class RoundingCheck:
    """One launch on the timed data. `error` is the largest as a multiple of the bound."""

    shards: Shards
    kernel: ParallelKernel
    launch: Launch
    data: str
    seed: int
    error: float = 0.0

    def fill(self) -> None:
        """The timed data, NaN in all that is written, and what must come of it; nothing is
        exchanged.

        The bound has a rounding for the output, and where partial sums are added one for each
        addition in their type: (1 + u)^R - 1 at most, and for many ranks the probabilistic one.
        """
        import torch

        shards, problem = self.shards, self.shards.task.problem
        poison(shards)
        fill_shards(shards, data=self.data, seed=self.seed, outputs=False)
        out, constants = shards.tensor(self.kernel.output), numerics(problem.numerics)
        flop = 4 * out.shape[1] * problem.k  # of the product, and of that of the magnitudes
        wanted = max(8, int(ROUNDING_FLOP[shards.device.kind] / flop))
        self._rows = sample(out.shape[0], wanted, seed=self.seed).to(out.device)
        values = parts = inner = torch.zeros(1, dtype=torch.float64, device=out.device)
        terms, summed = problem.m * problem.n * problem.k, 0
        for x, weight in self._factors():
            a, b = x.double(), weight.double().T
            product = a @ b
            each = gamma(x.shape[1], constants.unit_acc, terms) + 2 * constants.unit_in
            values, parts = values + product, parts + product.abs()
            inner = inner + each * (a.abs() @ b.abs())
            summed += 1
        unit, last = torch.finfo(out.dtype).eps / 2, constants.unit_out
        if summed > 1:
            last = min(math.expm1(summed * math.log1p(unit)), gamma(summed, unit, terms))
        self._values, self._bound = values, inner * (1 + last) + parts * last

    def compare(self) -> None:
        """Raises WrongError where an error is above the bound, or a NaN."""
        found = self.shards.tensor(self.kernel.output).index_select(0, self._rows).double()
        self.error = hold(found, self._values, self._bound, self._rows)

    @property
    def looked_at(self) -> int:
        return len(self._rows)

    def _factors(self) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
        """Those rows of X, and W, of each partial sum of the output."""
        import torch

        shards, ranks = self.shards, range(self.shards.task.ranks)
        drawn = partial(shard_of, shards, data=self.data, seed=self.seed)
        order = rows_of(shards, self.kernel, self.launch).to(self._rows.device)[self._rows]
        if not self.kernel.collective:
            yield shards.tensor("x")[order], shards.tensor("weight")
        elif shards.task.split == "column":
            whole = torch.cat([drawn("part", rank=rank) for rank in ranks])
            yield whole[order], shards.tensor("weight")
        else:
            for rank in ranks:
                yield drawn("x", rank=rank)[order], drawn("weight", rank=rank)
