"""Every rank's part, one after the other, on every rank."""

from functools import partial

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import all_gather
from gemmkernels.parallel.shards import Shards


def bind(shards: Shards) -> Launch:
    """[1, N] on each of R ranks becomes [R, N] on all."""
    return Launch(run=partial(all_gather, shards.tensor("whole"), shards.part, group=shards.group))
