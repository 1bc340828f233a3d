"""Block-scaled formats: what is stored stands for what it should."""

import math

import pytest
import torch

from gemmkernels.encoding import E2M1, pack, quantise, scaled, unpack
from gemmkernels.precision import PRECISIONS

BLOCKWISE = [row.name for row in PRECISIONS.values() if row.is_blockwise]


def test_e2m1_rounds_to_the_nearest_and_ties_to_even() -> None:
    row = PRECISIONS["mxfp4"]
    given = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 7.0, -0.25, -5.0, 0.26, 4.9]
    meant = [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 6.0, 0.0, -4.0, 0.5, 4.0]
    assert unpack(pack(torch.tensor(given), row)).tolist() == meant


def test_every_e2m1_number_is_kept_in_both_halves_of_a_byte() -> None:
    row = PRECISIONS["nvfp4"]
    for sign in (1, -1):
        numbers = torch.tensor([sign * size for size in E2M1])
        stored = pack(numbers, row)
        assert stored.shape == (4,)
        assert stored.dtype == torch.uint8
        assert torch.equal(unpack(stored), numbers.double())
    assert int(pack(torch.tensor([0.5, 6.0]), row)) == 0x71  # the first in the low half


@pytest.mark.parametrize("precision", BLOCKWISE)
def test_quantised_blocks_are_near_what_was_given(precision: str) -> None:
    row = PRECISIONS[precision]
    torch.manual_seed(1)
    given = torch.randn(7, 4 * row.block) * torch.logspace(-0.5, 2, 7)[:, None]
    stored, scales = quantise(given, row)
    assert scales.shape == (7, 4)
    found = scaled(stored, scales, row)
    step = 2.0**-4 if row.input == "float8_e4m3" else 2.0**-2
    blocks, wrong = (
        torch.unflatten(one.double(), -1, (-1, row.block)) for one in (given, given - found)
    )
    largest = blocks.abs().amax(-1, keepdim=True)
    # Half of the widest step; a number above the element's largest saturates (MX rounds down).
    assert bool((wrong.abs() <= largest * step * 2).all())
    assert float(wrong.abs().max()) > 0


@pytest.mark.parametrize("precision", ["mxfp8", "mxfp4"])
@pytest.mark.parametrize("largest", [1.0, 1.99, 2.0, 448.0, 2.0**-10, 3.0e5])
def test_the_scale_of_mx_is_the_largest_exponent_less_the_elements_own(
    precision: str, largest: float
) -> None:
    row = PRECISIONS[precision]
    block = torch.zeros(32)
    block[5] = -largest
    _, scales = quantise(block, row)
    exponent = {"mxfp8": 8, "mxfp4": 2}[precision]
    assert float(scales.float()) == 2.0 ** (math.floor(math.log2(largest)) - exponent)


@pytest.mark.parametrize("precision", BLOCKWISE)
def test_a_block_of_zeros_is_zero(precision: str) -> None:
    row = PRECISIONS[precision]
    stored, scales = quantise(torch.zeros(3, 64), row)
    assert not scaled(stored, scales, row).any()
    assert bool(scales.float().isfinite().all())
