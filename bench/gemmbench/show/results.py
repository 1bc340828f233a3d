"""The tables of a run and of its summary."""

import math
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.rows import rows_of
from gemmbench.quantities import counted
from gemmbench.show import parallel
from gemmbench.show.tables import Table, without_empty
from gemmbench.show.text import (
    device_named,
    digits,
    duration,
    half_width,
    percent,
    printable,
    times,
)
from gemmkernels.precision import SPARSE
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

REASON = 70
CAPTION = 500
SAID_ALIKE = 3
SOFTWARE = (
    *("torch", "cuda", "hip", "rocm", "nvidia_driver", "amdgpu_driver"),
    *("triton", "numba"),
)
_BASE = ("base_kernel", "base_precision", "precision")
_RATES = ("TFLOP/s", "of peak", "of roof")
_SPARSE_RATES = ("sparse TFLOP/s", "of sparse peak")
_NUMBERS = frozenset(
    (
        *("time", "±", *_RATES, *_SPARSE_RATES),
        *("speedup", "95% interval"),
    )
)


def results(rows: "pd.DataFrame", *, unsupported: bool = False) -> tuple[Table, ...]:
    """A table a run, of rows as `analysis.speedup.ladder` returns them, and one of what is sparse.

    Unsupported cases are only counted unless they are asked for, or there are no others.
    """
    found: list[Table] = []
    several = rows["run_id"].nunique() > 1
    for _, part in rows.groupby("run_id", sort=False):
        supported = part["status"] != "unsupported"
        shown = part if unsupported or not supported.any() else part[supported]
        title, hidden = caption(part), len(part) - len(shown)
        if several:
            title = f"{printable(part['file'].iloc[0], 80)}: {title}"
        of_ranks = shown["ranks"].gt(1) | shown["collective"].ne("")
        if of_ranks.any():  # such a run has no others
            found.extend(parallel.tables(shown, caption, hidden=hidden))
            continue
        sparse = shown["precision"].isin(SPARSE)
        if hidden or not sparse.all():
            found.append(_run(shown[~sparse], title=title, hidden=hidden))
        if sparse.any():
            found.append(_run(shown[sparse], title=f"2:4 sparse: {title}", sparse=True))
    return tuple(found)


def summary(best: "pd.DataFrame") -> tuple[Table, ...]:
    """The best kernel of each precision, of rows as `analysis.summary.best` returns them."""
    return tuple(_best(part) for _, part in best.groupby("run_id", sort=False))


def caption(rows: "pd.DataFrame") -> str:
    """What a run's figures hold for: device, the software that decides speed, preset."""
    one = next(rows_of(rows.head(1)))
    known = dict(part.split("=", 1) for part in one.software.split("; ") if "=" in part)
    parts = [device_named(one.device, one.partition)]
    parts += [f"{name} {known[name]}" for name in SOFTWARE if name in known]
    parts += [f"measured by {one.tool}"] if one.tool else []
    parts += [f"preset {one.preset}", *([f"data {one.data}"] if one.data else [])]
    if one.cache:
        parts.append(f"cache {one.cache}")
    if one.ranks > 1:
        parts.append(parallel.connected(rows))
    if one.unsettled:
        parts.append("unsettled")
    if one.synthetic:
        parts.append("synthetic: never measured")
    return printable(" · ".join(printable(part, 80) for part in parts if part), CAPTION)


def _run(shown: "pd.DataFrame", *, title: str, hidden: int = 0, sparse: bool = False) -> Table:
    told = counted(hidden, "unsupported case is not shown", "unsupported cases are not shown")
    notes = [told] if hidden else []
    measured = shown[shown["speedup"].notna()]
    overs = dict.fromkeys(
        printable(kernel) + ("" if base == precision else f" in {base}")
        for kernel, base, precision in rows_of(measured, _BASE)
    )
    if overs:
        notes.append(f"speedup over {', '.join(overs)}, paired within each round")
    if shown["impossible"].any():
        notes.append("impossible: over 102% of the peak at the measured clock")
    if shown["pct_roof"].notna().any():
        notes.append(roof_note(shown))
    if len(void := dict.fromkeys(shown.loc[shown["roof_void"], "precision"])):
        notes.append(
            f"void: the measured roof of {', '.join(map(printable, void))}, as a verified kernel "
            "beats it"
        )
    if sparse:
        notes.append("sparse TFLOP/s count the zeros too, as a spec sheet's sparse peak does")
    notes += _warnings(shown[shown["warnings"].ne("")])
    table = Table(
        title=title,
        columns=(
            *("kernel", "precision", "shape", "time", "±"),
            *(_SPARSE_RATES if sparse else _RATES),
            *("speedup", "verdict"),
        ),
        rows=tuple(_cells(row, sparse=sparse) for row in rows_of(shown)),
        right=_NUMBERS,
        notes=tuple(notes),
    )
    return without_empty(table, optional=(*_RATES[1:], _SPARSE_RATES[1], "speedup"))


