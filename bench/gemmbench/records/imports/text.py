"""Bytes of a foreign file as text and numbers: bounded, and never trusted."""

import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from gemmkernels.errors import GemmbenchError
from gemmkernels.smallfile import json_fault

MAX_BYTES = 64 * 2**20
MAX_LINE = 16 * 2**10
LOOSE_BYTES = 16 * 2**20
"""Python's own JSON reader takes NaN, and many times the memory of the file."""

_WHOLE = re.compile(r"\s*([0-9]{1,10})\s*")
_NUMBER = re.compile(
    r"\s*([+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,4})?)\s*"
)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
Document = TypeVar("Document")


def foreign_bytes(path: Path) -> bytes:
    """The bytes of a regular file of at most MAX_BYTES; raises GemmbenchError, one line."""
    shown = str(path)[:200]
    expected = "a tool's results, such as NVBench's JSON"
    try:
        if path.is_dir():
            raise GemmbenchError(f"{shown} is a folder: expected {expected}")
        if path.exists() and not path.is_file():
            raise GemmbenchError(f"{shown} is no regular file: expected {expected}")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GemmbenchError(f"cannot read {shown!r}: {reason}; expected {expected}") from None
    if len(data) > MAX_BYTES:
        raise GemmbenchError(f"{shown} is over {MAX_BYTES >> 20} MiB: split it")
    if not data.strip():
        raise GemmbenchError(f"{shown} is empty: expected {expected}")
    return data


def decoded(data: bytes) -> str:
    """UTF-8, or UTF-16 where a Windows shell wrote it so; what is neither becomes marks."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def lines(text: str) -> Iterator[str]:
    """Lines without colours; a carriage return ends one too. Too long ones are none of a tool's."""
    for line in io.StringIO(text, newline=None):
        if len(line) <= MAX_LINE:
            yield _ESCAPES.sub("", line).rstrip("\n") if "\x1b" in line else line.rstrip("\n")


def number(text: str | None) -> float | None:
    """A finite number, or None: nan, an empty cell, words, thousands of digits."""
    found = _NUMBER.fullmatch(text) if text is not None and len(text) < 200 else None
    value = float(found[1]) if found else math.nan
    return value if math.isfinite(value) else None


def positive(text: str | None) -> float | None:
    value = number(text)
    return value if value is not None and value > 0 else None


def whole(text: str | None) -> int | None:
    """A whole number of up to 10 digits, or None."""
    found = _WHOLE.fullmatch(text) if text is not None and len(text) < 200 else None
    return int(found[1]) if found else None


def document(data: bytes, kind: type[Document], *, what: str) -> Document:
    """JSON as a type; raises GemmbenchError, one line, for what is not that.

    Bare NaN and Infinity, which Python writes, are taken in files of up to LOOSE_BYTES.
    """
    text = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        told = json_fault(str(error), text)
        raise GemmbenchError(f"it is not {what}: {told[:160]}") from None
    except RecursionError:
        raise GemmbenchError(f"it is not {what}: nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if len(text) > LOOSE_BYTES or not re.search(rb"NaN|Infinity", text):
            raise GemmbenchError(f"it is not {what}: {str(error)[:160]}") from None
    try:
        loose = json.loads(text, parse_constant=lambda _: None)
        return msgspec.json.decode(msgspec.json.encode(loose), type=kind)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise GemmbenchError(f"it is not {what}: {str(error)[:160]}") from None
