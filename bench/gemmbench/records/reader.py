"""Reading runs, also cut, damaged and newer ones: what can be used is, what cannot is told."""

import contextlib
import gc
import glob
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from gemmbench.quantities import counted
from gemmbench.records import fleet as fleets
from gemmbench.records.loss import Loss, Text
from gemmbench.records.outline import AnyRecord, OutlineLine, RecordOutline
from gemmbench.records.schema import (
    FORMAT,
    Footer,
    Header,
    Launched,
    Line,
    Record,
    Roof,
    SelfTest,
)
from gemmbench.timing.turn import AnyTurn
from gemmkernels.errors import GemmbenchError
from gemmkernels.smallfile import json_fault

Source = str | os.PathLike[str]

_DECODER = msgspec.json.Decoder(Line)
_OUTLINES = msgspec.json.Decoder(OutlineLine)
_Record = TypeVar("_Record", bound=AnyRecord)
_BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_KNOWN = ("run", "record", "selftest", "roof", "launched", "end")
_BEGINNING = b'{"type":"run"'


_TOLD = 5
_LEAST_NS, _MOST_NS = 1e-6, 1e18
"""A launch took no less than that, nor 30 years: else sums and ratios overflow."""


class RunFileWarning(UserWarning):
    """Something of a run file was not loaded, or a whole file."""


class ForeignFileError(GemmbenchError):
    """A file that no gemmbench wrote."""


class _Probe(msgspec.Struct):
    type: str = ""
    format: tuple[int, ...] = ()


