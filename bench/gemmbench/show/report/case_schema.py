"""What `cases.js` reads: the JSON of the report's table of all cases.

A case is a row of `RunOverview.rows`; case 1 is the first of the first run. Text stands once, in
`strings`, and is named by its place there. Numbers have the digits that are shown, and more where
they are only drawn; null is "not known".
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
    µs, `rate` 10¹² operations a second, `unit` its name. Of a `sparse` row `rate` and `peak` are
    the sparse ones. `over` is what the speedup is over, empty where `speedups_over` says it.
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
    tone: int
    said: int
    warnings: int
    time: float | None
    width: float | None
    rate: float | None
    unit: int
    sparse: bool
    peak: float | None
    roof: float | None
    speedup: float | None
    over: int
    is_base: bool


class Samples(msgspec.Struct, frozen=True, array_like=True):
    """`analysis.distribution.Distribution`; a spread is repeat, whether it counts, and its three
    quartiles. There are none of a single repeat, and zeros at the end of `disturbed` are left out.
    """

    of_samples: bool
    low: float | None
    high: float | None
    clean: tuple[int, ...]
    disturbed: tuple[int, ...]
    below: int
    above: int
    lost: int
    spreads: tuple[tuple[int, bool, float | None, float | None, float | None], ...]


class Levels(msgspec.Struct, frozen=True, array_like=True):
    """A column of turns as it is drawn: where each value lies from `low` to `high`, a character of
    `levels` each, and a point where it was not seen. A value beyond lies at its end."""

    low: float
    high: float
    at: str


class Turns(msgspec.Struct, frozen=True, array_like=True):
    """`analysis.distribution.Course`; a column that was never seen is null.

    `seams` are the places of turns that another repeat begins with, `hollow` of those that do not
    count; the column of times reaches over those that do.
    """

    taken: int
    seams: tuple[int, ...]
    hollow: tuple[int, ...]
    time: Levels | None
    clock: Levels | None
    power: Levels | None
    temperature: Levels | None


class Steps(msgspec.Struct, frozen=True, array_like=True):
    """A gap: the peak's rate, and the factor of each of `CasesData.causes`; their product is what
    was measured. `said` are the texts of the peak, of each factor, and of the measured rate."""

    unit: int
    of: int
    peak: float | None
    factors: tuple[float | None, ...]
    said: tuple[int, ...]
    sentence: int
    notes: tuple[int, ...]


class Detail(msgspec.Struct, frozen=True, array_like=True):
    """What opens below a row. `time` is drawn, `told` says it.

    `facts` are the values of what `CasesData.forms[form]` names; one of several texts is put
    together of them with spaces.
    """

    told: int
    time: tuple[float | None, float | None, float | None]
    samples: Samples | None
    turns: Turns | None
    gap: Steps | None
    why_no_gap: int
    form: int
    facts: tuple[int | tuple[int, ...], ...]


class CasesData(msgspec.Struct, frozen=True, kw_only=True):
    """All cases of all runs.

    `columns` are the names of the cells, `tiers` and `precisions` their names in the order in which
    they are sorted, `levels` the characters of `Levels` from the lowest. A form is
    (heading, (what, what, …)) for each group of facts.
    """

    strings: tuple[str, ...]
    runs: tuple[RunData, ...]
    tiers: tuple[str, ...]
    precisions: tuple[str, ...]
    columns: tuple[str, ...]
    causes: tuple[str, ...]
    levels: str
    speedups_over: str
    forms: tuple[tuple[tuple[int, tuple[int, ...]], ...], ...]
    rows: tuple[Cells, ...]
    details: tuple[Detail, ...]
