"""Which questions a user's words stand for: kernels × precisions × targets."""

from collections.abc import Sequence

from gemmbench.inspect.examine import triton_kernels
from gemmbench.inspect.question import Question
from gemmbench.inspect.targets import USUAL, target
from gemmkernels.kernel import Kernel
from gemmkernels.ladder import find
from gemmkernels.precision import PRECISIONS, precision
from gemmkernels.problem import Problem

SIZE = 4096
EXPERTS = 8
_SHAPES = {
    "triton-split-k": (16, 4096, 16384),
    "triton-batched": (512, 512, 512),
}
"""(M, N, K) of kernels that are for other shapes than the square that the rest is asked of."""

_BATCH = {"triton-batched": 64}


def questions(
    kernels: Sequence[str] = (),
    *,
    targets: Sequence[str] = (),
    precisions: Sequence[str] = (),
    layout: str | None = None,
    shape: Problem | None = None,
) -> list[Question]:
    """All kernels of Triton's where none is named, the usual targets, each kernel's precisions.

    Of the precisions named a kernel answers for those that it has; if none has any, all refuse.
    `shape` is a problem of which sizes, batch and experts are taken. Raises UnknownNameError for a
    name that is in no list, GemmbenchError for a problem that cannot be.
    """
    chosen = [find(name) for name in kernels] or list(triton_kernels())
    places = [target(name).name for name in targets] or list(USUAL)
    for name in precisions:
        precision(name)
    pairs = [
        (kernel, name)
        for kernel in dict.fromkeys(chosen)
        for name in dict.fromkeys(precisions or kernel.precisions)
    ]
    own = [(kernel, name) for kernel, name in pairs if name in kernel.precisions]
    return [
        Question(kernel.name, problem_of(kernel, name, layout=layout, shape=shape), place)
        for kernel, name in own or pairs
        for place in dict.fromkeys(places)
    ]


def problem_of(
    kernel: Kernel, name: str, *, layout: str | None = None, shape: Problem | None = None
) -> Problem:
    """A kernel's problem where none is asked for: large and aligned, in the usual layout."""
    row = PRECISIONS[name]
    m, n, k = _SHAPES.get(kernel.name, (SIZE, SIZE, SIZE))
    batch, experts = _BATCH.get(kernel.name, 1), EXPERTS if kernel.grouped else 1
    if shape is not None:
        m, n, k, batch, experts = shape.m, shape.n, shape.k, shape.batch, shape.experts
    usual = "nt" if row.is_blockwise or row.bits_in == 8 else "nn"
    return Problem(
        m=m, n=n, k=k, batch=batch, experts=experts, precision=name, layout=layout or usual
    )
