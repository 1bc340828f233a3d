"""The best figure of a precision, as a card."""

import math
from dataclasses import dataclass
from typing import Any

from gemmbench.analysis.overview import Seen
from gemmbench.show.report.tones import Tone, tone_of
from gemmbench.show.results import is_base, kernel_of, problem_of
from gemmbench.show.sentence import became
from gemmbench.show.text import digits, percent, rate_unit, times


@dataclass(frozen=True, kw_only=True)
class Card:
    """The best kernel of one precision. `share` is the length of its bar, None without a bar."""

    run: int
    precision: str
    kernel: str
    problem: str
    rate: str
    unit: str
    interval: str
    share: float | None
    of: tuple[tuple[str, str], ...]
    verdict: str
    tone: Tone
    went: str


def card(row: Any, seen: Seen, *, run: int) -> Card:
    """Of a row of `RunOverview.best`; `run` is the number of its run in the page."""
    sparse = math.isfinite(row.sparse_tflops)
    pct = row.pct_sparse_peak if sparse else row.pct_peak
    of = []
    if math.isfinite(pct):
        unit = f" ({row.peak_unit})" if isinstance(row.peak_unit, str) else ""
        of.append((percent(pct), f"of the {'sparse' if sparse else 'dense'} peak{unit}"))
    if math.isfinite(row.pct_roof):
        of.append((percent(row.pct_roof), "of the measured roof"))
    if math.isfinite(row.speedup) and not is_base(row):
        of.append((times(row.speedup), _over(row)))
    share = next((one for one in (pct, row.pct_roof) if math.isfinite(one)), None)
    ends = f"{digits(row.tflops_low)} to {digits(row.tflops_high)}"
    unit = rate_unit(row.precision)
    return Card(
        run=run,
        precision=row.precision,
        kernel=kernel_of(row),
        problem=problem_of(row),
        rate=digits(row.tflops),
        unit=f"sparse {unit}" if sparse else unit,
        interval=f"95% interval {ends}" if math.isfinite(row.tflops_low) else "no interval",
        share=None if share is None else max(0.0, min(100.0, share)),
        of=tuple(of),
        verdict=str(row.verdict),
        tone=tone_of(str(row.verdict)),
        went=became(seen.gap) if seen.gap else f"Where the rest went: {seen.why_no_gap}.",
    )


def _over(row: Any) -> str:
    other = "" if row.base_precision == row.precision else f" in {row.base_precision}"
    where = f" at {row.speedup_shape}" if row.speedup_shape else ""
    return f"as fast as {row.base_kernel}{other}{where}"
