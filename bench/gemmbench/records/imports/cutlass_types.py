"""Which precision a kernel of CUTLASS has: its operands, its operation's name and its unit say."""

import re
from collections.abc import Mapping

from gemmbench.records.imports.dtypes import type_of

_THROUGH = re.compile(
    r"(?:[a-z](?:[0-9]{3,6}|[0-9]{1,3}x[0-9]{1,3}x[0-9]{1,3})|_)(tf32|f16|bf16)gemm"
)
"""Operands multiplied as another type: `s1688tf32gemm`, `s64x128x8tf32gemm` of CUTLASS 3,
`_tf32gemm` of 4."""


def precision_of(a: str, b: str, *, operation: str, cells: Mapping[str, str]) -> str | None:
    """A precision of ours, or None: of two types, of complex or unsigned numbers, of fp32 that goes
    through 16 bits or is emulated on tensor cores."""
    left, right = type_of(a), type_of(b)
    if left is None or left != right or "planar" in cells.get("gemm_kind", ""):
        return None
    name = left.precision
    through = _THROUGH.search(operation)
    if name == "fp32" and cells.get("op_class", "simt") != "simt":
        if through is None or through[1] != "tf32":
            return None
        name = "tf32"
    elif through is not None and type_of(through[1]) != left:
        return None
    if cells.get("operationkind", "gemm").lower() == "spgemm":
        return f"{name}_sparse" if name in ("fp16", "bf16", "int8") else None
    return name
