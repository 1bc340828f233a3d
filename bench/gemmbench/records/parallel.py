"""What the times of several ranks make: bandwidths of collectives, and communication's share.

By nccl-tests' definitions (NVIDIA/nccl-tests, doc/PERFORMANCE.md): with S the size of a message in
bytes, t the time and n the ranks, the algorithm bandwidth is S / t, and the bus bandwidth that
times 2 (n - 1) / n for all-reduce and (n - 1) / n for all-gather and reduce-scatter.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TypeAlias

from gemmbench.records.outline import AnyRecord

_NAN = math.nan
_TRIPS = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1}
TurnsUs: TypeAlias = Mapping[int, float]


def is_alone(record: AnyRecord) -> bool:
    """Is it a collective that multiplies nothing? Its kernel bears its name."""
    return bool(record.collective) and record.kernel == record.collective


def bus_factor(collective: str, ranks: int) -> float:
    """Bus bandwidth over algorithm bandwidth; NaN of one rank, which exchanges nothing, and of a
    collective that is not known."""
    if ranks < 2 or collective not in _TRIPS:
        return _NAN
    return _TRIPS[collective] * (ranks - 1) / ranks


def bandwidths(record: AnyRecord, time_us: float) -> tuple[float, float]:
    """(algorithm, bus) bandwidth in GB/s (10⁹) of a collective alone; NaN of all else."""
    if not is_alone(record) or record.message_bytes is None or not time_us > 0:
        return _NAN, _NAN
    algorithm = record.message_bytes / time_us / 1e3
    return algorithm, algorithm * bus_factor(record.collective, record.ranks)


def communication(
    records: Sequence[AnyRecord], turns_us: Sequence[TurnsUs], verdicts: Sequence[str | None]
) -> list[float]:
    """What communication adds to the products alone, in percent of the time; NaN where there are
    none, or one of the two is contended.

    The median of 100 (1 - t_products / t) over the rounds that both have: the local products are
    the record of the same group, repeat, sitting and precision that exchanges nothing.
    """
    found = [_NAN] * len(records)
    products: dict[tuple[str, int, int, str], TurnsUs] = {}
    layers: list[tuple[int, tuple[str, int, int, str]]] = []
    for index, record in enumerate(records):
        sound = record.status == "ok" and verdicts[index] != "contended"
        if record.ranks < 2 or not sound or is_alone(record):
            continue
        key = (record.group, record.repeat, record.sitting, record.precision)
        if record.collective:
            layers.append((index, key))
        else:
            products[key] = turns_us[index]
    for index, key in layers:
        local, whole = products.get(key, {}), turns_us[index]
        shares = [
            100 * (1 - local[number] / taken)
            for number, taken in whole.items()
            if taken > 0 and number in local
        ]
        found[index] = median(shares) if shares else _NAN
    return found
