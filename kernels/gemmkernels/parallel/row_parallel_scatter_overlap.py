"""The same in chunks of rows: while one is reduce-scattered, the next one is multiplied.

A rank keeps its rows of each chunk, in the order of the chunks.
"""

import torch

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import reduce_scatter
from gemmkernels.parallel.kernel import CHUNKS
from gemmkernels.parallel.shards import Shards
from gemmkernels.parallel.switches import switches_for


def bind(shards: Shards) -> Launch:
    """[M, K/R] on each rank becomes [M/R, N]."""
    group, count = shards.group, shards.task.chunks(CHUNKS)
    weight = shards.tensor("weight").T
    xs, outs = shards.tensor("x").chunk(count), shards.tensor("out").chunk(count)
    parts = shards.part.chunk(count)

    def run() -> None:
        reduced = []
        for x, out, part in zip(xs, outs, parts, strict=True):
            torch.mm(x, weight, out=out)
            reduced.append(reduce_scatter(part, out, group=group, async_op=True))
        for work in reduced:
            work.wait()

    return Launch(run=run, prepare=switches_for(shards), config={"chunks": count})
