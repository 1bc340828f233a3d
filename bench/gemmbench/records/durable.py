"""Files that survive: born whole, appended to in whole lines, followed when they are moved."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gemmkernels.errors import GemmbenchError

_BLOCK = 1 << 20
_GHOSTS = (".nfs", ".fuse_hidden")
"""What network file systems call a file that was removed while it was open."""


def create(path: Path, parts: Iterable[bytes]) -> int:
    """A new file, locked, and its descriptor. It is there with all that it holds, or not at all.

    Raises OSError, FileExistsError among them.
    """
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o644)
    try:
        lock(descriptor, path)
        for data in parts:
            _write(descriptor, data)
        os.fsync(descriptor)
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        part.rename(path)
    except BaseException:
        os.close(descriptor)
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return descriptor


def lock(descriptor: int, path: Path) -> None:
    """Take a file for this process alone, until it is closed. Raises GemmbenchError if taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise GemmbenchError(
                f"{path} is being written by another run: wait for it, or end it"
            ) from None
        # A file system without locks takes no second writer's word for it: go on without.


class TornError(Exception):
    """Not all lines went to the disk: the last `lost` did not, and nothing of them is there."""

    def __init__(self, error: OSError, *, lost: int) -> None:
        super().__init__(error)
        self.error = error
        self.lost = lost


def append(descriptor: int, data: bytes) -> None:
    """Add whole lines, and wait until they are on the disk. Raises TornError."""
    start = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        _write(descriptor, data)
        os.fsync(descriptor)
    except OSError as error:
        written = os.lseek(descriptor, 0, os.SEEK_END) - start
        # Of a failed fsync nobody knows what it left on the disk: none of it counts.
        kept = data.rfind(b"\n", 0, written) + 1 if written < len(data) else 0
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, start + kept)
            os.fsync(descriptor)
        raise TornError(error, lost=data.count(b"\n", kept)) from error


def whereabouts(descriptor: int, path: Path) -> Path | None:
    """Where an open file is now, as a rule at `path`; None if it was removed."""
    with contextlib.suppress(OSError):
        if os.path.samestat(path.stat(), os.fstat(descriptor)):
            return path
    with contextlib.suppress(OSError):
        moved = Path(f"/proc/self/fd/{descriptor}").readlink()
        same = os.path.samestat(moved.stat(), os.fstat(descriptor))
        if same and not moved.name.startswith(_GHOSTS):
            return moved
    return None


def rescue(descriptor: int, path: Path) -> tuple[int, Path]:
    """Write an open file that was removed anew, at `path` or beside what is there by now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return create(free, _blocks(descriptor)), free


def _blocks(descriptor: int) -> Iterator[bytes]:
    start = 0
    while data := os.pread(descriptor, _BLOCK, start):
        yield data
        start += len(data)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
