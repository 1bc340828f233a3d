"""What several ranks are to do together: a product that is split, or a collective alone."""

from dataclasses import dataclass
from typing import Literal

from gemmkernels.problem import Problem

Split = Literal["", "column", "row"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """The whole product C[M, N] = X[M, K] @ W[N, K]^T over `ranks`; `split` is along what W is.

    column: W along N, and X along M before the ranks gather it. row: W and X along K. An empty
    split is a collective alone: its problem is M = ranks, N elements a rank, K = 1.
    """

    problem: Problem
    split: Split
    ranks: int

    @property
    def misfit(self) -> str | None:
        """Why the ranks cannot share it evenly; None if they can."""
        problem = self.problem
        names = {"": "m", "column": "mn", "row": "mk"}[self.split]
        for name in names:
            value = getattr(problem, name)
            if value % self.ranks:
                return f"{name.upper()} = {value} does not split among {self.ranks} ranks"
        return None

    def chunks(self, most: int) -> int:
        """In how many chunks the rows split, each with as many whole rows of every rank."""
        rows, count = self.problem.m // self.ranks, most
        while count > 1 and rows % count:
            count //= 2
        return count

    @property
    def exchanged_bytes(self) -> int:
        """The larger of a rank's input and output of the collective, in bytes."""
        problem = self.problem
        columns = problem.k if self.split == "column" else problem.n
        return problem.m * columns * problem.numerics.bytes_out

    @property
    def shard_bytes(self) -> int:
        """What one set of a rank's tensors takes, in bytes."""
        p, size = self.problem, self.problem.numerics.bytes_out
        if self.split == "column":
            columns = p.n // self.ranks
            elements = p.m // self.ranks * p.k + 2 * p.m * p.k + columns * p.k + p.m * columns
        elif self.split == "row":
            terms = p.k // self.ranks
            elements = p.m * terms + p.n * terms + p.m * p.n + p.m // self.ranks * p.n
        else:
            elements = p.m * p.n + p.n
        return elements * size
