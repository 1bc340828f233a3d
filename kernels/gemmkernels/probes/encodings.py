# mypy: allow-untyped-defs, allow-incomplete-defs
"""One tile of a product in an encoding of fp8 that a target may or may not multiply natively."""

from typing import Any

import triton
import triton.language as tl

from gemmkernels.errors import GemmbenchError

TYPES = {"float8_e4m3fn": "fp8e4nv", "float8_e4m3fnuz": "fp8e4b8"}
"""Triton's names of torch's types."""

_SIZES = {"M": 128, "N": 128, "K": 64}


@triton.jit
def tile(a_ptr, b_ptr, c_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    offs_m = tl.arange(0, M)
    offs_n = tl.arange(0, N)
    offs_k = tl.arange(0, K)
    a = tl.load(a_ptr + offs_m[:, None] * K + offs_k[None, :])
    b = tl.load(b_ptr + offs_k[:, None] + offs_n[None, :] * K)
    tl.store(c_ptr + offs_m[:, None] * N + offs_n[None, :], tl.dot(a, b))


def assembly_on_amd(encoding: str, target: str) -> str:
    """The assembly of a 128×128×64 tile for an AMD target such as gfx942; needs no GPU.

    Raises GemmbenchError for an encoding that is not in TYPES; what the compiler raises is passed
    on.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if encoding not in TYPES:
        raise GemmbenchError(f"encoding {encoding!r} is none of {', '.join(TYPES)}")
    name = TYPES[encoding]
    source: Any = ASTSource(
        tile,
        signature={
            "a_ptr": f"*{name}",
            "b_ptr": f"*{name}",
            "c_ptr": "*fp32",
            **dict.fromkeys(_SIZES, "constexpr"),
        },
        constexprs=dict(_SIZES),
    )
    compiled = triton.compile(
        source,
        target=GPUTarget("hip", target, 64),
        options={"enable_fp_fusion": True},  # left unsaid, Triton 3.9 warns
    )
    return str(compiled.asm["amdgcn"])
