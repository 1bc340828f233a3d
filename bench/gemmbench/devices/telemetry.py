"""The supervisor's side of the telemetry: starts the sampler, keeps its samples, never waits.

    telemetry = Telemetry()
    telemetry.start(target)
    ...
    seen = telemetry.window(turn.start_s, turn.stop_s)
    telemetry.stop()

Times are those of time.monotonic(), which all processes of a machine share.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import IO, Self

import msgspec

import gemmkernels
from gemmbench.devices.sample import Sample, Window, summarise
from gemmbench.devices.sampler import Hello
from gemmbench.devices.target import TelemetryTarget

_START = "import sys; sys.path += sys.argv[1:]; from gemmbench.devices.sampler import main; main()"
_ROOTS = (str(Path(__file__).parents[2]), str(Path(gemmkernels.__file__).parents[1]))
"""Where the sampler finds us, after everything else that it can import from."""

_KEPT = 36_000
"""Half an hour at 20 samples a second."""


class Telemetry:
    """Watches one device from another process. No method waits for the device or its driver.

    If the sampler can't start, dies or hangs, windows hold None, and `problem` says why.
    """

    def __init__(self, *, patience_s: float = 2.0) -> None:
        self._patience_s = patience_s
        self._samples: deque[Sample] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._hello: Hello | None = None
        self._heard_s = 0.0
        self._fault: str | None = "telemetry was not started"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, target: TelemetryTarget | None) -> None:
        """Watch a device from now on, and no other; None watches nothing."""
        self.stop()
        with self._lock:
            self._samples.clear()
            self._hello = None
        if target is None:
            self._fault = "there is nothing to watch"
            return
        self._fault, self._heard_s = None, time.monotonic()
        try:
            # -P: what lies in the user's folder is not ours to import. A session of its own: Ctrl-C
            # is for the supervisor, which then stops the sampler.
            process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-c", _START, *_ROOTS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._fault = f"the sampler did not start: {error.strerror}"
            return
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._reader = threading.Thread(
            target=self._read, args=(process, process.stdout), daemon=True
        )
        self._reader.start()
        with contextlib.suppress(OSError):
            process.stdin.write(msgspec.json.encode(target) + b"\n")
            process.stdin.flush()

    def window(self, start_s: float, stop_s: float) -> Window:
        """What was seen between two moments of time.monotonic().

        A sample takes a moment to arrive: what is asked a tenth of a second after `stop_s` is
        complete. Only the last half hour is kept.
        """
        with self._lock:
            samples = list(self._samples)
        found = summarise(samples, start_s, stop_s)
        if found.samples:
            return found
        return replace(found, problem=self.problem or "no sample fell into the window")

    @property
    def problem(self) -> str | None:
        """Why nothing is seen, one line; None while samples arrive."""
        if self._fault is not None or self._process is None:
            return self._fault
        if self._hello is not None and self._hello.problem is not None:
            return self._hello.problem
        code = self._process.poll()
        if code is not None:
            return f"the sampler ended by itself (exit status {code})"
        silent_s = time.monotonic() - self._heard_s
        if silent_s > self._patience_s:
            return f"the sampler has been silent for {silent_s:.1f} s"
        return None

    def stop(self) -> None:
        """End the sampler, by force if need be, in less than 2 s; the samples stay."""
        process, self._process = self._process, None
        if process is None:
            return
        self._fault = (self._hello and self._hello.problem) or "telemetry was stopped"
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        for wait_s in (0.5, 1.0):
            try:
                process.wait(wait_s)
                break
            except subprocess.TimeoutExpired:
                # In the driver it may not even die of this: then it is left alone.
                process.kill()
        if self._reader is not None:
            self._reader.join(0.2)

    def _read(self, process: subprocess.Popen[bytes], pipe: IO[bytes]) -> None:
        decoder = msgspec.json.Decoder(Hello | Sample)
        with pipe:
            for line in pipe:
                with self._lock, contextlib.suppress(msgspec.DecodeError):
                    if self._process is not process:
                        break
                    message = decoder.decode(line)
                    self._heard_s = time.monotonic()
                    if isinstance(message, Hello):
                        self._hello = message
                    else:
                        self._samples.append(message)
