"""A whole run of several ranks: they meet, rank 0 plans and keeps the file, all measure."""

import contextlib
import time
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

from gemmbench.devices.telemetry import Telemetry
from gemmbench.doctor.examination import Examination
from gemmbench.records.reader import Run, read
from gemmbench.records.schema import Record
from gemmbench.runner.family import family
from gemmbench.runner.header import case_name
from gemmbench.runner.listener import Outcome
from gemmbench.runner.parallel.devices import take_device
from gemmbench.runner.parallel.group import GroupWork
from gemmbench.runner.parallel.guard import Guard
from gemmbench.runner.parallel.heading import doctored, heading, record_of
from gemmbench.runner.parallel.kept import (
    Kept,
    ParallelListener,
    closing,
    footer,
    missing,
    open_file,
    outcome_of,
)
from gemmbench.runner.parallel.launcher import Launcher
from gemmbench.runner.parallel.passing import BrokenError
from gemmbench.runner.parallel.plan import ParallelGroup, make_groups, make_timing, suites_of
from gemmbench.runner.parallel.possible import unsupported, without
from gemmbench.runner.parallel.ranks import Ranks, meet
from gemmbench.runner.parallel.request import LONGEST_S, ParallelRequest
from gemmbench.runner.parallel.resume import of_run
from gemmbench.runner.reason import reason_of
from gemmbench.runner.recording import Progress
from gemmbench.suites.parallel.reader import ParallelSuite
from gemmkernels.errors import GemmbenchError

SLACK = 1.5
SLACK_S = 5.0
"""A collective over gloo that times out says so itself. Where nothing does, as on GPUs, the guard
ends the run."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What rank 0 was asked, for all ranks."""

    request: ParallelRequest
    suites: tuple[ParallelSuite, ...]


def carry_out(
    request: ParallelRequest,
    launched: Launcher,
    guard: Guard,
    listener: ParallelListener,
    *,
    resume: str | None = None,
) -> Outcome | None:
    """One rank's part of a run; how it ended on rank 0, None on the others. `guard` has started.

    Raises GemmbenchError for a mistake of the user's, on every rank. A rank that is lost ends the
    process here, with its reason said by rank 0.
    """
    began = time.monotonic()
    try:
        return _carry_out(request, launched, guard, listener, resume=resume, began=began)
    except (GemmbenchError, KeyboardInterrupt):
        raise
    except Exception as error:
        guard.lost(reason_of(error) if not isinstance(error, BrokenError) else str(error))
        raise


def _carry_out(
    request: ParallelRequest,
    launched: Launcher,
    guard: Guard,
    listener: ParallelListener,
    *,
    resume: str | None,
    began: float,
) -> Outcome | None:
    import torch.distributed as dist

    asked, previous, mistake = None, None, None
    if launched.rank == 0:
        try:
            asked, previous = _asked(request, resume)
        except GemmbenchError as error:
            mistake = error  # the others are to know before this rank goes
    ranks = meet(launched, guard, timeout_s=min(request.timeout_s, LONGEST_S))
    told: _Asked | None = ranks.tell(asked)
    if mistake:
        raise mistake
    if told is None:
        raise GemmbenchError("rank 0 has refused the request")
    guard.limit_s = SLACK * told.request.timeout_s + SLACK_S
    guard.step("the devices")
    examination = Examination(family=family())
    if ranks.leads:
        examination.start()
    try:
        take_device(ranks, told.request.device, timeout_s=told.request.timeout_s)
        run = _Run(ranks=ranks, asked=told, guard=guard, listener=listener, began=began)
        outcome = run.run(previous, examination)
    finally:
        examination.stop()
    guard.step("the end")
    with contextlib.suppress(RuntimeError):  # of what is lost now, all is on the disk
        ranks.wait()
        dist.destroy_process_group()
    return outcome


def _asked(request: ParallelRequest, resume: str | None) -> tuple[_Asked, Run | None]:
    previous = None
    if resume is not None:
        previous = read(Path(resume))
        request = of_run(previous, request)
    request.check()
    return _Asked(request=request, suites=suites_of(request)), previous


@dataclass(kw_only=True)
class _Run:
    """What all ranks do together once each has its device."""

    ranks: Ranks
    asked: _Asked
    guard: Guard
    listener: ParallelListener
    began: float

    def __post_init__(self) -> None:
        request, ranks = self.asked.request, self.ranks
        groups = make_groups(request, self.asked.suites, ranks.device, ranks=ranks.ranks)
        self._how = make_timing(request, ranks.device)
        self._refused = [(group, unsupported(group, ranks)) for group in groups]
        planned = [without(group, refused) for group, refused in self._refused]
        self._planned = [group for group in planned if group.cases]
        self._setup_s = time.monotonic() - self.began
        self._kept = Kept(guard=self.guard, listener=self.listener)
        self._telemetry = Telemetry()
        self._sitting = 0

    def run(self, previous: Run | None, examination: Examination) -> Outcome | None:
        mistake = None
        todo: list[str] | None = None
        if self.ranks.leads:
            try:
                self._open(previous, examination)
                todo = missing(self._planned, self._kept.done)
            except GemmbenchError as error:
                mistake = error  # the others are to know before this rank goes
        todo = self.ranks.tell(todo)
        if mistake:
            raise mistake
        if todo is None:
            raise GemmbenchError("rank 0 cannot keep a file")
        try:
            self._measure(set(todo))
        finally:
            self._telemetry.stop()
        return self._end() if self.ranks.leads else None

    def _open(self, previous: Run | None, examination: Examination) -> None:
        """Rank 0's part: the header, the file, and what cannot be done."""
        request, ranks = self.asked.request, self.ranks
        header = heading(
            request,
            ranks,
            self._planned,
            self._how,
            suites=tuple(suite.name for suite in self.asked.suites),
            doctor=doctored(examination, ranks),
        )
        self._telemetry.start(ranks.target)
        self._sitting = open_file(self._kept, header, request, previous, ranks.ranks)
        estimate_s = sum(group.planned(self._how).estimate_s for group in self._planned)
        self.listener.planned(header, self._planned, estimate_s)
        self.guard.closing = closing(
            self._kept, self._planned, self._record, self.began, self._setup_s
        )
        for group, refused in self._refused:
            self._kept.keep([self._record(group, progress) for progress in refused])

    def _record(self, group: ParallelGroup, progress: Progress) -> Record:
        return record_of(
            progress, group, ranks=self.ranks, telemetry=self._telemetry, sitting=self._sitting
        )

    def _measure(self, wanted: Set[str]) -> None:
        """Every rank does the same groups and cases, in the same order."""
        request = self.asked.request
        for group in self._planned:
            left = replace(
                group,
                cases=tuple(
                    case
                    for case in group.cases
                    if case_name(0, group.name, case.kernel, case.problem.precision) in wanted
                ),
            )
            if not left.cases:
                continue
            if self.ranks.leads:
                self.listener.began(left)
            work = GroupWork(
                ranks=self.ranks,
                group=left,
                timing=self._how,
                data=request.data,
                seed=request.seed,
                hear=self.listener.took,
            )
            ended = work.run()
            if self.ranks.leads:
                self._kept.keep([self._record(group, progress) for progress in ended])

    def _end(self) -> Outcome:
        with self.guard.held():
            last = footer(self._kept, self.began, self._setup_s, interrupted=False)
            assert self._kept.journal is not None
            self._kept.journal.append(last)
            self._kept.journal.close()
            self.guard.closing = lambda reason, _interrupted: reason
        return outcome_of(self._kept, last)
