"""Block-scaled formats and 2:4 sparsity: from numbers to what is stored, and back.

MX (OCP Microscaling Formats 1.0): 32 terms share a power of two (E8M0). NVFP4: 16 terms share an
E4M3 scale. The elements are E4M3 or E2M1; two of the latter share a byte, the first in its low
half.
"""

from typing import TYPE_CHECKING

from gemmkernels.precision import Precision

if TYPE_CHECKING:
    import torch

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""The magnitudes of E2M1, by the low three bits; the fourth is the sign."""

_LARGEST = {"float8_e4m3": 448.0, "float4_e2m1": 6.0}
_LARGEST_EXPONENT = {"float8_e4m3": 8, "float4_e2m1": 2}


def pack(values: "torch.Tensor", row: Precision) -> "torch.Tensor":
    """[…, K] numbers as stored: E4M3 […, K], or E2M1 as bytes […, K / 2].

    Rounds to the nearest, ties to even, and saturates.
    """
    import torch

    largest = _LARGEST[row.input]
    values = values.float().clamp(-largest, largest)
    if row.input == "float8_e4m3":
        return values.to(torch.float8_e4m3fn)
    # Between neighbours of E2M1 a tie goes to the one with an even last bit.
    size = values.abs().contiguous()
    grid = torch.tensor(E2M1, device=values.device)
    middle = (grid[1:] + grid[:-1]) / 2
    below = torch.bucketize(size, middle)  # a tie stays below
    tie = (below < len(E2M1) - 1) & (size == middle[below.clamp(max=len(E2M1) - 2)])
    code = (below + (tie & (below % 2 == 1))).to(torch.uint8)
    code |= (values < 0).to(torch.uint8) << 3
    return code[..., 0::2] | (code[..., 1::2] << 4)


def unpack(stored: "torch.Tensor") -> "torch.Tensor":
    """Float64 [..., K] of what `pack` made."""
    import torch

    if stored.dtype != torch.uint8:
        return stored.double()
    signed = torch.tensor((*E2M1, *(-size for size in E2M1)), dtype=torch.float64)
    halves = torch.stack((stored & 15, stored >> 4), dim=-1).flatten(-2)
    return signed.to(stored.device)[halves.int()]


def scaled(stored: "torch.Tensor", scales: "torch.Tensor", row: Precision) -> "torch.Tensor":
    """Float64 [..., K]: what was stored, times the scale of its block, [..., K / block]."""
    return unpack(stored) * scales.double().repeat_interleave(row.block, dim=-1)


def quantise(values: "torch.Tensor", row: Precision) -> "tuple[torch.Tensor, torch.Tensor]":
    """(stored, scales) of [..., K] numbers: each block by its largest magnitude.

    MX takes the scale 2^(⌊log2 max⌋ - the largest exponent of the element), NVFP4 max / 6.
    """
    import torch

    blocks = torch.unflatten(values.float(), -1, (-1, row.block))
    largest = blocks.abs().amax(-1)
    if row.scale == "float8_e8m0fnu":
        exponent = torch.frexp(largest).exponent - 1 - _LARGEST_EXPONENT[row.input]
        scales = torch.where(largest > 0, torch.ldexp(torch.ones_like(largest), exponent), 1.0)
    else:
        least = 2.0**-6  # the smallest normal number of E4M3; smaller blocks lose precision
        scales = (largest / _LARGEST[row.input]).clamp(least, 448.0)
        scales = scales.to(torch.float8_e4m3fn).float()
    stored = pack((blocks / scales[..., None]).flatten(-2), row)
    return stored, scales.to(getattr(torch, row.scale))


def prune(values: "torch.Tensor") -> None:
    """In place: of each four terms [..., K] the two of the largest magnitude stay, 0 the others."""
    import torch

    blocks = torch.unflatten(values, -1, (-1, 4))
    least = blocks.abs().topk(2, dim=-1, largest=False).indices
    blocks.scatter_(-1, least, 0)
