"""Ends a rank that must end, also while torch holds its main thread in a collective."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_S = 0.5
GRACE_S = 1.5
"""A rank that lost another one waits so long: the launcher's signal may tell why."""

INTERRUPTED = 130

LEFT = "gemmbench/left"
"""Where ranks leave their notes, one after another: rank 0 need not ask each."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another rank of the same node."""

    rank: int
    pid: int


class Guard:
    """Waits for signals in a thread of its own, and for a rank that does not come on.

    Rank 0 alone says why a run ends: `closing(reason, interrupted)` writes the rest of its file and
    returns the line to say. The others leave a note for it, and say nothing. `start()` it before
    numpy and torch are imported, so that no thread of theirs takes the signals.
    """

    def __init__(self, rank: int, say: Callable[[str], None]) -> None:
        self.rank = rank
        self.peers: Sequence[Peer] = ()
        self.store: Any = None
        self.limit_s: float | None = None
        self.closing: Callable[[str, bool], str] = lambda reason, _interrupted: reason
        self._say = say
        self._lock = threading.RLock()
        self._doing, self._since_s = "start", time.monotonic()

    def start(self) -> None:
        """Take the signals over."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._watch, name="guard", daemon=True).start()

    def step(self, doing: str) -> None:
        """The main thread has come on, and begins something."""
        self._doing, self._since_s = doing, time.monotonic()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """What is done in here is done whole."""
        with self._lock:
            yield

    def note(self, text: str) -> None:
        """Leave a word for rank 0, before this rank ends."""
        with contextlib.suppress(Exception):  # of a store that is gone
            self.store.append(LEFT, json.dumps([self.rank, text]) + "\n")

    def lost(self, reason: str) -> None:
        """The main thread cannot go on, for this reason or since another rank has ended."""
        if self.rank:
            self.note(f"fault {reason}")
            os._exit(1)
        time.sleep(GRACE_S)
        self._end(1, self._culprit() or reason)

    def _watch(self) -> None:
        while True:
            found = signal.sigtimedwait(SIGNALS, POLL_S)
            if found is not None:
                self._signalled()
            silent_s = time.monotonic() - self._since_s
            # Rank 0 first: it is the one that says so.
            limit_s = None if self.limit_s is None else self.limit_s * (2 if self.rank else 1)
            if limit_s is not None and silent_s > limit_s:
                silent = f"no rank came on for {silent_s:.0f} s in {self._doing}"
                self._end(1, self._culprit() or silent)

    def _signalled(self) -> None:
        if self.rank:
            self.note("signal")
            time.sleep(2 * GRACE_S)  # not before rank 0, which would take it for a fault
            os._exit(INTERRUPTED)
        culprit = self._culprit()
        if culprit:  # the launcher ends all ranks where one has died
            self._end(1, culprit)
        self._end(INTERRUPTED, "stopped by the user", interrupted=True)

    def _end(self, code: int, reason: str, *, interrupted: bool = False) -> None:
        if self.rank:
            os._exit(code)
        with self._lock:
            line = reason
            try:
                line = self.closing(reason, interrupted)
            except Exception as error:  # such as of a disk that is full
                line = f"{reason}; {error}"
            with contextlib.suppress(Exception):
                self._say(line)
            os._exit(code)

    def _culprit(self) -> str:
        """Which rank has ended, hangs or failed, and why, if one is known."""
        notes = self._left()
        for peer in self.peers:
            state = _state(peer.pid)
            if state in ("", "Z", "X") and peer.rank not in notes:
                return f"rank {peer.rank} has ended without a word: it was killed, or crashed"
            if state == "T":
                return f"rank {peer.rank} is stopped, and answers no more"
        faults = [
            (rank, text.removeprefix("fault "))
            for rank, text in notes.items()
            if text.startswith("fault ")
        ]
        own = [(rank, text) for rank, text in faults if not is_of_another(text)]
        if own:
            return f"rank {own[0][0]}: {own[0][1]}"
        return f"rank {faults[0][0]} has lost another rank: {faults[0][1]}" if faults else ""

    def _left(self) -> dict[int, str]:
        """The last word of each rank that has left one; none where the store is gone."""
        try:
            known = self.store is not None and self.store.check([LEFT])
            lines = self.store.get(LEFT).decode().splitlines() if known else []
            notes: dict[int, str] = dict(map(json.loads, lines))
        except Exception:
            return {}
        return {rank: text for rank, text in sorted(notes.items()) if text}


_OF_ANOTHER = ("connection closed", "connection reset", "timed out", "broken pipe", "socket")


def is_of_another(text: str) -> bool:
    """Does an error tell no more than that another rank did not answer?"""
    return any(sign in text.lower() for sign in _OF_ANOTHER)


def _state(pid: int) -> str:
    """The state of a process, as /proc spells it; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""
