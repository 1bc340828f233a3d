"""The report's table of all cases, as compact JSON: its rows, and what opens below each."""

import math
import re
from collections import Counter
from operator import attrgetter
from typing import Any

import msgspec

from gemmbench.analysis.distribution import course, distribution
from gemmbench.analysis.overview import Overview, RunOverview, Seen
from gemmbench.analysis.rows import rows_of
from gemmbench.records.frame import spec_of
from gemmbench.records.schema import Header
from gemmbench.show.report.case_drawn import (
    FINE,
    LEVELS,
    number,
    samples_of,
    steps_of,
    turns_of,
)
from gemmbench.show.report.case_facts import facts, time_told
from gemmbench.show.report.case_schema import CasesData, Cells, Detail, RunData
from gemmbench.show.report.tones import tone_of
from gemmbench.show.results import besides, is_base, kernel_of
from gemmbench.show.text import device_named, printable, rate_unit
from gemmbench.show.waterfall import NAMES
from gemmkernels.kernel import TIERS
from gemmkernels.precision import PRECISIONS, SPARSE
from gemmkernels.problem import shape_text

NAME, TEXT = 200, 500
_FLAGS = re.compile(" (?=--)")


class _Strings:
    """Gives each text a place."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def __call__(self, text: object, limit: int = TEXT) -> int:
        return self.places.setdefault(printable(text or "", limit), len(self.places))


class _Places:
    """Where each form, shape, and base of a speedup stands among those of all cases."""

    def __init__(self, overview: Overview) -> None:
        every = [row for one in overview.runs for row in rows_of(one.rows)]
        shapes = set(map(_shape, every))
        ranked = sorted(shapes, key=lambda one: (float(one[0]) * one[1] * one[2] * one[3], *one))
        self.shapes = {shape: place for place, shape in enumerate(ranked)}
        overs = Counter(over for row in every if (over := _over(row)))
        self.over = overs.most_common(1)[0][0] if overs else ""
        self.alone = len(overs) == 1
        self.forms: dict[tuple[tuple[str, tuple[str, ...]], ...], int] = {}


def cases_data(overview: Overview) -> CasesData:
    """The rows of all runs, in their order, each with its detail."""
    text, places = _Strings(), _Places(overview)
    rows: list[Cells] = []
    details: list[Detail] = []
    for place, one in enumerate(overview.runs):
        for row, seen in zip(rows_of(one.rows), one.cases, strict=True):
            rows.append(_cells(row, run=place, text=text, places=places))
            details.append(_detail(one, row, seen, text=text, places=places))
    forms = tuple(
        tuple((text(head), tuple(map(text, some))) for head, some in form) for form in places.forms
    )
    return CasesData(
        strings=tuple(text.places),
        runs=tuple(_run(one.run.header, one.name) for one in overview.runs),
        tiers=TIERS,
        precisions=tuple(PRECISIONS),
        columns=Cells.__struct_fields__,
        causes=tuple(NAMES.values()),
        levels=LEVELS,
        speedups_over=_speedups_over(places),
        forms=forms,
        rows=tuple(rows),
        details=tuple(details),
    )


def _speedups_over(places: _Places) -> str:
    if not places.over:
        return ""
    but = "" if places.alone else ", but where a cell names another base"
    base = printable(places.over, NAME)
    return f"Speedups are over {base}{but}, in the same precision where none is named."


def _over(row: Any) -> str:
    """What a speedup is over; of a row with none nothing. It names a precision that is not its."""
    if is_base(row) or not math.isfinite(row.speedup):
        return ""
    own = row.base_precision == row.precision
    return str(row.base_kernel) + ("" if own else f" in {row.base_precision}")


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
        boost_mhz=number(spec.boost_clock_mhz if spec else None),
        limit_w=number(limit),
    )


_shape = attrgetter("m", "n", "k", "batch", "experts", "layout")


def _cells(row: Any, *, run: int, text: _Strings, places: _Places) -> Cells:
    # A sparse product counts its zeros: its rates are of their own, and the cell says it.
    sparse = row.precision in SPARSE
    word = row.verdict if isinstance(row.verdict, str) else ""
    tone = "impossible" if row.impossible else word if row.status == "ok" else row.status
    over = _over(row)
    width = 50 * (row.time_us_high - row.time_us_low) / row.time_us if row.time_us else math.nan
    layout = "" if row.layout == "nn" else f" {row.layout}"
    return Cells(
        run=run,
        kernel=text(kernel_of(row), NAME),
        tier=text(row.tier, NAME),
        precision=text(row.precision, NAME),
        shape=text(f"{shape_text(row.m, row.n, row.k, row.batch, row.experts)}{layout}"),
        shape_place=places.shapes[_shape(row)],
        label=text(row.label, NAME),
        status=text(row.status),
        verdict=text(word),
        tone=text(tone_of(tone)),
        said=text(", ".join(besides(row)) if row.status == "ok" else row.reason),
        warnings=text(row.warnings),
        time=number(row.time_us),
        width=number(width, 2),
        rate=number(row.sparse_tflops if sparse else row.tflops),
        unit=text(f"sparse {rate_unit(row.precision)}" if sparse else rate_unit(row.precision)),
        sparse=sparse,
        # As they are shown: rounded twice 77.04 would be another figure here than elsewhere.
        peak=number(row.pct_sparse_peak if sparse else row.pct_peak, 3),
        roof=number(row.pct_roof, 3),
        speedup=number(row.speedup, 3),
        over=text("" if over == places.over else over),
        is_base=is_base(row),
    )


def _detail(one: RunOverview, row: Any, seen: Seen, *, text: _Strings, places: _Places) -> Detail:
    found = facts(one, row, seen)
    form = tuple((head, tuple(what for what, _ in some)) for head, some in found)
    return Detail(
        told=text(time_told(row)),
        time=(
            number(row.time_us, FINE),
            number(row.time_us_low, FINE),
            number(row.time_us_high, FINE),
        ),
        samples=samples_of(distribution(seen.records, seen.counts)),
        turns=turns_of(course(seen.records, seen.counts)),
        gap=steps_of(seen.gap, text) if seen.gap else None,
        why_no_gap=text(seen.why_no_gap),
        form=places.forms.setdefault(form, len(places.forms)),
        facts=tuple(_value(what, value, text) for _, some in found for what, value in some),
    )


def _value(what: str, value: str, text: _Strings) -> int | tuple[int, ...]:
    """A command line in parts: other cases have most of them, too."""
    return tuple(map(text, _FLAGS.split(value))) if what == "command" else text(value)
