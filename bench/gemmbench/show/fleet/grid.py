"""Where each device stands in the map: a row a node, in blocks side by side where they are many."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gemmbench.analysis.fleet.model import Device
from gemmbench.show.text import printable

WIDE = 1.7
"""About how much wider than high the whole should be."""

MOST_IN_A_ROW = 64
ALONE = 24
"""So many devices of no node have a row and their name each."""

LONGEST = 24
"""Characters of a name beside its row."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """`at` is (row, column) of each device. `labels` are (row, column, text): of a node the row and
    the first column of its block. `shape` is in cells, `wide` of them a block.

    `by_index` is if a device's column in its block is its index in the node.
    """

    at: tuple[tuple[int, int], ...]
    labels: tuple[tuple[int, int, str], ...]
    shape: tuple[int, int]
    wide: int
    by_node: bool
    by_index: bool


def grid_of(devices: Sequence[Device], *, gap: int = 1) -> Grid:
    """By node and index in it; in their order where no node has a name. Blocks have `gap` cells
    between them, and before the first one where that is more than one."""
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
    names = sorted(rows, key=natural)
    by_index = by_node and all(_own_index(devices, some) for some in rows.values())
    places = {name: _columns(devices, rows[name], by_index=by_index) for name in names}
    short = shortened(names)
    wide = 1 + max(column for some in places.values() for _, column in some)
    blocks = _blocks(len(places), wide + gap) if by_node else 1
    high = -(-len(places) // blocks)
    blocks = -(-len(places) // high)
    at = [(0, 0)] * len(devices)
    labels = []
    before = gap if gap > 1 else 0
    for place, (name, some) in enumerate(places.items()):
        block, row = divmod(place, high)
        left = before + block * (wide + gap)
        if named:
            labels.append((row, left, short[name]))
        for number, column in some:
            at[number] = (row, left + column)
    shape = (high, before + blocks * (wide + gap) - gap)
    return Grid(
        at=tuple(at),
        labels=tuple(labels),
        shape=shape,
        wide=wide,
        by_node=by_node,
        by_index=by_index,
    )


def natural(name: str) -> list[tuple[bool, int, str]]:
    """n2 before n10."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(True, int(one), "") if at % 2 else (False, 0, one) for at, one in enumerate(parts)]


def shortened(names: Sequence[str], most: int = LONGEST) -> Mapping[str, str]:
    """Names of which none is too long: without what ends them all, then what begins them all, then
    cut in the middle."""
    clean = {name: printable(name, 200) for name in names}
    longest = max(map(len, clean.values()), default=0)
    last = _alike([one[::-1] for one in clean.values()]) if longest > most else 0
    clean = {name: f"{one[: len(one) - last]}…" if last else one for name, one in clean.items()}
    longest = max(map(len, clean.values()), default=0)
    first = _alike(list(clean.values())) if longest > most else 0
    return {name: _middle(f"…{one[first:]}" if first else one, most) for name, one in clean.items()}


def _alike(names: Sequence[str]) -> int:
    """How many characters all begin with."""
    if len(names) < 2:
        return 0
    least, most = min(names), max(names)
    count = next((at for at, pair in enumerate(zip(least, most)) if len(set(pair)) > 1), len(least))  # noqa: B905
    return len(least[:count].rstrip("0123456789"))


def _middle(text: str, most: int) -> str:
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def _own_index(devices: Sequence[Device], some: Sequence[int]) -> bool:
    """Has each device of a node an index of its own?"""
    own = {one for number in some if (one := devices[number].index) is not None}
    return len(own) == len(some) and max(own) < MOST_IN_A_ROW


def _columns(
    devices: Sequence[Device], some: Sequence[int], *, by_index: bool
) -> list[tuple[int, int]]:
    """(device, column)."""
    if by_index:
        return [(number, devices[number].index or 0) for number in some]
    return [(number, column) for column, number in enumerate(some)]


def _blocks(rows: int, wide: int) -> int:
    """In so many blocks side by side a tall column of nodes is about as wide as it should be."""
    return max(1, min(rows, round(math.sqrt(WIDE * rows / wide))))
