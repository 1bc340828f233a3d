"""Copy bandwidth of a CPU: memory, and the last-level cache.

Bytes read plus bytes written, as STREAM's Copy counts them: a line that a store would fetch first
(write-allocate) is not counted. Past the cache stores are non-temporal and fetch nothing, as
vendors build STREAM; within it they are plain ones. Each thread copies a part of its own, four
pages side by side, as glibc's memcpy does: one stream alone keeps too few lines on their way
(82 against 120 GB/s in the L3 of two Zen 4 cores).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from gemmkernels.cpu.sharing import aligned, whole
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Launch
from gemmkernels.probes.roofs import BoundProbe

PAGE, STREAMS, LINES = 4096, 4, 4
LINE = 64
CHUNK = PAGE * STREAMS
TIMES_LLC = 4
LEAST = 64 * 2**20
"""Of a buffer, where the cache is small or its size is not known."""


@intrinsic(prefer_literal=True)
def copy_lines(
    _typing: Any,
    source: Any,
    target: Any,
    size: Any,  # noqa: ARG001
    around: Any,
) -> Any:
    """Copy `size` bytes, whole chunks, aligned to lines; `around` the caches where it is 1."""
    past = bool(around.literal_value)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        source, target, size, _ = values
        # 64 bytes are one vector of AVX-512, and two of AVX2.
        vector, index = ir.VectorType(ir.IntType(64), LINE // 8), size.type
        entry, loop = builder.block, builder.append_basic_block("lines")
        builder.branch(loop)
        builder.position_at_end(loop)
        at = builder.phi(index)
        offsets = [
            builder.add(at, index(stream * PAGE + line * LINE))
            for stream in range(STREAMS)
            for line in range(LINES)
        ]

        def places(pointer: Any) -> list[Any]:
            found = [builder.gep(pointer, [offset]) for offset in offsets]
            return [builder.bitcast(one, vector.as_pointer()) for one in found]

        loaded = [builder.load(place) for place in places(source)]
        for one in loaded:
            one.align = LINE
        for value, place in zip(loaded, places(target), strict=True):
            stored = builder.store(value, place)
            stored.align = LINE
            if past:
                hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                stored.set_metadata("nontemporal", hint)
        near = builder.add(at, index(LINES * LINE))
        ended = builder.icmp_signed("==", builder.and_(near, index(PAGE - 1)), index(0))
        # Once through a page of each stream, on to the next four.
        following = builder.select(ended, builder.add(near, index(CHUNK - PAGE)), near)
        at.add_incoming(index(0), entry)
        at.add_incoming(following, loop)
        done = builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("<", following, size), loop, done)
        builder.position_at_end(done)
        if past:
            builder.fence("seq_cst")  # other threads may read what went past the caches
        return context.get_dummy_value()

    return types.void(source, target, types.int64, around), generate


@cache
def _copier(around: int) -> Any:
    pointer = types.CPointer(types.uint8)

    @numba.cfunc(types.void(pointer, pointer, types.int64))
    def share(source: Any, target: Any, size: Any) -> None:
        copy_lines(source, target, size, around)

    call = share.ctypes

    @numba.njit(parallel=True, nogil=True)
    def copy(source: Any, target: Any) -> None:
        for t in prange(source.shape[0]):
            call(source[t].ctypes, target[t].ctypes, source.shape[1])

    return copy


@numba.njit(parallel=True, nogil=True)
def _fill(buffer: Any, seed: int) -> None:
    """Knuth's hash of the place, by the thread that copies it: so the memory lies near to it."""
    for t in prange(buffer.shape[0]):
        for i in range(buffer.shape[1]):
            buffer[t, i] = ((i + seed + t) * 2654435761) >> 24


def bind_copy(device: Device, _precision: str) -> BoundProbe:
    return _bound(buffer_bytes(device), around=1)


def buffer_bytes(device: Device) -> int:
    """Of a buffer that no cache holds; raises GemmbenchError where two are too much."""
    size = max(LEAST, TIMES_LLC * (device.llc_bytes or 0))
    if 2 * size > device.memory_bytes // 2:
        raise GemmbenchError(
            f"two buffers of {size / 2**20:.4g} MiB, {TIMES_LLC} times the cache, are over half of "
            f"the memory left: {device.memory_bytes / 2**20:.4g} MiB"
        )
    return size


def bind_cache(device: Device, _precision: str) -> BoundProbe:
    """Half of the last-level cache, source and target together."""
    assert device.llc_bytes is not None
    return _bound(device.llc_bytes // 4, around=0)


def _bound(size: int, *, around: int) -> BoundProbe:
    threads = numba.get_num_threads()
    each = whole(max(CHUNK, size // threads), CHUNK)
    source, target = (aligned((threads, each), np.uint8) for _ in range(2))
    _fill(source, 0)
    _fill(target, 1)
    copy = _copier(around)
    copy.compile((numba.typeof(source), numba.typeof(target)))

    def check(run: Callable[[], object]) -> str:
        target[:] = 0xA5
        run()
        off = int(np.count_nonzero(target != source))
        return f"{off} of {target.size} bytes are not those of the source" if off else ""

    def launch() -> None:
        copy(source, target)

    total = 2 * threads * each
    config = {"bytes": total, "threads": threads, "stores": "around" if around else "plain"}
    return BoundProbe(launch=Launch(run=launch), work=float(total), check=check, config=config)
