"""One thread's part of a product by AMX: 32 rows and columns of C in four tiles over K."""

from typing import Any

from gemmkernels.cpu.packing import packer, putter

TILE = 32
"""Rows and columns of C that four tiles hold."""


def share_of(tiles: Any, terms: int, compiler: Any) -> Any:
    """One thread's share of C in Python, on the tile instructions that `tiles` has.

    `terms` of 2 is bf16, of 4 int8. Sums are 32-bit words: floats, or integers.
    """
    pack_a, pack_b, put = packer(1), packer(terms), putter(terms == 2)
    dot = tiles.dot_bf16 if terms == 2 else tiles.dot_int8
    across = 16 * terms

    @compiler
    def product(of_a: Any, of_b: Any, acc: Any, steps: int, first: bool) -> None:
        """acc[32, 32] (+)= a strip of A times a sliver of B, each of so many tiles along K."""
        if first:
            tiles.zero(0)
            tiles.zero(1)
            tiles.zero(2)
            tiles.zero(3)
        else:
            tiles.load(0, acc, 128)
            tiles.load(1, tiles.moved(acc, 16), 128)
            tiles.load(2, tiles.moved(acc, 512), 128)
            tiles.load(3, tiles.moved(acc, 528), 128)
        for step in range(steps):
            tiles.load(4, tiles.moved(of_a, 2 * step * 16 * across), 64)
            tiles.load(5, tiles.moved(of_a, (2 * step + 1) * 16 * across), 64)
            tiles.load(6, tiles.moved(of_b, step * 512), 128)
            tiles.load(7, tiles.moved(of_b, step * 512 + 16), 128)
            dot(0, 4, 6)
            dot(1, 4, 7)
            dot(2, 5, 6)
            dot(3, 5, 7)
        tiles.store(0, acc, 128)
        tiles.store(1, tiles.moved(acc, 16), 128)
        tiles.store(2, tiles.moved(acc, 512), 128)
        tiles.store(3, tiles.moved(acc, 528), 128)

    def share(a: Any, b: Any, c: Any, scratch: Any, job: Any) -> None:
        i0, i1, j0, j1 = job[0], job[1], job[2], job[3]
        block_m, block_n, block_k = job[4], job[5], job[6]
        N, K, a_m, a_k, b_k, b_n = job[7], job[8], job[9], job[10], job[11], job[12]
        sums = tiles.words(tiles.moved(scratch, across))  # past the configuration
        panel, block = tiles.moved(sums, job[13]), tiles.moved(scratch, across + job[14])
        slot_i, slot_j = (TILE, block_m) if block_k < K else (0, 0)
        tiles.configure(scratch)
        for left in range(j0, j1, block_n):
            columns = min(block_n, j1 - left)
            for top in range(i0, i1, block_m):
                high = min(block_m, i1 - top)
                for k0 in range(0, K, block_k):
                    count = min(block_k, K - k0)
                    steps = (count + across - 1) // across
                    if top == i0 or block_k < K:
                        at = left * b_n + k0 * b_k
                        pack_b(b, at, b_k, b_n, count, columns, panel, 16 * steps, TILE)
                    for i in range(0, high, TILE):
                        at, to = (top + i) * a_m + k0 * a_k, i * steps * across
                        rows, strip = min(TILE, high - i), tiles.moved(block, to)
                        pack_a(a, at, a_m, a_k, rows, count, strip, TILE, across)
                    for j in range(0, columns, TILE):
                        for i in range(0, high, TILE):
                            acc = tiles.moved(sums, j * slot_j + i * slot_i)
                            of_a = tiles.moved(block, i * steps * across)
                            product(of_a, tiles.moved(panel, j * steps * 16), acc, steps, k0 == 0)
                            if k0 + count == K:
                                to = (top + i) * N + left + j
                                rows, wide = min(TILE, high - i), min(TILE, columns - j)
                                put(acc, TILE, c, to, N, rows, wide)
        tiles.release()

    return share
