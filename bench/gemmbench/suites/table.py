"""Shapes from a user's CSV file."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from gemmbench.suites.shapes import MAX_SHAPES, Shape, checked, distinct
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.problem import MAX_DIMENSION
from gemmkernels.smallfile import small_file

NEEDED = ("m", "n", "k")
COUNTS = ("batch", "experts")
COLUMNS = (*NEEDED, *COUNTS, "layout", "label")
SEPARATORS = ",;\t"


def load_table(path: Path) -> tuple[Shape, ...]:
    """The shapes of a CSV file with the columns m, n, k, and if need be others.

    Those are batch, experts, layout and label.

    Columns come in any order and case, separated by commas, semicolons or tabs; blank lines and
    those that start with # are skipped. Raises GemmbenchError, in one line with file, line and
    column, for anything else.
    """
    data = small_file(path, expected="a table of shapes, *.csv with a header m,n,k")
    return parse_table(data, source=path.name)


def parse_table(data: bytes, *, source: str) -> tuple[Shape, ...]:
    """The shapes of a file's bytes; `source` names it in errors."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GemmbenchError(f"{source} is not UTF-8: {error.reason}: save it as UTF-8") from None
    rows = _rows(source, text)
    number, header = next(rows, (1, []))
    columns = _columns(f"{source}: line {number}", header)
    shapes: list[Shape] = []
    for number, cells in rows:
        if len(shapes) == MAX_SHAPES:
            raise GemmbenchError(f"{source} has over {MAX_SHAPES} shapes: split it")
        shapes.append(_shape(f"{source}: line {number}", columns, cells))
    if not shapes:
        raise GemmbenchError(f"{source} has no shapes: write a line such as 4096,4096,4096")
    return distinct(shapes)


def _rows(source: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of all that is neither blank nor a comment.

    Each line is read for itself: one open quote must not swallow the rest of the file.
    """
    separator = ""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        separator = separator or max(SEPARATORS, key=line.count)
        try:
            (cells,) = csv.reader([line.strip(" \n")], delimiter=separator, strict=True)
        except (csv.Error, ValueError) as error:
            raise GemmbenchError(f"{source}: line {number} is not CSV: {error}") from None
        cells = [cell.strip() for cell in cells]
        while cells and not cells[-1]:  # spreadsheets fill up rows with empty cells
            cells.pop()
        if cells:
            yield number, cells


def _columns(where: str, header: list[str]) -> tuple[str, ...]:
    names = tuple(name.lower() for name in header)
    known = [name for name in names if name in COLUMNS]
    if not known:
        raise GemmbenchError(f"{where}: no header: begin the file with m,n,k")
    for name, shown in zip(names, header, strict=True):
        if name not in COLUMNS:
            raise GemmbenchError(f"{where}: {UnknownNameError('column', shown[:80], COLUMNS)}")
        if names.count(name) > 1:
            raise GemmbenchError(f"{where}: the column {name} is there twice: drop one")
    for name in NEEDED:
        if name not in names:
            raise GemmbenchError(f"{where}: the column {name} is missing: it needs m, n and k")
    return names


def _shape(where: str, columns: tuple[str, ...], cells: list[str]) -> Shape:
    if len(cells) > len(columns):
        raise GemmbenchError(
            f"{where} has {len(cells)} cells, its header {len(columns)}: quote what has a separator"
        )
    found = dict(zip(columns, cells, strict=False))
    numbers = {
        name: _number(f"{where}, column {name}", found.get(name, ""))
        for name in (*NEEDED, *(name for name in COUNTS if found.get(name)))
    }
    layout = found.get("layout", "").lower()
    shape = Shape(**numbers, layout=layout or None, label=found.get("label", ""))
    try:
        return checked(shape)
    except GemmbenchError as error:
        raise GemmbenchError(f"{where}: {error}") from None


def _number(where: str, cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", cell):
        told = f"{cell[:60]!r} is no whole number" if cell else "it is empty"
        raise GemmbenchError(f"{where}: {told}: write one such as 4096")
    if not 1 <= int(cell) <= MAX_DIMENSION:
        raise GemmbenchError(f"{where}: {cell} must lie in 1 … {MAX_DIMENSION}")
    return int(cell)
