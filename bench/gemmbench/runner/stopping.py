"""Ctrl-C and its kin: they stop a run at once, and never in the middle of what it writes."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S = 10.0
EXIT_CODE = 130


class Stop:
    """While it is entered, the first of the signals raises KeyboardInterrupt, and no later one.

    Within `held()` that one waits for the end of it. After it the run writes how it ended: further
    signals are ignored, but one that comes over 10 s later ends the process where it stands.
    Signals that are ignored, as under nohup, or that somebody else handles, are left alone.
    """

    def __init__(self) -> None:
        self._previous: dict[signal.Signals, object] = {}
        self._heard_s: float | None = None
        self._holds = 0
        self._owed = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for one in SIGNALS:
                if signal.getsignal(one) in (signal.SIG_DFL, signal.default_int_handler):
                    self._previous[one] = signal.signal(one, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._previous.items():
            signal.signal(one, handler)  # type: ignore[arg-type]
        self._previous.clear()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """What is done in here is done whole."""
        self._holds += 1
        try:
            yield
        except BaseException:  # that one is told, not the signal
            self._owed = False
            raise
        finally:
            self._holds -= 1
        if self._owed and not self._holds:
            self._owed = False
            raise KeyboardInterrupt

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self._heard_s is None:
            self._heard_s = now_s
            if not self._holds:
                raise KeyboardInterrupt
            self._owed = True
        elif now_s - self._heard_s > PATIENCE_S:
            os._exit(EXIT_CODE)
