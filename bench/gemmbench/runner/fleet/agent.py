"""The process at one device: it carries out its charge as a run of its own, and hands over each
line of that run.

Started by `AgentProcess`; the charge comes on standard input, messages go to the file descriptor.
It imports no torch: that is for the worker that it starts.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import msgspec

from gemmbench._version import __version__
from gemmbench.records.journal import encode
from gemmbench.records.reader import read_lines
from gemmbench.records.schema import Header, Line, Record, Roof, SelfTest
from gemmbench.runner.fleet.messages import (
    Alive,
    Charge,
    Ended,
    FromAgent,
    Kept,
    Measured,
    Planned,
    Refused,
    Warned,
)
from gemmbench.runner.listener import Outcome
from gemmbench.runner.plan import Group, Plan
from gemmbench.runner.process import ChildProcess, WorkerDiedError
from gemmbench.runner.stopping import SIGNALS
from gemmbench.runner.supervisor import Supervisor
from gemmbench.runner.worker import PR_SET_PDEATHSIG
from gemmbench.timing.turn import Turn
from gemmkernels.errors import GemmbenchError

DRIVER_LOST = 74
"""The exit code of an agent that nobody listens to any more."""

START_S = 600.0
"""How long an agent may take to begin, where many read the same disk at once."""

MISSING = 12
"""So many signs of life in a row must be missing, before an agent is given up."""

MOST_BYTES = 1 << 22
"""Of a message that keeps lines, unless a single one is longer."""


class AgentProcess(ChildProcess[FromAgent | Alive]):
    """An agent, as whoever starts it sees it."""

    def __init__(self) -> None:
        super().__init__("gemmbench.runner.fleet.agent", FromAgent | Alive)
        self._began = self._stopped = False
        self._silence_s = START_S
        self._beat_s = 0.0

    def charge(self, charge: Charge) -> None:
        """What it is started for. Raises WorkerDiedError where it is no more."""
        self._beat_s = charge.beat_s
        self.send(charge)

    def hear(self) -> FromAgent:
        """What it says next, however long that takes.

        Raises WorkerDiedError at its end, and where it gives no sign of life: it is ended then.
        """
        while True:
            try:
                message = self.receive(self._silence_s)
            except WorkerDiedError as error:
                if not error.timed_out:
                    raise
                reason = f"no sign of life for {self._silence_s:g} s"
                raise WorkerDiedError(reason, timed_out=True) from None
            if not self._began:
                self._began = True
                self._silence_s = MISSING * self._beat_s
                if self._stopped:  # it may not have listened to signals when that came
                    super().interrupt()
            if not isinstance(message, Alive):
                return message

    def interrupt(self) -> None:
        self._stopped = True
        super().interrupt()


class Wire:
    """Takes the place of a run's file: lines go to the driver, which keeps them."""

    path = Path("-")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._encoder = msgspec.json.Encoder()
        self._lock = threading.Lock()

    def append(self, *lines: Line) -> None:
        some: list[msgspec.Raw] = []
        size = 0
        for line in lines:
            data = encode(line).rstrip()
            if some and size + len(data) > MOST_BYTES:
                self.send(Kept(lines=tuple(some)))
                some, size = [], 0
            some.append(msgspec.Raw(data))
            size += len(data)
        if some:
            self.send(Kept(lines=tuple(some)))

    def close(self) -> None:
        """The agent has more to say than its run."""

    def send(self, message: FromAgent | Alive) -> None:
        data = self._encoder.encode(message) + b"\n"
        try:
            with self._lock:
                while data:
                    data = data[os.write(self._descriptor, data) :]
        except OSError:
            os._exit(DRIVER_LOST)

    def beat(self, every_s: float) -> None:
        """Give signs of life, for ever; in a thread of its own."""
        while True:
            time.sleep(every_s)
            self.send(Alive())


class Teller:
    """Tells the driver how the run gets on."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def planned(self, header: Header, plan: Plan, path: Path | None) -> None:  # noqa: ARG002
        cases = sum(len(group.cases) for group in plan.groups) * plan.repeats
        self._wire.send(
            Planned(
                device=header.device.name,
                cases=cases,
                estimate_s=plan.estimate_s,
                doctor=header.doctor,
            )
        )

    def began(self, repeat: int, group: Group, left_s: float) -> None: ...

    def doing(self, kernel: str, precision: str, phase: str) -> None: ...

    def took(self, kernel: str, precision: str, turn: Turn) -> None: ...

    def tested(self, result: SelfTest) -> None: ...

    def probed(self, roof: Roof) -> None: ...

    def finished(self, outcome: Outcome) -> None: ...

    def ended(self, record: Record) -> None:
        medians = sorted(turn.median_ns for turn in record.turns if turn.median_ns is not None)
        batch = f"{record.batch}*" * (record.batch > 1)
        self._wire.send(
            Measured(
                kernel=record.kernel,
                precision=record.precision,
                shape=f"{batch}{record.m}x{record.n}x{record.k}",
                status=record.status,
                reason=record.reason,
                time_us=medians[len(medians) // 2] / 1e3 if medians else None,
            )
        )


def carry_out(charge: Charge, wire: Wire) -> FromAgent:
    """Measure; the last word on it."""
    if charge.version != __version__:
        return Refused(
            error=f"gemmbench is {__version__} there, and {charge.version} here: install the same"
        )
    try:
        before = read_lines(charge.before, "the unit's run") if charge.before else None
        outcome = Supervisor(
            charge.request,
            Teller(wire),
            resume=before,
            wire=wire,
            place=charge.place,
            done=charge.done,
            alike=msgspec.json.decode(charge.alike, type=Header) if charge.alike else None,
        ).run()
    except GemmbenchError as error:
        return Refused(error=str(error))
    return Ended(
        exit_code=outcome.exit_code,
        interrupted=outcome.interrupted,
        timed_s=outcome.timed_s,
        setup_s=outcome.setup_s,
    )


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(KeyboardInterrupt):  # before there was anything to keep
        _listen()
        _work(Wire(int(sys.argv[1])))


def _listen() -> None:
    """To whoever stops the run, by SIGINT alone.

    Under Ray that signal is blocked, and in a script's background it is ignored: both are
    inherited, and are passed on to all that is started here.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _work(wire: Wire) -> None:
    wire.send(Alive())

    def tell(message: Warning | str, *_: object, **__: object) -> None:
        wire.send(Warned(text=" ".join(str(message).split())))

    warnings.showwarning = tell
    charge = msgspec.json.decode(sys.stdin.buffer.readline(), type=Charge)
    threading.Thread(target=wire.beat, args=(charge.beat_s,), daemon=True).start()
    wire.send(carry_out(charge, wire))


if __name__ == "__main__":
    main()
