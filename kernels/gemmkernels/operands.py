"""A, B and the output of one problem, made on the device from a seed and a distribution."""

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.problem import Problem

if TYPE_CHECKING:
    import torch

ALIGNMENT = 4096
"""Bytes; an output 16 bytes off a cache line cost a numba GEMM 44%."""

DISTRIBUTIONS = ("normal", "uniform", "integers", "zeros", "zeros50")
"""What the inputs can hold; `normal` is the default.

normal: N(0, 1); uniform: U(-1, 1); integers: whole numbers of -3 … 3; zeros; zeros50: N(0, 1) of
which half the elements, at random places, are zero. For int8 normal is 32 · N(0, 1) and uniform
127 · U(-1, 1), rounded and clipped to ±127.
"""


def check_data(data: str) -> str:
    if data not in DISTRIBUTIONS:
        raise UnknownNameError("data distribution", data, DISTRIBUTIONS)
    return data


@dataclass(frozen=True, kw_only=True, eq=False)
class Operands:
    """Tensors of one problem: `a` [(batch,) M, K], `b` [(batch,) K, N], `out` [(batch,) M, N].

    `a` and `b` are views of row-major storage, transposed where the layout says t; `out` is
    row-major. fp8 has one fp32 scale a tensor, of shape [1]: out = scale_a · scale_b · (a @ b).
    """

    problem: Problem
    device: Device
    a: "torch.Tensor"
    b: "torch.Tensor"
    out: "torch.Tensor"
    scale_a: "torch.Tensor | None" = None
    scale_b: "torch.Tensor | None" = None


def set_bytes(problem: Problem) -> int:
    """Bytes that one operand set takes, each tensor rounded up to the alignment."""
    row = problem.numerics
    sizes = (
        problem.m * problem.k * row.bytes_in,
        problem.k * problem.n * row.bytes_in,
        problem.m * problem.n * row.bytes_out,
    )
    return sum(-(-size * problem.batch // ALIGNMENT) * ALIGNMENT for size in sizes)


def allocate(problem: Problem, device: Device, *, sets: int = 1) -> tuple[Operands, ...]:
    """`sets` uninitialised operand sets, every tensor aligned to 4 KiB.

    Raises GemmbenchError when they cannot fit into the device's memory.
    """
    import torch

    need = set_bytes(problem) * sets
    if need > device.memory_bytes:
        raise GemmbenchError(
            f"{problem.shape} {problem.precision} needs {need / 2**30:.4g} GiB for {sets} operand "
            f"set(s), {device.name} has {device.memory_bytes / 2**30:.4g} GiB: take a smaller shape"
        )
    pool = torch.empty(need + ALIGNMENT, dtype=torch.uint8, device=device.torch_device)
    offset = -pool.data_ptr() % ALIGNMENT
    input_dtype = getattr(torch, device.encoding(problem.precision))
    output_dtype = getattr(torch, problem.numerics.output)
    lead = (problem.batch,) if problem.batch > 1 else ()

    def take(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
        nonlocal offset
        size = rows * columns * problem.batch * dtype.itemsize
        part = pool[offset : offset + size].view(dtype).view(*lead, rows, columns)
        offset += -(-size // ALIGNMENT) * ALIGNMENT
        return part

    def scale() -> torch.Tensor | None:
        if problem.numerics.scaling == "none":
            return None
        return torch.ones(1, dtype=torch.float32, device=device.torch_device)

    def one() -> Operands:
        m, n, k = problem.m, problem.n, problem.k
        a_t, b_t = (letter == "t" for letter in problem.layout)
        return Operands(
            problem=problem,
            device=device,
            a=take(k, m, input_dtype).mT if a_t else take(m, k, input_dtype),
            b=take(n, k, input_dtype).mT if b_t else take(k, n, input_dtype),
            out=take(m, n, output_dtype),
            scale_a=scale(),
            scale_b=scale(),
        )

    return tuple(one() for _ in range(sets))


def fill(operands: Operands, *, data: str = "normal", seed: int = 0) -> None:
    """Fill A and B in place from a seed; scales become 0.75 and 1.25, so that neither is idle."""
    import torch

    check_data(data)
    for role, tensor in (("a", operands.a), ("b", operands.b)):
        generator = torch.Generator(device=tensor.device)
        generator.manual_seed(zlib.crc32(f"{role}:{seed}".encode()))
        # Row by row of the batch: the float32 draft would else be 4 times the size of an fp8 input.
        for matrix in tensor if tensor.dim() == 3 else (tensor,):
            _draw(matrix, data, generator)
    if operands.scale_a is not None and operands.scale_b is not None:
        operands.scale_a.fill_(0.75)
        operands.scale_b.fill_(1.25)


def _draw(tensor: "torch.Tensor", data: str, generator: "torch.Generator") -> None:
    import torch

    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    draft = torch.empty(tensor.shape, dtype=wide, device=tensor.device)
    integer = tensor.dtype == torch.int8
    if data == "zeros":
        draft.zero_()
    elif data == "integers":
        draft.random_(-3, 4, generator=generator)
    elif data == "uniform":
        draft.uniform_(-1, 1, generator=generator)
        draft.mul_(127 if integer else 1)
    else:
        draft.normal_(generator=generator)
        draft.mul_(32 if integer else 1)
        if data == "zeros50":
            keep = torch.empty_like(draft).uniform_(generator=generator) < 0.5
            draft.mul_(keep)
    if integer:
        draft.round_().clamp_(-127, 127)
    tensor.copy_(draft)


def copy_inputs(source: Operands, target: Operands) -> None:
    """Give `target` the inputs and scales of `source`, in place."""
    target.a.copy_(source.a)
    target.b.copy_(source.b)
    if source.scale_a is not None and target.scale_a is not None:
        target.scale_a.copy_(source.scale_a)
    if source.scale_b is not None and target.scale_b is not None:
        target.scale_b.copy_(source.scale_b)


def poison(operands: Operands) -> None:
    """Fill the output with NaN, or with a sentinel no product reaches (int32: -2³¹)."""
    import torch

    out = operands.out
    out.fill_(float("nan") if out.dtype.is_floating_point else torch.iinfo(out.dtype).min)
