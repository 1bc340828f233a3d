"""The process that owns the plan, the journal and the clock. It imports no torch.

Whatever a kernel does to its worker, the run goes on: a worker that dies or falls silent costs the
case that it was at, and a fresh one takes up the rest of the group.
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gemmbench.devices.own import doubts, unmatched
from gemmbench.devices.telemetry import Telemetry
from gemmbench.doctor.examination import Examination
from gemmbench.records.journal import Journal, Lines
from gemmbench.records.reader import Run, read
from gemmbench.records.schema import Footer, Header, Launched, Place, Record, SelfTest, Status
from gemmbench.runner import launched
from gemmbench.runner.attempts import Attempts
from gemmbench.runner.budget import Budget
from gemmbench.runner.crew import ChangedError, Crew, DeviceGoneError
from gemmbench.runner.exchange import timed_s
from gemmbench.runner.family import family
from gemmbench.runner.header import check_alike, check_same, make_header, sheets_of
from gemmbench.runner.ledger import Ledger
from gemmbench.runner.listener import Listener, Outcome
from gemmbench.runner.messages import Case, Done, Hello, Profile, Refused, TestPair, Took
from gemmbench.runner.plan import (
    PAIR_S,
    Group,
    Plan,
    as_before,
    check_memory,
    check_request,
    chosen_suites,
    make_plan,
    make_timing,
    wanted_cases,
    within_budget,
)
from gemmbench.runner.process import UnkillableError, WorkerDiedError
from gemmbench.runner.recording import Progress, make_record
from gemmbench.runner.request import Request
from gemmbench.runner.resume import DEVICE_LOST, finished
from gemmbench.runner.roofs import Roofs
from gemmbench.runner.stopping import Stop
from gemmbench.suites.reader import Suite
from gemmbench.timing.method import Timing
from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.probes.chain import WORK
from gemmkernels.probes.roofs import check_precisions

EXAMINE_S = 5.0
"""The examination takes a second, and began before the worker: later than that, a driver hangs."""


class Supervisor:
    """Carries out one request. `run()` may be called once.

    With `probing` it measures the device's own roofs, and no kernel. Of several devices each has
    one: what it measures then goes down a `wire` instead of into a file, it knows its `place`, and
    leaves the cases that are `done`, and must have the software of the run that it is `alike`.
    """

    def __init__(
        self,
        request: Request,
        listener: Listener,
        *,
        verify_only: bool = False,
        probing: bool = False,
        resume: Run | None = None,
        wire: Lines | None = None,
        place: Place | None = None,
        done: Sequence[str] = (),
        alike: Header | None = None,
    ) -> None:
        self._request = request
        self._listener = listener
        self._verify_only = verify_only
        self._probing = probing
        self._resume = resume
        self._wire = wire
        self._place = place
        self._elsewhere = frozenset(done)
        self._alike = alike
        self._stop = Stop()
        self._crew = Crew(request, own=sheets_of(resume.header) if resume else None)
        self._attempts = Attempts(self._crew, listener, request, verify_only=verify_only)
        self._ledger = Ledger(self._stop, listener)
        self._examination = Examination(family=family() if wire is not None else None)
        self._telemetry = Telemetry()
        self._roofs = Roofs(
            self._crew,
            listener,
            request,
            telemetry=self._telemetry,
            keep=self._ledger.probed,
        )
        self._began = time.monotonic()
        self._hello: Hello | None = None
        self._timed_s = 0.0
        self._pair_s = 0.0
        self._before_s = 0.0
        self._budget = Budget(request.budget_s, began_s=self._began)
        self._sitting = 0

    # What a run is.

    def run(self) -> Outcome:
        """Plan, measure, record. Raises GemmbenchError for a mistake of the user's."""
        if self._probing:
            check_precisions(self._request.precisions)
        suites = () if self._probing else chosen_suites(self._request)
        check_request(self._request, suites, [kernel.name for kernel in LADDER])
        with self._stop:
            outcome = self._carry_out(suites)
        self._listener.finished(outcome)
        return outcome

    def _carry_out(self, suites: Sequence[Suite]) -> Outcome:
        interrupted = ended = False
        try:
            self._take_up()
            if not self._verify_only:
                self._examination.start()
            hello = self._hello = self._crew.start()
            self._telemetry.start(hello.target)
            if told := unmatched(hello.device, self._request.spec):
                warnings.warn(told, stacklevel=1)
            for told in doubts(self._crew.own):
                warnings.warn(told, stacklevel=1)
            preset = self._request.preset or next((s.preset for s in suites if s.preset), None)
            how = make_timing(self._request, hello.device, preset or "sustained")
            probes_s = 0.0
            if self._wants_roofs:
                probes_s = self._roofs.plan(hello.device, how)
            self._before_s = self._start_s(how) + probes_s / how.repeats
            before = self._resume.header if self._resume else None
            plan = self._plan(hello, how, suites, probes_s, before)
            how = within_budget(self._request, how, plan, before=before)
            names = tuple(suite.name for suite in suites)
            header = make_header(
                self._request,
                hello,
                plan,
                how,
                suites=names,
                doctor=self._faults(hello),
                own=self._crew.own,
                place=self._place,
                elsewhere=self._elsewhere,
            )
            if self._probing:
                header = msgspec.structs.replace(header, probing=True)
            try:
                self._open_journal(header)
                journal = self._ledger.journal
                self._listener.planned(header, plan, journal.path if journal else None)
                self._ledger.keep(
                    [
                        self._ended(case, "unsupported", reason, group=name, repeat=0)
                        for name, case, reason in plan.unsupported
                    ]
                )
                self._measure(plan, how)
                self._name(plan, hello)
            except KeyboardInterrupt:
                interrupted = True
                self._abandon(plan, "interrupted", "stopped by the user")
            except ChangedError as error:
                self._abandon(plan, "interrupted", str(error))
            except DeviceGoneError as error:
                self._abandon(plan, "failed", f"{DEVICE_LOST}{error}")
            ended = True
        except KeyboardInterrupt:  # before there was anything to keep
            interrupted = True
        finally:
            outcome = self._close(interrupted=interrupted, ended=ended)
        return outcome

    def _faults(self, hello: Hello) -> tuple[str, ...]:
        found = self._examination.faults(EXAMINE_S, device=hello.device, target=hello.target)
        return tuple(fault.text for fault in found)

    @property
    def _wants_roofs(self) -> bool:
        return self._probing or (self._request.roofs and not self._verify_only)

    def _plan(
        self,
        hello: Hello,
        how: Timing,
        suites: Sequence[Suite],
        probes_s: float,
        before: Header | None,
    ) -> Plan:
        """`probes_s` is what roofs take, in all repeats.

        A run that is taken up keeps the groups that it chose `before` to fit its budget.
        """
        if self._probing:
            return Plan(
                groups=(),
                unsupported=(),
                left_out=(),
                repeats=how.repeats,
                estimate_s=how.repeats * self._start_s(how) + probes_s,
            )
        cases = wanted_cases(
            self._request, suites, hello.device, hello.kernels, repeats=how.repeats
        )
        check_memory(self._request, cases, hello.device)
        budget_s = self._request.budget_s
        plan = make_plan(
            cases=cases,
            reasons=self._crew.ask([case for _, case in cases]),
            kernels=hello.kernels,
            device=hello.device,
            how=how,
            budget_s=budget_s if before is None else None,
            start_s=self._start_s(how),
            probes_s=probes_s,
        )
        return plan if before is None or budget_s is None else as_before(plan, before)

    def _start_s(self, how: Timing) -> float:
        """What goes before the groups of a repeat: a fresh worker, which takes as long as the first
        one took, and the least rounds of the self-test's pair."""
        if self._verify_only:
            return self._crew.setup_s
        return self._crew.setup_s + PAIR_S + 2 * how.min_rounds * (how.settle_s + how.turn_s)

    def _take_up(self) -> None:
        """Lock the file of the run that goes on, before anything is spent on it."""
        self._ledger.leave(self._elsewhere)
        if self._resume is None:
            return
        path, run = self._resume.path, self._resume
        if self._wire is not None:
            self._ledger.journal = self._wire
        else:
            self._ledger.journal = Journal.resume(path)
            run = self._resume = read(path)  # again: only now can no one else write to it
        if run.header.probing:
            raise GemmbenchError(f"{path} holds roofs only: measure them anew, gemmbench roofs")
        self._roofs.take_up(run.roofs)
        self._ledger.take_up(record for record in run.records if finished(record))
        self._ledger.take_up_names(run.launched)
        if run.footer and not run.warnings and self._ledger.covers(run.header.plan):
            raise GemmbenchError(f"run {run.header.run_id} is complete: nothing is left to do")
        self._sitting = 1 + max((record.sitting for record in run.records), default=-1)

    def _open_journal(self, header: Header) -> None:
        if self._alike is not None:
            check_alike(self._alike, header)
        if self._resume is not None:
            check_same(self._resume.header, header)
        elif self._wire is not None:
            self._wire.append(header)
            self._ledger.journal = self._wire
        elif not self._verify_only:
            with self._stop.held():
                self._ledger.journal = Journal.create(Path(self._request.out), header)

    # Measuring.

    def _measure(self, plan: Plan, how: Timing) -> None:
        self._budget.expect(plan.estimate_s)
        worked = False
        for repeat in range(self._repeats(plan)):
            self._repeat_falls(plan, repeat)
            self._leave_out(plan.groups, repeat)
            todo = [group for group in plan.groups if self._ledger.missing(group, repeat)]
            if not todo and not (self._probing and self._roofs.missing(repeat)):
                continue
            if worked:  # a repeat is a process of its own
                self._crew.stop()
            worked = True
            if not self._verify_only:
                self._test_pair(repeat, how)
            if self._wants_roofs:
                self._roofs.measure(repeat)
            self._budget.passed(self._before_s)
            for group in todo:
                if self._budget.is_over(group):
                    self._leave_out([group], repeat)
                    continue
                self._listener.began(repeat, group, self._budget.time_left_s())
                began = time.monotonic()
                self._run_group(group, repeat, how)
                self._budget.learn(group, time.monotonic() - began)

    def _repeats(self, plan: Plan) -> int:
        return 1 if self._verify_only else plan.repeats

    def _repeat_falls(self, plan: Plan, repeat: int) -> None:
        self._ledger.keep(
            [
                self._ended(case, *fall, group=group.name, repeat=repeat)
                for group in plan.groups
                for case in self._ledger.missing(group, repeat)
                if (fall := self._ledger.fall(group, case))
            ]
        )

    def _leave_out(self, groups: Sequence[Group], repeat: int) -> None:
        """Of these the ones that do not fit into what is left of the budget."""
        reason = "the time budget was spent"
        left = [
            self._ended(case, "interrupted", reason, group=group.name, repeat=repeat)
            for group in groups
            if self._budget.is_over(group)
            for case in self._ledger.missing(group, repeat)
        ]
        self._ledger.keep(left)
        self._budget.left_out += len(left)

    def _run_group(self, group: Group, repeat: int, how: Timing) -> None:
        known = [Progress(case=case) for case in self._ledger.missing(group, repeat)]
        try:
            self._attempts.carry_out(known, how)
        finally:  # what has ended stays known, also when the user stops the run here
            ended = [progress for progress in known if progress.status is not None]
            made = [self._made(one, group=group.name, repeat=repeat) for one in ended]
            self._ledger.keep(made)

    def _test_pair(self, repeat: int, how: Timing) -> None:
        worker = self._crew.present()
        turns: tuple[list[Turn], list[Turn]] = ([], [])
        try:
            worker.send(TestPair(timing=how, seed=self._request.seed))
            while not isinstance(message := worker.receive(self._request.timeout_s), Done):
                if isinstance(message, Refused):
                    raise GemmbenchError(message.error)
                if isinstance(message, Took):
                    turns[message.case].append(message.turn)
                    self._timed_s += timed_s(message.turn)
        except WorkerDiedError:
            self._crew.died()
            return
        except UnkillableError as error:
            self._crew.died()
            raise DeviceGoneError(str(error)) from None
        self._pair_s += message.setup_s
        less, more = (tuple(replace(turn, samples_ns=None) for turn in one) for one in turns)
        self._ledger.tested(SelfTest(repeat=repeat, work=WORK, less=less, more=more))

    def _name(self, plan: Plan, hello: Hello) -> None:
        """Which kernels the libraries launched; whatever goes wrong costs a name."""
        ranks = {info.name: rank for rank, info in enumerate(hello.kernels)}
        libraries = {info.name for info in hello.kernels if info.tier == "library"}
        groups = {
            case: group.name
            for group in plan.groups
            for case in group.cases
            if case.kernel in libraries and self._ledger.is_nameless(group, case)
        }
        limit_s = self._budget.unspent_s(launched.LIMIT_S)
        if self._verify_only or hello.device.kind not in launched.KINDS or not groups:
            return
        self._crew.stop()

        def found(case: Case, names: tuple[str, ...]) -> None:
            group, precision = groups[case], case.problem.precision
            self._ledger.name(
                Launched(group=group, kernel=case.kernel, precision=precision, names=names)
            )

        launched.ask(
            Profile(
                device=hello.device,
                files=self._request.files,
                cases=tuple(sorted(groups, key=lambda case: ranks[case.kernel])),
            ),
            limit_s=limit_s,
            doing=lambda case: self._listener.doing(case.kernel, case.problem.precision, "name"),
            found=found,
        )

    # Records.

    def _ended(self, case: Case, status: Status, reason: str, *, group: str, repeat: int) -> Record:
        """The record of a case that ends without a try."""
        progress = Progress(case=case, status=status, reason=reason)
        return self._made(progress, group=group, repeat=repeat)

    def _made(self, progress: Progress, *, group: str, repeat: int) -> Record:
        assert self._hello is not None
        return make_record(
            progress,
            group=group,
            repeat=repeat,
            info=next(i for i in self._hello.kernels if i.name == progress.case.kernel),
            telemetry=self._telemetry,
            encoding=self._hello.device.encoding,
            sitting=self._sitting,
        )

    def _abandon(self, plan: Plan, status: Status, reason: str) -> None:
        """Every planned case ends in a status: those that nobody came to, in this one, at once."""
        if self._wants_roofs:
            self._roofs.abandon(self._repeats(plan), status, reason)
        self._ledger.keep(
            [
                self._ended(case, status, reason, group=group.name, repeat=repeat)
                for repeat in range(self._repeats(plan))
                for group in plan.groups
                for case in self._ledger.missing(group, repeat)
            ]
        )

    def _close(self, *, interrupted: bool, ended: bool) -> Outcome:
        """Write the footer of a run that came to its end, then let go of everything.

        In this order: a worker that will not die takes 30 s.
        """
        footer = Footer(
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=time.monotonic() - self._began,
            timed_s=self._timed_s + self._attempts.timed_s + self._roofs.timed_s,
            setup_s=self._crew.setup_s
            + self._pair_s
            + self._attempts.compile_s
            + self._roofs.compile_s,
            statuses=dict(self._ledger.statuses),
            interrupted=interrupted,
        )
        with self._stop.held():
            try:
                self._ledger.close(footer if ended else None)
            finally:
                self._crew.kill()
                self._telemetry.stop()
                self._examination.stop()
        return Outcome(
            path=self._ledger.journal.path if self._ledger.journal else None,
            statuses=footer.statuses,
            wall_s=footer.wall_s,
            timed_s=footer.timed_s,
            setup_s=footer.setup_s,
            interrupted=interrupted,
            beyond_budget=self._budget.left_out,
        )
