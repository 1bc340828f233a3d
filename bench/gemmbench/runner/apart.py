"""A module of ours run in a process of its own, which a compiler may bring down."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

import gemmbench
import gemmkernels
from gemmkernels.tuning import VARIABLE

T = TypeVar("T")


class DiedError(Exception):
    """The process ended without its answer: how, in a few words."""


def run_apart(module: str, argument: str, answer: type[T], *, told: bytes, timeout_s: float) -> T:
    """What `python -m module argument` answers on its output, given `told` on its input.

    It compiles as the machine does, without tuned settings, and starts no compiler beside itself
    that would outlive it. Raises DiedError.
    """
    roots = [str(Path(m.__file__ or "").parents[1]) for m in (gemmbench, gemmkernels)]
    path = [*dict.fromkeys(roots), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    own = {"PYTHONPATH": os.pathsep.join(path), VARIABLE: "", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    try:
        found = subprocess.run(
            [sys.executable, "-P", "-m", module, argument],
            input=told,
            capture_output=True,
            env=kept | own,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DiedError(f"no answer in {timeout_s:.0f} s") from None
    try:
        return msgspec.json.decode(found.stdout, type=answer)
    except msgspec.MsgspecError:  # it crashed, or raised
        raise DiedError(f"its process ended with code {found.returncode}") from None
