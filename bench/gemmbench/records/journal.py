"""Writing a run: a new file, one line a record, each on the disk before the next is measured."""

import contextlib
import errno
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

import msgspec

from gemmbench.records import durable
from gemmbench.records.reader import fleet_of, is_line, read_header
from gemmbench.records.schema import (
    KEPT_SAMPLES,
    Fleet,
    FleetLine,
    Header,
    Line,
    Record,
    Roof,
)
from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError

_ENCODER = msgspec.json.Encoder()
_BLOCK = 1 << 20

Timed = TypeVar("Timed", Record, Roof)


class MovedWarning(UserWarning):
    """A run file was moved or removed while it was written; nothing of it is lost."""


class Lines(Protocol):
    """Where the lines of a run go."""

    @property
    def path(self) -> Path: ...

    def append(self, *lines: Line) -> None: ...

    def close(self) -> None: ...


class Journal:
    """An open run file. Only appends, and never touches what is already there.

    Use it as a context manager, or close it. Another process cannot write to the same file
    meanwhile. Raises GemmbenchError where the disk or the folder will not take it. Where the file
    is moved, `path` follows it; where it is removed, it is written anew; both with a MovedWarning.
    """

    again = "gemmbench run --resume"
    """What goes on with a run that the disk cut short."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, header: Header | Fleet) -> Self:
        """Start `<UTC time>-<device slug>-<run id>.jsonl` in a folder, which is made if need be.

        The runs of several devices have `fleet` for a slug.
        """
        time = now().strftime("%Y%m%dT%H%M%SZ")
        slug = header.device.slug if isinstance(header, Header) else "fleet"
        name = "-".join(_plain(part) for part in (time, slug, header.run_id))
        path = folder / f"{name}.jsonl"
        with _reported(path, remedy="choose another folder with --out"):
            folder.mkdir(parents=True, exist_ok=True)
            return cls(path, durable.create(path, [encode(header)]))

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Open a run to append to it. A last line that was cut is dropped, and nothing else.

        Raises GemmbenchError if the file is not a run, or is being written.
        """
        if fleet_of(path) is None:
            read_header(path)
        with _reported(path, remedy="copy it into a folder that you may write to, and resume that"):
            journal = cls(path, os.open(path, os.O_RDWR | os.O_APPEND))
            try:
                durable.lock(journal._descriptor, path)
                journal._mend()
            except BaseException:
                journal.close()
                raise
        return journal

    def append(self, *lines: Line | FleetLine) -> None:
        """Write lines, and wait until they are on the disk. Where not all fit, the first stay."""
        self._append(b"".join(map(encode, lines)))

    def append_of(self, lines: Iterable[tuple[int, bytes]]) -> list[tuple[int, int]]:
        """The same of lines of units' runs, as `encode` makes them: (first byte, size) of each."""
        parts, spans, at = [], [], os.lseek(self._descriptor, 0, os.SEEK_END)
        for unit, line in lines:
            before, inner = b'{"type":"of","unit":%d,"line":' % unit, line.rstrip(b"\n")
            spans.append((at + len(before), len(inner)))
            parts.append(before + inner + b"}\n")
            at += len(parts[-1])
        self._append(b"".join(parts))
        return spans

    def _append(self, data: bytes) -> None:
        try:
            durable.append(self._descriptor, data)
        except durable.TornError as torn:
            reason, remedy = _told(torn.error)
            what = "its last line is" if torn.lost == 1 else f"its last {torn.lost} lines are"
            raise GemmbenchError(
                f"cannot write to {self.path}: {reason}; {what} lost, all before is whole: "
                f"{remedy or 'check the disk'}, then go on with: {self.again} {self.path}"
            ) from torn.error
        self._follow()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _follow(self) -> None:
        """What is written to a removed file is lost when it is closed: see that it is still there.

        After each line and not before it, so that the last one is seen to, too.
        """
        was, now_at = self.path, durable.whereabouts(self._descriptor, self.path)
        if now_at == was:
            return
        if now_at is not None:
            self.path = now_at
            warnings.warn(f"{was} was moved: the run goes on in {now_at}", MovedWarning, 3)
            return
        try:
            descriptor, self.path = durable.rescue(self._descriptor, was)
        except OSError as error:
            reason, _ = _told(error)
            raise GemmbenchError(
                f"{was} was removed while the run went on, and cannot be written anew: {reason}; "
                "start a new run, in another folder with --out"
            ) from error
        os.close(self._descriptor)
        self._descriptor = descriptor
        warnings.warn(
            f"{was} was removed while the run went on: all of it is now in {self.path}",
            MovedWarning,
            3,
        )

    def _mend(self) -> None:
        """Drop a partial last line; give a whole one that lost its newline the newline back."""
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        start = self._line_start(size)
        if start < size:
            if is_line(os.pread(self._descriptor, size - start, start)):
                os.write(self._descriptor, b"\n")
            else:
                os.ftruncate(self._descriptor, start)
            return
        start = self._line_start(size - 1)
        if not is_line(os.pread(self._descriptor, size - start, start)):
            os.ftruncate(self._descriptor, start)

    def _line_start(self, stop: int) -> int:
        """Where the line that ends at `stop` begins: after the last newline before it."""
        while stop > 0:
            start = max(0, stop - _BLOCK)
            found = os.pread(self._descriptor, stop - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            stop = start
        return 0


def now() -> datetime:
    return datetime.now(UTC)


def keep_samples(record: Timed) -> Timed:
    """The record or roof with 200 samples at most, in whole rounds, evenly chosen over the run.

    Every turn keeps its median, and `n_samples` stays the true count. Where one round alone has
    more than 200, it is thinned evenly.
    """
    counts = [len(turn.samples_ns or ()) for turn in record.turns]
    if sum(counts) <= KEPT_SAMPLES:
        return record
    holders = [index for index, count in enumerate(counts) if count]
    keep = _spread(holders, 1)
    for size in range(min(len(holders), KEPT_SAMPLES), 1, -1):
        chosen = _spread(holders, size)
        if sum(counts[index] for index in chosen) <= KEPT_SAMPLES:
            keep = chosen
            break
    turns = (_kept(turn, index in keep) for index, turn in enumerate(record.turns))
    return msgspec.structs.replace(record, turns=tuple(turns))


def _kept(turn: Turn, keep: bool) -> Turn:
    samples = turn.samples_ns
    if samples is None:
        return turn
    if not keep:
        return replace(turn, samples_ns=None, disturbed_at=())
    if len(samples) <= KEPT_SAMPLES:
        return turn
    places = _spread(range(len(samples)), KEPT_SAMPLES)
    return replace(
        turn,
        samples_ns=tuple(samples[place] for place in places),
        disturbed_at=tuple(i for i, place in enumerate(places) if place in turn.disturbed_at),
    )


def _spread(items: "range | list[int]", size: int) -> list[int]:
    """`size` of the items, evenly spaced, each from the middle of its share."""
    return [items[(2 * index + 1) * len(items) // (2 * size)] for index in range(size)]


def encode(line: Line | FleetLine) -> bytes:
    """A line of a run file, with its newline."""
    try:
        return _ENCODER.encode(line) + b"\n"
    except UnicodeEncodeError:  # bytes that were no UTF-8, of an environment variable or a path
        return _ENCODER.encode(_clean(msgspec.to_builtins(line))) + b"\n"


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def _plain(text: str) -> str:
    """Text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:80] or "unknown"


_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ENAMETOOLONG: "choose a shorter path",
}


def _told(error: OSError) -> tuple[str, str]:
    """(the reason, the remedy, which may be "")"""
    return error.strerror or type(error).__name__, _REMEDIES.get(error.errno or 0, "")


@contextlib.contextmanager
def _reported(path: Path, *, remedy: str) -> Iterator[None]:
    """`remedy` is what helps, whatever the reason is."""
    try:
        yield
    except OSError as error:
        reason, first = _told(error)
        either = f"{first}, or " if first else ""
        raise GemmbenchError(f"cannot write {path}: {reason}; {either}{remedy}") from error
