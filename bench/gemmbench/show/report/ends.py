"""Why cases failed, did not run or lost repeats, in words."""

from dataclasses import dataclass
from typing import Any

from gemmbench.analysis.outcomes import Outcome
from gemmbench.show.report.tones import Tone, tone_of
from gemmbench.show.results import kernel_of, problem_of
from gemmbench.show.text import printable

EXAMPLES = 3
"""Of each reason so many cases are named."""


@dataclass(frozen=True, kw_only=True)
class End:
    """Cases that came to one end for one reason. `examples` are (number of the case, its name)."""

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
        examples=_examples([(first_case + place, rows[place]) for place in of.places[:EXAMPLES]]),
    )


def _examples(cases: list[tuple[int, Any]]) -> tuple[tuple[int, str], ...]:
    """By kernel and problem; by precision too where those are alike."""
    texts = [f"{kernel_of(row)} {problem_of(row)}" for _, row in cases]
    if len(set(texts)) < len(texts):
        texts = [f"{kernel_of(row)} {row.precision} {problem_of(row)}" for _, row in cases]
    return tuple((number, text) for (number, _), text in zip(cases, texts, strict=True))


def _listed(names: tuple[str, ...], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(name, 60) for name in names[:most]) + more
