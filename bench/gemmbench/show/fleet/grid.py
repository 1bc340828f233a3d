"""Where each device stands in the map: a row a node, in blocks side by side where they are many."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gemmbench.analysis.fleet.model import Device

WIDE = 1.7
"""About how much wider than high the whole should be."""

MOST_IN_A_ROW = 64
ALONE = 24
"""So many devices of no node have a row and their name each."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """`at` is (row, column) of each device. `labels` are (row, column, text): of a node the row and
    the first column of its block. `shape` is in cells."""

    at: tuple[tuple[int, int], ...]
    labels: tuple[tuple[int, int, str], ...]
    shape: tuple[int, int]
    by_node: bool


def grid_of(devices: Sequence[Device]) -> Grid:
    """By node and index in it; in their order where no node has a name."""
    rows: dict[str, list[int]] = {}
    by_node = any(one.node for one in devices)
    named = by_node or len(devices) <= ALONE
    if by_node:
        for number, device in enumerate(devices):
            rows.setdefault(device.node, []).append(number)
    else:
        across = min(MOST_IN_A_ROW, math.ceil(math.sqrt(WIDE * len(devices))))
        for number, device in enumerate(devices):
            few = len(devices) <= ALONE
            rows.setdefault(device.name if few else f"{number // across:09}", []).append(number)
    places = {name: _columns(devices, some, by_node=by_node) for name, some in sorted(rows.items())}
    wide = 1 + max(column for some in places.values() for _, column in some)
    blocks = _blocks(len(places), wide) if by_node else 1
    high = -(-len(places) // blocks)
    at = [(0, 0)] * len(devices)
    labels = []
    for place, (name, some) in enumerate(places.items()):
        block, row = divmod(place, high)
        left = block * (wide + 1)
        if named:
            labels.append((row, left, name))
        for number, column in some:
            at[number] = (row, left + column)
    shape = (high, blocks * (wide + 1) - 1)
    return Grid(at=tuple(at), labels=tuple(labels), shape=shape, by_node=by_node)


def _columns(
    devices: Sequence[Device], some: Sequence[int], *, by_node: bool
) -> list[tuple[int, int]]:
    """(device, column): its index in the node, if each has one of its own."""
    indices = [devices[number].index for number in some]
    own = [one for one in indices if one is not None and one < MOST_IN_A_ROW]
    if by_node and len(set(own)) == len(some):
        return list(zip(some, own, strict=True))
    return [(number, column) for column, number in enumerate(some)]


def _blocks(rows: int, wide: int) -> int:
    """In so many blocks side by side a tall column of nodes is about as wide as it should be."""
    return max(1, min(rows, round(math.sqrt(WIDE * rows / (wide + 1)))))
