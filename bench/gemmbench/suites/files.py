"""A user's small file, read whole: never more than it may hold, and never from a device."""

from pathlib import Path

from gemmkernels.errors import GemmbenchError

MAX_BYTES = 2**20


def small_file(path: Path, *, expected: str, remedy: str = "") -> bytes:
    """The bytes of a regular file of at most MAX_BYTES.

    Raises GemmbenchError, in one line with the path, for what is missing, unreadable, too large, or
    no regular file: a FIFO would be waited for, and /dev/zero never ends.
    """
    shown = str(path)[:200]
    try:
        if path.exists() and not path.is_file():
            raise GemmbenchError(f"{shown} is no regular file: expected {expected}")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        more = f"; {remedy}" if remedy else f": expected {expected}"
        raise GemmbenchError(f"cannot read {shown!r}: {reason}{more}") from None
    if len(data) > MAX_BYTES:
        raise GemmbenchError(f"{shown} is over {MAX_BYTES >> 20} MiB: expected {expected}")
    return data
