"""What other tools call types, and what of ours that is."""

from dataclasses import dataclass

from gemmkernels.precision import precision


@dataclass(frozen=True)
class Type:
    """The precision that a product of two operands of this type has, and torch's name of it.

    `dtype` of a family of encodings (`float8_e4m3`) leaves open which one: the device decides.
    """

    precision: str
    dtype: str


_TABLE = {
    Type("fp64", "float64"): "f64 float64 double fp64",
    Type("fp32", "float32"): "f32 float32 float single fp32",
    Type("tf32", "float32"): "tf32 tensorfloat32",
    Type("fp16", "float16"): "f16 float16 half fp16 __half",
    Type("bf16", "bfloat16"): "bf16 bfloat16 __nv_bfloat16 __hip_bfloat16",
    Type("int8", "int8"): "i8 s8 int8 int8_t",
    Type("fp8_e4m3", "float8_e4m3"): "f8 fe4m3 e4m3 fp8_e4m3 float8_e4m3",
    Type("fp8_e4m3", "float8_e4m3fn"): "float8_e4m3fn __nv_fp8_e4m3",
    Type("fp8_e4m3", "float8_e4m3fnuz"): "f8_fnuz float8_e4m3fnuz",
    Type("fp8_e5m2", "float8_e5m2"): "bf8 fe5m2 e5m2 fp8_e5m2 float8_e5m2 __nv_fp8_e5m2",
    Type("fp8_e5m2", "float8_e5m2fnuz"): "bf8_fnuz float8_e5m2fnuz",
    Type("mxfp8", "float8_e4m3fn"): "mxfp8",
    Type("mxfp4", "float4_e2m1fn_x2"): "mxfp4",
    Type("nvfp4", "float4_e2m1fn_x2"): "nvfp4",
}
_TYPES = {word: found for found, words in _TABLE.items() for word in words.split()}
_OTHERS = {"i32": "int32", "s32": "int32", "int32": "int32"}
"""What sums and outputs are in, and operands are not."""


def type_of(word: str) -> Type | None:
    """The type that a tool calls so; None for one that no precision of ours multiplies."""
    return _TYPES.get(_bare(word))


def dtype_of(word: str) -> str:
    """torch's name of a type of sums or of an output; "" where it is not known."""
    found = type_of(word)
    return found.dtype if found else _OTHERS.get(_bare(word), "")


def _bare(word: str) -> str:
    """`bf16` of `bf16_r` (AMD's reals), `f32` of `c_f32_r` (an old spelling)."""
    return word.strip().lower().removeprefix("torch.").removeprefix("c_").removesuffix("_r")


_OCP = {"float8_e4m3": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}


def encoding_of(found: Type, *, is_ocp: bool = False) -> str:
    """The encoding where the word settles it, "" where the device does.

    `is_ocp` is that a family's word can only mean OCP's.
    """
    if found.dtype not in _OCP:
        return found.dtype
    return _OCP[found.dtype] if is_ocp else ""


def modes_of(name: str, *, accumulate: str = "", output: str = "") -> dict[str, str]:
    """What makes it another product than the precision's own: sums or an output of another type.

    torch's names of types; "" is not known, and then nothing is claimed.
    """
    row, modes = precision(name), {}
    if accumulate and accumulate != row.accumulate:
        modes["accumulate"] = accumulate
    if output and output != row.output:
        modes["output"] = output
    return modes
