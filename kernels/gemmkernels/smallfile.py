"""A user's small file, read whole: never more than it may hold, and never from a device."""

import json
import os
import re
import tomllib
from pathlib import Path

from gemmkernels.errors import GemmbenchError

MAX_BYTES = 2**20
_SHOWN = 60
_DEEP_KEY = re.compile(
    r"""(?<![\w"'\\-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){8}"""
)
"""tomllib takes a.a.a… in quadratic time: 50,000 dots took 42 s. Ours need one."""


def config_file(variable: str, name: str) -> Path | None:
    """The user's own file of that name, which need not be there; None where there can be none.

    An environment variable names it; set but empty there is none.
    """
    named = os.environ.get(variable)
    if named is not None:
        return Path(named) if named else None
    try:
        home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError:  # a user without a home
        return None
    return Path(home) / "gemmbench" / name


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


def toml_table(data: bytes, *, source: str) -> dict[str, object]:
    """What a TOML file holds; raises GemmbenchError, in one line, for what is none.

    `source` names the file in errors.
    """
    try:
        text = data.decode("utf-8-sig")
        if deep := _DEEP_KEY.search(text):
            line = text.count("\n", 0, deep.start()) + 1
            raise GemmbenchError(f"{source}: line {line} has a key of over 8 parts: none of ours")
        return tomllib.loads(text)
    except RecursionError:
        raise GemmbenchError(f"{source} is no TOML that can be read: nested too deeply") from None
    except ValueError as error:  # TOML's, UTF-8's, and integers of thousands of digits
        raise GemmbenchError(f"{source} is not TOML: {str(error)[:160]}") from None


def fault(message: str, root: object) -> str:
    """msgspec's "Expected `int` >= 1 - at `$.shapes[0].m`" with the key first and the value last.

    `root` is what was to be converted, as plain Python values.
    """
    what, _, where = message[:300].partition(" - at ")
    path = where.strip("`").removeprefix("$")
    key = path.removeprefix(".")
    if what.startswith("Expected"):
        shown = _shown(_at(root, path))
        if shown:
            what += f": {shown}" if ", got " in what else f", got {shown}"
    return f"{key}: {what}" if key else what


def json_fault(message: str, data: bytes) -> str:
    """The same where `data` is JSON, sound or not."""
    try:
        return fault(message, json.loads(data))
    except (ValueError, RecursionError):
        return fault(message, None)


def _shown(value: object) -> str:
    """A number or text, cut; empty for all else."""
    if isinstance(value, int) and value.bit_length() > 64:  # Python refuses to write some of them
        return f"a number of {value.bit_length()} bits"
    if not isinstance(value, str | int | float):
        return ""
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return f"{text} and more" if isinstance(value, str) and len(value) > _SHOWN else text


def _at(root: object, path: str) -> object:
    """The value at a path such as `.cpu.shapes[0]`; None where it can't be told."""
    found: object = root
    for name, index in re.findall(r"\.([^.\[\]]+)|\[([^\]]*)\]", path):
        if name and isinstance(found, dict):
            found = found.get(name)
        elif index.isdigit() and isinstance(found, list | tuple) and int(index) < len(found):
            found = found[int(index)]
        elif index == "..." and isinstance(found, dict) and len(found) == 1:
            (found,) = found.values()
        else:
            return None
    return found


def plainly(message: str, root: object) -> str:
    """`fault` in TOML's words: "cpu.shapes[0].m: Expected `int`, got `str`: 'x'"."""
    what = fault(message, root)
    for theirs, ours in (
        ("Object missing required field", "missing key"),
        ("Object contains", "table contains"),
        ("`object", "`table"),
        ("object`", "table`"),
        ("object |", "table |"),
        ("| object", "| table"),
    ):
        what = what.replace(theirs, ours)
    return what
