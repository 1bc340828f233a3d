"""The stages of tuning a problem: how each is measured, and how long what is left takes."""

from dataclasses import dataclass
from statistics import fmean

import msgspec

from gemmbench.runner.tune_trials import Group, wall_s
from gemmbench.timing.method import Timing

BEFORE = ("start", "search", "semifinal", "final")
"""The stages before what is measured afresh."""

BATCH, SEMIFINALISTS, FINALISTS = 8, 8, 3
LEAST_AFRESH = 3
"""Processes that measure a winner again, where a run would take fewer: they differ."""


@dataclass(frozen=True, kw_only=True)
class Stages:
    """How the turns of each stage are taken; `confirm` is how a run would, in several processes."""

    screen: Timing
    semifinal: Timing
    final: Timing
    confirm: Timing

    @classmethod
    def of(cls, quick: Timing, confirm: Timing) -> "Stages":
        def rounds(count: int) -> Timing:
            return msgspec.structs.replace(
                quick, min_rounds=count, max_rounds=count, least_rounds=count, repeats=1
            )

        afresh = msgspec.structs.replace(confirm, repeats=max(LEAST_AFRESH, confirm.repeats))
        return cls(screen=rounds(3), semifinal=rounds(8), final=rounds(20), confirm=afresh)

    @property
    def least_confirmed(self) -> int:
        """So many processes, of those that it would take, are enough to claim anything."""
        return -(-self.confirm.repeats // 2)


@dataclass(frozen=True, kw_only=True)
class Clock:
    """On the monotonic clock: the problem's share ends at `share_s`, the budget at `end_s`.

    `start_s` is how long a fresh worker takes.
    """

    share_s: float
    end_s: float
    start_s: float


class Pace:
    """About how long a batch takes, and what must follow it; 0 before anything was measured."""

    def __init__(self, stages: Stages, *, start_s: float) -> None:
        self._stages = stages
        self._start_s = start_s
        self._first_s = 0.0
        self.batch_s = 0.0
        self.finals_s = 0.0

    def learn(self, group: Group, took_s: float, *, first: bool = False) -> None:
        """By what a group took beside its turns.

        The `first` one of a process also compiles what all share: each confirmation does that anew.
        """
        beside_s = max(0.0, took_s - sum(map(wall_s, group.values())))
        if first:
            self._first_s = beside_s
        each_s = beside_s / len(group)
        taken = [turn for record in group.values() for turn in record.turns]
        turn_s = fmean(turn.stop_s - turn.start_s for turn in taken) if taken else each_s

        def group_s(cases: int, how: Timing) -> float:
            screen = self._stages.screen
            longer = (how.settle_s + how.turn_s) / (screen.settle_s + screen.turn_s)
            return cases * (each_s + how.min_rounds * turn_s * max(1.0, longer))

        stages = self._stages
        afresh_s = self._start_s + self._first_s + group_s(3, stages.confirm)
        self.batch_s = group_s(BATCH + 1, stages.screen)
        self.finals_s = (
            group_s(SEMIFINALISTS + 1, stages.semifinal)
            + group_s(FINALISTS + 1, stages.final)
            + stages.least_confirmed * afresh_s
        )
