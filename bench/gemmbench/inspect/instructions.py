"""Matrix instructions in a listing, and whether they are the precision's own.

A mnemonic says its types on most targets. Blackwell's tensor memory instructions leave them to a
descriptor: there the PTX says the kind. AMD's f8f6f4 instructions say them in two modifiers.
"""

import re
from collections import Counter

from gemmbench.inspect.question import Verdict
from gemmkernels.precision import precision

_SASS = re.compile(r"\b(?:[HIQOBD]G?MMA|UTC[A-Z]?MMA)\b[\w.]*")
_KIND = re.compile(r"\btcgen05\.mma[\w.:]*(kind::\w+)")
_AMD = re.compile(r"\b(v_(?:mfma|smfmac|wmma|swmmac)_\w+)([^\n]*)")
_FORMAT = re.compile(r"\b(cbsz|blgp):(\d)")
_FORMATS = ("e4m3", "e5m2", "e2m3", "e3m2", "e2m1")
"""Of A by `cbsz` and of B by `blgp`, 0 where they are not said: CDNA4 ISA, 7.1.5."""

_NATIVE = {
    "fp64": r"^DMMA|_f64_.*f64$",
    "fp32": r"_f32_\d+x\d+x\d+_?f32$",
    "tf32": r"\.TF32\b|kind::tf32$|_xf32$",
    "fp16": r"^HG?MMA(?!.*(BF16|TF32))|kind::f16$|\d_?f16$",
    "bf16": r"^HG?MMA.*BF16|kind::f16$|bf16(_1k)?$",
    "fp8_e4m3": r"E4M3\.E4M3\b|kind::f8f6f4$|_fp8_fp8$|f8f6f4 \(e4m3, e4m3\)$",
    "fp8_e5m2": r"E5M2\.E5M2\b|kind::f8f6f4$|_bf8_bf8$|f8f6f4 \(e5m2, e5m2\)$",
    "int8": r"^IG?MMA.*S8|kind::i8$|[_\d]iu?8$",
    "mxfp8": r"^QMMA\.SF|kind::mxf8f6f4$|^v_mfma_scale_.* \(e4m3, e4m3\)$",
    "mxfp4": r"^OMMA\.SF|kind::mxf4(nvf4)?$|^v_mfma_scale_.* \(e2m1, e2m1\)$",
    "nvfp4": r"^OMMA\.SF|kind::mxf4nvf4$",
}
"""Patterns of what multiplies each arithmetic in its own type, on any vendor."""
_NATIVE["bf16x3"] = _NATIVE["bf16"]


def of_nvidia(sass: str, ptx: str) -> dict[str, int]:
    """Matrix instructions of a SASS listing by mnemonic."""
    found = Counter(_SASS.findall(sass))
    kinds = "+".join(sorted(set(_KIND.findall(ptx))))
    return {
        f"{name} {kinds}" if name.startswith("UTC") and kinds else name: count
        for name, count in sorted(found.items())
    }


def of_amd(listing: str) -> dict[str, int]:
    """Matrix instructions of AMD's assembly by mnemonic."""
    return dict(sorted(Counter(map(_amd, _AMD.finditer(listing))).items()))


def _amd(found: re.Match[str]) -> str:
    name, modifiers = found.groups()
    if not name.endswith("f8f6f4"):
        return name
    said = {which: int(value) for which, value in _FORMAT.findall(modifiers)}
    a, b = (said.get(which, 0) for which in ("cbsz", "blgp"))
    known = [_FORMATS[one] if one < len(_FORMATS) else "?" for one in (a, b)]
    return f"{name} ({', '.join(known)})"


def verdict(instructions: dict[str, int], name: str) -> Verdict:
    """What a precision executes on, by the matrix instructions found.

    Those of another type are `emulated`: the inputs were converted first.
    """
    if not instructions:
        return "vector"
    native = re.compile(_NATIVE[precision(name).arithmetic])
    if all(native.search(mnemonic) for mnemonic in instructions):
        return "matrix cores"
    return "emulated"
