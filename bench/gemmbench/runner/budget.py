"""How long the rest of a run takes, and what of it the time budget still holds."""

import time

from gemmbench.runner.plan import Group


class Budget:
    """Estimates are corrected by the pace of what was done. `total_s` None is no budget.

    `left_out` counts the cases that it did not hold.
    """

    def __init__(self, total_s: float | None, *, began_s: float) -> None:
        self._total_s = total_s
        self._began_s = began_s
        self._left_s = 0.0
        self._pace = 1.0
        self.left_out = 0

    def expect(self, estimate_s: float) -> None:
        """What the plan says that all of it takes."""
        self._left_s = estimate_s

    def is_over(self, group: Group) -> bool:
        """Would the group, with what is spent, go beyond the budget?"""
        if self._total_s is None:
            return False
        return self._spent_s() + group.estimate_s * min(self._pace, 2.0) > self._total_s

    def passed(self, estimate_s: float) -> None:
        """What the plan says of something that is no group, and is done."""
        self._left_s = max(0.0, self._left_s - estimate_s)

    def time_left_s(self) -> float:
        left_s = self._left_s * self._pace
        if self._total_s is None:
            return left_s
        return max(0.0, min(left_s, self._total_s - self._spent_s()))

    def unspent_s(self, most_s: float) -> float:
        """What the budget still holds, `most_s` at most."""
        return most_s if self._total_s is None else min(most_s, self._total_s - self._spent_s())

    def learn(self, group: Group, took_s: float) -> None:
        """A group was done in that time."""
        self._left_s = max(0.0, self._left_s - group.estimate_s)
        self._pace = 0.5 * self._pace + 0.5 * took_s / max(group.estimate_s, 1e-3)

    def _spent_s(self) -> float:
        return time.monotonic() - self._began_s
