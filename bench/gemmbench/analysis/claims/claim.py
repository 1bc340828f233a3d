"""What a claim is, and what deciding it yields."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gemmbench.analysis.claims.evidence import Known

Verdict = Literal["holds", "does not hold", "impossible", "undecided here"]

ABOUT = 1.5
"""What the article calls "about" a figure lies within a factor of 1.5 of it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number that decided, or stands beside what did, and where it is from."""

    what: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """`because` says it in a sentence or two; `here` tells the same quantity on other devices than
    the claim's; `needs` what would decide it, or what would show more."""

    verdict: Verdict
    because: str
    figures: tuple[Figure, ...] = ()
    here: tuple[str, ...] = ()
    needs: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the article's, what kind of evidence decides it, and the decider."""

    id: str
    says: str
    how: str
    decide: Callable[[Known], Decision]


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A claim with its decision."""

    id: str
    says: str
    how: str
    decision: Decision


def about(value: float, claimed: float) -> bool:
    """Is the value what "about `claimed`" says: within a factor of ABOUT?"""
    return 1 / ABOUT <= value / claimed <= ABOUT


def rounds_to(value: float, claimed: float, digits: int) -> bool:
    """Is the value, written with so many significant digits, the claimed one?"""
    return math.isclose(float(f"{value:.{digits - 1}e}"), claimed, rel_tol=1e-12)


def number(value: float) -> str:
    """Four significant digits without an exponent, thousands apart."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.3e}")
    places = max(0, 3 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