_PROBE = msgspec.json.Decoder(_Probe)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run file. `footer` is None where the run did not come to its end.

    Of several records of one case, which a resumed run can have, the last counts. `warnings` says
    what of the file was not loaded. A run of a fleet's file has `fleet.jsonl#3` for a path, and is
    `lost`, with the reason, where its device did not answer to the end.
    """

    path: Path
    header: Header
    records: tuple[Record, ...]
    selftests: tuple[SelfTest, ...] = ()
    roofs: tuple[Roof, ...] = ()
    launched: tuple[Launched, ...] = ()
    footer: Footer | None = None
    warnings: tuple[str, ...] = ()
    lost: str = ""


def read(path: Source) -> Run:
    """Read one run file.

    Unknown fields are ignored; unknown, damaged and cut lines are skipped with a warning. Raises
    GemmbenchError for a file that is not a run, cannot be read, or has a newer major version, and
    for one with the runs of several devices: of those each has a name, `fleet.jsonl#3`.
    """
    run, records = _read(path, _DECODER, Record)
    return replace(run, records=records)


def read_outline(path: Source) -> tuple[Run, tuple[RecordOutline, ...]]:
    """What a table needs of a run file: the run without its records, and their outlines.

    Many times as fast as `read`; raises and warns as that does, but for faults in what an outline
    leaves out.
    """
    return _read(path, _OUTLINES, RecordOutline)


@dataclass(frozen=True, kw_only=True)
class Outlined:
    """A run and the outlines of its records, or why it cannot be read."""

    path: Path
    run: Run | None
    records: tuple[RecordOutline, ...] = ()
    fault: str = ""


def outlines(path: Source) -> Iterator[fleets.Index | Outlined]:
    """What `read_outline` has of each run of a file, which is opened and indexed once.

    Of a file with the runs of several devices its index comes first; `fleet.jsonl#3` is that one's
    alone. Raises GemmbenchError for a file that cannot be opened, and ForeignFileError.
    """
    path, asked = fleets.split(Path(path))
    with _opened(path) as (stream, index):
        if index is None:
            yield _outlined(path, _lines(stream))
            return
        yield index
        units = sorted(index.spans)
        if asked is not None:
            begun = asked not in {*index.absent, *index.lost} - index.spans.keys()
            units = [_checked(path, index, asked)] if begun else []
        for unit in units:
            lost = index.lost[unit].reason if unit in index.lost else ""
            inner = fleets.inner(stream, index, unit)
            yield _outlined(fleets.member(path, unit), inner, lost)


def _outlined(path: Path, lines: Iterator[Text], lost: str = "") -> Outlined:
    try:
        run, records = _gather(path, lines, _OUTLINES, RecordOutline, lost)
    except ForeignFileError:
        raise
    except GemmbenchError as error:
        return Outlined(path=path, run=None, fault=str(error))
    return Outlined(path=path, run=run, records=records)


def read_lines(lines: Iterable[bytes], name: str) -> Run:
    """The same of the lines of a run file, wherever they are from; `name` is what it is called."""
    texts = (Text(at, bytes(data), len(data), True) for at, data in enumerate(lines, 1))
    run, records = _gather(Path(name), texts, _DECODER, Record)
    return replace(run, records=records)


def _read(
    path: Source, decoder: "msgspec.json.Decoder[Any]", kind: type[_Record]
) -> tuple[Run, tuple[_Record, ...]]:
    path = Path(path)
    with _opened(path) as (stream, index), without_collector():
        if index is None:
            return _gather(path, _lines(stream), decoder, kind)
        unit = _checked(path, index, fleets.split(path)[1])
        lost = index.lost[unit].reason if unit in index.lost else ""
        return _gather(path, fleets.inner(stream, index, unit), decoder, kind, lost)


def _gather(
    path: Path,
    lines: Iterator[Text],
    decoder: "msgspec.json.Decoder[Any]",
    kind: type[_Record],
    lost: str = "",
) -> tuple[Run, tuple[_Record, ...]]:
    loss = Loss()
    records: dict[str, _Record] = {}
    selftests: dict[int, SelfTest] = {}
    roofs: dict[tuple[str, str, int], Roof] = {}
    launched: dict[str, Launched] = {}
    footer = None
    header = _header(path, lines)
    for text in lines:
        line = _decode(text, loss, decoder)
        if isinstance(line, kind):
            case = line.case
            records.pop(case, None)
            records[case] = line
        elif isinstance(line, SelfTest):
            selftests[line.repeat] = line
        elif isinstance(line, Roof):
            roofs[line.name, line.precision, line.repeat] = line
        elif isinstance(line, Launched):
            launched[line.case] = line
        elif isinstance(line, Footer):
            footer = line
        elif isinstance(line, Header):
            rest = 1 + sum(1 for _ in lines)
            loss.other.append(
                f"line {text.number} begins a second run: it and what follows "
                f"({counted(rest, 'line')}) was not loaded; keep one run a file"
            )
    if missing := len(set(header.plan) - records.keys()):
        loss.other.append(
            f"{missing} of {len(header.plan)} planned cases have no record: "
            + (
                lost
                or "the run still goes on, or was cut short; take it up again with gemmbench run "
                "--resume"
            )
        )
    run = Run(
        path=path,
        header=header,
        records=(),
        selftests=tuple(selftests.values()),
        roofs=tuple(roofs.values()),
        launched=tuple(launched.values()),
        footer=footer,
        warnings=loss.warnings(),
        lost=lost,
    )
    return run, tuple(records.values())


def read_header(path: Source) -> Header:
    """Only the first line; raises as `read` does."""
    path = Path(path)
    with _opened(path) as (stream, index):
        if index is not None:
            unit = _checked(path, index, fleets.split(path)[1])
            return _header(path, fleets.inner(stream, index, unit))
        return _header(path, _lines(stream))


def read_many(source: Source | Iterable[Source]) -> list[Run]:
    """The runs of a file, a glob pattern, a folder (and the folders in it), or a list of those.

    Each file counts once. Raises and warns as `paths_of` does, and raises as `read` does.
    """
    return [read(path) for path in paths_of(source)]


def paths_of(source: Source | Iterable[Source]) -> list[Path]:
    """The paths of the files that `read_many` reads; of several devices' runs in one file each.

    What a folder or a pattern holds beside runs is left out with a warning (RunFileWarning), while
    a file that is named must be one. Raises GemmbenchError where nothing matches, or no run does.
    """
    return [path for path, _ in paths_and_sources(source)]


def paths_and_sources(source: Source | Iterable[Source]) -> list[tuple[Path, Source]]:
    """`paths_of`, each with the first of the sources that it is of."""
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    found: dict[Path, bool] = {}
    first_of: dict[Path, Source] = {}
    for one in sources:
        for file, named in files_of(one):
            for path in _members(file):
                found[path] = named or found.get(path, False)
                first_of.setdefault(path, one)
    if not found:
        raise GemmbenchError("no run file was named: give a file, a folder or a pattern")
    faults: dict[Path, str] = {}
    for path, named in found.items():
        if not named and (fault := _fault(path)):
            faults[path] = fault
    if len(faults) == len(found):
        first = next(iter(faults.values()))
        others = f"; nor are {len(found) - 1} more" if len(found) > 1 else ""
        raise GemmbenchError(f"{first}{others}")
    for number, fault in enumerate(faults.values()):
        rest = len(faults) - number
        more = counted(rest, "more file was not loaded", "more files were not loaded")
        told = f"not loaded: {fault}" if number < _TOLD else more
        warnings.warn(told, RunFileWarning, stacklevel=4)
        if number == _TOLD:
            break
    return [(path, first_of[path]) for path in found if path not in faults]


def _fault(path: Path) -> str:
    """Why a file is no run; empty where it is one."""
    try:
        read_header(path)
    except GemmbenchError as error:
        return str(error)
    return ""


def is_line(data: bytes) -> bool:
    """Is it one whole line of a run file, of a type that is known or not?"""
    try:
        return bool(_PROBE.decode(data).type)
    except _BAD:
        return False


def files_of(source: Source) -> list[tuple[Path, bool]]:
    """The files of a source, and whether each was named, or is of a folder or a pattern.

    Raises GemmbenchError where nothing matches.
    """
    path, text = Path(source), os.fspath(source)
    if not text:  # as a Path it is the current folder
        raise GemmbenchError("'' names no run: give a file, a folder or a pattern")
    if "\0" in text:
        raise GemmbenchError(f"cannot read {text[:200]!r}: no name has a NUL in it")
    try:
        if path.is_dir():
            found = sorted(path.glob("*.jsonl")) + sorted(path.glob("*/*.jsonl"))
            if not found:
                raise GemmbenchError(f"{path} holds no run: expected *.jsonl files in it")
            return [(one, False) for one in found]
        if path.exists() or not glob.has_magic(text):
            return [(path, True)]
    except OSError as error:
        raise GemmbenchError(f"cannot read {text[:200]!r}: {error.strerror}") from None
    matches = sorted(Path(one) for one in glob.glob(text, recursive=True))  # noqa: PTH207
    if not matches:
        raise GemmbenchError(f"no file matches {text!r}: check the pattern, or quote it")
    return [(inner, False) for one in matches for inner, _ in files_of(one)]


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Pause the cycle collector: a big file makes millions of objects, none of them in a cycle."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _members(path: Path) -> list[Path]:
    """The runs of a fleet's file, by their names; any other file itself."""
    if fleets.split(path)[1] is not None:
        return [path]
    with contextlib.suppress(OSError, GemmbenchError), _opened(path) as (_, index):
        if index is not None:
            return [fleets.member(path, unit) for unit in sorted(index.spans)] or [path]
    return [path]


