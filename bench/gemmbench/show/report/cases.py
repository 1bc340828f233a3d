"""The report's table of all cases, as compact JSON: its rows, and what opens below each."""

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from gemmbench.analysis.distribution import Course, Distribution, course, distribution
from gemmbench.analysis.gap import Gap
from gemmbench.analysis.overview import Overview, RunOverview, Seen
from gemmbench.analysis.rows import rows_of
from gemmbench.records.frame import spec_of
from gemmbench.records.schema import Header
from gemmbench.show.report.case_facts import facts, kernel_of, notes, unit_of
from gemmbench.show.report.case_schema import (
    CasesData,
    Cells,
    Detail,
    RunData,
    Samples,
    Steps,
    Turns,
)
from gemmbench.show.sentence import sentence
from gemmbench.show.text import device_named, printable
from gemmbench.show.waterfall import NAMES
from gemmkernels.kernel import TIERS
from gemmkernels.precision import PRECISIONS
from gemmkernels.problem import shape_text

NAME, TEXT = 200, 500
FINE = 6
"""Digits of what an interval of a tenth of a percent is drawn with."""


class _Strings:
    """Gives each text a place."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def __call__(self, text: object, limit: int = TEXT) -> int:
        return self.places.setdefault(printable(text or "", limit), len(self.places))


def cases_data(overview: Overview) -> CasesData:
    """The rows of all runs, in their order, each with its detail."""
    string = _Strings()
    places = _shape_places(overview)
    rows: list[Cells] = []
    details: list[Detail] = []
    for number, one in enumerate(overview.runs):
        for row, seen in zip(rows_of(one.rows), one.cases, strict=True):
            rows.append(_cells(row, run=number, string=string, places=places))
            details.append(_detail(one, row, seen, string))
    return CasesData(
        strings=tuple(string.places),
        runs=tuple(_run(one.run.header, one.run.path.name) for one in overview.runs),
        tiers=TIERS,
        precisions=tuple(PRECISIONS),
        columns=Cells.__struct_fields__,
        rows=tuple(rows),
        details=tuple(details),
    )


def cases_json(overview: Overview) -> str:
    """`cases_data` as JSON that may stand in a script element: nothing in it can end that."""
    text = msgspec.json.encode(cases_data(overview)).decode()
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _run(header: Header, name: str) -> RunData:
    spec = spec_of(header)
    device = header.device
    limit = device.power_limit_w or (spec.tdp_w if spec else None)
    return RunData(
        name=printable(name, NAME),
        device=printable(device_named(device.name, device.partition or ""), NAME),
        boost_mhz=_number(spec.boost_clock_mhz if spec else None),
        limit_w=_number(limit),
    )


def _shape_places(overview: Overview) -> dict[tuple[Any, ...], int]:
    """Shapes by their work: (M, N, K, batch, experts, layout) → place."""
    keys = {_shape(row) for one in overview.runs for row in rows_of(one.rows)}
    ranked = sorted(keys, key=lambda key: (float(key[0]) * key[1] * key[2] * key[3], *key))
    return {key: place for place, key in enumerate(ranked)}


_shape = attrgetter("m", "n", "k", "batch", "experts", "layout")


def _cells(row: Any, *, run: int, string: _Strings, places: dict[tuple[Any, ...], int]) -> Cells:
    # A sparse product counts its zeros: its columns are others, and its precision says it.
    sparse = math.isnan(row.tflops)
    width = 50 * (row.time_us_high - row.time_us_low) / row.time_us if row.time_us else math.nan
    layout = "" if row.layout == "nn" else f" {row.layout}"
    return Cells(
        run=run,
        kernel=string(kernel_of(row), NAME),
        tier=string(row.tier, NAME),
        precision=string(row.precision, NAME),
        shape=string(f"{shape_text(row.m, row.n, row.k, row.batch, row.experts)}{layout}"),
        shape_place=places[_shape(row)],
        label=string(row.label, NAME),
        status=string(row.status),
        verdict=string(row.verdict if isinstance(row.verdict, str) else ""),
        said=string(_said(row)),
        warnings=string(row.warnings),
        time=_number(row.time_us),
        width=_number(width, 2),
        rate=_number(row.sparse_tflops if sparse else row.tflops),
        # As they are shown: rounded twice 77.04 would be another figure here than elsewhere.
        peak=_number(row.pct_sparse_peak if sparse else row.pct_peak, 3),
        roof=_number(row.pct_roof, 3),
        speedup=_number(row.speedup, 3),
        is_base=row.kernel == row.base_kernel and row.precision == row.base_precision,
    )


def _said(row: Any) -> str:
    """Beside the status or the verdict: the reason, or what else a reader must know."""
    if row.status != "ok":
        return str(row.reason or "")
    words = ["impossible"] if row.impossible else []
    if row.n_repeats < row.of_repeats:
        words.append(f"{row.n_repeats} of {row.of_repeats} repeats count")
    words += ["power limited"] if row.power_limited is True else []
    words += [row.speedup_reason] if row.speedup_reason not in ("", row.verdict) else []
    return ", ".join(words)


def _detail(one: RunOverview, row: Any, seen: Seen, string: _Strings) -> Detail:
    times = (row.time_us, row.time_us_low, row.time_us_high)
    return Detail(
        time=(_number(times[0], FINE), _number(times[1], FINE), _number(times[2], FINE)),
        samples=_samples(distribution(seen.records)),
        turns=_turns(course(seen.records)),
        gap=_steps(seen.gap, string) if seen.gap else None,
        why_no_gap=string(seen.why_no_gap),
        facts=tuple(
            (string(head), tuple(string(text) for fact in found for text in fact))
            for head, found in facts(one.run, row, seen)
        ),
    )


def _samples(found: Distribution | None) -> Samples | None:
    if found is None:
        return None
    return Samples(
        found.of_samples,
        _number(found.low_us, FINE),
        _number(found.high_us, FINE),
        found.clean,
        found.disturbed,
        found.below,
        found.above,
        found.lost,
        tuple((one.repeat, one.n, *_numbers(one.quartiles_us, FINE)) for one in found.spreads),
    )


def _turns(found: Course | None) -> Turns | None:
    if found is None:
        return None
    return Turns(
        found.taken,
        found.repeat if len(set(found.repeat)) > 1 else (),
        () if all(found.counts) else tuple(map(int, found.counts)),
        _column(found.time_us, 5),
        _column(found.clock_mhz, 4),
        _column(found.power_w, 3),
        _column(found.temperature_c, 3),
    )


def _column(values: Sequence[float], count: int) -> tuple[float | None, ...]:
    return () if all(map(math.isnan, values)) else tuple(_numbers(values, count))


def _steps(gap: Gap, string: _Strings) -> Steps:
    top, case = gap.causes.top, gap.case
    assert top is not None
    kind = ("sparse peak" if top.sparse else "dense peak") if top.kind == "spec" else "roof"
    rates = (case.flop / one.before_us / 1e6 for one in gap.factors)
    return Steps(
        string(unit_of(case.precision)),
        string(kind),
        tuple(_numbers((*rates, case.tflops))),
        tuple(string(NAMES[one.cause]) for one in gap.factors),
        tuple(_numbers((100 - 100 * gap.factor(one.cause) for one in gap.factors), 3)),
        printable(sentence(gap), TEXT),
        tuple(string(one) for one in notes(gap)),
    )


def _numbers(values: Iterable[float], count: int = 4) -> list[Any]:
    return [_number(value, count) for value in values]


def _number(value: float | None, count: int = 4) -> float | None:
    """To so many digits; None where it is none. Whole numbers are written without a point."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{count - 1}e}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short
