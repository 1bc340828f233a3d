"""Files that hold the runs of several devices: where in them each unit's lines stand.

Such a file is called `fleet.jsonl`, and one of its runs `fleet.jsonl#3`: that names unit 3.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import msgspec

from gemmbench.records.loss import Loss, Text
from gemmbench.records.schema import Fleet, Footer, Lost, Place
from gemmkernels.errors import GemmbenchError
from gemmkernels.smallfile import json_fault

MAX_LINE_BYTES = 64 * 2**20
BUFFER_BYTES = 2**20
MOST_UNITS = 1_000_000
_OF = re.compile(rb'\{"type":"of","unit":(\d{1,7}),"line":')
_ENDS = msgspec.json.Decoder(Lost | Footer)
_FIRST = msgspec.json.Decoder(Fleet)
_BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def split(path: Path) -> tuple[Path, int | None]:
    """`fleet.jsonl#3` as (`fleet.jsonl`, 3); any other path, or a file of just that name, as it is.

    >>> split(Path("fleet.jsonl#3"))
    (PosixPath('fleet.jsonl'), 3)
    """
    found = re.fullmatch(r"(.+)#(\d{1,7})", path.name)
    if not found or path.exists():
        return path, None
    return path.with_name(found[1]), int(found[2])


def member(path: Path, unit: int) -> Path:
    """The name of one of a file's runs."""
    return path.with_name(f"{path.name}#{unit}")


@dataclass(frozen=True, kw_only=True)
class Index:
    """Where the lines of each unit stand: (line number, first byte, size) of what is inside.

    `lost` tells of units that did not come to their end, `warnings` what belongs to no unit.
    """

    fleet: Fleet
    spans: dict[int, list[tuple[int, int, int]]]
    lost: dict[int, Lost]
    footer: Footer | None
    warnings: tuple[str, ...]

    def place(self, unit: int) -> Place:
        """Where the unit was planned to be."""
        if unit in self.lost and (known := self.lost[unit].place) is not None:
            return known
        return self.fleet.places[unit] if unit < len(self.fleet.places) else Place()

    @property
    def absent(self) -> tuple[int, ...]:
        """The places of which there is no run."""
        return tuple(unit for unit in range(len(self.fleet.places)) if unit not in self.spans)


def index_of(path: Path) -> Index | None:
    """The index of a file with the runs of several devices; None where it is another file.

    Raises OSError, and GemmbenchError for one that is damaged in its first line.
    """
    status = path.stat()
    return _index(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _index(path: Path, _changed_ns: int, _size: int) -> Index | None:
    with path.open("rb", buffering=BUFFER_BYTES) as stream:
        first = next(lines(stream), None)
        if first is None or not first.data.startswith(b'{"type":"fleet"'):
            return None
        try:
            fleet = _FIRST.decode(first.data)
        except _BAD as error:
            what = json_fault(str(error), first.data)
            raise GemmbenchError(f"{path}: its first line is damaged: {what}") from None
        return _indexed(fleet, stream)


def _indexed(fleet: Fleet, stream: BinaryIO) -> Index:
    spans: dict[int, list[tuple[int, int, int]]] = {}
    lost: dict[int, Lost] = {}
    loss = Loss()
    footer = None
    start, number = stream.tell(), 1
    for text in lines(stream):
        number = 1 + text.number
        stop = start + text.size
        found = _OF.match(text.data)
        if found and text.whole and (unit := int(found[1])) < MOST_UNITS:
            size = text.size - found.end() - len(text.data) + len(text.data.rstrip()) - 1
            spans.setdefault(unit, []).append((number, start + found.end(), size))
            # A unit that was lost, and goes on, is not.
            lost.pop(unit, None)
        elif not text.data or found:
            loss.damaged(text, f"longer than {MAX_LINE_BYTES >> 20} MiB" if text.whole else "cut")
        else:
            try:
                line = _ENDS.decode(text.data)
            except _BAD as error:
                loss.damaged(text, str(error).partition("\n")[0][:120])
            else:
                if isinstance(line, Lost):
                    lost[line.unit] = line
                else:
                    footer = line
        start = stop
    return Index(fleet=fleet, spans=spans, lost=lost, footer=footer, warnings=loss.warnings())


def inner(stream: BinaryIO, index: Index, unit: int) -> Iterator[Text]:
    """The lines of a unit's run, as in a file of its own; their numbers are the whole file's."""
    for number, start, size in index.spans.get(unit, []):
        # Past the buffer: lines of one unit lie far apart, and each would fill it anew.
        data = os.pread(stream.fileno(), size, start)
        yield Text(number, data, len(data), True)


def lines(stream: BinaryIO) -> Iterator[Text]:
    """The lines that are left; none longer than MAX_LINE_BYTES is held in memory."""
    number = 0
    while data := stream.readline(MAX_LINE_BYTES):
        number += 1
        size, whole = len(data), data.endswith(b"\n")
        if not whole and size == MAX_LINE_BYTES:
            while not whole and (part := stream.readline(1 << 20)):
                data, size, whole = b"", size + len(part), part.endswith(b"\n")
        yield Text(number, data, size, whole)
