"""Collectives that were measured alike, and how fast one library is beside another there."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from gemmbench.analysis.claims.evidence import Known, decide
from gemmbench.analysis.judge import SINGLE
from gemmbench.analysis.rows import rows_of
from gemmbench.timing.statistics import Estimate, with_floor
from gemmbench.timing.welch import ratio_of_sides

_NAMES = {"nccl": "NCCL", "rccl": "RCCL"}

LARGE = 32 * 2**20
"""Bytes from which a message tells the bandwidth, and not the latency (nccl-tests,
doc/PERFORMANCE.md): the size that its programs measure unless they are told (--minbytes)."""

Way = tuple[str, str, str, str]
"""Precision, preset, cache and data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """What one library measured over `ranks` devices, `on_node` of them in one machine.

    `rows` are the repeats of each size of message, in bytes: those of `load`, of one run or more.
    """

    library: str
    version: str
    device: str
    device_id: str | None
    ranks: int
    on_node: int
    way: Way
    rows: Mapping[int, tuple[Any, ...]]

    @property
    def all(self) -> list[Any]:
        return [row for rows in self.rows.values() for row in rows]

    @property
    def is_sustained(self) -> bool:
        """Was each turn settled and long, as for the other claims? Another tool has no preset."""
        return all(row.preset == "sustained" or row.tool for row in self.all)

    @property
    def decides(self) -> bool:
        return self.is_sustained and decide(*self.all)

    @property
    def label(self) -> str:
        return _NAMES.get(self.library, self.library or "a library without a name")

    @property
    def name(self) -> str:
        """The library and its version, on its device."""
        return f"{self.label}{f' {self.version}' * bool(self.version)} on {self.device}"

    @property
    def over(self) -> str:
        ranks = f"{self.ranks} {'rank' if self.ranks == 1 else 'ranks'}"
        apart = f", {self.on_node} on a machine," if self.on_node != self.ranks else ""
        return f"over {ranks}{apart} in {self.way[0]}"

    @property
    def how(self) -> str:
        return f"{self.over} ({'/'.join(self.way[1:])})"

    @property
    def source(self) -> str:
        """How many repeats there are, and their files."""
        repeats = len({(row.run_id, row.repeat) for row in self.all})
        files = ", ".join(dict.fromkeys(row.file for row in self.all))
        return f"{repeats} {'repeat' if repeats == 1 else 'repeats'}: {files}"

    def times(self, size: int) -> dict[tuple[str, int], float]:
        """Run and repeat → microseconds of a message of that size."""
        return {(row.run_id, row.repeat): row.time_us for row in self.rows[size]}


def sides_of(known: Known, collective: str) -> list[Side]:
    """The verified, quiet rows of a collective alone, by what was measured alike."""
    found: dict[tuple[Any, ...], dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    if known.collectives is None:
        return []
    for row in rows_of(known.collectives):
        # Only what is ok has a time, and only a collective alone a bus bandwidth.
        fits = row.collective == collective and row.time_us > 0 and row.busbw_gbps > 0
        if not fits or row.verdict == "contended":
            continue
        library, version = known.libraries.get(row.run_id, ("", ""))
        device_id = row.device_id if isinstance(row.device_id, str) else None
        way = (row.precision, row.preset, row.cache, row.data)
        # What is synthetic or another's is never mixed with what gemmbench measured.
        key = (library, version, row.device, device_id, row.ranks, row.at_once, way)
        found[*key, row.synthetic, row.tool][int(row.message_bytes)].append(row)
    return [
        Side(
            library=library,
            version=version,
            device=device,
            device_id=device_id,
            ranks=ranks,
            on_node=on_node,
            way=way,
            rows={size: tuple(some) for size, some in rows.items()},
        )
        for (library, version, device, device_id, ranks, on_node, way, *_), rows in found.items()
    ]


def apart(sides: Sequence[Side], one: str, other: str) -> Iterator[tuple[Side, Side]]:
    """Each side of one library with each of the other's over as many ranks, measured alike."""
    for first in sides:
        for second in sides:
            if (first.library, second.library) == (one, other) and _key(first) == _key(second):
                yield first, second


def _key(side: Side) -> tuple[object, ...]:
    return side.ranks, side.way


@dataclass(frozen=True)
class Size:
    """RCCL's bus bandwidth over NCCL's at one size of message, and both, GB/s."""

    message_bytes: int
    ratio: Estimate
    nccl_gbps: float
    rccl_gbps: float


@dataclass(frozen=True)
class Pair:
    """One library beside the other, over as many ranks and measured in one way."""

    nccl: Side
    rccl: Side

    @property
    def shared(self) -> tuple[int, ...]:
        return tuple(sorted(self.nccl.rows.keys() & self.rccl.rows.keys()))

    @property
    def large(self) -> tuple[int, ...]:
        return tuple(size for size in self.shared if size >= LARGE)

    @property
    def rows(self) -> list[Any]:
        return [*self.nccl.all, *self.rccl.all]


def size_of(pair: Pair, size: int) -> Size:
    found = [side.rows[size] for side in (pair.nccl, pair.rccl)]
    nccl, rccl = ([row.busbw_gbps for row in rows] for rows in found)
    times = [[row.time_us for row in rows] for rows in found]
    ratio = _ratio(times[0], times[1], math.hypot(*map(_within, found)))
    return Size(size, ratio, geometric_mean(nccl), geometric_mean(rccl))


def overall_of(pair: Pair) -> Estimate:
    """Of the geometric means over the large messages, one a repeat: sizes are not independent."""
    sides = (pair.nccl, pair.rccl)
    times = [
        [
            geometric_mean([by_repeat[one] for by_repeat in found])
            for one in dict.fromkeys(one for by_repeat in found for one in by_repeat)
            if all(one in by_repeat for by_repeat in found)
        ]
        for found in ([side.times(size) for size in pair.large] for side in sides)
    ]
    if not all(times):  # no repeat has every size
        times = [[geometric_mean([_time(side, size) for size in pair.large])] for side in sides]
    halves = [math.hypot(*(_within(side.rows[size]) for side in sides)) for size in pair.large]
    return _ratio(times[0], times[1], math.nan if any(map(math.isnan, halves)) else max(halves))


def _ratio(nccl_us: Sequence[float], rccl_us: Sequence[float], within: float) -> Estimate:
    """NCCL's time over RCCL's, which is RCCL's bandwidth over NCCL's.

    By the spread between repeats, which may be runs; with one on a side by the rounds in it
    (`within`, of the logs), and never nearer than ±5%: what differs between processes is unknown.
    """
    found = ratio_of_sides(nccl_us, rccl_us).ratio
    if not math.isnan(found.low):
        return found
    low, high = (found.value * math.exp(sign * within) for sign in (-1, 1))
    return with_floor(Estimate(found.value, low, high, found.n), SINGLE)


def _within(rows: Sequence[Any]) -> float:
    """Half of the widest interval of these repeats, of the logs; NaN where none has one."""
    halves = [
        math.log(row.time_us_high / row.time_us_low) / 2 for row in rows if row.time_us_low > 0
    ]
    return max(halves, default=math.nan)


def _time(side: Side, size: int) -> float:
    return geometric_mean([row.time_us for row in side.rows[size]])
