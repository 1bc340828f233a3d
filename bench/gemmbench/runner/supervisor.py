"""The process that owns the plan, the journal and the clock. It imports no torch.

Whatever a kernel does to its worker, the run goes on: a worker that dies or falls silent costs the
case that it was at, and a fresh one takes up the rest of the group.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gemmbench.devices.telemetry import Telemetry
from gemmbench.records.journal import Journal
from gemmbench.records.reader import Run
from gemmbench.records.schema import Footer, Header, SelfTest
from gemmbench.runner.header import case_name, check_same, make_header
from gemmbench.runner.listener import Listener, Outcome
from gemmbench.runner.messages import (
    Afresh,
    Answer,
    Ask,
    Bound,
    Case,
    DeviceLost,
    Doing,
    Done,
    Ended,
    FromWorker,
    Hello,
    Open,
    Refused,
    TestPair,
    Took,
    Work,
)
from gemmbench.runner.plan import (
    Group,
    Plan,
    check_memory,
    check_request,
    chosen_suites,
    make_plan,
    make_timing,
    wanted_cases,
    within_budget,
)
from gemmbench.runner.process import UnkillableError, WorkerDiedError, WorkerProcess
from gemmbench.runner.recording import Progress, make_record
from gemmbench.runner.request import Request
from gemmbench.suites.reader import Suite
from gemmbench.timing.method import Timing
from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.probes.chain import WORK

START_S = 300.0
"""A fresh worker imports torch and starts the GPU's runtime; on a cold disk that takes minutes."""


class DeviceGoneError(Exception):
    """A fresh worker cannot use the device any more, or a worker cannot be ended."""


