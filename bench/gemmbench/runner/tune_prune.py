"""Candidates that need no measuring: the compiler's report rules them out."""

from collections.abc import Sequence

from gemmbench.inspect.examine import examine
from gemmbench.inspect.question import Question, Report
from gemmbench.runner.messages import Case, Settings
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError


def ruled_out(
    case: Case,
    default: Settings,
    candidates: Sequence[Settings],
    device: Device,
    *,
    timeout_s: float,
) -> tuple[str, ...]:
    """Of each candidate why it is not worth a try; "" for one that is.

    All are worth one where there is no report: of a kernel that is not in Triton or is the user's,
    or for a target that nobody knows.
    """
    questions = [
        Question(case.kernel, case.problem, device.architecture, dict(one))
        for one in (default, *candidates)
    ]
    try:
        standard, *reports = examine(questions, timeout_s=timeout_s)
    except GemmbenchError:
        return ("",) * len(candidates)
    return tuple(_why(report, standard) for report in reports)


def _why(report: Report, standard: Report) -> str:
    """A fault counts only where the default settings are without it.

    `crashed` may be a compile that had too little time: it says nothing of either.
    """
    if "crashed" in (report.verdict, standard.verdict):
        return ""
    if report.is_over and not standard.is_over:
        over = next(call for call in report.calls if call.is_over)
        return f"takes {over.shared_bytes} bytes of shared memory, {over.shared_limit} at most"
    if report.verdict != standard.verdict:
        reason = f": {report.reason}" if report.reason else ""
        return f"compiles to {report.verdict}, the default to {standard.verdict}{reason}"
    if report.spills > standard.spills:
        return f"spills registers ({report.spills}, the default {standard.spills})"
    return ""
