"""What a run tells whoever shows its progress."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gemmbench.records.schema import Header, Record, Roof, SelfTest
from gemmbench.runner.plan import Group, Plan
from gemmbench.timing.turn import Turn


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended. Seconds; `timed_share` is of the wall time, imports and compiling apart.

    `beyond_budget` counts the cases that were interrupted since the time budget was spent.
    """

    path: Path | None
    statuses: dict[str, int]
    wall_s: float
    timed_s: float
    setup_s: float
    interrupted: bool
    beyond_budget: int = 0

    @property
    def timed_share(self) -> float:
        rest = self.wall_s - self.setup_s
        return self.timed_s / rest if rest > 0 else 0.0

    @property
    def exit_code(self) -> int:
        """0 when every case is ok, unsupported or beyond the budget, 130 after Ctrl-C, else 1."""
        if self.interrupted:
            return 130
        bad = {name: n for name, n in self.statuses.items() if name not in ("ok", "unsupported")}
        if self.beyond_budget and bad == {"interrupted": self.beyond_budget}:
            return 0
        return 1 if bad else 0


class Listener(Protocol):
    """Called by the supervisor; must return at once, and raise nothing."""

    def planned(self, header: Header, plan: Plan, path: Path | None) -> None: ...

    def began(self, repeat: int, group: Group, left_s: float) -> None: ...

    def doing(self, kernel: str, precision: str, phase: str) -> None: ...

    def took(self, kernel: str, precision: str, turn: Turn) -> None: ...

    def ended(self, record: Record) -> None: ...

    def tested(self, result: SelfTest) -> None: ...

    def probed(self, roof: Roof) -> None: ...

    def finished(self, outcome: Outcome) -> None: ...
