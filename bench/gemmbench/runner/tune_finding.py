"""What became of one problem that was tuned, and of all of them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gemmbench.records.schema import Header
from gemmbench.runner.listener import Listener
from gemmbench.runner.messages import Settings
from gemmbench.timing.statistics import Estimate
from gemmkernels.problem import Problem

NOTHING = Estimate(math.nan, math.nan, math.nan, 0)
Word = Literal["faster", "kept", "unfinished", "unsupported", "failed"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem. `best` is what holds from now on: new settings, or those that were there.

    `ratio` is how many times faster it is than `default`, paired and measured afresh. `over` is the
    same over `incumbent`, the tuned entry where there was one, else the default.
    """

    kernel: str
    problem: Problem
    word: Word
    reason: str
    default: Settings | None = None
    incumbent: Settings | None = None
    best: Settings | None = None
    default_us: Estimate = NOTHING
    best_us: Estimate = NOTHING
    ratio: Estimate = NOTHING
    over: Estimate = NOTHING
    space: int = 0
    tried: int = 0
    pruned: int = 0
    fallen: int = 0


@dataclass(frozen=True, kw_only=True)
class TuneOutcome:
    """How a tuning ended. `written` is where entries went; None where there were none."""

    path: Path | None
    findings: tuple[Finding, ...]
    written: Path | None
    interrupted: bool
    ended_by: str = ""

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 1 where a problem could not be tuned or the device was lost, else 0."""
        if self.interrupted:
            return 130
        failed = any(finding.word == "failed" for finding in self.findings)
        return 1 if failed or self.ended_by else 0


class TuneListener(Listener, Protocol):
    """Called by the tuner; must return at once, and raise nothing."""

    def tunes(self, header: Header, problems: int, path: Path) -> None: ...

    def took_up(self, kernel: str, problem: Problem, settings: int) -> None: ...

    def step(self, text: str) -> None: ...

    def found(self, finding: Finding) -> None: ...
