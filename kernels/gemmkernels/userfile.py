"""Kernels from a user's own Python file."""

import importlib.util
import os
import sys
import zlib
from pathlib import Path
from types import ModuleType

from gemmkernels.errors import GemmbenchError, one_line
from gemmkernels.kernel import Kernel
from gemmkernels.ladder import LADDER

MAX_BYTES = 16 * 2**20
MAX_KERNELS = 1000


def load_file(path: str | Path) -> tuple[Kernel, ...]:
    """The kernels that a file defines: its `KERNEL`, or all of its `KERNELS`.

    Raises GemmbenchError, in one line with the file's name, for a file that is missing, is no
    Python, fails as it is imported, or names no kernel or one whose name is taken.
    """
    path = Path(path)
    named_values = vars(_load(path))  # a module's own __getattr__ may answer, or raise, anything
    named = [name for name in ("KERNEL", "KERNELS") if name in named_values]
    if len(named) != 1:
        found = "both KERNEL and KERNELS" if named else "no kernel"
        raise GemmbenchError(
            f"{path}: {found} in it: end it with KERNEL = Kernel(…), or KERNELS = (…, …)"
        )
    value = named_values[named[0]]
    kernels = tuple(value) if type(value) in (tuple, list) else (value,)
    if len(kernels) > MAX_KERNELS:
        raise GemmbenchError(f"{path}: {len(kernels)} kernels, {MAX_KERNELS} at most: split it")
    for kernel in kernels:
        if not isinstance(kernel, Kernel):
            raise GemmbenchError(
                f"{path}: {named[0]} holds {type(kernel).__name__}, expected gemmkernels.Kernel"
            )
    if not kernels:
        raise GemmbenchError(f"{path}: KERNELS is empty: put a Kernel(…) into it")
    taken = {kernel.name for kernel in LADDER}
    for kernel in kernels:
        if kernel.name in taken:
            raise GemmbenchError(
                f"{path}: the kernel name {kernel.name!r} is taken: choose another name"
            )
        taken.add(kernel.name)
    return kernels


def _load(path: Path) -> ModuleType:
    try:
        size = path.stat().st_size
        what = "is a folder" if path.is_dir() else "is no regular file"
    except (OSError, ValueError) as error:
        size, what = 0, getattr(error, "strerror", None) or str(error)
        what = "there is no such file" if isinstance(error, FileNotFoundError) else what
    if not os.path.isfile(path):  # noqa: PTH113  # pathlib's raises for a name that is too long
        raise GemmbenchError(
            f"{str(path)[:200]}: {what}: give the path of a Python file that defines KERNEL"
        )
    if size > MAX_BYTES:
        raise GemmbenchError(f"{path} is over {MAX_BYTES >> 20} MiB: that is no kernel file")
    if path.suffix != ".py":
        raise GemmbenchError(f"{path}: not a .py file: give one that defines KERNEL")
    # Named by its whole path, so that two files of the same name do not replace each other.
    name = f"gemmbench_user_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)  # for what it imports; last, so that it hides nothing
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # also SystemExit and KeyboardInterrupt, which it may raise
        sys.modules.pop(name, None)
        raise GemmbenchError(f"{path}{_explain(error, path)}: mend the file") from error
    return module


def _explain(error: BaseException, path: Path) -> str:
    """`:12: SyntaxError: …`, in one line; the line is the last one of the user's file."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None and not isinstance(error, SyntaxError):
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    message = error.msg if isinstance(error, SyntaxError) else error
    where = f":{line}" if line else ""
    if isinstance(error, GemmbenchError):
        return f"{where}: {message}"
    return f"{where}: {type(error).__name__}: {one_line(message)}"
