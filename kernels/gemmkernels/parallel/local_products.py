"""A rank's own product, with nothing to wait for: what communication is measured against."""

from functools import partial

import torch

from gemmkernels.kernel import Launch
from gemmkernels.parallel.shards import Shards
from gemmkernels.parallel.switches import switches_for


def bind(shards: Shards) -> Launch:
    """column: X[M, K] by the rank's N/R columns; row: its K/R terms of all M × N sums."""
    x, weight, out = (shards.tensor(name) for name in ("x", "weight", "out"))
    return Launch(run=partial(torch.mm, x, weight.T, out=out), prepare=switches_for(shards))
