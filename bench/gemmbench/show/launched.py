"""Which kernels the libraries launched, as a table of its own: their names are long."""

from typing import TYPE_CHECKING

from gemmbench.analysis.rows import rows_of
from gemmbench.show.results import caption, problem_of
from gemmbench.show.tables import Table
from gemmbench.show.text import printable

if TYPE_CHECKING:
    import pandas as pd


def launched(df: "pd.DataFrame") -> tuple[Table, ...]:
    """One table a run, of rows as `records.frame.load` returns them; each case once."""
    return tuple(_run(part) for _, part in df.groupby("run_id", sort=False))


def _run(rows: "pd.DataFrame") -> Table:
    named = rows[rows["launched"].ne("")]
    cells = (
        (printable(row.kernel), row.precision, problem_of(row), printable(row.launched, 200))
        for row in rows_of(named)
    )
    notes = () if len(named) else ("no names: torch's profiler looks on GPUs, at libraries only",)
    return Table(
        title=caption(rows),
        columns=("kernel", "precision", "shape", "launched"),
        rows=tuple(dict.fromkeys(cells)),
        notes=notes,
    )
