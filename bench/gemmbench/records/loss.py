"""What of a run file was not loaded: counted, and told in a few lines however much it is."""

from collections import Counter
from dataclasses import dataclass

_NUMBERS = 5
_KINDS = 100


@dataclass(frozen=True)
class Text:
    """One line of the file; `data` is empty where it was too long to be read."""

    number: int
    data: bytes
    size: int
    whole: bool


class Loss:
    """It keeps none of the lines: there may be a million, or each may be of many megabytes."""

    def __init__(self) -> None:
        self.other: list[str] = []
        self._unknown: Counter[str] = Counter()
        self._cut: list[int] = []
        self._broken = self._bytes = 0
        self._numbers: list[int] = []
        self._why = ""

    def unknown(self, kind: str) -> None:
        """A line of a type that this version does not know."""
        shown = kind[:40]
        self._unknown[shown if shown in self._unknown or len(self._unknown) < _KINDS else ""] += 1

    @property
    def is_explained(self) -> bool:
        """Of many damaged lines only the first one's reason is told."""
        return bool(self._why)

    def damaged(self, text: Text, why: str) -> None:
        """A line that can't be read."""
        if not text.whole:
            self._cut.append(text.size)
            return
        if not self._broken:
            self._why = why
        self._broken += 1
        self._bytes += text.size
        if len(self._numbers) < _NUMBERS:
            self._numbers.append(text.number)

    def warnings(self) -> tuple[str, ...]:
        told = [
            f"{count} line(s) of the unknown type {kind!r} skipped: a newer gemmbench wrote them"
            for kind, count in self._unknown.most_common(5)
        ]
        told += [f"the last line is cut: its {size} bytes were not loaded" for size in self._cut]
        if self._broken:
            numbers = ", ".join(map(str, self._numbers))
            more = ", …" if self._broken > _NUMBERS else ""
            told.append(
                f"{self._broken} damaged line(s) of {self._bytes} bytes not loaded "
                f"(line {numbers}{more}): {self._why}"
            )
        return (*told, *self.other)
