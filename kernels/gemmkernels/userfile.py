"""Kernels from a user's own Python file."""

import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType

from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Kernel
from gemmkernels.ladder import LADDER


def load_file(path: str | Path) -> tuple[Kernel, ...]:
    """The kernels that a file defines: its `KERNEL`, or all of its `KERNELS`.

    Raises GemmbenchError, in one line with the file's name, for a file that is missing, is no
    Python, fails as it is imported, or names no kernel or one whose name is taken.
    """
    path = Path(path)
    module = _load(path)
    named = [name for name in ("KERNEL", "KERNELS") if hasattr(module, name)]
    if len(named) != 1:
        found = "both KERNEL and KERNELS" if named else "no kernel"
        raise GemmbenchError(
            f"{path}: {found} in it: end it with KERNEL = Kernel(…), or KERNELS = (…, …)"
        )
    value = getattr(module, named[0])
    kernels = tuple(value) if isinstance(value, (tuple, list)) else (value,)
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
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise GemmbenchError(f"{path}: {what}: give the path of a Python file that defines KERNEL")
    if path.suffix != ".py":
        raise GemmbenchError(f"{path}: not a .py file: give one that defines KERNEL")
    # Named by its whole path, so that two files of the same name do not replace each other.
    name = f"gemmbench_user_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
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
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    where = f":{line}" if line else ""
    return f"{where}: {type(error).__name__}: {' '.join(message.split())[:200]}"
