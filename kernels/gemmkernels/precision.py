"""Precisions: what goes in, what it is summed in, and what comes out."""

from dataclasses import dataclass

from gemmkernels.errors import UnknownNameError


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """One row of the table. Types are torch dtype names; `input` of fp8 is a family.

    The device decides the encoding of an fp8 family: see `Device.encoding`.
    """

    name: str
    input: str
    accumulate: str
    output: str
    scaling: str = "none"
    bytes_in: int
    bytes_out: int
    summary: str

    @property
    def is_fp8(self) -> bool:
        return self.name.startswith("fp8")

    @property
    def is_integer(self) -> bool:
        return self.output == "int32"


_TABLE = (
    Precision(
        name="fp64",
        input="float64",
        accumulate="float64",
        output="float64",
        bytes_in=8,
        bytes_out=8,
        summary="IEEE double",
    ),
    Precision(
        name="fp32",
        input="float32",
        accumulate="float32",
        output="float32",
        bytes_in=4,
        bytes_out=4,
        summary="IEEE single; never TF32",
    ),
    Precision(
        name="tf32",
        input="float32",
        accumulate="float32",
        output="float32",
        bytes_in=4,
        bytes_out=4,
        summary="fp32 storage, 10-bit mantissa in the multiply (XF32 on gfx942)",
    ),
    Precision(
        name="fp16",
        input="float16",
        accumulate="float32",
        output="float16",
        bytes_in=2,
        bytes_out=2,
        summary="IEEE half, fp32 sums",
    ),
    Precision(
        name="bf16",
        input="bfloat16",
        accumulate="float32",
        output="bfloat16",
        bytes_in=2,
        bytes_out=2,
        summary="bfloat16, fp32 sums",
    ),
    Precision(
        name="fp8_e4m3",
        input="float8_e4m3",
        accumulate="float32",
        output="bfloat16",
        scaling="tensorwise",
        bytes_in=1,
        bytes_out=2,
        summary="8-bit float, 3-bit mantissa, one scale a tensor, fp32 sums",
    ),
    Precision(
        name="fp8_e5m2",
        input="float8_e5m2",
        accumulate="float32",
        output="bfloat16",
        scaling="tensorwise",
        bytes_in=1,
        bytes_out=2,
        summary="8-bit float, 2-bit mantissa, one scale a tensor, fp32 sums",
    ),
    Precision(
        name="int8",
        input="int8",
        accumulate="int32",
        output="int32",
        bytes_in=1,
        bytes_out=4,
        summary="8-bit integers, exact int32 sums",
    ),
)

PRECISIONS: dict[str, Precision] = {row.name: row for row in _TABLE}


def precision(name: str) -> Precision:
    """The row of that name; raises UnknownNameError with the nearest names."""
    try:
        return PRECISIONS[name]
    except KeyError:
        raise UnknownNameError("precision", name, PRECISIONS) from None
