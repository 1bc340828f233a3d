"""Writing tuned settings: merged with what is there, and whole or not at all."""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gemmkernels.errors import GemmbenchError
from gemmkernels.tuning import Entry, parse_entries, read_entries

_HEAD = """\
# Settings that gemmbench tune has found, each with its evidence: time_us and ratio (times faster
# than default, paired in turns, in fresh processes) with 95% intervals. Comments are not kept.
"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def writable(path: Path) -> None:
    """Raises GemmbenchError for a file that is damaged, or a place that will not take one.

    Before anything is measured: what was found should not be lost at the end.
    """
    if path.suffix != ".toml":
        raise GemmbenchError(f"--out {str(path)[:200]!r}: expected a file, *.toml")
    with _locked(path):
        read_entries(path)
        part = _part(path)
        with _reported(path):
            part.touch()
            part.unlink()


def add(path: Path, entries: Sequence[Entry]) -> None:
    """Put entries into the file; they take the place of those of the same problem there."""
    with _locked(path):
        kept = {entry.key: entry for entry in read_entries(path)}
        kept |= {entry.key: entry for entry in entries}
        data = text_of(list(kept.values())).encode()
        assert parse_entries(data, source=path.name) == tuple(kept.values())
        part = _part(path)
        with _reported(path):
            try:
                with part.open("wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise


def text_of(entries: Sequence[Entry]) -> str:
    """The file that holds these entries."""
    parts = [_HEAD]
    for entry in entries:
        values = msgspec.structs.asdict(entry)
        usual = {name: getattr(_USUAL, name) for name in _OPTIONAL}
        lines = [
            f"{name} = {_value(value)}"
            for name, value in values.items()
            if name not in usual or value != usual[name]
        ]
        parts.append("\n".join(["[[entry]]", *lines]) + "\n")
    return "\n".join(parts)


_USUAL = Entry(kernel="", architecture="", precision="", m=1, n=1, k=1, settings={})
_OPTIONAL = tuple(field.name for field in msgspec.structs.fields(Entry) if not field.required)


def _value(value: object) -> str:
    """In TOML; its basic strings escape as JSON's do."""
    if isinstance(value, dict):
        pairs = (
            f"{name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)} = "
            f"{_value(one)}"
            for name, one in value.items()
        )
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, by a lock on the folder, which is made if need be."""
    with _reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GemmbenchError(
            f"cannot write {str(path)[:200]!r}: {reason}; choose another file with --out"
        ) from None
