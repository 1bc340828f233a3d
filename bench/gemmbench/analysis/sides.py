"""The two sides of a comparison: what was measured, where, and its cases."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gemmbench.analysis.cases import Case, Key, Unit, cases_of, keys_of
from gemmbench.analysis.comparison import Measured
from gemmbench.analysis.method import MACHINE, cache_of, called, known, spelt
from gemmbench.analysis.rows import distinct, rows_of
from gemmbench.analysis.sources import sources
from gemmbench.analysis.speedup import NO_SPEEDUP, case_keys, speedups
from gemmbench.timing.statistics import Estimate
from gemmkernels.precision import PRECISIONS

if TYPE_CHECKING:
    import pandas as pd


_FIRST = ("device", "arch", "vendor", "partition", "preset", "data", "tool", "synthetic")
_TF32 = frozenset(name for name, row in PRECISIONS.items() if row.arithmetic == "tf32")
_XF32 = "gfx942"
"""Multiplies XF32, AMD's format of tf32's size, where NVIDIA's GPUs multiply TF32."""


@dataclass(frozen=True)
class Side:
    """One side: what it ran on and how, its cases, and its self-test's time of each repeat (µs).

    `sources` are the digests of the kernels' source.
    """

    measured: Measured
    units: tuple[Unit, ...]
    facts: Mapping[str, str]
    sources: Mapping[str, str]
    cases: Mapping[Key, Case]
    anchors: Mapping[Unit, Estimate]


class OverBase(NamedTuple):
    """A speedup, and over which kernel in which precision."""

    base: tuple[str, str]
    speedup: Estimate


def side(df: "pd.DataFrame", *, by: str, same_data: bool) -> Side:
    """One side of a comparison, of rows that `check_side` has seen.

    Unless both sides have the `same_data`, a case is the same on any data.
    """
    first = next(rows_of(df.head(1), _FIRST))
    units = tuple(distinct(df, "run_id", "repeat"))
    measured = Measured(
        device=first.device,
        arch=first.arch,
        vendor=first.vendor,
        partition=first.partition,
        units=next(iter(known(df, "units")), None),
        power_limit_w=next(iter(known(df, "power_limit_w")), None),
        files=tuple(str(name) for (name,) in distinct(df, "file")),
        runs=tuple(str(name) for (name,) in distinct(df, "run_id")),
        repeats=len(units),
        preset=first.preset,
        cache=cache_of(df),
        data=first.data,
        launch=_column(df, "launch"),
        tool=first.tool,
        synthetic=bool(first.synthetic),
    )
    cases = cases_of(df if same_data else df.assign(data=""), by=by)
    return Side(measured, units, _facts(df), sources(df), cases, _anchors(df))


def over_base(df: "pd.DataFrame") -> dict[Key, OverBase]:
    """The speedup of each case over the ladder's base, where it has one."""
    found = speedups(df)
    over: dict[Key, OverBase] = {}
    for key, case in zip(keys_of(df), case_keys(df), strict=True):
        base, precision, value, low, high, _ = found.get(case, NO_SPEEDUP)
        if base is not None and precision is not None and value > 0:
            over[key] = OverBase((base, precision), Estimate(value, low, high, 0))
    return over


def _facts(df: "pd.DataFrame") -> dict[str, str]:
    """What may differ between the sides and should then be told."""
    names = ("device", "arch", *("preset", "data", "tool", "launch"), "threads")
    found = {name: _column(df, name) for name in names}
    for name in MACHINE:
        found[called(name)] = ", ".join(spelt(name, one) for one in known(df, name) if one)
    found["cache"] = cache_of(df)
    found["gemmbench"] = _column(df, "version")
    for (text,) in distinct(df, "software"):
        for item in str(text).split("; "):
            name, _, version = item.partition("=")
            if name:
                found[name] = _listed([*filter(None, [found.get(name)]), version])
    for name, what in (
        ("encoding", "encoding"),
        ("accumulate", "summed in"),
        ("out_dtype", "written as"),
    ):
        of_precision: dict[str, list[str]] = {}
        for precision, value in distinct(df, "precision", name):
            if value:
                of_precision.setdefault(f"{precision} {what}", []).append(value)
        found |= {key: _listed(values) for key, values in of_precision.items()}
    return found | _computed(df[df["status"].eq("ok")])


def _computed(df: "pd.DataFrame") -> dict[str, str]:
    """What tf32 is multiplied as: its encoding, float32, is the same everywhere."""
    found: dict[str, str] = {}
    for precision, vendor, arch in distinct(df, "precision", "vendor", "arch"):
        word = "xf32" if arch == _XF32 else "tf32" if vendor == "nvidia" else ""
        if precision in _TF32 and word:
            found[f"{precision} computed as"] = word
    return found


def _column(df: "pd.DataFrame", name: str) -> str:
    return _listed(value for (value,) in distinct(df, name))


def _listed(items: Iterable[Any]) -> str:
    from pandas import isna

    known = {str(item) for item in items if not isna(item)}
    return ", ".join(sorted(known))


def _anchors(df: "pd.DataFrame") -> dict[Unit, Estimate]:
    names = ("run_id", "repeat", "anchor_us", "anchor_us_low", "anchor_us_high")
    return {
        (run_id, repeat): Estimate(value, low, high, 0)
        for run_id, repeat, value, low, high in distinct(df, *names)
        if value > 0
    }
