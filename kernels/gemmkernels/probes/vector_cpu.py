"""The ceiling of a CPU's vector units: multiply-adds on its widest registers, all threads.

Factors are N(0, 1) in the precision; each accumulator adds a product of two of them a step, as the
inner loop of a matrix product does. bf16 is AVX512_BF16's dot product of pairs, int8 VNNI's of four
(unsigned by signed). Sums are checked against float64: γ = steps · roundings · u of Σ|x·y| may be
lost (Higham, Accuracy and Stability, section 3.1); integers are exact.
"""

from functools import cache
from typing import Any

import llvmlite.binding
import numba
import numpy as np

from gemmkernels.cpu.microkernel import compiled_for, vector_bytes
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.probes.chains import SHAPES, chains
from gemmkernels.probes.loop_cpu import SIGNATURE, Array, bound
from gemmkernels.probes.roofs import BoundProbe

STEPS = 1 << 19
"""2 to 4 ms a launch: what it costs to start the threads (10 to 50 µs) is lost in it."""

TERMS = {"fp64": 1, "fp32": 1, "bf16": 2, "int8": 4}
"""Products that one word of an accumulator takes in each step."""

_FEATURES = {"bf16": ("avx512bf16",), "int8": ("avx512vnni", "avxvnni")}
"""As LLVM spells them."""


@cache
def loop(precision: str, width: int) -> Any:
    """The loop as machine code; `width` is the bytes of a vector."""
    llvmlite.binding.initialize_native_asmparser()

    @numba.cfunc(SIGNATURE)
    def share(given: Any, steps: Any, out: Any) -> None:
        chains(given, steps, out, precision, width)

    return share


def bind(device: Device, precision: str) -> BoundProbe:
    width = _width(device, precision)
    given, expected, allowed = sums(precision, width, STEPS)
    return bound(
        loop(precision, width),
        given=given,
        steps=STEPS,
        expected=expected,
        allowed=allowed,
        word=_word(precision),
        flop=2.0 * STEPS * TERMS[precision] * expected.size,
        config={"vector_bits": 8 * width, "accumulators": SHAPES[width].accumulators},
    )


def _width(device: Device, precision: str) -> int:
    width = 32 if precision == "int8" and "avx512_vnni" not in device.features else 64
    width = min(width, vector_bytes(device))
    wanted = _FEATURES.get(precision, ())
    if (wanted and not compiled_for() & set(wanted)) or (precision == "bf16" and width < 64):
        raise GemmbenchError(f"numba compiles without {' and '.join(wanted)} here")
    return width


def _word(precision: str) -> Any:
    return {"fp64": np.float64, "int8": np.int32}.get(precision, np.float32)


def sums(precision: str, width: int, steps: int) -> tuple[bytes, Array, Array]:
    """(what a thread is given, the words that it must write, how far they may be off)."""
    shape, terms, word = SHAPES[width], TERMS[precision], _word(precision)
    lanes = width // np.dtype(word).itemsize
    draw = np.random.default_rng(0)
    start: Array = draw.standard_normal((shape.accumulators, lanes))
    x: Array = draw.standard_normal((shape.x, lanes, terms))
    y: Array = draw.standard_normal((shape.y, lanes, terms))
    if precision == "int8":
        start = np.zeros_like(start)
        x = np.clip(np.rint(128 + 32 * x), 0, 255)
        y = np.clip(np.rint(32 * y), -127, 127)
        parts: tuple[Array, ...] = (start.astype(word), x.astype(np.uint8), y.astype(np.int8))
    elif precision == "bf16":
        x, y = (_cut(one) for one in (x, y))
        halves = ((one.view(np.uint32) >> 16).astype(np.uint16) for one in (x, y))
        parts = (start.astype(word), *halves)
        start = parts[0].astype(np.float64)
    else:
        parts = tuple(one.astype(word) for one in (start, x, y))
        start, x, y = (one.astype(np.float64) for one in parts)
    pairs = [shape.pair(number) for number in range(shape.accumulators)]
    products = np.stack([x[i].astype(np.float64) * y[j] for i, j in pairs])
    expected = start + steps * products.sum(axis=-1)
    if precision == "int8":
        wrapped = expected.astype(np.int64).astype(np.int32)
        return _bytes(parts), wrapped.reshape(-1), np.zeros(wrapped.size)
    unit = float(np.finfo(word).eps) / 2
    spread = np.abs(start) + steps * np.abs(products).sum(axis=-1)
    allowed = terms * steps * unit * spread
    return _bytes(parts), expected.reshape(-1), allowed.reshape(-1)


def _cut(values: Array) -> Array:
    """float32 of which the lower half is zero: bfloat16 as it is stored."""
    found = values.astype(np.float32)
    return (found.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _bytes(parts: tuple[Array, ...]) -> bytes:
    return b"".join(part.tobytes() for part in parts)
