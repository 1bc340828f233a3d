"""Small files of /proc and /sys, any of which may be missing, unreadable or empty."""

from pathlib import Path


def text(path: Path) -> str | None:
    """What a small file says, stripped; None where it can't be read or says nothing."""
    try:
        return path.read_text("utf-8", errors="replace").strip() or None
    except OSError:
        return None


def number(path: Path) -> int | None:
    """The whole number in a small file, or None."""
    found = text(path)
    try:
        return int(found) if found else None
    except ValueError:
        return None
