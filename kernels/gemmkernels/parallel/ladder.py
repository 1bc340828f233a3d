"""The one list of kernels of several ranks, in order."""

from gemmkernels.parallel.kernel import ParallelKernel

PARALLEL: tuple[ParallelKernel, ...] = (
    ParallelKernel(
        name="all-reduce",
        summary="the sum of all ranks' tensors, on every rank",
        bind="all_reduce:bind",
        splits=("",),
        output="whole",
        collective="all-reduce",
    ),
    ParallelKernel(
        name="all-gather",
        summary="every rank's part, on every rank",
        bind="all_gather:bind",
        splits=("",),
        output="whole",
        collective="all-gather",
    ),
    ParallelKernel(
        name="reduce-scatter",
        summary="the sum of all ranks' tensors, a part on each rank",
        bind="reduce_scatter:bind",
        splits=("",),
        output="part",
        collective="reduce-scatter",
    ),
    ParallelKernel(
        name="local-products-column",
        summary="the product by a rank's own columns of the weights, without any communication",
        bind="local_products:bind",
        splits=("column",),
        output="out",
    ),
    ParallelKernel(
        name="column-parallel",
        summary="weights split along N: all-gather the input's rows, then multiply",
        bind="column_parallel:bind",
        splits=("column",),
        output="out",
        collective="all-gather",
        base=True,
    ),
    ParallelKernel(
        name="column-parallel-overlap",
        summary="the next chunk of rows is gathered while this one is multiplied",
        bind="column_parallel_overlap:bind",
        splits=("column",),
        output="out",
        collective="all-gather",
        overlaps=True,
    ),
    ParallelKernel(
        name="local-products-row",
        summary="the product of a rank's own terms of the sums, without any communication",
        bind="local_products:bind",
        splits=("row",),
        output="out",
    ),
    ParallelKernel(
        name="row-parallel",
        summary="weights split along K: multiply, then all-reduce the partial sums",
        bind="row_parallel:bind",
        splits=("row",),
        output="out",
        collective="all-reduce",
        base=True,
    ),
    ParallelKernel(
        name="row-parallel-overlap",
        summary="the last chunk of rows is reduced while this one is multiplied",
        bind="row_parallel_overlap:bind",
        splits=("row",),
        output="out",
        collective="all-reduce",
        overlaps=True,
    ),
    ParallelKernel(
        name="row-parallel-scatter",
        summary="weights split along K: multiply, then reduce-scatter the partial sums by rows",
        bind="row_parallel_scatter:bind",
        splits=("row",),
        output="part",
        collective="reduce-scatter",
        base=True,
    ),
    ParallelKernel(
        name="row-parallel-scatter-overlap",
        summary="the last chunk of rows is reduce-scattered while this one is multiplied",
        bind="row_parallel_scatter_overlap:bind",
        splits=("row",),
        output="part",
        collective="reduce-scatter",
        overlaps=True,
    ),
)

COLLECTIVES = tuple(one.name for one in PARALLEL if one.splits == ("",))
"""The kernels that exchange, and multiply nothing."""
