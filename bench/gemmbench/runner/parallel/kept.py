"""Rank 0's file: what is done, what is missing, and how it ends."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gemmbench.quantities import counted
from gemmbench.records.journal import Journal
from gemmbench.records.reader import Run, read
from gemmbench.records.schema import Footer, Header, Record
from gemmbench.runner.exchange import timed_s
from gemmbench.runner.header import case_name, check_same
from gemmbench.runner.listener import Outcome
from gemmbench.runner.parallel.guard import Guard
from gemmbench.runner.parallel.plan import ParallelGroup
from gemmbench.runner.parallel.request import ParallelRequest
from gemmbench.runner.recording import Progress
from gemmbench.runner.resume import finished
from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError


class ParallelListener(Protocol):
    """Called on rank 0; must return at once."""

    def planned(self, header: Header, groups: Sequence[ParallelGroup], estimate_s: float) -> None:
        """The run begins."""

    def began(self, group: ParallelGroup) -> None:
        """A group begins."""

    def took(self, progress: Progress, turn: Turn) -> None:
        """A turn was taken."""

    def ended(self, record: Record) -> None:
        """A case has its status."""


class _Journal(Journal):
    """Whose errors name the command that goes on."""

    again = "the same launcher and gemmbench parallel --resume"


@dataclass(kw_only=True)
class Kept:
    """Rank 0's file, and what is done."""

    guard: Guard
    listener: ParallelListener
    journal: Journal | None = None
    done: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    timed_s: float = 0.0

    def keep(self, records: Sequence[Record]) -> None:
        """On the disk, all at once, each case once."""
        with self.guard.held():
            new = [record for record in records if record.case not in self.done]
            if self.journal and new:
                self.journal.append(*new)
            for record in new:
                self.done.add(record.case)
                self.statuses[record.status] += 1
                self.timed_s += sum(map(timed_s, record.turns))
                self.listener.ended(record)


def open_file(
    kept: Kept, header: Header, request: ParallelRequest, previous: Run | None, ranks: int
) -> int:
    """A new file, or the one that goes on; returns the number of the sitting."""
    if previous is None:
        kept.journal = _Journal.create(Path(request.out), header)
        return 0
    kept.journal = _Journal.resume(previous.path)
    run = read(previous.path)  # again: only now can no one else write to it
    if run.header.request.get("ranks") != ranks:
        raise GemmbenchError(
            f"run {run.header.run_id} has {run.header.request.get('ranks')} ranks, and here are "
            f"{ranks}: start as many"
        )
    before, now = (one.place.at_once if one.place else 1 for one in (run.header, header))
    if before != now:
        raise GemmbenchError(
            f"run {run.header.run_id} had {counted(before, 'rank')} on a node, and here "
            f"{'are' if now > 1 else 'is'} {now}: start as many"
        )
    check_same(run.header, header)
    for record in run.records:
        if finished(record):
            kept.done.add(record.case)
            kept.statuses[record.status] += 1
    if run.footer and not run.warnings and kept.done >= set(run.header.plan):
        raise GemmbenchError(f"run {run.header.run_id} is complete: nothing is left to do")
    return 1 + max((record.sitting for record in run.records), default=-1)


def missing(groups: Sequence[ParallelGroup], done: set[str]) -> list[str]:
    """The planned cases that are still to be done, by name."""
    names = [
        case_name(0, group.name, case.kernel, case.problem.precision)
        for group in groups
        for case in group.cases
    ]
    return [name for name in names if name not in done]


def closing(
    kept: Kept,
    groups: Sequence[ParallelGroup],
    make: Callable[[ParallelGroup, Progress], Record],
    began: float,
    setup_s: float,
) -> Callable[[str, bool], str]:
    """What the guard does before it ends the run: every planned case gets a status."""

    def close(reason: str, interrupted: bool) -> str:
        kept.keep(
            [
                make(group, Progress(case=case, status="interrupted", reason=reason))
                for group in groups
                for case in group.cases
                if case_name(0, group.name, case.kernel, case.problem.precision) not in kept.done
            ]
        )
        assert kept.journal is not None
        kept.journal.append(footer(kept, began, setup_s, interrupted=interrupted))
        path = kept.journal.path
        kept.journal.close()
        return (
            f"{reason}; what had ended is kept: go on with the same launcher and gemmbench "
            f"parallel --resume {path}"
        )

    return close


def footer(kept: Kept, began: float, setup_s: float, *, interrupted: bool) -> Footer:
    """How the run ended."""
    return Footer(
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_s=time.monotonic() - began,
        timed_s=kept.timed_s,
        setup_s=setup_s,
        statuses=dict(kept.statuses),
        interrupted=interrupted,
    )


def outcome_of(kept: Kept, footer: Footer) -> Outcome:
    """The same for whoever shows it."""
    return Outcome(
        path=kept.journal.path if kept.journal else None,
        statuses=footer.statuses,
        wall_s=footer.wall_s,
        timed_s=footer.timed_s,
        setup_s=footer.setup_s,
        interrupted=footer.interrupted,
    )
