"""AMX's tile instructions, as numba calls them: the one layer that needs such a CPU.

Tiles are constants 0 … 7; pointers go to elements of any type, strides are bytes. They hold what
`CONFIGURATION` says, 16 rows of 64 bytes, from `configure` until `release`, for one thread each.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from gemmkernels.cpu.microkernel import moved

__all__ = [
    "CONFIGURATION",
    "configure",
    "dot_bf16",
    "dot_fp16",
    "dot_int8",
    "load",
    "moved",
    "release",
    "store",
    "words",
    "zero",
]

ROWS, ROW_BYTES = 16, 64

CONFIGURATION = np.zeros(64, np.uint8)
"""Palette 1, then the bytes of a row (16 bits each) and the rows of each of the eight tiles."""
CONFIGURATION[0] = 1
CONFIGURATION[16:32:2] = ROW_BYTES
CONFIGURATION[48:56] = ROWS
CONFIGURATION.flags.writeable = False

_BYTE = ir.IntType(8)


def _call(builder: Any, name: str, tiles: Sequence[int], values: Sequence[Any] = ()) -> Any:
    given = [_BYTE(tile) for tile in tiles] + list(values)
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
    builder.call(get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), given)


def _of_tiles(name: str, count: int) -> Any:
    """The instruction of that name on so many tiles."""

    def generator(*tiles: Any) -> Any:
        numbers = [tile.literal_value for tile in tiles]

        def generate(context: Any, builder: Any, _signature: Any, _values: Any) -> Any:
            _call(builder, name, numbers)
            return context.get_dummy_value()

        return types.void(*tiles), generate

    if count == 0:
        return intrinsic(lambda _typing: generator())
    if count == 1:
        return intrinsic(prefer_literal=True)(lambda _typing, tile: generator(tile))
    return intrinsic(prefer_literal=True)(lambda _typing, c, a, b: generator(c, a, b))


def _of_memory(name: str) -> Any:
    """The instruction of that name between a tile and rows that are `stride` bytes apart."""

    def generator(_typing: Any, tile: Any, pointer: Any, stride: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            place = builder.bitcast(values[1], _BYTE.as_pointer())
            _call(builder, name, [tile.literal_value], [place, values[2]])
            return context.get_dummy_value()

        return types.void(tile, pointer, types.int64), generate

    return intrinsic(prefer_literal=True)(generator)


load, store = _of_memory("tileloadd64"), _of_memory("tilestored64")
zero, release = _of_tiles("tilezero", 1), _of_tiles("tilerelease", 0)
dot_bf16, dot_int8 = _of_tiles("tdpbf16ps", 3), _of_tiles("tdpbssd", 3)
dot_fp16 = _of_tiles("tdpfp16ps", 3)
"""c += a · b: of a's 16 rows of terms, and of b's 16 rows of words, each 2 or 4 terms along K."""


@intrinsic
def configure(_typing: Any, pointer: Any) -> Any:
    """Load the configuration of all tiles, 64 bytes, for this thread."""

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        _call(builder, "ldtilecfg", (), [builder.bitcast(values[0], _BYTE.as_pointer())])
        return context.get_dummy_value()

    return types.void(pointer), generate


@intrinsic
def words(_typing: Any, pointer: Any) -> Any:
    """The same place, as a pointer to 32-bit words."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int32)(pointer), generate
