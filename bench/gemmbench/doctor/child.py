"""A process that looks at something and says one line of JSON, or dies trying."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

import gemmkernels

_START = (
    "import sys; roots, module = sys.argv[1:3], sys.argv[3]; sys.path += roots; del sys.argv[1:4]; "
    "import importlib; importlib.import_module(module).main()"
)
_ROOTS = (str(Path(__file__).parents[2]), str(Path(gemmkernels.__file__).parents[1]))
_MOST_BYTES = 1 << 22

Answer = TypeVar("Answer", bound=msgspec.Struct)


class ChildError(Exception):
    """It gave no answer; the text says why in one line. `late`: it was still at it."""

    def __init__(self, reason: str, *, late: bool = False) -> None:
        super().__init__(reason)
        self.late = late


class Child:
    """Started at once; `answer` waits for its one line. Raises OSError where it can't start."""

    def __init__(self, module: str, *arguments: str) -> None:
        # Not a pipe: one that nobody empties would stop it.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        # -P: what lies in the user's folder is not ours to import. A session of its own: Ctrl-C is
        # for us, and a kill reaches all that it started.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", _START, *_ROOTS, module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )

    def answer(self, timeout_s: float, kind: type[Answer]) -> Answer:
        """What it found. Raises ChildError if it dies, says something else, or takes longer."""
        line = self._line(time.monotonic() + timeout_s)
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError:
            said = line[:60].decode(errors="replace")
            raise ChildError(f"it answered {said!r}") from None

    def stop(self) -> None:
        """End it, in about a second at most: in a driver's call it may outlive even SIGKILL."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def _line(self, deadline_s: float) -> bytes:
        assert self._process.stdout is not None
        pipe, found = self._process.stdout.fileno(), b""
        while b"\n" not in found:
            left_s = deadline_s - time.monotonic()
            ready, _, _ = select.select([pipe], [], [], max(0.0, left_s))
            if not ready:
                raise ChildError("it did not answer", late=True)
            data = os.read(pipe, 1 << 16)
            if not data:
                raise ChildError(self._how_it_died())
            found += data
            if len(found) > _MOST_BYTES:
                raise ChildError("it would not stop talking")
        return found.partition(b"\n")[0]

    def _how_it_died(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"it was killed by {signal.Signals(-code).name}"
        return f"it ended with exit code {code}{self._last_words()}"

    def _last_words(self) -> str:
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 4096))
        lines = self._said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:200]}" if last else ""


def answer_with(look: Callable[[], msgspec.Struct]) -> None:
    """In the child: say what `look` finds, and nothing else, then end at once.

    Libraries print on stdout, and threads stuck in a driver would hold up a usual end.
    """
    pipe = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    line = msgspec.json.encode(look()) + b"\n"
    with os.fdopen(pipe, "wb") as stream, contextlib.suppress(BrokenPipeError):
        stream.write(line)
    os._exit(0)
