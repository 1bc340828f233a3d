"""Finding a kernel's best settings on the device at hand, within a time, and writing them down.

Candidates are tried as a run tries its cases: by workers, in turns, kept in a run file, so that a
crash or a hang costs one of them, and a kill at most the group under way.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gemmbench.doctor.examination import Examination
from gemmbench.records.journal import Journal
from gemmbench.records.reader import Run, read
from gemmbench.records.schema import Footer, Header
from gemmbench.runner.attempts import Attempts
from gemmbench.runner.crew import ChangedError, Crew, DeviceGoneError
from gemmbench.runner.header import check_same, make_header, sheets_of
from gemmbench.runner.ledger import Ledger
from gemmbench.runner.messages import Case, Hello
from gemmbench.runner.plan import (
    Group,
    Plan,
    check_memory,
    check_request,
    chosen_suites,
    make_timing,
    most_telling,
    too_large,
    wanted_cases,
)
from gemmbench.runner.request import Request
from gemmbench.runner.resume import finished
from gemmbench.runner.stopping import Stop
from gemmbench.runner.supervisor import EXAMINE_S
from gemmbench.runner.tune_file import add, writable
from gemmbench.runner.tune_finding import Finding, TuneListener, TuneOutcome
from gemmbench.runner.tune_problem import TuneProblem
from gemmbench.runner.tune_stages import Clock, Stages
from gemmbench.runner.tune_trials import Trials
from gemmbench.suites.reader import Suite
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER, find
from gemmkernels.tuning import Entry

BUDGET_S = 1200.0
SOFTWARE = ("torch", "triton", "numba", "cuda", "hip", "rocm", "nvidia_driver", "amdgpu_driver")
"""What of a run's software an entry names: what compiles the kernels, and runs them."""

PATIENCE = 0.1
"""A candidate that is silent for this share of the budget hangs, if no other time is said."""
PATIENCE_S = (10.0, 120.0)