def roof_note(rows: "pd.DataFrame") -> str:
    """What `of roof` is of, and to within what each precision's roof is known."""
    known = rows[rows["pct_roof"].notna()].drop_duplicates("precision")
    names = ("precision", "roof_tflops", "roof_tflops_low", "roof_tflops_high")
    widths = [
        f"{printable(name)} {half_width(value, low, high) or 'without an interval'}"
        for name, value, low, high in rows_of(known, names)
    ]
    return (
        "of roof: of what the device's own units were measured to reach: "
        f"{', '.join(widths)}; the share is known no better than that"
    )


def _warnings(rows: "pd.DataFrame") -> list[str]:
    """A line a row; what is said of many rows alike is said once."""
    counts = rows["warnings"].value_counts(sort=False)
    many = {str(text): int(count) for text, count in counts.items() if count > SAID_ALIKE}
    return [f"{count} rows: {printable(text, 200)}" for text, count in many.items()] + [
        f"{printable(row.kernel)} {row.precision} {problem_of(row)}: {printable(row.warnings, 200)}"
        for row in rows_of(rows)
        if row.warnings not in many
    ]


def _cells(row: Any, *, sparse: bool) -> tuple[str, ...]:
    dense = (digits(row.tflops), percent(row.pct_peak), percent(row.pct_roof))
    return (
        kernel_of(row),
        row.precision,
        problem_of(row),
        duration(row.time_us),
        half_width(row.time_us, row.time_us_low, row.time_us_high),
        *((digits(row.sparse_tflops), percent(row.pct_sparse_peak)) if sparse else dense),
        "base" if is_base(row) else times(row.speedup),
        _said(row),
    )


def kernel_of(row: Any) -> str:
    """Its name, and what changes its numerics."""
    return printable(row.kernel) + (f" [{printable(row.modes)}]" if row.modes else "")


def is_base(row: Any) -> bool:
    """Is it what the speedups of its ladder are over?"""
    return bool(row.kernel == row.base_kernel and row.precision == row.base_precision)


def problem_of(row: Any) -> str:
    """Shape, layout and label of a row."""
    parts = [shape_text(row.m, row.n, row.k, row.batch, row.experts)]
    if row.layout != "nn":
        parts.append(row.layout)
    if row.label:
        parts.append(f"({printable(row.label, 40)})")
    return " ".join(parts)


def _said(row: Any) -> str:
    """Verdict or status, and its reason."""
    if row.status != "ok":
        return f"{row.status}: {printable(row.reason, REASON)}" if row.reason else row.status
    verdict = row.verdict if isinstance(row.verdict, str) else "not measured"
    return ", ".join((verdict, *besides(row)))


def besides(row: Any) -> tuple[str, ...]:
    """What a reader must know beside the verdict of a measured row."""
    words: list[str] = []
    if row.n_repeats < row.of_repeats:
        words.append(f"{row.n_repeats} of {row.of_repeats} repeats count")
    if row.impossible:
        words.append("impossible")
    if row.power_limited is True:
        words.append("power limited")
    if row.speedup_reason and row.speedup_reason != row.verdict:
        words.append(printable(row.speedup_reason, REASON))
    return tuple(words)


def exact_check(by: str) -> str:
    """The words for a record's `check.exact_by`; another tool's own stay as they are."""
    return {"product": "a product in float64", "freivalds": "Freivalds' check"}.get(by, by)


def _best(rows: "pd.DataFrame") -> Table:
    def cells(row: Any) -> tuple[str, ...]:
        interval = f"{digits(row.tflops_low)} … {digits(row.tflops_high)}"
        unit = f" ({row.peak_unit})" if isinstance(row.peak_unit, str) else ""
        over = f" over {printable(row.base_kernel)}" if math.isfinite(row.speedup) else ""
        if row.base_precision != row.precision and over:
            over += f" {row.base_precision}"
        if row.speedup_shape and over:
            over += f" at {row.speedup_shape}"
        return (
            row.precision,
            kernel_of(row),
            problem_of(row),
            digits(row.tflops),
            interval if math.isfinite(row.tflops_low) else "",
            percent(row.pct_peak) + unit if math.isfinite(row.pct_peak) else "",
            percent(row.pct_roof),
            "base" if is_base(row) else times(row.speedup) + over,
            row.verdict,
        )

    table = Table(
        title=f"Best of each precision: {caption(rows)}",
        columns=(
            *("precision", "kernel", "shape", "TFLOP/s", "95% interval", "of dense peak"),
            *("of roof", "speedup", "verdict"),
        ),
        rows=tuple(cells(row) for row in rows_of(rows)),
        right=_NUMBERS - {"speedup"},
        notes=(roof_note(rows),) if rows["pct_roof"].notna().any() else (),
    )
    return without_empty(table, optional=("95% interval", "of dense peak", "of roof", "speedup"))
