"""A, B and the output of one problem, made on the device from a seed and a distribution."""

import itertools
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemmkernels import encoding
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
127 · U(-1, 1), rounded and clipped to ±127. A block-scaled format stores each block as it rounds
it; a sparse A keeps the two largest of each four terms.
"""


def check_data(data: str) -> str:
    if data not in DISTRIBUTIONS:
        raise UnknownNameError("data distribution", data, DISTRIBUTIONS)
    return data


@dataclass(frozen=True, kw_only=True, eq=False)
class Operands:
    """Tensors of one problem: `a` [(batch,) M, K], `b` [(batch,) K, N], `out` [(batch,) M, N].

    `a` and `b` are views of row-major storage, transposed where the layout says t; `out` is
    row-major. Of a 4-bit type `a` is bytes [M, K / 2] and `b` [K / 2, N], each of two terms along
    K. With experts `b` is [experts, K, N], and `offsets` [experts] (int32) says at which row of
    `a` each expert's rows end.

    Scales of `a`: tensorwise fp32 [1], rowwise fp32 [M, 1], blockwise [M, K / block]; those of `b`
    likewise [1], [1, N] and [N, K / block], of each of the experts where there are some. Tensorwise
    and rowwise out = scale_a · scale_b · (a @ b); blockwise each term has the scales of its block.
    """

    problem: Problem
    device: Device
    a: "torch.Tensor"
    b: "torch.Tensor"
    out: "torch.Tensor"
    scale_a: "torch.Tensor | None" = None
    scale_b: "torch.Tensor | None" = None
    offsets: "torch.Tensor | None" = None


def values(operands: Operands) -> "tuple[torch.Tensor, torch.Tensor]":
    """(A [(batch,) M, K], B [(batch or experts,) K, N]) as meant: float64, with their scales."""
    row, a, b = operands.problem.numerics, operands.a, operands.b
    scale_a, scale_b = operands.scale_a, operands.scale_b
    if scale_a is None or scale_b is None:
        return a.double(), b.double()
    if row.is_blockwise:
        return encoding.scaled(a, scale_a, row), encoding.scaled(b.mT, scale_b, row).mT
    return a.double() * scale_a.double(), b.double() * scale_b.double()


def product(operands: Operands, a: "torch.Tensor", b: "torch.Tensor") -> "torch.Tensor":
    """a @ b, where there are experts each its own rows."""
    import torch

    if operands.problem.experts == 1:
        return a @ b
    parts = zip(torch.split(a, list(operands.problem.tokens)), b, strict=True)
    return torch.cat([rows @ weight for rows, weight in parts])


def set_bytes(problem: Problem) -> int:
    """Bytes that one operand set takes, each tensor rounded up to the alignment."""
    row, m, n, k = problem.numerics, problem.m, problem.n, problem.k
    sizes = (
        row.input_bytes(m, k),
        row.input_bytes(n, k) * problem.experts,
        m * n * row.bytes_out,
        row.scale_bytes(m, k),
        row.scale_bytes(n, k) * problem.experts,
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
    row, m, n, k = problem.numerics, problem.m, problem.n, problem.k
    if problem.misfit:
        raise GemmbenchError(problem.misfit)
    output_dtype = getattr(torch, row.output)
    # Torch's 4-bit type can neither be filled nor copied.
    four_bits = row.bits_in == 4
    input_dtype = torch.uint8 if four_bits else getattr(torch, device.encoding(row.name))
    per_byte = 2 if four_bits else 1
    batch = (problem.batch,) if problem.batch > 1 else ()
    of_b = (problem.experts,) if problem.experts > 1 else batch
    ends = torch.tensor(tuple(itertools.accumulate(problem.tokens)), dtype=torch.int32)
    ends = ends.to(device.torch_device)

    def take(lead: tuple[int, ...], rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
        nonlocal offset
        size = rows * columns * (lead[0] if lead else 1) * dtype.itemsize
        part = pool[offset : offset + size].view(dtype).view(*lead, rows, columns)
        offset += -(-size // ALIGNMENT) * ALIGNMENT
        return part

    def matrix(lead: tuple[int, ...], rows: int, columns: int, *, transposed: bool) -> torch.Tensor:
        if transposed:
            return take(lead, columns, rows // per_byte, input_dtype).mT
        return take(lead, rows, columns // per_byte, input_dtype)

    def scales(lead: tuple[int, ...], rows: int, *, of_columns: bool) -> torch.Tensor | None:
        match row.scaling:
            case "none":
                return None
            case "tensorwise":
                return take((), 1, 1, torch.float32).view(1)
            case "rowwise":
                shape = (1, rows) if of_columns else (rows, 1)
                return take(lead, *shape, torch.float32)
            case "blockwise":
                return take(lead, rows, k // row.block, getattr(torch, row.scale))

    def one() -> Operands:
        a_t, b_t = (letter == "t" for letter in problem.layout)
        return Operands(
            problem=problem,
            device=device,
            a=matrix(batch, m, k, transposed=a_t),
            b=matrix(of_b, k, n, transposed=b_t),
            out=take(batch, m, n, output_dtype),
            scale_a=scales(batch, m, of_columns=False),
            scale_b=scales(of_b, n, of_columns=True),
            offsets=ends if problem.experts > 1 else None,
        )

    return tuple(one() for _ in range(sets))


def fill(operands: Operands, *, data: str = "normal", seed: int = 0) -> None:
    """Fill A, B and their scales in place from a seed.

    Tensorwise scales become 0.75 and 1.25, rowwise ones 0.5 … 1.5, so that none is idle.
    """
    import torch

    check_data(data)
    row, blockwise = operands.problem.numerics, operands.problem.numerics.is_blockwise
    for role, tensor, scale in (
        ("a", operands.a, operands.scale_a),
        ("b", operands.b, operands.scale_b),
    ):
        generator = torch.Generator(device=tensor.device)
        generator.manual_seed(zlib.crc32(f"{role}:{seed}".encode()))
        # Row by row of the batch: the float32 draft would else be 4 times the size of an fp8 input.
        for index, matrix in enumerate(tensor if tensor.dim() == 3 else (tensor,)):
            if blockwise and scale is not None:
                stored = matrix.mT if role == "b" else matrix
                shape = (stored.shape[0], operands.problem.k)
                draft = drawn(shape, data, generator, torch.float32)
                found, scales = encoding.quantise(draft, row)
                stored.copy_(found)
                (scale[index] if scale.dim() == 3 else scale).copy_(scales)
                continue
            wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
            draft = drawn(matrix.shape, data, generator, wide, integer=row.is_integer)
            if row.sparse and role == "a":
                encoding.prune(draft)
            matrix.copy_(draft)
        if scale is not None and row.scaling == "rowwise":
            scale.uniform_(0.5, 1.5, generator=generator)
        elif scale is not None and not blockwise:
            scale.fill_(0.75 if role == "a" else 1.25)


def drawn(
    shape: "tuple[int, ...]",
    data: str,
    generator: "torch.Generator",
    wide: "torch.dtype",
    *,
    integer: bool = False,
) -> "torch.Tensor":
    """Numbers of a distribution (see `DISTRIBUTIONS`), as wide as they are drawn."""
    import torch

    draft = torch.empty(shape, dtype=wide, device=generator.device)
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
    return draft


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
