"""What the arithmetic probes of a CPU share: a loop on each thread, and the check of its sums."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import prange, types

from gemmkernels.cpu.sharing import aligned
from gemmkernels.kernel import Launch
from gemmkernels.probes.roofs import BoundProbe

Array = np.ndarray[Any, Any]
SIGNATURE = types.void(types.CPointer(types.uint8), types.int64, types.CPointer(types.uint8))
"""Of a loop: what it is given, how many steps it makes, where its sums go."""


def over_threads(loop: Any) -> Any:
    """The same loop on every thread, each with a row of `out`; `loop` is a cfunc."""
    call = loop.ctypes

    @numba.njit(parallel=True, nogil=True)
    def run(given: Any, steps: int, out: Any) -> None:
        for t in prange(out.shape[0]):
            call(given.ctypes, steps, out[t].ctypes)

    return run


def bound(
    loop: Any,
    *,
    given: bytes,
    steps: int,
    expected: Array,
    allowed: Array,
    word: Any,
    flop: float,
    config: dict[str, int | str],
) -> BoundProbe:
    """The loop on all threads that numba has. `flop` is that of one thread.

    `expected` [words] is each thread's sums, float64 or the integers' own type; `allowed` is how
    far rounding may take them from it.
    """
    threads = numba.get_num_threads()
    source = aligned((1, len(given)), np.uint8)[0, : len(given)]
    source[:] = np.frombuffer(given, np.uint8)
    size = expected.size * np.dtype(word).itemsize
    out = aligned((threads, size), np.uint8)  # a row is whole pages
    run = over_threads(loop)
    count = np.int64(steps)
    run.compile(tuple(numba.typeof(one) for one in (source, count, out)))

    def check(launched: Callable[[], object]) -> str:
        out[:] = 0xFF  # NaN of a float, and no sum of integers either
        launched()
        return difference(out[:, :size].view(word), expected, allowed)

    def launch() -> None:
        run(source, count, out)

    return BoundProbe(
        launch=Launch(run=launch),
        work=threads * flop,
        check=check,
        config={**config, "steps": steps, "threads": threads},
    )


def difference(found: Array, expected: Array, allowed: Array) -> str:
    """What is wrong with sums [threads, words], or nothing."""
    if found.dtype.kind == "i":
        off = found != expected
    else:
        off = ~(np.abs(found.astype(np.float64) - expected) <= allowed)
    if not off.any():
        return ""
    row, word = (int(at) for at in np.argwhere(off)[0])
    return (
        f"{int(off.sum())} of {off.size} sums are wrong: thread {row} has {found[row, word]:.6g} "
        f"where its loop must give {expected[word]:.6g}"
    )
