"""What a kernel may leave behind in the process that it shares with the next one, and its undoing.

Switches are put back as they were when the worker opened its device; processes that it started are
ended. What it needs of switches a kernel sets in `Launch.prepare`, which is called before each of
its turns.
"""

import contextlib
import gc
import io
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REAP_S = 1.0

_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


@dataclass(frozen=True)
class _Switch:
    """`get()` reads it, `put(value)` sets it; `name` is how a warning calls it."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


class CleanSlate:
    """The state of this process at the moment of making; `restore()` goes back to it.

    Make it in the worker's process, which owns its children: all that are found are ended.
    """

    def __init__(self, *, gpu: bool) -> None:
        self._switches = [*_of_process(), *_of_torch(gpu=gpu)]
        self._values = [switch.get() for switch in self._switches]
        self._outputs = _Outputs()

    def restore(self) -> tuple[str, ...]:
        """Put every switch back; the names of those that had been changed."""
        changed = []
        for switch, value in zip(self._switches, self._values, strict=True):
            if not _holds(switch, value):
                changed.append(switch.name)
                with contextlib.suppress(Exception):
                    switch.put(value)
        if self._outputs.restore():
            changed.append("standard output")
        return tuple(changed)


def _holds(switch: _Switch, value: object) -> bool:
    try:
        return bool(switch.get() == value)
    except Exception:  # the folder is gone; or torch's old and new ways to say it were mixed
        return False


class _Outputs:
    """Descriptors 0 to 2 and the streams on top of them, which a kernel may have closed."""

    def __init__(self) -> None:
        self._kept = [os.dup(number) for number in range(3)]
        self._known = [_identity(number) for number in range(3)]
        self._streams = (sys.stdout, sys.stderr)

    def restore(self) -> bool:
        changed = False
        for number, (kept, known) in enumerate(zip(self._kept, self._known, strict=True)):
            if _identity(number) != known:
                os.dup2(kept, number)
                changed = True
        sound = (sys.stdout, sys.stderr) == self._streams
        if not sound or any(stream.closed for stream in self._streams):
            for stream in self._streams:
                with contextlib.suppress(Exception):
                    stream.flush()
            self._streams = (_stream(1), _stream(2))
            sys.stdout, sys.stderr = self._streams
            changed = True
        return changed


def _stream(number: int) -> io.TextIOWrapper:
    return open(number, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


def _identity(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def end_children() -> int:
    """End the processes that this one has started, and theirs; how many still ran.

    This process must adopt orphans (PR_SET_CHILD_SUBREAPER), or theirs escape.
    """
    ended = 0
    for _ in range(10):
        children = _children()
        if not children:
            break
        for child in children:
            ended += _end(child)
    return ended


def _children() -> list[int]:
    found: list[int] = []
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError, ValueError):
            found += map(int, path.read_text().split())
    return found


def _end(child: int) -> int:
    """1 if it still ran. One that is stuck in a driver is given up after a second."""
    with contextlib.suppress(OSError):
        if os.waitpid(child, os.WNOHANG)[0]:
            return 0
        os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + REAP_S
        while time.monotonic() < deadline and not os.waitpid(child, os.WNOHANG)[0]:
            time.sleep(0.002)
        return 1
    return 0


def _of_process() -> list[_Switch]:
    known = tuple(os.environ)  # what a library adds of its own is left alone

    def set_environment(value: dict[str, str | None]) -> None:
        os.environ.update({name: text for name, text in value.items() if text is not None})

    def set_signals(value: list[Any]) -> None:
        for number, handler in zip(_SIGNALS, value, strict=True):
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)

    def stop_timer(_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    return [
        _Switch("the working folder", Path.cwd, os.chdir),
        _Switch(
            "environment variables",
            lambda: {name: os.environ.get(name) for name in known},
            set_environment,
        ),
        _Switch("Python's collector", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        _Switch("signal handlers", lambda: [*map(signal.getsignal, _SIGNALS)], set_signals),
        _Switch("a timer", lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0, stop_timer),
        _Switch(
            "the cores it may use",
            lambda: os.sched_getaffinity(0),
            lambda cores: os.sched_setaffinity(0, cores),
        ),
    ]


def _of_torch(*, gpu: bool) -> list[_Switch]:
    import torch

    switches = [
        _Switch("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        _Switch(
            "torch's default device",
            lambda: str(torch.get_default_device()),
            lambda _: torch.set_default_device(None),
        ),
        _Switch("torch's gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        _Switch(
            "torch's deterministic mode",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
    ]
    if gpu:  # other switches of its products are set before each turn (library.set_switches)
        return [
            *switches,
            _Switch("the current GPU", torch.cuda.current_device, torch.cuda.set_device),
            *of_products(),
        ]
    import numba

    return [
        *switches,
        _Switch("torch's threads", torch.get_num_threads, torch.set_num_threads),
        _Switch("numba's threads", numba.get_num_threads, numba.set_num_threads),
        _Switch(
            "torch's float32 precision",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
    ]


def of_products() -> list[_Switch]:
    """What chooses and tunes a GPU's matrix products; a torch's version or build may lack some."""
    import torch

    cuda: Any = torch.backends.cuda
    tunable: Any = torch.cuda.tunable
    switches = [
        _Switch(
            "torch's fp16 accumulation",
            lambda: cuda.matmul.allow_fp16_accumulation,
            lambda on: setattr(cuda.matmul, "allow_fp16_accumulation", on),
        ),
        _Switch(
            "torch's choice of a BLAS library",
            lambda: cuda.preferred_blas_library(),
            lambda library: cuda.preferred_blas_library(library),
        ),
        _Switch("TunableOp", lambda: tunable.is_enabled(), lambda on: tunable.enable(on)),
        _Switch(
            "TunableOp's tuning",
            lambda: tunable.tuning_is_enabled(),
            lambda on: tunable.tuning_enable(on),
        ),
    ]
    return [switch for switch in switches if _can_be_read(switch)]


def _can_be_read(switch: _Switch) -> bool:
    try:
        switch.get()
    except Exception:
        return False
    return True
