"""Roofs in the supervisor: which a run measures, and what becomes of each.

Whatever a probe does to its worker costs that probe; a fresh worker takes up the others.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from gemmbench.devices.telemetry import Telemetry
from gemmbench.records.journal import keep_samples
from gemmbench.records.schema import Roof, Status
from gemmbench.runner.crew import Crew
from gemmbench.runner.exchange import Exchange
from gemmbench.runner.listener import Listener
from gemmbench.runner.messages import Bound, Ended, Probing, Ready
from gemmbench.runner.recording import Seen
from gemmbench.runner.request import Request
from gemmbench.timing.method import Timing, timing
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.probes.roofs import Wanted, wanted

BIND_S = 0.5
"""To compile a probe and to check it; a guess, for the time that is left."""

SETTLED = ("ok", "unsupported", "wrong", "failed", "timeout")
"""Statuses that stand when a run is taken up again."""


@dataclass(kw_only=True)
class _Progress:
    """What is known so far of one probe."""

    wanted: Wanted
    ready: Ready | None = None
    turns: list[Turn] = field(default_factory=list)
    status: Status | None = None
    reason: str = ""

    @property
    def called(self) -> tuple[str, str]:
        return self.wanted.name, self.wanted.precision

    def begin(self) -> None:
        self.ready, self.turns = None, []

    def hear(self, message: Bound | Ready | Ended) -> None:
        if isinstance(message, Ready):
            self.ready = message

    def end(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason


def how_of_roofs(how: Timing, device: Device) -> Timing:
    """A run's method, but never launch by launch from cold caches: a roof is what can be kept up.

    Where the run does that, the constants are those of `sustained`.
    """
    if how.launch != "single":
        return how
    found = timing("sustained", kind=device.kind, vendor=device.vendor)
    return msgspec.structs.replace(found, repeats=how.repeats)


class Roofs(Exchange):
    """The roofs of one run. `keep` puts a roof on the disk, and tells."""

    def __init__(
        self,
        crew: Crew,
        listener: Listener,
        request: Request,
        *,
        telemetry: Telemetry,
        keep: Callable[[Sequence[Roof]], None],
    ) -> None:
        super().__init__(crew, listener, timeout_s=request.timeout_s)
        self._request = request
        self._telemetry = telemetry
        self._keep = keep
        self._done: set[tuple[int, str, str]] = set()
        self._wanted: tuple[Wanted, ...] = ()
        self._timing: Timing | None = None

    def take_up(self, roofs: Iterable[Roof]) -> None:
        """Those of an earlier sitting, which stand."""
        self._done |= {_key(roof) for roof in roofs if roof.status in SETTLED}

    def plan(self, device: Device, how: Timing) -> float:
        """Decide what to measure; about how many seconds all repeats of it take."""
        self._timing = how_of_roofs(how, device)
        graphs = device.vendor == "nvidia" or self._timing.launch == "graph"
        self._wanted = wanted(device, self._request.precisions, graphs=graphs)
        count = sum(1 for one in self._wanted if not one.reason)
        turn_s = self._timing.settle_s + self._timing.turn_s
        return how.repeats * count * (BIND_S + self._timing.min_rounds * turn_s)

    @property
    def count(self) -> int:
        return len(self._wanted)

    def missing(self, repeat: int) -> tuple[Wanted, ...]:
        """What is still to be done in a repeat."""
        return tuple(w for w in self._wanted if (repeat, w.name, w.precision) not in self._done)

    def measure(self, repeat: int) -> None:
        """Every probe of a repeat that is missing ends in a status. Raises DeviceGoneError."""
        known = [_Progress(wanted=one) for one in self.missing(repeat)]
        for one in known:
            if one.wanted.reason:
                one.end("unsupported", one.wanted.reason)
        how = self._timing
        assert how is not None

        def ask(remaining: Sequence[_Progress]) -> Probing:
            probes = tuple(one.wanted for one in remaining)
            return Probing(probes=probes, timing=how, seed=self._request.seed)

        try:
            self._carry_out(known, ask)
        finally:  # what has ended stays known, also when the user stops the run here
            self._end([one for one in known if one.status is not None], repeat)

    def abandon(self, repeats: int, status: Status, reason: str) -> None:
        """Those that nobody came to end in this status."""
        for repeat in range(repeats):
            known = [_Progress(wanted=one) for one in self.missing(repeat)]
            for one in known:
                one.end(status, reason)
            self._end(known, repeat)

    def _end(self, known: Sequence[_Progress], repeat: int) -> None:
        made = [self._made(one, repeat) for one in known]
        self._done |= {_key(roof) for roof in made}
        if made:
            self._keep(made)

    def _made(self, one: _Progress, repeat: int) -> Roof:
        assert one.status is not None
        turns = tuple(one.turns) if one.status == "ok" else ()
        seen = Seen.of(turns, self._telemetry)
        roof = Roof(
            repeat=repeat,
            name=one.wanted.name,
            precision=one.wanted.precision,
            unit=one.wanted.unit,
            work=one.ready.work if one.ready else 0.0,
            status=one.status,
            reason=one.reason,
            turns=seen.turns,
            config=dict(one.ready.config) if one.ready else {},
            limits=dict(seen.limits),
        )
        return keep_samples(roof)


def _key(roof: Roof) -> tuple[int, str, str]:
    return roof.repeat, roof.name, roof.precision
