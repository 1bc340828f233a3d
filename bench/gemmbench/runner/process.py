"""A worker process as the supervisor sees it: started, spoken to, listened to, ended."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque

import msgspec

from gemmbench.runner.messages import FromWorker, ToWorker

KILL_S = 30.0
TAIL_BYTES = 4096


class WorkerDiedError(Exception):
    """The worker ended, or was ended; the text says how, in one line."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


class UnkillableError(Exception):
    """The worker is stuck in the driver and outlives SIGKILL."""


class WorkerProcess:
    """A worker in a process group of its own, so that Ctrl-C is ours to handle."""

    def __init__(self) -> None:
        read_fd, write_fd = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gemmbench.runner.worker", str(write_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write_fd,),
                start_new_session=True,
                env=_environment(),
            )
        finally:
            os.close(write_fd)
        self._read_fd = read_fd
        self._buffer = b""
        self._decoder = msgspec.json.Decoder(FromWorker)
        self._encoder = msgspec.json.Encoder()
        self._tail: deque[bytes] = deque()
        self._drain = threading.Thread(target=self._drain_output, daemon=True)
        self._drain.start()

    def send(self, message: ToWorker) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(self._encoder.encode(message) + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerDiedError(self._how_it_died()) from None

    def receive(self, timeout_s: float) -> FromWorker:
        """The next message. Raises WorkerDiedError at its end, or after `timeout_s` of silence."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.kill()
                raise WorkerDiedError(f"no answer within {timeout_s:g} s", timed_out=True)
            ready, _, _ = select.select([self._read_fd], [], [], min(left_s, 0.5))
            if ready:
                data = os.read(self._read_fd, 1 << 20)
                if not data:
                    raise WorkerDiedError(self._how_it_died())
                self._buffer += data
            elif self._process.poll() is not None:  # a child of its holds the pipe open
                raise WorkerDiedError(self._how_it_died())
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: FromWorker = self._decoder.decode(line)
        return message

    def close(self) -> None:
        """Let it end by itself: there are no more commands."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self.kill()

    def kill(self) -> None:
        """End it and all that it started; raises UnkillableError if that takes over 30 s."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        try:
            self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            raise UnkillableError(f"a worker outlives SIGKILL by {KILL_S:g} s") from None
        finally:
            self._drain.join(1.0)
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            if self._read_fd >= 0:
                os.close(self._read_fd)
                self._read_fd = -1

    def _drain_output(self) -> None:
        """Keep the last of what it prints, so that a full pipe never stops it."""
        assert self._process.stdout is not None
        kept = 0
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(self._process.stdout.fileno(), 1 << 16):
                self._tail.append(data[-TAIL_BYTES:])
                kept += len(self._tail[-1])
                while kept - len(self._tail[0]) >= TAIL_BYTES:
                    kept -= len(self._tail.popleft())

    def _how_it_died(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self.kill()
        code = self._process.returncode
        if code < 0:
            try:
                how = f"killed by {signal.Signals(-code).name}"
            except ValueError:
                how = f"killed by signal {-code}"
            if code == -signal.SIGKILL:
                how += " (out of memory?)"
        else:
            how = f"the worker ended with exit code {code}"
        said = self._last_line()
        return f"{how}: {said}" if said else how

    def _last_line(self) -> str:
        text = b"".join(self._tail)[-TAIL_BYTES:].decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return "".join(c if c.isprintable() else " " for c in lines[-1])[:300] if lines else ""


def _environment() -> dict[str, str]:
    """Ours; the worker must find the same packages, wherever they were imported from."""
    import gemmbench
    import gemmkernels

    roots = [os.path.dirname(os.path.dirname(m.__file__ or "")) for m in (gemmbench, gemmkernels)]  # noqa: PTH120
    paths = [*dict.fromkeys(roots), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
