"""Whose roofs bound a run: its own, else another's of the same device, and the sheet's."""

import math
from dataclasses import dataclass

from gemmbench.devices.spec import Spec
from gemmbench.records.roofs import Measured, Roofs
from gemmbench.records.schema import Header

MOST = 1e15
"""A damaged file can hold any figure: roofs beyond these are none."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a run's cases share: header, spec sheet, its own roofs, and those with others' added."""

    header: Header
    spec: Spec | None
    own: Roofs
    all: Roofs

    def roof(self, name: str) -> Measured | None:
        return _sane(self.all.get(name))

    @property
    def bandwidth(self) -> Measured | None:
        """Of memory: the faster one of reading and copying, which is the bound of either."""
        found = [one for name in ("copy", "read") if (one := self.roof(name)) is not None]
        return max(found, key=lambda one: one.value, default=None)

    def arithmetic(self, name: str) -> Measured | None:
        """The run's own, though another's were of a faster unit: it is what the rows are told."""
        return _sane(self.own.tflops(name)) or _sane(self.all.tflops(name))


def _sane(roof: Measured | None) -> Measured | None:
    return roof if roof and 1 / MOST < roof.value < MOST else None


Ends = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """The roofs over one precision, of the sheet and measured: TFLOP/s and GB/s, NaN is unknown.

    The `ends` are of a measured roof's own 95% interval. `void` is a measured roof that a verified
    kernel beat: then it is none.
    """

    precision: str
    sheet_tflops: float
    sheet_gbps: float
    roof_tflops: float
    memory_gbps: float
    cache_gbps: float
    roof_ends: Ends
    memory_ends: Ends
    cache_ends: Ends
    void: bool

    @property
    def tflops(self) -> tuple[float, ...]:
        return tuple(one for one in (self.sheet_tflops, self.roof_tflops) if one > 0)


def ceilings(name: str, known: Known, *, void: bool) -> Ceilings:
    spec = known.spec
    peak = spec.peak(name) if spec else None
    measured = (
        None if void else known.arithmetic(name),
        known.bandwidth,
        known.roof("cache"),
    )
    roof, memory, cache = (one.value if one else math.nan for one in measured)
    return Ceilings(
        precision=name,
        sheet_tflops=peak.tflops if peak else math.nan,
        sheet_gbps=(spec.bandwidth_gbps if spec else None) or math.nan,
        roof_tflops=roof,
        memory_gbps=memory,
        cache_gbps=cache,
        roof_ends=_ends(measured[0]),
        memory_ends=_ends(measured[1]),
        cache_ends=_ends(measured[2]),
        void=void,
    )


def _ends(roof: Measured | None) -> Ends:
    known = roof is not None and 1 / MOST < roof.low <= roof.value <= roof.high < MOST
    return (roof.low, roof.high) if roof and known else (math.nan, math.nan)
