"""The process that compiles: it imports torch and Triton once, then forks for each question.

Started as `python -m gemmbench.inspect.compiling JOBS TIMEOUT`; questions come on standard input,
as one list, and each answer goes to standard output with its place in that list. A compiler that
crashes or hangs takes one child along.
"""

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec

from gemmbench.inspect.question import Question, Report, Verdict, declared, together
from gemmbench.inspect.reason import of_death, of_exception
from gemmbench.inspect.targets import target
from gemmkernels.errors import one_line
from gemmkernels.ladder import find

PR_SET_PDEATHSIG = 1
TAIL_BYTES = 2**16
LOOK_S = 0.02


class Answer(msgspec.Struct, frozen=True):
    """A report with the place of its question."""

    place: int
    report: Report


@dataclass(frozen=True)
class _Child:
    place: int
    report: int
    printed: int
    until_s: float


def compiled(question: Question) -> Report:
    """Compile and read, in this process; raises what the compiler raises."""
    from gemmbench.inspect.absent import launch_on, pretend
    from gemmbench.inspect.reading import facts_of

    kernel, where = find(question.kernel), target(question.target)
    pretend(where)
    launch = launch_on(kernel, question.problem, where, settings=question.settings)
    calls = facts_of(launch, question.problem, where.device())
    over = [call for call in calls if call.is_over]
    return Report(
        question=question,
        verdict=together(calls),
        declared=declared(kernel),
        reason="; ".join(
            f"{call.function} needs {call.shared_bytes} B of shared memory, "
            f"{question.target} has {call.shared_limit} B"
            for call in over
        ),
        calls=calls,
        config=dict(launch.config),
        tile=launch.tile,
        triton=_version(),
    )


def _version() -> str:
    import triton

    return str(triton.__version__)


class _Pool:
    """Children, as many at once as there are jobs; each in a process group of its own."""

    def __init__(self, questions: Sequence[Question], *, jobs: int, timeout_s: float) -> None:
        self.questions = questions
        self.jobs = jobs
        self.timeout_s = timeout_s
        self.running: dict[int, _Child] = {}
        self.encoder = msgspec.json.Encoder()
        self.answers = os.dup(1)
        os.dup2(2, 1)

    def run(self) -> None:
        waiting = deque(range(len(self.questions)))
        while waiting or self.running:
            while waiting and len(self.running) < self.jobs:
                self._start(waiting.popleft())
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in self.running:
                self._end(pid, os.waitstatus_to_exitcode(status))
                continue
            now = time.monotonic()
            for late, child in list(self.running.items()):
                if now > child.until_s:
                    self.kill(late)
                    os.waitpid(late, 0)
                    self._end(late, None)
            time.sleep(LOOK_S)

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # it may not have a group yet
            os.kill(pid, signal.SIGKILL)

    def _start(self, place: int) -> None:
        report, printed = os.memfd_create("report"), os.memfd_create("printed")
        until_s = time.monotonic() + self.timeout_s
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.setpgid(0, 0)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                _die_with(parent)
                for descriptor in (1, 2):
                    os.dup2(printed, descriptor)
                found = self._answer(self.questions[place], printed)
                os.write(report, self.encoder.encode(found))
                code = 0
            finally:
                os._exit(code)
        self.running[pid] = _Child(place, report, printed, until_s)

    def _answer(self, question: Question, printed: int) -> Report:
        """In the child."""
        try:
            return compiled(question)
        except (OSError, MemoryError) as error:  # of this machine, not of the compiler
            return self._without(question, "crashed", one_line(error))
        except BaseException as error:
            return self._without(question, "unsupported", of_exception(error, _tail(printed)))

    def _end(self, pid: int, status: int | None) -> None:
        """A child has ended; `status` is None if it was out of time."""
        child = self.running.pop(pid)
        self.kill(pid)  # ptxas may be left of it
        question = self.questions[child.place]
        try:
            report = None
            with contextlib.suppress(msgspec.MsgspecError):
                report = msgspec.json.decode(_whole(child.report), type=Report)
            if report is None:
                how = f"did not end within {self.timeout_s:g} s"
                if status is not None:
                    how = of_death(status, _tail(child.printed))
                report = self._without(question, "crashed", how)
        finally:
            os.close(child.report)
            os.close(child.printed)
        line = self.encoder.encode(Answer(child.place, report)) + b"\n"
        while line:
            line = line[os.write(self.answers, line) :]

    def _without(self, question: Question, verdict: Verdict, reason: str) -> Report:
        return Report(
            question=question,
            verdict=verdict,
            declared=declared(find(question.kernel)),
            reason=reason,
            triton=_version(),
        )


def _whole(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace")


def _die_with(parent: int) -> None:
    """Linux: end when the process does that started this one."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _warm(questions: Sequence[Question]) -> None:
    """Do once what each child would do again: imports, and hashes of Triton and its tools."""
    import torch  # noqa: F401
    from triton.compiler.compiler import make_backend

    from gemmbench.inspect.absent import triton_target

    for name in {question.kernel for question in questions}:
        bind = find(name).bind
        assert isinstance(bind, str)
        importlib.import_module(bind.partition(":")[0])
    with contextlib.suppress(Exception):  # not the same in every version, and only for speed
        for name in {question.target for question in questions}:
            make_backend(triton_target(target(name))).hash()
        triton_key = importlib.import_module("triton.runtime.cache").triton_key
        triton_key()


def main() -> None:
    _die_with(os.getppid())
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    questions = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Question])
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _warm(questions)
    pool = _Pool(questions, jobs=int(sys.argv[1]), timeout_s=float(sys.argv[2]))

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for pid in list(pool.running):
            pool.kill(pid)
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    pool.run()


if __name__ == "__main__":
    main()
