"""The sum of all ranks' tensors, of which each rank keeps one part."""

from functools import partial

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import reduce_scatter
from gemmkernels.parallel.shards import Shards


def bind(shards: Shards) -> Launch:
    """[R, N] on each of R ranks becomes [1, N]."""
    whole = shards.tensor("whole")
    return Launch(run=partial(reduce_scatter, shards.part, whole, group=shards.group))
