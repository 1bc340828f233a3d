"""What `cases.js` reads: the JSON of the report's table of all cases.

A case is a row of `RunOverview.rows`; case 1 is the first of the first run. Text stands once, in
`strings`, and is named by its place there. Numbers have the digits that are shown, and six where
they are drawn against an interval; null is "not known".
"""

import msgspec


class RunData(msgspec.Struct, frozen=True, kw_only=True):
    """A run: its name in a column, and what its telemetry is drawn against; MHz and W."""

    name: str
    device: str
    boost_mhz: float | None
    limit_w: float | None


class Cells(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One row of the table; texts are places in `strings`.

    `shape_place` orders the shapes by their work. `width` and the percentages are 0-100, `time` is
    µs, `rate` TFLOP/s.
    """

    run: int
    kernel: int
    tier: int
    precision: int
    shape: int
    shape_place: int
    label: int
    status: int
    verdict: int
    said: int
    warnings: int
    time: float | None
    width: float | None
    rate: float | None
    peak: float | None
    roof: float | None
    speedup: float | None
    is_base: bool


class Samples(msgspec.Struct, frozen=True, array_like=True):
    """`analysis.distribution.Distribution`; a spread is repeat, n and its three quartiles."""

    of_samples: bool
    low: float | None
    high: float | None
    clean: tuple[int, ...]
    disturbed: tuple[int, ...]
    below: int
    above: int
    lost: int
    spreads: tuple[tuple[int, int, float | None, float | None, float | None], ...]


class Turns(msgspec.Struct, frozen=True, array_like=True):
    """`analysis.distribution.Course`; a column that was never seen is empty."""

    taken: int
    repeat: tuple[int, ...]
    counts: tuple[int, ...]
    time: tuple[float | None, ...]
    clock: tuple[float | None, ...]
    power: tuple[float | None, ...]
    temperature: tuple[float | None, ...]


class Steps(msgspec.Struct, frozen=True, array_like=True):
    """A gap: the peak's rate, then those that each cause leaves; the last was measured.

    `losses` is what each cause takes in percent, a gain below 0; null is "not known".
    """

    unit: int
    of: int
    rates: tuple[float | None, ...]
    causes: tuple[int, ...]
    losses: tuple[float | None, ...]
    sentence: str
    notes: tuple[int, ...]


class Detail(msgspec.Struct, frozen=True, array_like=True):
    """What opens below a row. `facts` are (heading, (what, value, what, value, …))."""

    time: tuple[float | None, float | None, float | None]
    samples: Samples | None
    turns: Turns | None
    gap: Steps | None
    why_no_gap: int
    facts: tuple[tuple[int, tuple[int, ...]], ...]


class CasesData(msgspec.Struct, frozen=True, kw_only=True):
    """All cases of all runs. `columns` are the names of the cells, `tiers` and `precisions` their
    names in the order in which they are sorted."""

    strings: tuple[str, ...]
    runs: tuple[RunData, ...]
    tiers: tuple[str, ...]
    precisions: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Cells, ...]
    details: tuple[Detail, ...]
