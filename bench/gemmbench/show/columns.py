"""All columns of runs, for other programs: as CSV, JSON or Parquet, to a file or onward."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gemmbench.show import tables
from gemmbench.show.tables import Format, plain
from gemmbench.show.text import printable
from gemmbench.show.whole import write_whole
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd

FORMATS: tuple[Format, ...] = (*tables.FORMATS, "parquet")


def check_out(form: Format, out: str | None) -> Path | None:
    """The file to write; raises GemmbenchError for a table, and for Parquet to a terminal."""
    if out is not None and form in ("table", "markdown"):
        raise GemmbenchError(
            f"--out {out!r} is for --format csv, json and parquet: redirect a {form} with >"
        )
    if out is None and form == "parquet" and sys.stdout.isatty():
        raise GemmbenchError("--format parquet is binary: name a file with --out, or redirect it")
    return None if out is None else Path(out)


def columns(df: "pd.DataFrame", form: Format, place: Path | None) -> None:
    """Write rows of `load` to a file, or to standard output. Raises GemmbenchError where that
    cannot be done."""
    if form == "parquet":
        data = parquet(df)
        if place is None:
            sys.stdout.buffer.write(data)
            return
    else:
        text = plain(df, form)
        if place is None:
            sys.stdout.write(text)
            return
        data = text.encode("utf-8", "backslashreplace")
    write_whole(data, place)


def parquet(df: "pd.DataFrame") -> bytes:
    """The rows of `load` with their types, null for what was not measured; `turn_us` is a list of
    doubles, the medians of the turns in the order of their rounds.

    Raises GemmbenchError where pyarrow is not installed.
    """
    import pandas as pd

    try:
        import pyarrow as pa
        from pyarrow import parquet as pq
    except ImportError:
        raise GemmbenchError(
            "--format parquet needs pyarrow: pip install 'gemmbench[parquet]'"
        ) from None
    table = df.copy()
    types = {}
    for name in table.select_dtypes(include=["object", "string"]).columns:
        if name == "turn_us":
            lists = [[turns[key] for key in sorted(turns)] for turns in table[name]]
            table[name] = pd.Series(lists, table.index, dtype=object)
            types[name] = pa.list_(pa.float64())
        else:
            table[name] = table[name].map(printable, na_action="ignore")
            types[name] = pa.string()
    numbers = table[[name for name in table.columns if name not in types]]
    for field in pa.Schema.from_pandas(numbers, preserve_index=False):
        types[field.name] = field.type
    schema = pa.schema([(name, types[name]) for name in table.columns])
    found = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), found)
    return found.getvalue()
