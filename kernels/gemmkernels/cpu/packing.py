"""Copies of A and B in the order in which a tile of C reads them, and C written from its sums."""

from functools import cache
from typing import Any

import numba
import numpy as np

AT_ONCE = 16
"""Rows that a transposing copy writes at a time: their lines stay in L1 until they are full."""


@cache
def packer(terms: int) -> Any:
    """The function that copies a matrix in slivers of columns, `terms` rows to a 32-bit word.

    One term is copied as it is; two and four are put side by side in 16 and 8 bits each.
    """
    bits = 32 // terms
    mask = 2**bits - 1

    if terms == 1:

        @numba.njit(nogil=True)
        def word(source: Any, at: int, step: int, count: int) -> Any:  # noqa: ARG001
            return source[at]

    else:

        @numba.njit(nogil=True)
        def word(source: Any, at: int, step: int, count: int) -> Any:
            found = np.int32(0)
            for term in range(count):
                found |= np.int32((np.int32(source[at + term * step]) & mask) << (bits * term))
            return found

    @numba.njit(nogil=True)
    def pack(
        source: Any,
        start: int,
        row_step: int,
        column_step: int,
        count: int,
        columns: int,
        target: Any,
        depth: int,
        width: int,
    ) -> None:
        """target[j // width, i, j % width] = word i of column j, of [slivers, depth, width] words.

        The matrix has `count` rows, so many terms, and `columns`; words beyond them are zero.
        """
        whole, rest = count // terms, count % terms
        step = terms * row_step
        for left in range(0, columns, width):
            here = min(width, columns - left)
            for i in range(depth):
                for j in range(here if i < whole + (rest > 0) else 0, width):
                    target[left * depth + i * width + j] = 0
        if column_step == 1:
            # Along whole rows, for the hardware's prefetch: by slivers all took 10% longer.
            for i in range(whole):
                for left in range(0, columns, width):
                    to, at = left * depth + i * width, start + i * step + left
                    for j in range(min(width, columns - left)):
                        target[to + j] = word(source, at + j, row_step, terms)
        else:
            for left in range(0, columns, width):
                for top in range(0, whole, AT_ONCE):
                    for j in range(min(width, columns - left)):
                        to, at = left * depth + j, start + (left + j) * column_step
                        for i in range(top, min(whole, top + AT_ONCE)):
                            target[to + i * width] = word(source, at + i * step, row_step, terms)
        if rest:
            for j in range(columns):
                to = j // width * width * depth + whole * width + j % width
                at = start + whole * step + j * column_step
                target[to] = word(source, at, row_step, rest)

    return pack


def flat(tensor: Any) -> tuple[np.ndarray[Any, Any], int, int]:
    """(elements as they lie in memory, step of a row, step of a column) of a matrix."""
    array = tensor.numpy()
    rows, columns = (stride // array.itemsize for stride in array.strides)
    stored = array if array.flags.c_contiguous else array.T
    assert stored.flags.c_contiguous
    return stored.reshape(-1), rows, columns


@cache
def putter(halved: bool) -> Any:
    """The function that writes 32-bit sums to C, as they are or as bfloat16."""

    @numba.njit(nogil=True)
    def rounded(bits: Any) -> Any:
        if not halved:
            return bits
        found = np.uint32(bits)
        if found & np.uint32(0x7FFFFFFF) > np.uint32(0x7F800000):  # a NaN must not become ∞
            return np.uint16(found >> np.uint32(16)) | np.uint16(0x40)
        even = (found >> np.uint32(16)) & np.uint32(1)
        return np.uint16((found + np.uint32(0x7FFF) + even) >> np.uint32(16))

    @numba.njit(nogil=True)
    def put(sums: Any, width: int, c: Any, to: int, step: int, rows: int, columns: int) -> None:
        """c[to + i · step + j] from row i of `width` sums, of so many rows and columns."""
        for i in range(rows):
            for j in range(columns):
                c[to + i * step + j] = rounded(sums[i * width + j])

    return put
