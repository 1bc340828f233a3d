"""A published figure beside a row of ours: what the two share, and which is the nearest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from gemmbench.records.published import Published

By = Literal["shape", "shape, M and N swapped", "the most of any shape"]

_NEAREST = ("measured", "vendor_measured", "measured_approx")
_LIBRARIES = ("cublas", "hipblas", "rocblas", "torch", "onemkl")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A published figure, and the run's own fastest verified kernel at its shape.

    Rates in TFLOP/s, `ratio` is here over there, peaks in percent of the same dense peak. `by` says
    what of the shape the two share. `nearest` marks, of the figures beside one case, the one that
    is least unlike it: a library beside a library's. `differs` is what else is not the same.
    """

    precision: str
    shape: tuple[int, int, int]
    layout: str
    kernel: str
    tier: str
    tflops: float
    tflops_low: float
    tflops_high: float
    pct_peak: float
    ratio: float
    by: By
    kind: str
    published: Published
    pct_peak_published: float
    nearest: bool
    differs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One device's runs beside what is published of it; `files` and notes for the caption."""

    device: str
    device_id: str
    files: tuple[str, ...]
    rows: tuple[Beside, ...]
    notes: tuple[str, ...]


def differs(own: Any, row: Published) -> tuple[str, ...]:
    """What the two do not share, of what the source states."""
    found = []
    if row.precision == "fp8":
        found.append("fp8 encoding not stated")
    for what, theirs, here in (
        ("encoding", row.encoding, own.encoding),
        ("sums", row.accumulate, own.accumulate),
        ("output", row.out_dtype, own.out_dtype),
    ):
        if theirs and here and theirs != here:
            found.append(f"{what} {theirs}, here {here}")
    if own.data and own.data != "normal":
        found.append(f"data here {own.data}")
    if row.caution:
        found.append(row.caution)
    return tuple(found)


def marked(rows: Sequence[Beside]) -> list[Beside]:
    """Of the measured figures beside one case, the one that differs least, then the newest."""
    best: dict[object, Beside] = {}
    for row in rows:
        case = (row.precision, row.shape, row.by == "the most of any shape")
        held = best.get(case)
        if row.published.kind in _NEAREST and (held is None or _nearness(row) < _nearness(held)):
            best[case] = row
    chosen = {id(row) for row in best.values()}
    return [_nearest(row) if id(row) in chosen else row for row in rows]


def _nearness(row: Beside) -> tuple[bool, int, bool, int, int]:
    year = int(row.published.date[:4]) if row.published.date[:4].isdecimal() else 0
    software = row.published.software.lower()
    return (
        row.by == "shape, M and N swapped",
        len(row.differs),
        any(name in software for name in _LIBRARIES) != (row.tier == "library"),
        _NEAREST.index(row.published.kind),
        -year,
    )


def _nearest(row: Beside) -> Beside:
    return replace(row, nearest=True)
