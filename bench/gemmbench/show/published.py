"""A run beside published figures, and the list of them all."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from gemmbench.analysis.published import beside_published, percent_of_peak
from gemmbench.analysis.published_beside import Beside, Placed
from gemmbench.records.published import Published, published
from gemmbench.show.tables import Format, Table, check_format, echo, plain, without_empty
from gemmbench.show.text import digits, half_width, percent
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.problem import shape_text

WORD = "published"
"""What stands for the published figures where a run's path could."""

_NO_VERDICT = (
    "no verdict: software, data, method and board differ; the ratio is of two figures, and the "
    "figure's kind says how much it is worth"
)


def compare_published(a: str, b: str, *, form: str, options: Mapping[str, object]) -> None:
    """Print the run of two sides, of which one is the word `published`, beside what is published.

    `options` are those of `compare`, by name: none of them means anything here, and those that were
    given are refused. A file named published must be written as a path. Raises GemmbenchError.
    """
    chosen = check_format(form)
    if a == b == WORD:
        raise GemmbenchError("published is on both sides: name a run on one of them")
    if given := [name for name, value in options.items() if value]:
        raise GemmbenchError(f"{given[0]} is for two runs: published figures get no verdict")
    if Path(WORD).exists():
        warnings.warn(
            f"{WORD} stands for published figures: write ./{WORD} for the file", stacklevel=1
        )
    placed = beside_published(b if a == WORD else a)
    if chosen in ("csv", "json"):
        sys.stdout.write(_plain(placed, chosen))
    else:
        echo([_table(one) for one in placed], form=chosen)


def published_list(device_id: str | None = None) -> Table:
    """Every published figure, or those of one device. Raises UnknownNameError for another one."""
    known = {row.device_id for row in published() if row.device_id}
    if device_id is not None and device_id not in known:
        raise UnknownNameError("device with published figures", device_id, known)
    rows = [row for row in published() if device_id in (None, row.device_id)]
    table = Table(
        columns=(
            *("device", "precision", "shape", "TFLOP/s", "of dense peak", "kind", "software"),
            *("date", "source", "mind"),
        ),
        rows=tuple(
            (
                row.device_id or row.device,
                row.precision,
                shape_text(*row.shape) if row.shape else "",
                digits(row.tflops),
                percent(percent_of_peak(row)),
                row.kind.replace("_", " "),
                row.software,
                row.date,
                row.source,
                "; ".join(filter(None, (row.scope, row.caution))),
            )
            for row in rows
        ),
        right=frozenset(("TFLOP/s", "of dense peak")),
        title=f"Published figures: {len(rows)}; none was measured by gemmbench",
    )
    return without_empty(table, optional=("mind", "of dense peak"))


def _table(one: Placed) -> Table:
    sources: dict[str, int] = {}
    rows = tuple(_cells(row, sources) for row in one.rows)
    files = ", ".join(one.files[:3])
    notes = [
        _NO_VERDICT,
        "nearest: of the measured figures beside one case, the one that differs least",
        *one.notes,
    ]
    notes += [f"[{number}] {text}" for text, number in sources.items()]
    table = Table(
        title=f"{one.device} ({one.device_id}; {files}) beside published figures",
        columns=(
            *("precision", "shape", "kernel", "here", "±", "published", "here / there"),
            *("of peak here", "of peak there", "differs", "what it is", "source", ""),
        ),
        rows=rows,
        right=frozenset(
            ("here", "±", "published", "here / there", "of peak here", "of peak there")
        ),
        notes=tuple(notes),
    )
    return without_empty(table, optional=("±", "of peak here", "of peak there", "differs", ""))


def _cells(row: Beside, sources: dict[str, int]) -> tuple[str, ...]:
    theirs = row.published
    told = "; ".join(
        filter(None, (theirs.software, theirs.method, theirs.date, theirs.device, theirs.source))
    )
    number = sources.setdefault(told, len(sources) + 1)
    shape = shape_text(*row.shape) + ("" if row.layout == "nn" else f" {row.layout}")
    differs = list(row.differs)
    if row.by == "the most of any shape" and theirs.shape:
        differs.insert(0, f"there at {shape_text(*theirs.shape)}")
    elif row.by == "shape, M and N swapped":
        differs.insert(0, "M and N swapped there")
    return (
        row.precision,
        shape + (" (best)" if row.by == "the most of any shape" else ""),
        row.kernel,
        digits(row.tflops),
        half_width(row.tflops, row.tflops_low, row.tflops_high),
        digits(theirs.tflops),
        digits(row.ratio, 3),
        percent(row.pct_peak),
        percent(row.pct_peak_published),
        "; ".join(differs),
        row.kind,
        f"[{number}]",
        "nearest" if row.nearest else "",
    )


def _plain(placed: Sequence[Placed], form: Format) -> str:
    """Everything, a row a figure: CSV, or a JSON list with null for what is not known."""
    import pandas as pd

    rows = [_flat(one, row) for one in placed for row in one.rows]
    return plain(pd.DataFrame(rows), form)


def _flat(one: Placed, row: Beside) -> dict[str, object]:
    theirs: Published = row.published
    return {
        "device": one.device,
        "device_id": one.device_id,
        "files": " ".join(one.files),
        "notes": "; ".join(one.notes),
        "precision": row.precision,
        "m": row.shape[0],
        "n": row.shape[1],
        "k": row.shape[2],
        "layout": row.layout,
        "kernel": row.kernel,
        "tier": row.tier,
        "tflops": row.tflops,
        "tflops_low": row.tflops_low,
        "tflops_high": row.tflops_high,
        "pct_peak": row.pct_peak,
        "published_tflops": theirs.tflops,
        "published_pct_peak": row.pct_peak_published,
        "ratio": row.ratio,
        "matched_by": row.by,
        "nearest": row.nearest,
        "differs": "; ".join(row.differs),
        "kind": theirs.kind,
        "kind_in_words": row.kind,
        "published_device": theirs.device,
        "published_shape": shape_text(*theirs.shape) if theirs.shape else "",
        "software": theirs.software,
        "method": theirs.method,
        "date": theirs.date,
        "source": theirs.source,
        "confidence": theirs.confidence,
        "caution": theirs.caution,
        "note": theirs.note,
    }
