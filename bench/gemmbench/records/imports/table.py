"""Tables of rocBLAS's and hipBLASLt's benchmarks: a header line, and a row beneath it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gemmbench.records.imports.text import lines
from gemmbench.records.imports.words import Findings

_LETTERS = frozenset("NTC")
_SPELT = {"soulution_index": "solution_index"}


@dataclass
class Row:
    """Cells by the name of their column, in small letters with "_" for "-"; nothing by position.

    `command` is the last command line above it, `notes` are the `--name: value` lines below it.
    """

    cells: dict[str, str]
    command: str
    winner: bool
    notes: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.cells.get(name, "")


def rows(text: str, *, rate: str, program: str, found: Findings) -> Iterator[Row]:
    """The rows of a log. `rate` is the column that a header must have, `program` the command."""
    columns: list[str] = []
    command, winner = "", False
    row: Row | None = None
    for line in lines(text):
        lower = line.lower()
        if rate in lower and (start := lower.find("transa")) >= 0:
            columns = [_column(cell) for cell in lower[start:].split(",")]
            continue
        if program in lower and "," not in line:
            command = line
        elif lower.strip().startswith("winner"):
            winner = True
        elif note := _NOTE.match(line):
            if row is not None:
                row.notes[note[1].lower()] = note[2].strip()[:200]
        elif columns and (cells := _cells(line)):
            if len(cells) != len(columns):
                found.leave("with cells that do not fit the header")
                continue
            if row is not None:
                yield row
            row = Row(dict(zip(columns, cells, strict=True)), command, winner, {})
            winner = False
    if row is not None:
        yield row


_NOTE = re.compile(r"[\s+>|]{0,40}--((?:Solution|kernel) (?:index|name)):(.*)", re.IGNORECASE)


def _column(name: str) -> str:
    name = name.strip().replace("-", "_")
    return _SPELT.get(name, name)


def _cells(line: str) -> list[str]:
    """The cells of a data line; none of another one. Pasted logs have marks before it."""
    bare = line.lstrip(" \t+>|")
    if bare[:1].upper() not in _LETTERS or bare[1:2] != "," or bare.count(",") < 5:
        return []
    return [cell.strip() for cell in bare.split(",")]


def option(command: str, *names: str) -> str:
    """The value of an option in a command line that the log shows; "" without one."""
    words = command.split()
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else (words[index + 1] if index + 1 < len(words) else "")
    return ""
