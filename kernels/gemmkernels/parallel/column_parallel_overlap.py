"""The same in chunks of rows: while one is multiplied, the next ones are gathered.

A chunk has as many rows of every rank. The rows of the output are in the order of the chunks, in
each of them in that of the ranks: another order of the tokens, which no later layer minds.
"""

import torch

from gemmkernels.kernel import Launch
from gemmkernels.parallel.exchange import all_gather
from gemmkernels.parallel.kernel import CHUNKS
from gemmkernels.parallel.shards import Shards
from gemmkernels.parallel.switches import switches_for


def bind(shards: Shards) -> Launch:
    """[M/R, K] on each rank becomes [M, N/R]."""
    group, count = shards.group, shards.task.chunks(CHUNKS)
    weight = shards.tensor("weight").T
    parts = shards.part.chunk(count)
    wholes = shards.tensor("whole").chunk(count)
    outs = shards.tensor("out").chunk(count)

    def run() -> None:
        gathered = [
            all_gather(whole, part, group=group, async_op=True)
            for whole, part in zip(wholes, parts, strict=True)
        ]
        for work, whole, out in zip(gathered, wholes, outs, strict=True):
            work.wait()
            torch.mm(whole, weight, out=out)

    return Launch(run=run, prepare=switches_for(shards), config={"chunks": count})
