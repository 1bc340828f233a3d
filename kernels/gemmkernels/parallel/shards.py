"""The tensors of one rank, and what fills them."""

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.operands import ALIGNMENT, check_data, drawn
from gemmkernels.parallel.task import Task

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup


@dataclass(frozen=True, kw_only=True, eq=False)
class Shards:
    """What a rank holds, row-major. R is the number of ranks.

    column: `part` [M/R, K] its rows of X, `whole` [M, K] those of all, `weight` [N/R, K], `out`
    [M, N/R]; `x` [M, K] is what the local products read. row: `x` [M, K/R], `weight` [N, K/R],
    `out` [M, N], `part` [M/R, N]. A collective alone: `whole` [R, N] and `part` [1, N].
    """

    task: Task
    rank: int
    device: Device
    group: "ProcessGroup | None"
    part: "torch.Tensor"
    whole: "torch.Tensor | None" = None
    x: "torch.Tensor | None" = None
    weight: "torch.Tensor | None" = None
    out: "torch.Tensor | None" = None

    def tensor(self, name: str) -> "torch.Tensor":
        """One of them that the task has."""
        found: torch.Tensor | None = getattr(self, name)
        assert found is not None, f"{self.task.split or 'a collective'} has no {name}"
        return found


def shapes_of(task: Task) -> dict[str, tuple[int, int]]:
    """The shapes of a rank's tensors, by name."""
    p, ranks = task.problem, task.ranks
    if task.split == "column":
        columns = p.n // ranks
        return {
            "part": (p.m // ranks, p.k),
            "whole": (p.m, p.k),
            "x": (p.m, p.k),
            "weight": (columns, p.k),
            "out": (p.m, columns),
        }
    if task.split == "row":
        terms = p.k // ranks
        return {
            "part": (p.m // ranks, p.n),
            "x": (p.m, terms),
            "weight": (p.n, terms),
            "out": (p.m, p.n),
        }
    return {"part": (1, p.n), "whole": (ranks, p.n)}


def allocate_shards(
    task: Task, device: Device, *, rank: int, group: "ProcessGroup | None", sets: int = 1
) -> tuple[Shards, ...]:
    """`sets` uninitialised sets, every tensor aligned to 4 KiB.

    Raises GemmbenchError for a task that the ranks cannot share evenly.
    """
    import torch

    if task.misfit:
        raise GemmbenchError(task.misfit)
    dtype = getattr(torch, task.problem.numerics.output)
    shapes = shapes_of(task)
    sizes = {name: rows * columns * dtype.itemsize for name, (rows, columns) in shapes.items()}
    need = sets * sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes.values())
    pool = torch.empty(need + ALIGNMENT, dtype=torch.uint8, device=device.torch_device)
    offset = -pool.data_ptr() % ALIGNMENT
    found = []
    for _ in range(sets):
        tensors = {}
        for name, shape in shapes.items():
            tensors[name] = pool[offset : offset + sizes[name]].view(dtype).view(shape)
            offset += -(-sizes[name] // ALIGNMENT) * ALIGNMENT
        found.append(Shards(task=task, rank=rank, device=device, group=group, **tensors))
    return tuple(found)


def fill_shards(
    shards: Shards, *, data: str = "normal", seed: int = 0, outputs: bool = True
) -> None:
    """Fill a rank's tensors in place, or only what its kernels read; each rank draws others."""
    check_data(data)
    inputs = {"column": ("part", "x", "weight"), "row": ("x", "weight")}
    for name in shapes_of(shards.task):
        if outputs or name in inputs.get(shards.task.split, ("part", "whole")):
            drawn_for = shard_of(shards, name, rank=shards.rank, data=data, seed=seed)
            shards.tensor(name).copy_(drawn_for)


def shard_of(shards: Shards, name: str, *, rank: int, data: str, seed: int) -> "torch.Tensor":
    """What any rank has in that tensor, as `fill_shards` draws it."""
    import torch

    tensor = shards.tensor(name)
    generator = torch.Generator(device=tensor.device)
    generator.manual_seed(zlib.crc32(f"{name}:{seed}:{rank}".encode()))
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return drawn(tensor.shape, data, generator, wide).to(tensor.dtype)
