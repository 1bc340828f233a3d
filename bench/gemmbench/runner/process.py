"""A worker process as the supervisor sees it: started, spoken to, listened to, ended."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

import gemmbench
import gemmkernels
from gemmbench.runner.messages import CHANNEL_LOST, NEXT_CASE, FromWorker

KILL_S = 30.0
TAIL_BYTES = 2**14
MAX_MESSAGE_BYTES = 2**26
SWEEP_S = 2.0
STACK_S = 0.3
"""How long a silent worker has to write down where it hangs, before it is killed."""

_START = (
    "import sys; sys.path[:0] = [r for r in sys.argv[1:3] if r not in sys.path]; "
    "del sys.argv[1:3]; from {} import main; main()"
)
_ROOTS = tuple(str(Path(m.__file__ or "").parents[1]) for m in (gemmbench, gemmkernels))
"""The worker must find the same packages as we did; and -P: what lies in the user's folder, such as
a statistics.py, is not ours to import."""

COOKIE = "GEMMBENCH_WORKER"
"""In the environment of a worker and of all that it starts, so that nothing of it outlives it."""

_STACK = re.compile(
    r"^(?:Fatal Python error: [^\n]*\n\s*)?[^\n]*\(most recent call first\):\n((?:  [^\n]*\n?)*)"
    r"(?:\s*Extension modules: [^\n]*)?",
    re.MULTILINE,
)
_FRAME = re.compile(r'  File "([^"\n]*)", line (\d+) in (\S+)')


Heard = TypeVar("Heard")


class WorkerDiedError(Exception):
    """The worker ended, or was ended; the text says how, in one line."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


class UnkillableError(Exception):
    """The worker is stuck in the driver and outlives SIGKILL."""


class ChildProcess(Generic[Heard]):
    """A process of ours in a process group of its own, so that Ctrl-C is ours to handle.

    It runs the `main()` of a module, and speaks messages of the types of `heard`. Where the thread
    that made it ends, it ends, too.
    """

    def __init__(self, module: str, heard: object) -> None:
        read_fd, write_fd = os.pipe()
        self._cookie = f"{COOKIE}={uuid.uuid4().hex}"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-P", "-c", _START.format(module), *_ROOTS, str(write_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write_fd,),
                start_new_session=True,
                env=_environment(self._cookie),
            )
        finally:
            os.close(write_fd)
        self._read_fd = read_fd
        self._buffer = b""
        self._decoder: msgspec.json.Decoder[Heard] = msgspec.json.Decoder(heard)
        self._encoder = msgspec.json.Encoder()
        self._tail = b""
        self._drain = threading.Thread(target=self._drain_output, daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: msgspec.Struct) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(self._encoder.encode(message) + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerDiedError(self._how_it_died()) from None

    def receive(self, timeout_s: float) -> Heard:
        """The next message. Raises WorkerDiedError at its end, or after `timeout_s` of silence."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left_s = deadline - time.monotonic()
            # What has come is heard first: we may have been stopped for longer than that ourselves.
            ready, _, _ = select.select([self._read_fd], [], [], min(max(left_s, 0.0), 0.5))
            if not ready and left_s <= 0:
                self._ask_where()
                self.kill()
                place = _place(self._said())
                raise WorkerDiedError(f"no answer within {timeout_s:g} s{place}", timed_out=True)
            if ready:
                data = os.read(self._read_fd, 1 << 20)
                if not data:
                    raise WorkerDiedError(self._how_it_died())
                self._buffer += data
                if len(self._buffer) > MAX_MESSAGE_BYTES:
                    raise self._babble("a message over 64 MiB")
            elif self._process.poll() is not None:  # a child of its holds the pipe open
                raise WorkerDiedError(self._how_it_died())
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._babble(str(error).partition("\n")[0][:120]) from None
        return message

    def _babble(self, what: str) -> WorkerDiedError:
        """What comes is no message of ours: a kernel has written into the pipe."""
        self.kill()
        return WorkerDiedError(f"what came from the worker is no message of ours: {what}")

    def _ask_where(self) -> None:
        """Let the worker write down where it hangs, by the handler that it has for that."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STACK_S)

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
            # A process stuck in its driver can block whoever reads of it: nobody waits for that.
            sweep = threading.Thread(target=_end_strays, args=(self._cookie.encode(),), daemon=True)
            sweep.start()
            sweep.join(SWEEP_S)
            self._drain.join(1.0)
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            if self._read_fd >= 0:
                os.close(self._read_fd)
                self._read_fd = -1

    def interrupt(self) -> None:
        """As Ctrl-C does to a process of the terminal's."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def _drain_output(self) -> None:
        """Keep the last of what it prints, so that a full pipe never stops it."""
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(self._process.stdout.fileno(), 1 << 16):
                self._tail = (self._tail + data)[-TAIL_BYTES:]

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
        elif code == CHANNEL_LOST:
            how = "it closed what it did not open: the pipe to the supervisor"
        else:
            how = f"it ended its process with exit code {code}"
        text = self._said()
        said = _last_line(text)
        return f"{how}{_place(text)}" + (f": {said}" if said else "")

    def _said(self) -> str:
        """The last that was printed, since the last case began."""
        return self._tail.rpartition(NEXT_CASE)[2].decode(errors="replace")


class WorkerProcess(ChildProcess[FromWorker]):
    """The process that owns one device."""

    def __init__(self) -> None:
        super().__init__("gemmbench.runner.worker", FromWorker)


def _last_line(text: str) -> str:
    """The last that it printed, but for the stack that Python writes down as it dies."""
    lines = [line.strip() for line in _STACK.sub("", text).splitlines() if line.strip()]
    # Of a thread that is none of Python's there is no stack, and only these are written.
    lines = [one for one in lines if not one.startswith(("Fatal Python error: ", "Extension mod"))]
    return "".join(c if c.isprintable() else " " for c in lines[-1])[:300] if lines else ""


def _place(text: str) -> str:
    """` at mine.py:12 in run`: the innermost frame outside libraries of the last stack printed."""
    stacks = _STACK.findall(text)
    frames = _FRAME.findall(stacks[-1]) if stacks else []
    if not frames:
        return ""
    own = [frame for frame in frames if not re.search(r"/lib/python3|^<", frame[0])]
    file, line, function = (own or frames)[0]
    return f" at {Path(file).name}:{line} in {function}"


def _end_strays(cookie: bytes) -> None:
    """End what a kernel has started and put out of our reach, by a session of its own."""
    for _ in range(5):  # one may start another while we look
        found = False
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if cookie in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
                    found = True
        if not found:
            return
        time.sleep(0.01)


def _environment(cookie: str) -> dict[str, str]:
    """Ours, marked. A pool of compiling processes, as torch keeps one, would be ended in use.

    torch 2.7 and later take TF32 on ROCm only with a variable of hipBLASLt's; without it tf32 would
    be fp32.
    """
    name, _, value = cookie.partition("=")
    ours = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "HIPBLASLT_ALLOW_TF32": "1", name: value}
    return {**os.environ, **ours}
