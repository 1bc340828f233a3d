"""The shapes that a user names outside suites, and the option that each came from."""

from dataclasses import dataclass
from pathlib import Path

from gemmbench.runner.request import Request
from gemmbench.suites.shapes import MAX_SHAPES, Shape, grid, shape_of
from gemmbench.suites.table import load_table
from gemmkernels.errors import GemmbenchError


@dataclass(frozen=True, kw_only=True)
class Named:
    """A shape, and what was typed for it."""

    option: str
    shape: Shape


def named_shapes(request: Request) -> tuple[Named, ...]:
    """Of `--shape`, of `--m`, `--n` and `--k`, and of `--shapes` files, in this order.

    Raises GemmbenchError for what is no shape, and for more than MAX_SHAPES.
    """
    found = [Named(option="--shape", shape=shape_of(text)) for text in request.shapes]
    ranges = f"--m {request.m} --n {request.n} --k {request.k}"
    found += [
        Named(option=ranges[:80], shape=shape) for shape in grid(request.m, request.n, request.k)
    ]
    for text in request.shape_files:
        path = Path(text)
        option = f"--shapes {path.name[:80]}"
        found += [Named(option=option, shape=shape) for shape in load_table(path)]
    if len(found) > MAX_SHAPES:
        raise GemmbenchError(
            f"{len(found)} shapes are named, {MAX_SHAPES} at most: measure them in several runs"
        )
    return tuple(found)
