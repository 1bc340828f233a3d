"""What to say of whatever a kernel raised: one line, and where in the user's file it was."""

import traceback
from pathlib import Path

import gemmbench
import gemmkernels
from gemmkernels.errors import GemmbenchError, one_line

_LIBRARIES = tuple(Path(m.__file__ or "").parent for m in (gemmbench, gemmkernels, traceback))


def reason_of(error: BaseException) -> str:
    """One line that helps, of whatever was raised."""
    if isinstance(error, GemmbenchError):
        return str(error)
    text, name = one_line(error, 300), one_line(type(error).__name__, 80)
    signs = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
    if isinstance(error, MemoryError) or "OutOfMemory" in name or any(s in text for s in signs):
        return f"out of memory: {text or name}"
    return (f"{name}: {text}" if text else name) + _place(error)


def _place(error: BaseException) -> str:
    """` at mine.py:12 in run`: where a user's file raised it, or had it raised; "" for ours."""
    own = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        ours = any(path.is_relative_to(folder) for folder in _LIBRARIES)
        if not (ours or "site-packages" in path.parts or frame.filename.startswith("<")):
            own = f" at {path.name}:{frame.lineno} in {frame.name}"
    return own
