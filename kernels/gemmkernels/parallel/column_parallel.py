"""A linear layer whose weights are split along N: gather the rows of X, then multiply.

Between layers each rank holds M/R rows (sequence parallelism: Korthikanti et al., "Reducing
activation recomputation in large transformer models", arXiv 2205.05198).
"""

import torch

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import all_gather
from gemmkernels.parallel.shards import Shards
from gemmkernels.parallel.switches import switches_for


def bind(shards: Shards) -> Launch:
    """[M/R, K] on each rank becomes [M, N/R]."""
    part, group = shards.part, shards.group
    whole, weight, out = (shards.tensor(name) for name in ("whole", "weight", "out"))

    def run() -> None:
        all_gather(whole, part, group=group)
        torch.mm(whole, weight.T, out=out)

    return Launch(run=run, prepare=switches_for(shards), config={"chunks": 1})
