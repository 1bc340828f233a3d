"""Why a compile failed, in one line: of an exception, or of what was printed before a death."""

import re
import signal

from gemmkernels.errors import GemmbenchError, one_line

LIMIT = 300
_PTXAS = re.compile(r"\bptxas[^\n]*?(?:fatal|error)\s*:\s*([^\n]+)")
_MLIR = re.compile(r"\berror: (?!Failures have been detected)([^\n]+)")
_PASS = re.compile(r"Pipeline failed while executing \[`(\w+)`")
_DEATH = re.compile(
    r"^[^\n]*(?:Assertion [`'].*failed|LLVM ERROR:|UNREACHABLE|what\(\):|Fatal Python)[^\n]*",
    re.MULTILINE,
)


def of_exception(error: BaseException, printed: str) -> str:
    """What the compiler says, rather than the exception that Triton makes of it.

    MLIR and ptxas write to standard error; Triton's own errors end with what is wrong.
    """
    if isinstance(error, GemmbenchError):
        return str(error)
    said = str(error)
    if found := _PTXAS.search(f"{said}\n{printed}"):
        return one_line(f"ptxas: {found.group(1)}", LIMIT)
    if found := _MLIR.search(printed):
        return one_line(found.group(1), LIMIT)
    if found := _PASS.search(printed):
        return f"the compiler's pass {found.group(1)} failed"
    lines = [line for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return one_line(f"{type(error).__name__}: {last}" if last else type(error).__name__, LIMIT)


def of_death(status: int, printed: str) -> str:
    """How a process ended, by what `os.waitpid` says, and its last words."""
    if status < 0:
        try:
            how = f"killed by {signal.Signals(-status).name}"
        except ValueError:
            how = f"killed by signal {-status}"
    else:
        how = f"ended with exit code {status}"
    found = _DEATH.search(printed) or _MLIR.search(printed)
    return one_line(f"{how}: {found.group(0)}" if found else how, LIMIT)
