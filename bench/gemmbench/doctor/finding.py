"""What one check found, in words that a user can act upon."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Grade = Literal["fault", "note", "unknown", "ok"]
GRADES: tuple[Grade, ...] = get_args(Grade)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check. `what` has its figures with units; `remedy` is a command where there is one.

    `fault`: a figure from this machine should not be published as the device's. `note`: it does
    no harm, but belongs in the caption. `unknown`: it could not be looked at, and `what` says why.
    `ok`: it was looked at, and is fine.
    """

    check: str
    grade: Grade
    what: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """For a run's header: names no process, user or folder."""
        return f"{self.check}: {self.what}"


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Faults first, then notes, then what is unknown, then what is fine."""
    return tuple(sorted(findings, key=lambda finding: GRADES.index(finding.grade)))


def faults_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.grade == "fault")
