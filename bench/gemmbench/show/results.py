"""The tables of a run, of its summary and of a comparison."""

import math
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.comparison import Compared, Comparison
from gemmbench.analysis.rows import rows_of
from gemmbench.show.tables import Table, without_empty
from gemmbench.show.text import digits, duration, half_width, percent, printable, times
from gemmkernels.precision import SPARSE
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

REASON = 70
CAPTION = 500
SOFTWARE = ("torch", "cuda", "hip", "rocm", "driver", "triton", "numba")
_BASE = ("base_kernel", "base_precision", "precision")
_SPARSE_RATES = ("sparse TFLOP/s", "of sparse peak")
_NUMBERS = frozenset(
    (
        *("time", "±", "TFLOP/s", "of peak", *_SPARSE_RATES),
        *("speedup", "95% interval", "a", "b", "b / a"),
    )
)


def results(rows: "pd.DataFrame", *, unsupported: bool = False) -> tuple[Table, ...]:
    """A table a run, of rows as `analysis.speedup.ladder` returns them, and one of what is sparse.

    Unsupported cases are only counted unless they are asked for.
    """
    found: list[Table] = []
    for _, part in rows.groupby("run_id", sort=False):
        shown = part if unsupported else part[part["status"] != "unsupported"]
        title, hidden = caption(part), len(part) - len(shown)
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
    parts = [one.device, *(f"{name} {known[name]}" for name in SOFTWARE if name in known)]
    parts += [f"preset {one.preset}", f"data {one.data}"]
    if one.cache:
        parts.append(f"cache {one.cache}")
    if one.unsettled:
        parts.append("unsettled")
    return printable(" · ".join(printable(part, 80) for part in parts if part), CAPTION)


def _run(shown: "pd.DataFrame", *, title: str, hidden: int = 0, sparse: bool = False) -> Table:
    notes = [f"{hidden} unsupported cases are not shown"] if hidden else []
    measured = shown[shown["speedup"].notna()]
    overs = dict.fromkeys(
        printable(kernel) + ("" if base == precision else f" in {base}")
        for kernel, base, precision in rows_of(measured, _BASE)
    )
    if overs:
        notes.append(f"speedup over {', '.join(overs)}, paired within each round")
    if shown["impossible"].any():
        notes.append("impossible: over 102% of the peak at the measured clock")
    if sparse:
        notes.append("sparse TFLOP/s count the zeros too, as a spec sheet's sparse peak does")
    notes += [
        f"{printable(row.kernel)} {row.precision} {problem_of(row)}: {printable(row.warnings, 200)}"
        for row in rows_of(shown[shown["warnings"].ne("")])
    ]
    table = Table(
        title=title,
        columns=(
            *("kernel", "precision", "shape", "time", "±"),
            *(_SPARSE_RATES if sparse else ("TFLOP/s", "of peak")),
            *("speedup", "verdict"),
        ),
        rows=tuple(_cells(row) for row in rows_of(shown)),
        right=_NUMBERS,
        notes=tuple(notes),
    )
    return without_empty(table, optional=("of peak", _SPARSE_RATES[1], "speedup"))


def _cells(row: Any) -> tuple[str, ...]:
    return (
        _kernel(row),
        row.precision,
        problem_of(row),
        duration(row.time_us),
        half_width(row.time_us, row.time_us_low, row.time_us_high),
        digits(row.sparse_tflops if row.precision in SPARSE else row.tflops),
        percent(row.pct_sparse_peak if row.precision in SPARSE else row.pct_peak),
        "base" if _is_base(row) else times(row.speedup),
        _said(row),
    )


def _kernel(row: Any) -> str:
    """Its name, and what changes its numerics."""
    return printable(row.kernel) + (f" [{printable(row.modes)}]" if row.modes else "")


