"""Nodes and racks: is one slow as a whole?"""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from gemmbench.analysis.fleet.model import Device, Part
from gemmbench.analysis.fleet.rule import ALPHA, DELTA, LEAST, against_others, holm
from gemmkernels.errors import GemmbenchError
from gemmkernels.smallfile import small_file

WHAT: tuple[Literal["node", "rack"], ...] = ("node", "rack")

_EXPECTED = "a CSV file with the columns node,rack: first these names, then a line a node"


def parts(
    devices: Sequence[Device], speeds: Sequence[float], flagged: Sequence[int]
) -> tuple[Part, ...]:
    """Nodes, then racks, the slowest first; of those without a name nothing is told.

    `speeds` are those of the devices over one reference for all. A node or rack is slow as a whole
    if the median of them is by the rule of single devices, over all nodes and racks of the report,
    and two of its devices or more are over δ slow.
    """
    found: list[tuple[Literal["node", "rack"], str, list[int], float]] = []
    tested: list[tuple[list[int], list[float], list[float]]] = []
    for what in WHAT:
        members: dict[str, list[int]] = defaultdict(list)
        for number, device in enumerate(devices):
            if name := device.node if what == "node" else device.rack:
                members[name].append(number)
        start = len(found)
        for name, some in members.items():
            known = [v for one in some if not math.isnan(v := speeds[one])]
            found.append((what, name, some, float(np.median(known)) if known else math.nan))
        places = [at for at in range(start, len(found)) if not math.isnan(found[at][3])]
        if len(places) >= LEAST:
            values = np.array([found[at][3] for at in places])
            against = against_others(values)
            tested.append((places, (values / against.centre).tolist(), against.p_low.tolist()))
    slow = _slow(tested)
    bad = set(flagged)
    made = [
        Part(
            what=what,
            name=name,
            devices=len(some),
            relative=middle,
            flagged=len(bad & set(some)),
            slow=at in slow and sum(devices[one].relative < 1 - DELTA for one in some) >= 2,
        )
        for at, (what, name, some, middle) in enumerate(found)
    ]
    return tuple(
        sorted(
            made,
            key=lambda one: (
                *(WHAT.index(one.what), not one.slow, -one.flagged),
                math.inf if math.isnan(one.relative) else one.relative,
            ),
        )
    )


def _slow(tested: Sequence[tuple[list[int], list[float], list[float]]]) -> set[int]:
    places = [at for some, _, _ in tested for at in some]
    relative = [value for _, some, _ in tested for value in some]
    p = holm(np.array([value for _, _, some in tested for value in some]))
    return {
        at
        for at, value, chance in zip(places, relative, p.tolist(), strict=True)
        if value < 1 - DELTA and (chance < ALPHA or value < 1 - 2 * DELTA)
    }


def racks_of(path: Path) -> Mapping[str, str]:
    """Node → rack, of a CSV file with the columns node and rack.

    Raises GemmbenchError for a file that is none, and for a node in two racks.
    """
    data = small_file(path, expected=_EXPECTED)
    text = data.decode("utf-8-sig", "replace")
    reader = csv.reader(text.splitlines(), skipinitialspace=True)
    found: dict[str, str] = {}
    try:
        named = [name.strip().lower() for name in next(filter(None, reader), [])]
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise GemmbenchError(f"{path} is no CSV file: {error}") from None
    if not {"node", "rack"} <= set(named):
        first = ",".join(named)[:80]
        raise GemmbenchError(f"{path} begins with {first!r}: expected {_EXPECTED}")
    at = named.index("node"), named.index("rack")
    for number, row in rows:
        node, rack = (row[one].strip() if one < len(row) else "" for one in at)
        if not node or not rack:
            raise GemmbenchError(
                f"{path}, line {number}: no node or no rack in it: expected {_EXPECTED}"
            )
        if found.setdefault(node, rack) != rack:
            raise GemmbenchError(
                f"{path}, line {number}: node {node[:80]!r} stands in two racks, "
                f"{found[node][:80]!r} and {rack[:80]!r}: name one"
            )
    if not found:
        raise GemmbenchError(f"{path} names no node: expected {_EXPECTED}")
    return found
