"""Files that are written whole: who reads one finds the old or the new, never a part."""

import os
import secrets
from pathlib import Path

from gemmbench.records.reader import read_header
from gemmkernels.errors import GemmbenchError


def write_whole(data: bytes, path: Path) -> None:
    """Write a file, in place of what is there. Raises GemmbenchError where that is not possible,
    and for a run: what was measured is never overwritten."""
    if _is_run(path):
        raise GemmbenchError(f"{path} is a run: name another file with --out")
    try:
        real = Path(os.path.realpath(path))  # a link stays one
        if real.exists() and not real.is_file():  # a pipe, or /dev/stdout
            real.write_bytes(data)
            return
        real.parent.mkdir(parents=True, exist_ok=True)
        part = real.with_name(f".gemmbench-{secrets.token_hex(4)}.part")
        try:
            part.write_bytes(data)
            part.replace(real)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: Exception) -> GemmbenchError:
    """The one line that a user sees."""
    reason = getattr(error, "strerror", None) or str(error)
    return GemmbenchError(f"cannot write {path}: {reason}; name another file with --out")


def _is_run(path: Path) -> bool:
    try:
        return path.is_file() and bool(read_header(path))
    except (GemmbenchError, OSError, ValueError):
        return False
