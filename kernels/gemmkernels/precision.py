"""Precisions: what goes in, what it is summed in, and what comes out."""

from dataclasses import dataclass, replace
from typing import Literal

from gemmkernels.errors import UnknownNameError

Scaling = Literal["none", "tensorwise", "rowwise", "blockwise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """One row of the table. Types are torch dtype names; `input` of fp8 is a family.

    The device decides the encoding of an fp8 family: see `Device.encoding`. `family` is the row
    whose arithmetic it is, where only scales or sparsity differ. `block` terms of K share a scale,
    whose type is `scale`. `sparse` is 2:4: of each four terms along K of A, two are zero.
    """

    name: str
    input: str
    accumulate: str
    output: str
    scaling: Scaling = "none"
    bits_in: int
    bytes_out: int
    summary: str
    family: str = ""
    block: int = 0
    scale: str = "float32"
    sparse: bool = False

    @property
    def arithmetic(self) -> str:
        """The precision whose units do the work: `fp8_e4m3` of `fp8_e4m3_rowwise`."""
        return self.family or self.name

    @property
    def is_fp8(self) -> bool:
        """Plain fp8, with one scale a tensor or a row; block-scaled formats are their own."""
        return self.name.startswith("fp8")

    @property
    def is_integer(self) -> bool:
        return self.output == "int32"

    @property
    def is_blockwise(self) -> bool:
        return self.scaling == "blockwise"

    def input_bytes(self, rows: int, k: int) -> int:
        """Bytes of `rows` rows of K terms, without their scales; K is even for 4-bit types."""
        return rows * k * self.bits_in // 8

    def scale_bytes(self, rows: int, k: int) -> int:
        """Bytes of the scales of A or B with that many rows (or columns) of K terms."""
        match self.scaling:
            case "none":
                return 0
            case "tensorwise":
                return 4
            case "rowwise":
                return 4 * rows
            case "blockwise":
                return rows * (k // self.block)


_FP16 = Precision(
    name="fp16",
    input="float16",
    accumulate="float32",
    output="float16",
    bits_in=16,
    bytes_out=2,
    summary="IEEE half, fp32 sums",
)
_BF16 = Precision(
    name="bf16",
    input="bfloat16",
    accumulate="float32",
    output="bfloat16",
    bits_in=16,
    bytes_out=2,
    summary="bfloat16, fp32 sums",
)
_FP8_E4M3 = Precision(
    name="fp8_e4m3",
    input="float8_e4m3",
    accumulate="float32",
    output="bfloat16",
    scaling="tensorwise",
    bits_in=8,
    bytes_out=2,
    summary="8-bit float, 3-bit mantissa, one scale a tensor, fp32 sums",
)
_FP8_E5M2 = Precision(
    name="fp8_e5m2",
    input="float8_e5m2",
    accumulate="float32",
    output="bfloat16",
    scaling="tensorwise",
    bits_in=8,
    bytes_out=2,
    summary="8-bit float, 2-bit mantissa, one scale a tensor, fp32 sums",
)
_INT8 = Precision(
    name="int8",
    input="int8",
    accumulate="int32",
    output="int32",
    bits_in=8,
    bytes_out=4,
    summary="8-bit integers, exact int32 sums",
)


def _rowwise(row: Precision) -> Precision:
    summary = row.summary.replace("one scale a tensor", "a scale a row of A and column of B")
    return replace(
        row, name=f"{row.name}_rowwise", family=row.name, scaling="rowwise", summary=summary
    )


def _sparse(row: Precision) -> Precision:
    summary = f"{row.summary}; A is 2:4 sparse, FLOPs counted as if it were dense"
    return replace(row, name=f"{row.name}_sparse", family=row.name, sparse=True, summary=summary)


_TABLE = (
    Precision(
        name="fp64",
        input="float64",
        accumulate="float64",
        output="float64",
        bits_in=64,
        bytes_out=8,
        summary="IEEE double",
    ),
    Precision(
        name="fp32",
        input="float32",
        accumulate="float32",
        output="float32",
        bits_in=32,
        bytes_out=4,
        summary="IEEE single; never TF32",
    ),
    Precision(
        name="tf32",
        input="float32",
        accumulate="float32",
        output="float32",
        bits_in=32,
        bytes_out=4,
        summary="fp32 storage, 10-bit mantissa in the multiply (XF32 on gfx942)",
    ),
    Precision(
        name="bf16x3",
        input="float32",
        accumulate="float32",
        output="float32",
        bits_in=32,
        bytes_out=4,
        summary="fp32 as the sum of two bfloat16 each: three bf16 products for one",
    ),
    _FP16,
    _BF16,
    _FP8_E4M3,
    _FP8_E5M2,
    _rowwise(_FP8_E4M3),
    _rowwise(_FP8_E5M2),
    _INT8,
    Precision(
        name="mxfp8",
        input="float8_e4m3",
        accumulate="float32",
        output="bfloat16",
        scaling="blockwise",
        block=32,
        scale="float8_e8m0fnu",
        bits_in=8,
        bytes_out=2,
        summary="OCP MX: e4m3, a power of two for each 32 terms, fp32 sums",
    ),
    Precision(
        name="mxfp4",
        input="float4_e2m1",
        accumulate="float32",
        output="bfloat16",
        scaling="blockwise",
        block=32,
        scale="float8_e8m0fnu",
        bits_in=4,
        bytes_out=2,
        summary="OCP MX: e2m1, a power of two for each 32 terms, fp32 sums",
    ),
    Precision(
        name="nvfp4",
        input="float4_e2m1",
        accumulate="float32",
        output="bfloat16",
        scaling="blockwise",
        block=16,
        scale="float8_e4m3fn",
        bits_in=4,
        bytes_out=2,
        summary="NVIDIA's: e2m1, an e4m3 scale for each 16 terms, fp32 sums",
    ),
    _sparse(_FP16),
    _sparse(_BF16),
    _sparse(_INT8),
)

PRECISIONS: dict[str, Precision] = {row.name: row for row in _TABLE}
SPARSE = frozenset(row.name for row in _TABLE if row.sparse)
"""Names of the 2:4 sparse ones: no column of rates or peaks holds them beside dense ones."""


def precision(name: str) -> Precision:
    """The row of that name; raises UnknownNameError with the nearest names."""
    try:
        return PRECISIONS[name]
    except KeyError:
        raise UnknownNameError("precision", name, PRECISIONS) from None
