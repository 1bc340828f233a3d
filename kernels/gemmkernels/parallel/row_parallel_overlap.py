"""The same in chunks of rows: while one is reduced, the next one is multiplied."""

import torch

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import all_reduce
from gemmkernels.parallel.kernel import CHUNKS
from gemmkernels.parallel.shards import Shards
from gemmkernels.parallel.switches import switches_for


def bind(shards: Shards) -> Launch:
    """[M, K/R] on each rank becomes [M, N] on all."""
    group, count = shards.group, shards.task.chunks(CHUNKS)
    weight = shards.tensor("weight").T
    xs, outs = shards.tensor("x").chunk(count), shards.tensor("out").chunk(count)

    def run() -> None:
        reduced = []
        for x, out in zip(xs, outs, strict=True):
            torch.mm(x, weight, out=out)
            reduced.append(all_reduce(out, group=group, async_op=True))
        for work in reduced:
            work.wait()

    return Launch(run=run, prepare=switches_for(shards), config={"chunks": count})
