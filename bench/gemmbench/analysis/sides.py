"""The two sides of a comparison: their cases, each with one time a repeat."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.rows import rows_of, values_of
from gemmbench.analysis.speedup import ladder, rung
from gemmbench.timing.statistics import Estimate
from gemmkernels.errors import GemmbenchError
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

_METHOD = ("preset", "cache", "data")
_NAN = math.nan


@dataclass(frozen=True, order=True)
class Key:
    """What two rows must share: the problem, and the kernel or the tier."""

    m: int
    n: int
    k: int
    batch: int
    experts: int
    layout: str
    data: str
    precision: str
    modes: str
    name: str

    @property
    def shape(self) -> str:
        return shape_text(self.m, self.n, self.k, self.batch, self.experts)

    @property
    def text(self) -> str:
        return f"{self.name} {self.precision} {self.shape} {self.layout}"

    def of(self, name: str) -> "Key":
        """The same problem for another kernel or tier."""
        return replace(self, name=name)


Unit = tuple[str, int]
"""(run_id, repeat): one process."""


@dataclass
class Case:
    """One kernel on one problem on one side; `times_us` has the repeats that are ok and quiet."""

    kernel: str
    tier: str
    base: bool
    encoding: str
    launch: str
    peak_unit: str | None
    times_us: dict[Unit, float] = field(default_factory=dict)
    within: list[Estimate] = field(default_factory=list)
    pct_peak: list[float] = field(default_factory=list)
    contended: int = 0
    status: str = "ok"

    @property
    def mean_us(self) -> float:
        times = self.times_us.values()
        return math.exp(sum(map(math.log, times)) / len(times)) if times else _NAN

    @property
    def is_contended(self) -> bool:
        return self.contended > len(self.times_us)


@dataclass(frozen=True)
class Side:
    """One side: what it ran on and how, its cases, and its self-test's time of each repeat (µs)."""

    device: str
    arch: str
    vendor: str
    preset: str
    target: float
    files: tuple[str, ...]
    units: tuple[Unit, ...]
    facts: Mapping[str, str]
    cases: Mapping[Key, Case]
    anchors: Mapping[Unit, Estimate]


@dataclass(frozen=True)
class OverBase:
    """A speedup, and over which kernel in which precision."""

    base: tuple[str, str]
    speedup: Estimate


def side(df: "pd.DataFrame", *, by: str, which: str) -> Side:
    """One side of a comparison. `which` names it in errors.

    Raises GemmbenchError if it is empty, or holds runs of several devices or methods.
    """
    if df.empty:
        raise GemmbenchError(f"{which} holds no records: nothing to compare")
    for name in ("device", *_METHOD):
        found = [str(one) for one in dict.fromkeys(df[name])]
        if len(found) > 1:
            raise GemmbenchError(
                f"{which} mixes runs of {name} {', '.join(found)}: give one {name} a side"
            )
    first = df.iloc[0]
    return Side(
        device=first["device"],
        arch=first["arch"],
        vendor=first["vendor"],
        preset=first["preset"],
        target=float(first["target"]),
        files=tuple(dict.fromkeys(df["file"])),
        units=tuple(
            dict.fromkeys(zip(values_of(df, "run_id"), values_of(df, "repeat"), strict=True))
        ),
        facts=_facts(df),
        cases=_cases(df, by=by),
        anchors=_anchors(df),
    )


def check_method(a: "pd.DataFrame", b: "pd.DataFrame") -> None:
    """Raise GemmbenchError unless both were measured in the same way, of the same data.

    The launch may differ between vendors: graphs are NVIDIA's default, batches AMD's.
    """
    same_vendor = a["vendor"].iloc[0] == b["vendor"].iloc[0]
    for name in (*_METHOD, *(("launch",) if same_vendor else ())):
        left, right = set(a[name].dropna()), set(b[name].dropna())
        if not left & right:
            told = f"{name} {', '.join(sorted(left))} and {', '.join(sorted(right))}"
            raise GemmbenchError(
                f"these were measured in different ways, {told}: measure one of them again"
            )


def over_base(df: "pd.DataFrame") -> dict[Key, OverBase]:
    """The speedup of each case over the ladder's base, where it has one."""
    rows = ladder(df)
    rows = rows[rows["status"].eq("ok") & rows["speedup"].gt(0)]
    return {
        _key(row): OverBase(
            (row.base_kernel, row.base_precision),
            Estimate(row.speedup, row.speedup_low, row.speedup_high, row.n_repeats),
        )
        for row in rows_of(rows)
    }


def _key(row: Any) -> Key:
    return Key(
        *(row.m, row.n, row.k, row.batch, row.experts, row.layout, row.data),
        *(row.precision, row.modes, row.kernel),
    )


def _cases(df: "pd.DataFrame", *, by: str) -> dict[Key, Case]:
    found: dict[Key, Case] = {}
    for row in rows_of(df):
        key = _key(row)
        case = found.get(key)
        if case is None:
            case = found[key] = Case(
                *(row.kernel, row.tier, row.base, row.encoding, row.launch),
                row.peak_unit if isinstance(row.peak_unit, str) else None,
            )
        if row.status != "ok":
            case.status = row.status
        elif row.verdict == "contended" or not row.time_us > 0:
            case.contended += 1
        else:
            case.times_us[row.run_id, row.repeat] = row.time_us
            case.within.append(
                Estimate(row.time_us, row.time_us_low, row.time_us_high, row.n_rounds)
            )
            case.pct_peak.append(row.pct_peak)
    return found if by == "kernel" else _by_tier(found)


def _by_tier(cases: Mapping[Key, Case]) -> dict[Key, Case]:
    """The fastest kernel of each tier, under the tier's name; those that ran first."""
    best: dict[Key, Case] = {}
    for key, case in cases.items():
        tier = key.of(case.tier)
        held = best.get(tier)
        if held is None or _rank(case) < _rank(held):
            best[tier] = case
    return best


def _rank(case: Case) -> tuple[bool, bool, float, tuple[int, int]]:
    time = case.mean_us
    return (
        case.status != "ok",
        case.is_contended,
        time if time > 0 else math.inf,
        rung(case.kernel, case.tier),
    )


def _facts(df: "pd.DataFrame") -> dict[str, str]:
    """What may differ between the sides and should then be told."""

    def values(items: Iterable[object]) -> str:
        known = dict.fromkeys(str(item) for item in items if item == item and item is not None)
        return ", ".join(sorted(known))

    found = {name: values(df[name].unique()) for name in ("device", "arch", "target", "launch")}
    found["threads"] = values(df["threads"].dropna().unique())
    found["gemmbench"] = values(df["version"].unique())
    for text in df["software"].unique():
        for item in str(text).split("; "):
            name, _, version = item.partition("=")
            if name:
                found[name] = values([*filter(None, [found.get(name)]), version])
    encodings = df[df["encoding"] != ""].groupby("precision", sort=False)["encoding"]
    for precision, names in encodings:
        found[f"{precision} encoding"] = values(names.unique())
    return found


def _anchors(df: "pd.DataFrame") -> dict[Unit, Estimate]:
    rows = df.drop_duplicates(["run_id", "repeat"])
    return {
        (row.run_id, row.repeat): Estimate(row.anchor_us, row.anchor_us_low, row.anchor_us_high, 0)
        for row in rows_of(rows)
        if row.anchor_us > 0
    }
