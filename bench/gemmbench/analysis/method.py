"""How two sides were measured: what must not differ, and what then does."""

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.rows import distinct
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd

METHOD = ("preset", "cache", "data", "tool")
MACHINE = ("partition", "units", "power_limit_w")
"""What makes another machine of one device."""

_ONE_A_SIDE = ("device", *MACHINE, "preset", "data", "tool", "synthetic")
_CALLED = {"power_limit_w": "power limit"}
_SWITCHES = 3


def check_side(df: "pd.DataFrame", *, which: str) -> None:
    """Raise GemmbenchError unless these are runs of one device, by one method. `which` names them.

    Single cases may be `hot` in a `rotated` run: where one set of operands fills the memory.
    """
    if df.empty:
        raise GemmbenchError(
            f"{which} holds no records, as a file of roofs alone does: name a run of gemmbench run"
        )
    for name in _ONE_A_SIDE:
        _one(name, known(df, name), which)
    _one("cache", dict.fromkeys(_caches(df)), which)


def _one(name: str, values: Iterable[object], which: str) -> None:
    found = [spelt(name, one) for one in values]
    if len(found) > 1:
        what = called(name)
        raise GemmbenchError(
            f"{which} mixes runs of {what} {', '.join(found)}: give one {what} a side"
        )


def known(df: "pd.DataFrame", name: str) -> list[Any]:
    """The values of a column that are known, in the order of the rows."""
    values: list[Any] = df[name].dropna().unique().tolist()
    return values


def called(name: str) -> str:
    """What a user calls a column."""
    return _CALLED.get(name, name)


def spelt(name: str, value: object) -> str:
    """One value of a column, as a user reads it."""
    if name == "power_limit_w":
        return f"{value:g} W"
    return str(value) or ("gemmbench" if name == "tool" else "none")


def _caches(df: "pd.DataFrame") -> list[str]:
    """The cache method of each run."""
    found: dict[tuple[str, str], set[str]] = {}
    for run_id, file, cache in distinct(df, "run_id", "file", "cache"):
        found.setdefault((run_id, file), set()).add(cache)
    return [min(names - {"hot"}, default="hot") for names in found.values()]


def cache_of(df: "pd.DataFrame") -> str:
    return _caches(df)[0]


def _values(df: "pd.DataFrame", name: str) -> list[object]:
    """Those of a column, or the cache method of the runs."""
    if name == "cache":
        return [cache_of(df)]
    return [value for (value,) in distinct(df, name)]


def unlike(a: "pd.DataFrame", b: "pd.DataFrame") -> tuple[str, ...]:
    """What of the method differs, such as "preset sustained and quick".

    The launch may differ between vendors: graphs are NVIDIA's default, batches AMD's.
    """
    same_vendor = a["vendor"].iloc[0] == b["vendor"].iloc[0]
    names = (*METHOD, "launch") if same_vendor else METHOD
    return tuple(
        told for name in names for told in _told(name, *(_values(df, name) for df in (a, b)))
    )


def _told(name: str, left: Iterable[object], right: Iterable[object]) -> list[str]:
    a, b = ({spelt(name, one) for one in side} for side in (left, right))
    return [] if a & b else [f"{name} {', '.join(sorted(a))} and {', '.join(sorted(b))}"]


def alternated(a: "pd.DataFrame", b: "pd.DataFrame") -> bool:
    """Did the runs of the two sides take turns in time, at least a b a b?

    What changes a machine slowly then falls on both.
    """
    started: dict[datetime, set[str]] = {}
    for side, df in (("a", a), ("b", b)):
        for _, text in distinct(df, "run_id", "started"):
            try:
                started.setdefault(datetime.fromisoformat(text), set()).add(side)
            except (TypeError, ValueError):
                return False
    try:
        order = [started[time] for time in sorted(started)]
    except TypeError:  # with and without a zone
        return False
    return sum(one != other for one, other in pairwise(order)) >= _SWITCHES and all(
        len(sides) == 1 for sides in order
    )
