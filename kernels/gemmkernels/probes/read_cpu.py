"""Read bandwidth of a CPU's memory: each thread adds up a part of its own, four streams of it.

A product of few rows reads nearly all that it moves, and a copy is no bound of it.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import prange

from gemmkernels.cpu.sharing import aligned, whole
from gemmkernels.device import Device
from gemmkernels.kernel import Launch
from gemmkernels.probes.copy_cpu import buffer_bytes
from gemmkernels.probes.roofs import BoundProbe

STREAMS = 4
WORD = 8


@numba.njit(parallel=True, nogil=True)
def _read(source: Any, sums: Any) -> None:
    for t in prange(source.shape[0]):
        row = source[t]
        part = row.shape[0] // STREAMS
        a, b = row[:part], row[part : 2 * part]
        c, d = row[2 * part : 3 * part], row[3 * part :]
        total = np.uint64(0)
        for i in range(part):
            total += a[i] + b[i] + c[i] + d[i]
        sums[t] = total


@numba.njit(parallel=True, nogil=True)
def _fill(buffer: Any) -> None:
    """Knuth's hash of the place, by the thread that reads it: so the memory lies near to it."""
    for t in prange(buffer.shape[0]):
        for i in range(buffer.shape[1]):
            buffer[t, i] = np.uint64(i + t) * np.uint64(2654435761)


def bind(device: Device, _precision: str) -> BoundProbe:
    threads = numba.get_num_threads()
    words = whole(buffer_bytes(device) // WORD // threads, STREAMS * 512)
    source = aligned((threads, words), np.uint64)
    sums = np.zeros(threads, dtype=np.uint64)
    _fill(source)
    expected = source.sum(axis=1, dtype=np.uint64)

    def check(run: Callable[[], object]) -> str:
        sums[:] = 0
        run()
        off = int(np.count_nonzero(sums != expected))
        return f"{off} of {threads} sums are not those of the source" if off else ""

    def launch() -> None:
        _read(source, sums)

    launch()  # compiles
    total = source.nbytes
    return BoundProbe(
        launch=Launch(run=launch),
        work=float(total),
        check=check,
        config={"bytes": total, "threads": threads},
    )
