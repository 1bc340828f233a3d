"""Writing a run: a new file, one line a record, each on the disk before the next is measured."""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from gemmbench.records.reader import is_line, read_header
from gemmbench.records.schema import KEPT_SAMPLES, Header, Line, Record
from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError

_ENCODER = msgspec.json.Encoder()
_BLOCK = 1 << 20


class Journal:
    """An open run file. Only appends, and never touches what is already there.

    Use it as a context manager, or close it. Another process cannot write to the same file
    meanwhile. Raises GemmbenchError where the disk or the folder will not take it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, header: Header) -> Self:
        """Start `<UTC time>-<device slug>-<run id>.jsonl` in a folder, which is made if need be."""
        time = now().strftime("%Y%m%dT%H%M%SZ")
        name = "-".join(_plain(part) for part in (time, header.device.slug, header.run_id))
        path = folder / f"{name}.jsonl"
        with _reported(path, "write"):
            folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
            journal = cls(path, os.open(path, flags, 0o644))
            journal._lock()
            journal.append(header)
            _sync_folder(folder)
        return journal

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Open a run to append to it. A last line that was cut is dropped, and nothing else.

        Raises GemmbenchError if the file is not a run, or is being written.
        """
        read_header(path)
        with _reported(path, "write"):
            journal = cls(path, os.open(path, os.O_RDWR | os.O_APPEND))
            journal._lock()
            journal._mend()
        return journal

    def append(self, line: Line) -> None:
        """Write one line and wait until it is on the disk."""
        data = _encode(line) + b"\n"
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        with _reported(self.path, "write"):
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
                os.fsync(self._descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, start)
                raise

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

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                self.close()
                raise GemmbenchError(
                    f"{self.path} is being written by another run: wait for it, or end it"
                ) from None
            # A file system without locks takes no second writer's word for it: go on without.

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


def keep_samples(record: Record) -> Record:
    """The record with the samples of at most 200, in whole rounds, evenly chosen over the run.

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
    samples = turn.samples_ns if keep else None
    if samples is not None and len(samples) > KEPT_SAMPLES:
        samples = tuple(samples[index] for index in _spread(range(len(samples)), KEPT_SAMPLES))
    return turn if samples is turn.samples_ns else replace(turn, samples_ns=samples)


def _spread(items: "range | list[int]", size: int) -> list[int]:
    """`size` of the items, evenly spaced, each from the middle of its share."""
    return [items[(2 * index + 1) * len(items) // (2 * size)] for index in range(size)]


def _encode(line: Line) -> bytes:
    try:
        return _ENCODER.encode(line)
    except UnicodeEncodeError:  # bytes that were no UTF-8, of an environment variable or a path
        return _ENCODER.encode(_clean(msgspec.to_builtins(line)))


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


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another folder with --out",
    errno.EDQUOT: "free some space, or choose another folder with --out",
    errno.EACCES: "choose a folder that you may write to with --out",
    errno.EPERM: "choose a folder that you may write to with --out",
    errno.EROFS: "choose a folder that you may write to with --out",
    errno.EEXIST: "choose another folder with --out",
    errno.ENOTDIR: "choose a folder with --out",
    errno.ENAMETOOLONG: "choose a shorter path with --out",
}


@contextlib.contextmanager
def _reported(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk, or choose another folder")
        reason = error.strerror or type(error).__name__
        raise GemmbenchError(f"cannot {verb} {path}: {reason}; {remedy}") from error
