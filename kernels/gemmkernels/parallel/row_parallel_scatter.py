"""Weights split along K, where each rank keeps M/R rows of the sum: half of what all-reduce moves.

What sequence parallelism has after a layer; see `column_parallel`.
"""

import torch

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import reduce_scatter
from gemmkernels.parallel.shards import Shards
from gemmkernels.parallel.switches import switches_for


def bind(shards: Shards) -> Launch:
    """[M, K/R] on each rank becomes [M/R, N]."""
    part, group = shards.part, shards.group
    x, weight, out = (shards.tensor(name) for name in ("x", "weight", "out"))

    def run() -> None:
        torch.mm(x, weight.T, out=out)
        reduce_scatter(part, out, group=group)

    return Launch(run=run, prepare=switches_for(shards), config={"chunks": 1})
