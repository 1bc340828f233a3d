"""The sum of all ranks' tensors on every rank, in place, as torch.distributed does it."""

from functools import partial

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import all_reduce
from gemmkernels.parallel.shards import Shards


def bind(shards: Shards) -> Launch:
    """Launched again and again it adds up what it has summed: floats end at infinity."""
    return Launch(run=partial(all_reduce, shards.tensor("whole"), group=shards.group))
