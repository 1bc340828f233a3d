"""The one exception tree of the project."""

import contextlib
import difflib
from collections.abc import Iterable

LONGEST = 80
"""Longer names are cut: to compare one of a megabyte with those that are known takes minutes."""

SUGGESTED = 5

MAX_MESSAGE = 2000


def escaped(text: str) -> str:
    """Control, bidirectional, unassigned and unpaired characters written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def one_line(said: object, limit: int = 200) -> str:
    """What an object says of itself, in one line that a terminal and UTF-8 can take.

    Code of a user's may say anything, and fail at that.
    """
    text = f"{type(said).__name__} that cannot be shown"
    with contextlib.suppress(Exception):
        text = str(said)
    line = escaped(" ".join(text[: 10 * limit].split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


class GemmbenchError(Exception):
    """Something the user can mend: one line with the value, what was expected and the remedy.

    Whatever names and values it is made of, its text is one printable line.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message, MAX_MESSAGE))


class UnknownNameError(GemmbenchError):
    """A name that is not in its list; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        shown = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        near = _near(shown, names)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {shown!r}: {hint}")


def _near(name: str, names: list[str]) -> list[str]:
    """The names that it may mean: as it is but for case, what begins with it or holds it, else what
    looks like it."""
    asked = name.casefold()
    if same := [one for one in names if one.casefold() == asked]:
        return same
    if len(asked) > 2:
        begun = [one for one in names if one.casefold().startswith(asked)]
        held = [one for one in names if asked in one.casefold() and one not in begun]
        if begun or held:
            return [*begun, *held][:SUGGESTED]
    return difflib.get_close_matches(name, names, n=3, cutoff=0.5)
