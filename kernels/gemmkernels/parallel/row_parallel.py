"""A linear layer whose weights are split along K: multiply, then add up the partial sums.

As in Megatron-LM (Shoeybi et al., arXiv 1909.08053): every rank has the whole output.
"""

import torch

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import all_reduce
from gemmkernels.parallel.shards import Shards
from gemmkernels.parallel.switches import switches_for


def bind(shards: Shards) -> Launch:
    """[M, K/R] on each rank becomes [M, N] on all."""
    group = shards.group
    x, weight, out = (shards.tensor(name) for name in ("x", "weight", "out"))

    def run() -> None:
        torch.mm(x, weight.T, out=out)
        all_reduce(out, group=group)

    return Launch(run=run, prepare=switches_for(shards), config={"chunks": 1})