class Tuner:
    """Carries out one tuning. `run()` may be called once.

    The request names one kernel, or one file of the user's. `out` is the file of entries, and
    `out_name` what the run keeps of it, where the user chose it.
    """

    def __init__(
        self,
        request: Request,
        listener: TuneListener,
        *,
        out: Path,
        out_name: str = "",
        resume: Run | None = None,
    ) -> None:
        budget_s = request.budget_s or BUDGET_S
        if request.timeout_s == Request().timeout_s:
            low, high = PATIENCE_S
            patience_s = min(high, max(low, PATIENCE * budget_s))
            request = replace(request, timeout_s=patience_s)
        self._request = request
        self._listener = listener
        self._out = out
        self._out_name = out_name
        self._resume = resume
        self._began = time.monotonic()
        self._end_s = self._began + budget_s
        self._stop = Stop()
        own = sheets_of(resume.header) if resume else None
        self._crew = Crew(request, tuning=True, own=own)
        self._attempts = Attempts(self._crew, listener, request)
        self._ledger = Ledger(self._stop, listener)
        self._examination = Examination()
        self._findings: list[Finding] = []
        self._written = False
        self._accepted = False
        self._sitting = 0

    def run(self) -> TuneOutcome:
        """Raises GemmbenchError for a mistake of the user's."""
        suites = chosen_suites(self._request)
        check_request(self._request, suites, [kernel.name for kernel in LADDER])
        for name in self._request.names:
            if find(name).space is None:
                tunable = [kernel.name for kernel in LADDER if kernel.space is not None]
                raise GemmbenchError(
                    f"kernel {name} has no settings to tune: take {', '.join(tunable) or 'another'}"
                )
        writable(self._out)
        with self._stop:
            return self._carry_out(suites)

    def _carry_out(self, suites: Sequence[Suite]) -> TuneOutcome:
        interrupted, ended_by = False, ""
        try:
            self._take_up()
            self._examination.start()
            hello = self._crew.start()
            how = make_timing(self._request, hello.device, "sustained")
            cases, unsupported = self._cases(hello, suites)
            header = self._header(hello, cases, suites)
            if self._resume is not None:
                check_same(self._resume.header, header)
            else:
                with self._stop.held():
                    self._ledger.journal = Journal.create(Path(self._request.out), header)
            self._accepted = True
            assert self._ledger.journal is not None
            self._listener.tunes(header, len(cases), self._ledger.journal.path)
            for finding in unsupported:
                self._keep(finding)
            quick = make_timing(self._request, hello.device, "quick")
            self._all(cases, hello, header, Stages.of(quick, how))
        except KeyboardInterrupt:
            interrupted = True
        except (ChangedError, DeviceGoneError) as error:
            ended_by = str(error)
        finally:
            outcome = self._close(interrupted=interrupted, ended_by=ended_by)
        return outcome

    def _take_up(self) -> None:
        if self._resume is not None:
            path = self._resume.path
            self._ledger.journal = Journal.resume(path)
            self._resume = read(path)  # again: only from here on can no one else write to it
            self._ledger.take_up(filter(finished, self._resume.records))
            self._sitting = 1 + max((one.sitting for one in self._resume.records), default=-1)

    def _cases(
        self, hello: Hello, suites: Sequence[Suite]
    ) -> tuple[tuple[Case, ...], tuple[Finding, ...]]:
        """What is to be tuned, the most telling first, and what cannot be."""
        names = self._request.names or tuple(
            info.name for info in hello.kernels if info.from_file and info.tunable
        )
        if not names:
            raise GemmbenchError(
                f"{self._request.files[0]}: no kernel in it has settings to tune: declare some, "
                "Kernel(…, space=…)"
            )
        request = replace(self._request, kernels=names)
        wanted = wanted_cases(request, suites, hello.device, hello.kernels)
        wanted = [(group, case) for group, case in wanted if case.kernel in names]
        check_memory(request, wanted, hello.device)
        reasons = self._crew.ask([case for _, case in wanted])
        able: list[Group] = []
        unable: list[Finding] = []
        for (name, case), reason in zip(wanted, reasons, strict=True):
            if why := reason or too_large(case.problem, hello.device):
                unable.append(
                    Finding(
                        kernel=case.kernel, problem=case.problem, word="unsupported", reason=why
                    )
                )
            else:
                able.append(Group(name=name, cases=(case,), estimate_s=0.0))
        return tuple(group.cases[0] for group in most_telling(able)), tuple(unable)

    def _header(self, hello: Hello, cases: Sequence[Case], suites: Sequence[Suite]) -> Header:
        groups = (Group(name="", cases=tuple(cases), estimate_s=0.0),)
        plan = Plan(groups=groups, unsupported=(), left_out=(), repeats=1, estimate_s=0.0)
        how = make_timing(self._request, hello.device, "sustained")
        found = self._examination.faults(EXAMINE_S, device=hello.device, target=hello.target)
        header = make_header(
            self._request,
            hello,
            plan,
            how,
            suites=tuple(suite.name for suite in suites),
            doctor=tuple(fault.text for fault in found),
            own=self._crew.own,
        )
        # It plans as it goes: no case is missing that was not tried.
        request = {**header.request, "tuned": self._out_name}
        return msgspec.structs.replace(header, plan=(), tuning=True, request=request)

    def _all(self, cases: Sequence[Case], hello: Hello, header: Header, stages: Stages) -> None:
        trials = Trials(self._crew, self._attempts, self._ledger, hello, sitting=self._sitting)
        if self._resume is not None:
            trials.take_up(self._resume.records)
        backends = {info.name: info.backend for info in hello.kernels if not info.from_file}
        least_s = 0.0
        for index, case in enumerate(cases):
            now = time.monotonic()
            left_s = self._end_s - now
            if left_s <= least_s:
                reason = "the time budget was spent"
                self._keep(
                    Finding(
                        kernel=case.kernel, problem=case.problem, word="unfinished", reason=reason
                    )
                )
                continue
            space = self._crew.space(case)
            if space.error:
                self._keep(
                    Finding(
                        kernel=case.kernel, problem=case.problem, word="failed", reason=space.error
                    )
                )
                continue
            self._listener.took_up(case.kernel, case.problem, len(space.settings))
            # A budget too short for all is spent on the first ones, which span the range.
            several = min(len(cases) - index, max(1, int(left_s / least_s) if least_s else 1))
            one = TuneProblem(
                case,
                space,
                trials=trials,
                stages=stages,
                clock=Clock(
                    share_s=now + left_s / (several if least_s else len(cases)),
                    end_s=self._end_s,
                    start_s=self._crew.setup_s / max(1, self._crew.starts),
                ),
                device=hello.device,
                triton=backends.get(case.kernel) == "triton" and hello.device.is_gpu,
                listener=self._listener,
                seed=self._request.seed,
            )
            finding = one.tune()
            least_s = max(least_s, one.least_s)
            self._keep(finding, header)

    def _keep(self, finding: Finding, header: Header | None = None) -> None:
        """Write what was found before it is told: whatever ends the tuning, it stays."""
        with self._stop.held():
            if finding.word == "faster" and header is not None:
                add(self._out, [self._entry(finding, header)])
                self._written = True
            self._findings.append(finding)
            self._listener.found(finding)

    def _entry(self, finding: Finding, header: Header) -> Entry:
        assert finding.best is not None
        assert self._ledger.journal is not None
        problem, device = finding.problem, header.device

        def rounded(value: float) -> float | None:
            return float(f"{value:.5g}") if value > 0 else None

        return Entry(
            kernel=finding.kernel,
            architecture=device.architecture,
            precision=problem.precision,
            m=problem.m,
            n=problem.n,
            k=problem.k,
            settings=dict(finding.best),
            layout=problem.layout,
            batch=problem.batch,
            experts=problem.experts,
            units=device.units,
            time_us=rounded(finding.best_us.value),
            time_us_low=rounded(finding.best_us.low),
            time_us_high=rounded(finding.best_us.high),
            ratio=rounded(finding.ratio.value),
            ratio_low=rounded(finding.ratio.low),
            ratio_high=rounded(finding.ratio.high),
            default=dict(finding.default or {}),
            device=device.name[:200],
            software={
                **{name: header.software[name] for name in SOFTWARE if name in header.software},
                "gemmbench": header.version,
            },
            date=datetime.now(UTC).date().isoformat(),
            run=self._ledger.journal.path.name,
        )

    def _close(self, *, interrupted: bool, ended_by: str) -> TuneOutcome:
        footer = Footer(
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=time.monotonic() - self._began,
            timed_s=self._attempts.timed_s,
            setup_s=self._crew.setup_s + self._attempts.compile_s,
            statuses=dict(self._ledger.statuses),
            interrupted=interrupted,
        )
        journal = self._ledger.journal
        with self._stop.held():
            try:
                self._ledger.close(footer if self._accepted else None)
            finally:
                self._crew.kill()
                self._examination.stop()
        return TuneOutcome(
            path=journal.path if journal else None,
            findings=tuple(self._findings),
            written=self._out if self._written else None,
            interrupted=interrupted,
            ended_by=ended_by,
        )