def _is_base(row: Any) -> bool:
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
    words = [row.verdict if isinstance(row.verdict, str) else "not measured"]
    if row.n_repeats < row.of_repeats:
        words.append(f"{row.n_repeats} of {row.of_repeats} repeats count")
    if row.impossible:
        words.append("impossible")
    if row.power_limited is True:
        words.append("power limited")
    if row.speedup_reason and row.speedup_reason != row.verdict:
        words.append(printable(row.speedup_reason, REASON))
    return ", ".join(words)


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
            _kernel(row),
            problem_of(row),
            digits(row.tflops),
            interval if math.isfinite(row.tflops_low) else "",
            percent(row.pct_peak) + unit if math.isfinite(row.pct_peak) else "",
            "base" if _is_base(row) else times(row.speedup) + over,
            row.verdict,
        )

    table = Table(
        title=f"Best of each precision: {caption(rows)}",
        columns=(
            *("precision", "kernel", "shape", "TFLOP/s", "95% interval", "of dense peak"),
            *("speedup", "verdict"),
        ),
        rows=tuple(cells(row) for row in rows_of(rows)),
        right=_NUMBERS - {"speedup"},
    )
    return without_empty(table, optional=("95% interval", "of dense peak", "speedup"))


def comparison(found: Comparison) -> tuple[Table, ...]:
    """The rows, the geometric means and what differs."""
    a, b = printable(found.device_a), printable(found.device_b)
    title = f"a: {a} ({_files(found.files_a)}), b: {b} ({_files(found.files_b)})"
    main = Table(
        title=f"{title}; preset {found.preset}",
        columns=(
            *(found.by, "precision", "shape", "a", "b", "b / a", "95% interval"),
            *("of peak a", "of peak b", "verdict"),
        ),
        rows=tuple(_compared(row, found.by) for row in found.rows),
        right=_NUMBERS | {"of peak a", "of peak b"},
        notes=_notes(found),
    )
    tables = [without_empty(main, optional=("95% interval", "of peak a", "of peak b"))]
    if found.geomeans:
        means = tuple(
            (
                one.precision,
                str(one.rows),
                times(one.ratio),
                _interval(one.ratio_low, one.ratio_high),
                f"{one.verdict}: {one.why}" if one.why else one.verdict,
            )
            for one in found.geomeans
        )
        table = Table(
            title="Geometric mean",
            columns=("precision", "rows", "b / a", "95% interval", "verdict"),
            rows=means,
            right=_NUMBERS | {"rows"},
        )
        tables.append(without_empty(table, optional=("95% interval",)))
    if found.differs:
        cells = tuple((printable(d.what), printable(d.a), printable(d.b)) for d in found.differs)
        tables.append(Table(title="What differs", columns=("what", "a", "b"), rows=cells))
    return tuple(tables)


def _files(files: tuple[str, ...]) -> str:
    first = printable(files[0], 60)
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


def _interval(low: float, high: float) -> str:
    return f"{digits(low)} … {digits(high)}" if math.isfinite(low) else ""


def _compared(row: Compared, by: str) -> tuple[str, ...]:
    name = printable(row.name)
    if by == "tier" and row.kernel_a != row.kernel_b:
        name += f" ({printable(row.kernel_a)} → {printable(row.kernel_b)})"
    return (
        name + (f" [{printable(row.modes)}]" if row.modes else ""),
        row.precision,
        row.shape if row.layout == "nn" else f"{row.shape} {row.layout}",
        duration(row.time_a_us),
        duration(row.time_b_us),
        times(row.ratio),
        _interval(row.ratio_low, row.ratio_high),
        percent(row.pct_peak_a),
        percent(row.pct_peak_b),
        f"{row.verdict}: {row.why}" if row.why else row.verdict,
    )


def _notes(found: Comparison) -> tuple[str, ...]:
    counts = {word: found.count(word) for word in ("faster", "slower", "same", "unsure")}
    notes = [
        ", ".join(f"{count} {word}" for word, count in counts.items())
        + f"; a change below {percent(100 * found.delta)} is the same"
    ]
    if found.machine == "moved":
        notes.append(f"the machine changed: its self-test reads {times(found.anchor.value)} in b")
    if found.machine == "unknown":
        notes.append("no self-test on both sides: whether the machine changed is not known")
    notes += [f"not compared: {printable(one)}" for one in found.left_out[:5]]
    if len(found.left_out) > 5:
        notes.append(f"not compared: {len(found.left_out) - 5} more")
    return tuple(notes)