def fleet_of(path: Source) -> fleets.Index | None:
    """What a file with the runs of several devices says of them all; None for one run's file.

    Raises GemmbenchError for a file that cannot be read.
    """
    with _opened(Path(path)) as (_, index):
        return index


def _checked(path: Path, index: fleets.Index, unit: int | None) -> int:
    """The unit, if it has a run. Raises GemmbenchError."""
    units = sorted(index.spans)
    if unit in index.spans:
        return unit
    if not units:
        reasons = dict.fromkeys(lost.reason for lost in index.lost.values())
        why = f": {'; '.join([*reasons][:2])}" if reasons else ""
        raise GemmbenchError(f"{path} holds no run of its {len(index.fleet.places)} devices{why}")
    span = f"#{units[0]} … #{units[-1]}"
    if unit is not None:
        raise GemmbenchError(f"{path}: the file has no such run: it holds {span}")
    raise GemmbenchError(
        f"{path} holds the runs of {len(units)} devices: name one of {span}, as in "
        f"{fleets.member(path, units[0])}"
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, fleets.Index | None]]:
    """The file, open to be read, and its index if it holds the runs of several devices.

    Its errors become one line for the user.
    """
    path, _ = fleets.split(path)
    try:
        if path.is_dir():
            raise GemmbenchError(f"{path} is a folder: expected a run file, *.jsonl")
        if path.exists() and not path.is_file():
            raise GemmbenchError(f"{path} is no regular file: expected a run file, *.jsonl")
        with path.open("rb", buffering=fleets.BUFFER_BYTES) as stream:
            yield stream, fleets.index_of(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GemmbenchError(
            f"cannot read {str(path)[:200]!r}: {reason}; expected a run file, *.jsonl"
        ) from None


def _lines(stream: BinaryIO) -> Iterator[Text]:
    """The lines that are not blank; none longer than MAX_LINE_BYTES is held in memory."""
    for text in fleets.lines(stream):
        if not text.data or not text.data.isspace():
            yield text


def _header(path: Path, lines: Iterator[Text]) -> Header:
    expected = "expected a .jsonl file that `gemmbench run` wrote"
    foreign = f"{path} is not a run: its first line is no header; {expected}"
    first = next(lines, None)
    if first is None:
        raise GemmbenchError(f"{path} is empty: {expected}")
    try:
        probe = _PROBE.decode(first.data)
    except _BAD as error:
        if isinstance(error, RecursionError):
            foreign = f"{path} is not a run: its first line is nested too deeply; {expected}"
        if not first.whole and first.data[: len(_BEGINNING)] == _BEGINNING[: len(first.data)]:
            told = f"{path} is cut in its header, nothing of it can be loaded: {expected}"
            raise GemmbenchError(told) from None
        raise ForeignFileError(foreign) from None
    if probe.type != "run" or not probe.format:
        raise ForeignFileError(foreign)
    if probe.format[0] > FORMAT[0]:
        version = ".".join(map(str, probe.format))
        raise GemmbenchError(
            f"{path} has format {version}, this gemmbench reads up to {FORMAT[0]}.x: update it"
        )
    try:
        header = _DECODER.decode(first.data)
    except _BAD as error:
        what = json_fault(str(error), first.data)
        raise GemmbenchError(f"{path}: its header is damaged: {what}; {expected}") from None
    assert isinstance(header, Header)
    return header


def _decode(
    text: Text, loss: Loss, decoder: "msgspec.json.Decoder[Any]"
) -> Line | RecordOutline | None:
    if not text.data:
        loss.damaged(text, f"longer than {fleets.MAX_LINE_BYTES >> 20} MiB")
        return None
    try:
        line: Line | RecordOutline = decoder.decode(text.data)
    except _BAD as error:
        kind = _kind(text.data)
        if kind and kind not in _KNOWN:
            loss.unknown(kind)
        else:
            why = str(error) if loss.is_explained else json_fault(str(error), text.data)
            loss.damaged(text, why.partition("\n")[0][:120])
        return None
    for turn in _turns(line):
        if turn.median_ns is not None and not _LEAST_NS <= turn.median_ns <= _MOST_NS:
            loss.damaged(text, f"a turn of {turn.median_ns:g} ns")
            return None
    return line


def _turns(line: Line | RecordOutline) -> Sequence[AnyTurn]:
    if isinstance(line, Record | RecordOutline | Roof):
        return line.turns
    return (*line.less, *line.more) if isinstance(line, SelfTest) else ()


def _kind(data: bytes) -> str:
    try:
        return _PROBE.decode(data).type
    except _BAD:
        return ""
