"""Why cases have no figure, in words."""

from dataclasses import dataclass
from typing import Any

from gemmbench.analysis.outcomes import Outcome
from gemmbench.show.report.tones import Tone, tone_of
from gemmbench.show.results import problem_of
from gemmbench.show.text import printable

EXAMPLES = 3
"""Of each reason so many cases are named."""


@dataclass(frozen=True, kw_only=True)
class End:
    """Cases without a figure, for one reason. `examples` are (number of the case, its name)."""

    what: str
    tone: Tone
    reason: str
    count: int
    kernels: str
    precisions: str
    examples: tuple[tuple[int, str], ...]


def end(of: Outcome, rows: list[Any], *, first_case: int) -> End:
    """`rows` are those of the run, and `first_case` is the number of its first one in the page."""
    return End(
        what=of.what,
        tone=tone_of(of.what),
        reason=printable(of.reason, 400) or "no reason is recorded",
        count=len(of.places),
        kernels=_listed(of.kernels),
        precisions=_listed(of.precisions),
        examples=tuple(
            (first_case + place, f"{rows[place].kernel} {problem_of(rows[place])}")
            for place in of.places[:EXAMPLES]
        ),
    )


def _listed(names: tuple[str, ...], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(name, 60) for name in names[:most]) + more
