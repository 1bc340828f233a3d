"""The one exception tree of the project."""

import difflib
from collections.abc import Iterable


class GemmbenchError(Exception):
    """Something the user can mend: one line with the value, what was expected and the remedy."""


class UnknownNameError(GemmbenchError):
    """A name that is not in its list; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")