class Supervisor:
    """Carries out one request. `run()` may be called once."""

    def __init__(
        self,
        request: Request,
        listener: Listener,
        *,
        verify_only: bool = False,
        resume: Run | None = None,
    ) -> None:
        self._request = request
        self._listener = listener
        self._verify_only = verify_only
        self._resume = resume
        self._began = time.monotonic()
        self._worker: WorkerProcess | None = None
        self._hello: Hello | None = None
        self._telemetry: Telemetry | None = None
        self._journal: Journal | None = None
        self._statuses: Counter[str] = Counter()
        self._done: set[str] = set()
        self._timed_s = 0.0
        self._setup_s = 0.0
        self._left_s = 0.0
        self._pace = 1.0
        self._sitting = 0

    # What a run is.

    def run(self) -> Outcome:
        """Plan, measure, record. Raises GemmbenchError for a mistake of the user's."""
        suites = chosen_suites(self._request)
        check_request(self._request, suites, [kernel.name for kernel in LADDER])
        interrupted = False
        try:
            hello = self._start_worker()
            preset = self._request.preset or next((s.preset for s in suites if s.preset), None)
            how = make_timing(self._request, hello.device, preset or "sustained")
            plan = self._plan(hello, how, suites)
            how = within_budget(self._request, how, plan)
            names = tuple(suite.name for suite in suites)
            header = make_header(self._request, hello, plan, how, suites=names)
            self._open_journal(header)
            self._listener.planned(header, plan, self._journal.path if self._journal else None)
            for name, case, reason in plan.unsupported:
                progress = Progress(case=case, status="unsupported", reason=reason)
                self._record(progress, group=name, repeat=0)
            try:
                self._measure(plan, how)
            except KeyboardInterrupt:
                interrupted = True
                self._abandon(plan, "interrupted", "stopped by the user")
            except DeviceGoneError as error:
                self._abandon(plan, "failed", f"device lost: {error}")
        except KeyboardInterrupt:  # before there was anything to keep
            interrupted = True
        finally:
            outcome = self._close(interrupted)
        self._listener.finished(outcome)
        return outcome

    def _plan(self, hello: Hello, how: Timing, suites: Sequence[Suite]) -> Plan:
        cases = wanted_cases(self._request, suites, hello.device, hello.kernels)
        check_memory(self._request, cases, hello.device)
        answer = self._ask([case for _, case in cases])
        return make_plan(
            cases=cases,
            reasons=answer.reasons,
            kernels=hello.kernels,
            device=hello.device,
            how=how,
            budget_s=self._request.budget_s,
        )

    def _ask(self, cases: Sequence[Case]) -> Answer:
        assert self._worker is not None
        try:
            self._worker.send(Ask(cases=tuple(cases)))
            answer = self._worker.receive(self._request.timeout_s)
        except WorkerDiedError as error:
            raise GemmbenchError(
                f"the worker died while it was asked what it can do: {error}"
            ) from None
        if isinstance(answer, Refused):
            raise GemmbenchError(answer.error)
        assert isinstance(answer, Answer)
        return answer

    def _open_journal(self, header: Header) -> None:
        if self._verify_only:
            return
        if self._resume is None:
            self._journal = Journal.create(Path(self._request.out), header)
            return
        check_same(self._resume.header, header)
        self._done = {r.case for r in self._resume.records if r.status != "interrupted"}
        if self._done >= set(header.plan):
            run_id = self._resume.header.run_id
            raise GemmbenchError(f"run {run_id} is complete: nothing is left to do")
        self._sitting = 1 + max((r.sitting for r in self._resume.records), default=-1)
        self._journal = Journal.resume(Path(self._resume.path))

    # Measuring.

    def _measure(self, plan: Plan, how: Timing) -> None:
        self._left_s = plan.estimate_s
        repeats = 1 if self._verify_only else plan.repeats
        for repeat in range(repeats):
            todo = [group for group in plan.groups if self._missing(group, repeat)]
            if not todo:
                continue
            if repeat > 0 or self._worker is None:
                self._stop_worker()
                self._revive()
            if not self._verify_only:
                self._test_pair(repeat, how)
            for group in todo:
                if self._over_budget(group):
                    for case in self._missing(group, repeat):
                        progress = Progress(case=case)
                        progress.end("interrupted", "the time budget was spent")
                        self._record(progress, group=group.name, repeat=repeat)
                    continue
                self._listener.began(repeat, group, self._time_left_s())
                began = time.monotonic()
                self._run_group(group, repeat, how)
                self._learn_pace(group, time.monotonic() - began)

    def _missing(self, group: Group, repeat: int) -> tuple[Case, ...]:
        return tuple(c for c in group.cases if _name(repeat, group.name, c) not in self._done)

    def _over_budget(self, group: Group) -> bool:
        if self._request.budget_s is None:
            return False
        spent_s = time.monotonic() - self._began
        return spent_s + group.estimate_s * min(self._pace, 2.0) > self._request.budget_s

    def _time_left_s(self) -> float:
        left_s = self._left_s * self._pace
        if self._request.budget_s is None:
            return left_s
        return max(0.0, min(left_s, self._request.budget_s - (time.monotonic() - self._began)))

    def _learn_pace(self, group: Group, took_s: float) -> None:
        self._left_s = max(0.0, self._left_s - group.estimate_s)
        self._pace = 0.5 * self._pace + 0.5 * took_s / max(group.estimate_s, 1e-3)

    def _run_group(self, group: Group, repeat: int, how: Timing) -> None:
        known = [Progress(case=case) for case in self._missing(group, repeat)]
        try:
            while remaining := [progress for progress in known if progress.status is None]:
                for progress in remaining:
                    progress.bound, progress.turns = None, []
                self._attempt(remaining, how)
        finally:  # what has ended stays known, also when the user stops the run here
            for progress in known:
                if progress.status is not None:
                    self._record(progress, group=group.name, repeat=repeat)

    def _attempt(self, remaining: list[Progress], how: Timing) -> None:
        """Let the worker do what remains; a death ends one case, and the caller tries the rest."""
        worker = self._worker or self._revive()
        at = remaining[0]
        phase = "start"
        try:
            worker.send(
                Work(
                    cases=tuple(progress.case for progress in remaining),
                    timing=how,
                    data=self._request.data,
                    seed=self._request.seed,
                    verify_only=self._verify_only,
                )
            )
            while True:
                message = worker.receive(self._request.timeout_s)
                match message:
                    case Done():
                        return
                    case Refused():
                        raise GemmbenchError(message.error)
                    case DeviceLost():
                        remaining[message.case].end("failed", message.reason)
                        self._stop_worker()
                        return
                    case Doing():
                        at, phase = remaining[message.case], message.phase
                        kernel = at.case
                        self._listener.doing(kernel.kernel, kernel.problem.precision, phase)
                    case _:
                        self._hear(remaining, message)
        except WorkerDiedError as error:
            self._worker = None
            at.end("timeout" if error.timed_out else "failed", f"in {phase}: {error}")
        except UnkillableError as error:
            self._worker = None
            at.end("timeout", f"in {phase}: {error}")
            raise DeviceGoneError(str(error)) from None

    def _hear(self, remaining: list[Progress], message: FromWorker) -> None:
        match message:
            case Bound():
                remaining[message.case].bound = message
                self._setup_s += message.setup_s
            case Took():
                progress = remaining[message.case]
                progress.turns.append(message.turn)
                self._timed_s += timed_s(message.turn)
                case = progress.case
                self._listener.took(case.kernel, case.problem.precision, message.turn)
            case Afresh():
                for progress in remaining:
                    progress.turns.clear()
            case Ended():
                progress = remaining[message.case]
                progress.ended = message
                progress.end(message.status, message.reason)  # type: ignore[arg-type]
            case _:
                raise GemmbenchError(f"a worker said {type(message).__name__} out of turn")

    def _test_pair(self, repeat: int, how: Timing) -> None:
        worker = self._worker
        assert worker is not None
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
            self._worker = None
            return
        self._setup_s += message.setup_s
        result = SelfTest(
            repeat=repeat,
            work=WORK,
            less=tuple(replace(turn, samples_ns=None) for turn in turns[0]),
            more=tuple(replace(turn, samples_ns=None) for turn in turns[1]),
        )
        if self._journal:
            self._journal.append(result)
        self._listener.tested(result)

    # Workers.

    def _start_worker(self) -> Hello:
        began = time.monotonic()
        worker = WorkerProcess()
        self._worker = worker
        try:
            worker.send(
                Open(
                    device=self._request.device,
                    threads=self._request.threads,
                    files=self._request.files,
                )
            )
            message = worker.receive(START_S)
        except WorkerDiedError as error:
            self._worker = None
            raise GemmbenchError(f"the worker could not start: {error}") from None
        if isinstance(message, Refused):
            self._stop_worker()
            raise GemmbenchError(message.error)
        assert isinstance(message, Hello)
        self._setup_s += time.monotonic() - began
        if self._hello is None:
            self._hello = message
            self._telemetry = Telemetry()
            self._telemetry.start(message.target)
        return message

    def _revive(self) -> WorkerProcess:
        """A fresh worker in the middle of a run: where none can start, the device is gone."""
        try:
            self._start_worker()
        except GemmbenchError as error:
            raise DeviceGoneError(str(error)) from None
        assert self._worker is not None
        return self._worker

    def _stop_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            try:
                worker.close()
            except UnkillableError as error:
                raise DeviceGoneError(str(error)) from None

    # Records.

    def _record(self, progress: Progress, *, group: str, repeat: int) -> None:
        assert self._hello is not None
        case = _name(repeat, group, progress.case)
        if case in self._done:
            return
        info = next(i for i in self._hello.kernels if i.name == progress.case.kernel)
        record = make_record(
            progress,
            group=group,
            repeat=repeat,
            info=info,
            telemetry=self._telemetry,
            encoding=self._hello.device.encoding,
            sitting=self._sitting,
        )
        if self._journal:
            self._journal.append(record)
        self._done.add(case)
        self._statuses[record.status] += 1
        self._listener.ended(record)

    def _abandon(self, plan: Plan, status: str, reason: str) -> None:
        """Every planned case ends in a status: those that nobody came to, in this one."""
        for repeat in range(1 if self._verify_only else plan.repeats):
            for group in plan.groups:
                for case in self._missing(group, repeat):
                    progress = Progress(case=case)
                    progress.end(status, reason)  # type: ignore[arg-type]
                    self._record(progress, group=group.name, repeat=repeat)

    def _close(self, interrupted: bool) -> Outcome:
        worker, self._worker = self._worker, None
        if worker is not None:
            _quietly(worker.kill)
        if self._telemetry is not None:
            self._telemetry.stop()
        outcome = Outcome(
            path=self._journal.path if self._journal else None,
            statuses=dict(self._statuses),
            wall_s=time.monotonic() - self._began,
            timed_s=self._timed_s,
            setup_s=self._setup_s,
            interrupted=interrupted,
        )
        if self._journal:
            self._journal.append(
                Footer(
                    finished=datetime.now(UTC).isoformat(timespec="seconds"),
                    wall_s=outcome.wall_s,
                    timed_s=outcome.timed_s,
                    setup_s=outcome.setup_s,
                    statuses=outcome.statuses,
                    interrupted=interrupted,
                )
            )
            self._journal.close()
        return outcome


def timed_s(turn: Turn) -> float:
    """Seconds of launches in a turn's timed windows."""
    return sum(turn.samples_ns or ()) * turn.launches / 1e9


def _name(repeat: int, group: str, case: Case) -> str:
    return case_name(repeat, group, case.kernel, case.problem.precision)


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except UnkillableError:
        return
