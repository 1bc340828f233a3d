"""Ask the compiler: each question once, in a process of its own, unless the answer is known."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

import gemmbench
import gemmkernels
from gemmbench.devices.cgroup import cpu_quota
from gemmbench.inspect.cache import Cache, triton_version
from gemmbench.inspect.compiling import Answer
from gemmbench.inspect.question import Question, Report, declared
from gemmbench.inspect.reason import of_death
from gemmbench.inspect.targets import target
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Kernel
from gemmkernels.ladder import LADDER, find
from gemmkernels.tuning import VARIABLE

TIMEOUT_S = 180.0
_COMPILER = ("-m", "gemmbench.inspect.compiling")

Listener = Callable[[Report], None]


def triton_kernels() -> tuple[Kernel, ...]:
    """The kernels that can be examined, in ladder order."""
    return tuple(kernel for kernel in LADDER if kernel.backend == "triton")


def examine(
    questions: Sequence[Question],
    *,
    jobs: int | None = None,
    timeout_s: float = TIMEOUT_S,
    on_report: Listener | None = None,
) -> list[Report]:
    """One report a question, in their order; `on_report` hears of each as it is there.

    `jobs` compile at once, one a core unless it is said; a compile of over `timeout_s` has crashed.
    Raises GemmbenchError for a kernel that is not in Triton, where Triton is not installed, and
    (UnknownNameError) for a name that is in no list.
    """
    tell = on_report or (lambda _report: None)
    version = triton_version()
    if version is None:
        raise GemmbenchError(
            "Triton is not installed: a GPU build of torch brings its own, or pip install triton"
        )
    cache = Cache(version=version)
    found: dict[int, Report] = {}
    for place, question in enumerate(questions):
        known = _refused(question, version) or cache.get(question)
        if known is not None:
            found[place] = known
            tell(known)
    left = [place for place in range(len(questions)) if place not in found]
    if left:
        asked = [questions[place] for place in left]

        def heard(answer: Answer) -> None:
            found[left[answer.place]] = answer.report
            cache.put(answer.report)
            tell(answer.report)

        death = _compile(asked, jobs=jobs or _cores(), timeout_s=timeout_s, heard=heard)
        for place in left:
            if place not in found:
                found[place] = _dead(questions[place], death, version)
                tell(found[place])
    return [found[place] for place in range(len(questions))]


def _refused(question: Question, version: str) -> Report | None:
    """The report of a case that the kernel itself refuses; None where it does not."""
    kernel = find(question.kernel)
    if kernel.backend != "triton":
        names = ", ".join(one.name for one in triton_kernels())
        raise GemmbenchError(
            f"{kernel.name} is no Triton kernel: inspect reads what Triton compiles, {names}"
        )
    reason = kernel.why_not(question.problem, target(question.target).device())
    if reason is None:
        return None
    return Report(
        question=question,
        verdict="unsupported",
        declared="unsupported",
        reason=reason,
        triton=version,
    )


def _dead(question: Question, reason: str, version: str) -> Report:
    return Report(
        question=question,
        verdict="crashed",
        declared=declared(find(question.kernel)),
        reason=reason,
        triton=version,
    )


def _cores() -> int:
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, round(cpu_quota() or cores)))


def _compile(
    questions: Sequence[Question], *, jobs: int, timeout_s: float, heard: Callable[[Answer], None]
) -> str:
    """Have all compiled in another process; in words how that one ended, if early."""
    decoder = msgspec.json.Decoder(Answer)
    with tempfile.TemporaryFile() as evidence:
        process = subprocess.Popen(
            [sys.executable, "-P", *_COMPILER, str(jobs), str(timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=evidence,
            start_new_session=True,  # Ctrl-C is ours to handle
            env=_environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin:
                process.stdin.write(msgspec.json.encode(list(questions)))
            for line in process.stdout:
                heard(decoder.decode(line))
            process.wait()
        finally:
            process.terminate()  # it ends its children first
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        evidence.seek(0)
        said = evidence.read().decode(errors="replace")
    lines = said.strip().splitlines()
    return f"the compiling process {of_death(process.returncode, said)}" + (
        f": {lines[-1][:200]}" if lines else ""
    )


def _environment() -> dict[str, str]:
    """Ours, with the packages that we are, and the compiler rather than the interpreter.

    Libraries that start threads as they are imported would be forked in the middle of something.
    What the user has tuned is no part of a kernel.
    """
    roots = [str(Path(m.__file__ or "").parents[1]) for m in (gemmbench, gemmkernels)]
    path = [*dict.fromkeys(roots), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return kept | quiet | {"PYTHONPATH": os.pathsep.join(path), VARIABLE: ""}
