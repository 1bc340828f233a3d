"""Tables for terminals, Markdown, CSV and JSON."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from gemmbench.show.text import in_csv, printable
from gemmkernels.errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

Format = Literal["table", "markdown", "csv", "json", "parquet"]
FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "json")
"""Those that are text."""

RICH_ROWS = 300
"""Rich needs 2 ms a row; longer tables are written as plain text."""

_STYLES = {
    "converged": "green",
    "faster": "green",
    "same": "dim",
    "slower": "red",
    "unsupported": "dim",
    "wrong": "bold red",
    "failed": "red",
    "timeout": "red",
    "contended": "yellow",
    "throttled": "yellow",
    "noisy": "yellow",
    "drifting": "yellow",
    "unsure": "yellow",
}


CELL = 200
LINE = 2000


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as text. Columns whose heading is in `right` are aligned to the right.

    Whatever it is made of, nothing in it but text comes to a terminal: all is escaped, and cut.
    """

    title: str = ""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(map(_safe, self.rows)))
        object.__setattr__(self, "title", printable(self.title, LINE))
        object.__setattr__(self, "notes", tuple(printable(note, LINE) for note in self.notes))


def _safe(row: tuple[str, ...]) -> tuple[str, ...]:
    # A table may have 100,000 rows: what is plain and short is seen at once.
    if "".join(row).isprintable() and max(map(len, row), default=0) <= CELL:
        return row
    return tuple(printable(cell, CELL) for cell in row)


def listing(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """A table of anything, such as of kernels, suites or devices."""
    cells = tuple(tuple(map(str, row)) for row in rows)
    return Table(title=title, columns=tuple(columns), rows=cells)


def without_empty(table: Table, *, optional: Sequence[str]) -> Table:
    """The table without those of the optional columns in which no row has anything."""
    keep = [
        index
        for index, name in enumerate(table.columns)
        if name not in optional or any(row[index] for row in table.rows)
    ]
    return Table(
        title=table.title,
        columns=tuple(table.columns[index] for index in keep),
        rows=tuple(tuple(row[index] for index in keep) for row in table.rows),
        right=table.right,
        notes=table.notes,
    )


def to_text(table: Table) -> str:
    """Plain aligned text, of any width."""
    lines = [table.columns, *table.rows]
    by_column = [_widths(column) for column in zip(*lines, strict=True)]
    widths = [max(column) for column in by_column]
    sizes = zip(*by_column, strict=True)
    right = [name in table.right for name in table.columns]

    def line(cells: Sequence[str], size: Sequence[int]) -> str:
        padded = [
            " " * (width - own) + cell if flush else cell + " " * (width - own)
            for cell, own, width, flush in zip(cells, size, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    head = [table.title] if table.title else []
    rule = "  ".join("─" * width for width in widths)
    first, *rest = map(line, lines, sizes)
    return "\n".join([*head, first, rule, *rest, *table.notes])


def to_markdown(table: Table) -> str:
    """A GitHub table, with the title above and the notes below it."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    marks = ("---:" if name in table.right else "---" for name in table.columns)
    body = [line(map(in_markdown, row)) for row in table.rows]
    head = [f"**{in_markdown(table.title)}**", ""] if table.title else []
    notes = [part for note in table.notes for part in ("", in_markdown(note))]
    return "\n".join([*head, line(map(in_markdown, table.columns)), line(marks), *body, *notes])


def echo(
    tables: Iterable[Table], *, form: Format = "table", console: "Console | None" = None
) -> None:
    """Print tables to the terminal, or plainly where there is none or they are long."""
    if form == "markdown":
        print("\n\n".join(map(to_markdown, tables)))
        return
    from rich.console import Console

    console = console or Console()
    for index, table in enumerate(tables):
        if index:
            print(file=console.file)
        text = to_text(table)
        wide = max((_width(line) for line in text.split("\n")[1:]), default=0) > console.width
        if console.is_terminal and len(table.rows) <= RICH_ROWS and not wide:
            _print_rich(table, console)
        else:  # a terminal folds lines, where rich would cut names
            print(text, file=console.file)


def check_format(form: str, known: Sequence[Format] = FORMATS) -> Format:
    """The format by its name; raises UnknownNameError for another one."""
    for name in known:
        if name == form:
            return name
    raise UnknownNameError("format", form, known)


def plain(df: "pd.DataFrame", form: str) -> str:
    """All columns as CSV or JSON (a list of objects, null for what was not measured).

    The values of single turns are left out. Raises UnknownNameError for another format.
    """
    if form not in ("csv", "json"):
        raise UnknownNameError("format", form, ("csv", "json"))
    table = df.drop(columns=[name for name in ("turn_us",) if name in df])
    # A run's own columns hold the same text in each row.
    escape = lru_cache(maxsize=1024, typed=True)(in_csv if form == "csv" else printable)
    for name in table.select_dtypes(include=["object", "string"]).columns:
        table[name] = table[name].map(escape, na_action="ignore")
    if form == "csv":
        return str(table.to_csv(index=False))
    return str(table.to_json(orient="records", double_precision=15, force_ascii=False)) + "\n"


def in_json(value: Any) -> Any:
    """Plain Python values as JSON takes them: text escaped, null for what is not a number."""
    if isinstance(value, dict):
        return {printable(key): in_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [in_json(one) for one in value]
    if isinstance(value, str):
        return printable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_rich(table: Table, console: "Console") -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in table.columns:
        flush = name in table.right
        grid.add_column(Text(name), justify="right" if flush else "left", no_wrap=flush)
    for row in table.rows:
        style = _STYLES.get(row[-1].split(":")[0].split(",")[0], "")
        grid.add_row(*(Text(cell) for cell in row[:-1]), Text(row[-1], style=style))
    if table.title:
        console.print(Text(table.title, style="bold"))
    console.print(grid)
    for note in table.notes:
        console.print(Text(note, style="dim"))


def _widths(column: Sequence[str]) -> list[int]:
    # µs and × among them, such a column is measured at once.
    is_plain = len(text := "".join(column)) == len(text.encode("latin-1", "ignore"))
    return list(map(len if is_plain else _width, column))


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def in_markdown(text: str) -> str:
    """Text as it stands, whatever Markdown makes of its marks."""
    for mark, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "\\`"), ("*", "\\*")):
        text = text.replace(mark, safe)
    return text.replace("](", "]\\(")  # no link, no picture
