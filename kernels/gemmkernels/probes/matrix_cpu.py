"""The ceiling of AMX: four products of tiles a step, none of which waits for another.

Two tiles of A and two of B are loaded once; the loop has nothing but products in it. Sums begin
again from zero after each part, so that what rounding may take from them stays small against them.
"""

from functools import cache
from typing import Any

import numba
import numpy as np

from gemmkernels.cpu import amx_tiles
from gemmkernels.cpu.microkernel import compiled_for
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.probes.loop_cpu import SIGNATURE, Array, bound
from gemmkernels.probes.roofs import BoundProbe

STEPS, PARTS = 1 << 14, 4
"""A tile's product starts every 16 cycles: about 1.3 ms."""

ROWS, ROW_BYTES, TILE_BYTES = 16, 64, 1024
TERMS = {"fp16": 2, "bf16": 2, "int8": 4}
"""Terms of K in a word of a tile."""

DOTS = {
    "fp16": amx_tiles.dot_fp16,
    "bf16": amx_tiles.dot_bf16,
    "int8": amx_tiles.dot_int8,
}


def loop_of(tiles: Any, dot: Any, compiler: Any) -> Any:
    """The loop of one thread in Python, on the tile instructions that `tiles` has."""

    @compiler
    def share(given: Any, steps: Any, out: Any) -> None:
        tiles.configure(given)
        tiles.load(4, tiles.moved(given, 64), 64)
        tiles.load(5, tiles.moved(given, 64 + 1024), 64)
        tiles.load(6, tiles.moved(given, 64 + 2 * 1024), 64)
        tiles.load(7, tiles.moved(given, 64 + 3 * 1024), 64)
        for part in range(PARTS):
            tiles.zero(0)
            tiles.zero(1)
            tiles.zero(2)
            tiles.zero(3)
            for _ in range(steps):
                dot(0, 4, 6)
                dot(1, 4, 7)
                dot(2, 5, 6)
                dot(3, 5, 7)
            to = part * 4 * 1024
            tiles.store(0, tiles.moved(out, to), 64)
            tiles.store(1, tiles.moved(out, to + 1024), 64)
            tiles.store(2, tiles.moved(out, to + 2 * 1024), 64)
            tiles.store(3, tiles.moved(out, to + 3 * 1024), 64)
        tiles.release()

    return share


@cache
def loop(precision: str) -> Any:
    """The loop as machine code; LLVM aborts where the CPU that numba compiles for has no AMX."""
    return loop_of(amx_tiles, DOTS[precision], numba.cfunc(SIGNATURE))


def bind(_device: Device, precision: str) -> BoundProbe:
    if missing := {"amx-tile", f"amx-{precision}"} - compiled_for():
        raise GemmbenchError(f"numba compiles without {' and '.join(sorted(missing))} here")
    given, expected, allowed = sums(precision, STEPS)
    return bound(
        loop(precision),
        given=given,
        steps=STEPS,
        expected=expected,
        allowed=allowed,
        word=np.int32 if precision == "int8" else np.float32,
        flop=2.0 * PARTS * STEPS * 4 * ROWS * ROWS * ROWS * TERMS[precision],
        config={"tiles": 4, "parts": PARTS},
    )


def sums(precision: str, steps: int) -> tuple[bytes, Array, Array]:
    """(what a thread is given, the words that it must write, how far they may be off).

    A is [2 tiles, 16, K], B [2 tiles, K, 16]; of B a tile has the terms of a word side by side.
    """
    terms = TERMS[precision]
    draw = np.random.default_rng(0)
    a: Array = draw.standard_normal((2, ROWS, 16 * terms))
    b: Array = draw.standard_normal((2, 16 * terms, ROWS))
    if precision == "int8":
        a, b = (np.clip(np.rint(32 * one), -127, 127).astype(np.int8) for one in (a, b))
        stored = [a, b]
    elif precision == "fp16":
        a, b = stored = [one.astype(np.float16) for one in (a, b)]
    else:
        bits = [one.astype(np.float32).view(np.uint32) & 0xFFFF0000 for one in (a, b)]
        a, b = (one.astype(np.uint32).view(np.float32) for one in bits)
        stored = [(one >> 16).astype(np.uint16) for one in bits]
    words = stored[1].reshape(2, 16, terms, ROWS).swapaxes(2, 3)
    given = b"".join(
        one.tobytes() for one in (amx_tiles.CONFIGURATION, stored[0], np.ascontiguousarray(words))
    )
    wide = [one.astype(np.float64) for one in (a, b)]
    expected = steps * np.stack([wide[0][i] @ wide[1][j] for i in (0, 1) for j in (0, 1)])
    spread = steps * np.stack(
        [np.abs(wide[0][i]) @ np.abs(wide[1][j]) for i in (0, 1) for j in (0, 1)]
    )
    roundings = steps * 16 * terms
    allowed = np.tile((roundings * 2.0**-24 * spread).reshape(-1), PARTS)
    if precision == "int8":
        whole = expected.astype(np.int64).astype(np.int32)
        return given, np.tile(whole.reshape(-1), PARTS), np.zeros(allowed.size)
    return given, np.tile(expected.reshape(-1), PARTS), allowed
