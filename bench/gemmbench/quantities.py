"""Durations, percentages and amounts as users write them, and counts as they read them."""

import math
import re

from gemmkernels.errors import GemmbenchError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}


def parse_duration(option: str, text: str | None) -> float | None:
    """Seconds of "90", "90s", "8m" or "2h"; raises GemmbenchError, naming the option."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|h|)\s*", text)
    seconds = float(found.group(1)) * _UNITS[found.group(2)] if found else 0.0
    if seconds <= 0:
        raise GemmbenchError(f"{option} {text[:40]!r} is no time: write 90s, 8m or 2h")
    return seconds


def parse_percent(option: str, text: str | None) -> float | None:
    """0.01 of "1%" or "1"; raises GemmbenchError, naming the option."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,9})?)\s*%?\s*", text)
    share = float(found.group(1)) / 100 if found else math.nan
    if not 0 < share < 1:
        raise GemmbenchError(f"{option} {text[:40]!r} is no percentage between 0 and 100: write 1%")
    return share


def parse_amount(option: str, text: str | None) -> float | None:
    """7e10 of "70e9", "70B" or "0.07T": positive and finite; raises GemmbenchError, naming it."""
    if text is None:
        return None
    found = re.fullmatch(
        r"\s*(\d{1,15}(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?)\s*([kKMbBgGtT]?)\s*", text
    )
    value = float(found.group(1)) * _SCALES[found.group(2).upper()] if found else 0.0
    if not 0 < value < 1e40:
        raise GemmbenchError(
            f"{option} {text[:40]!r} is no number above zero: write 2.5, or 70B for 70e9"
        )
    return value


def parse_share(option: str, text: str | None) -> float | None:
    """0.4 of "0.4" or "40%", above 0 and at most 1; raises GemmbenchError, naming the option."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,9})?)\s*(%?)\s*", text)
    share = float(found.group(1)) / (100 if found.group(2) else 1) if found else math.nan
    if not 0 < share <= 1:
        raise GemmbenchError(
            f"{option} {text[:40]!r} is no share above 0 and at most 1: write 0.4 or 40%"
        )
    return share


def size_text(size_bytes: float) -> str:
    """Bytes as those who measure collectives write them, in powers of two.

    >>> size_text(4 * 2**20)
    '4 MiB'
    """
    for scale, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.4g} {unit}"
    return f"{size_bytes:.0f} B"


def counted(number: int, one: str, more: str = "") -> str:
    """1 run, 2 runs: a count and its words; those for many have an s where they are not given."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
