"""The one process that keeps what all agents measure. It imports no torch.

A unit is one device's run. An agent that dies is started again with what its unit has so far; a
device that is gone costs its unit, and where the work is shared, no more than time.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from gemmbench._version import __version__
from gemmbench.records import fleet as fleets
from gemmbench.records.journal import Journal
from gemmbench.records.reader import fleet_of, read, read_lines
from gemmbench.records.schema import Fleet, Footer, Lost, Place, Record
from gemmbench.runner.fleet.ground import Ground, Site
from gemmbench.runner.fleet.listener import FleetListener, FleetOutcome
from gemmbench.runner.fleet.messages import (
    Charge,
    Ended,
    FromAgent,
    Gone,
    Kept,
    Measured,
    Planned,
    Refused,
    Warned,
)
from gemmbench.runner.fleet.resume import new_id, parts_of, request_of, unit_of
from gemmbench.runner.request import Request
from gemmbench.runner.resume import command_of, finished, is_complete, options_of
from gemmbench.runner.stopping import Stop
from gemmkernels.errors import GemmbenchError

Order = Literal["together", "one-by-one", "shared"]
By = Literal["processes", "ray"]

MOST_STARTS = 3
"""Of a unit's agents in a row that brought no record."""

WAIT_S = 1.0
PATIENCE_S = 60.0
"""How long an interrupted agent may take to say how it ended."""


_BAD = ("wrong", "failed", "timeout")


class _Seen(msgspec.Struct):
    """Of a line what the driver looks at."""

    type: str = ""
    status: str = ""


_SEEN = msgspec.json.Decoder(_Seen)


@dataclass(kw_only=True)
class Unit:
    """A device's run, as far as the driver knows it."""

    number: int
    site: Site
    part: int
    done: tuple[str, ...] = ()
    starts: int = 0
    closed: bool = False


class Driver:
    """Carries out one request on all devices of a ground. `run()` may be called once.

    `again` is the command that takes the file up, without its path.
    """

    def __init__(
        self,
        request: Request,
        ground: Ground,
        listener: FleetListener,
        *,
        order: Order = "together",
        resume: Path | None = None,
        by: By = "processes",
        again: str = "gemmbench run --resume",
    ) -> None:
        self._request = request
        self._ground = ground
        self._listener = listener
        self._order: Order = order
        self._resume = resume
        self._by: By = by
        self._again = again
        self._stop = Stop()
        self._journal: Journal | None = None
        self._fleet: Fleet | None = None
        self._began = time.monotonic()
        self._waiting: deque[Unit] = deque()
        self._at_work: dict[int, Unit] = {}
        self._idle: list[Site] = []
        self._units = 0
        self._lost: dict[int, str] = {}
        self._moved: set[int] = set()
        self._early: list[Unit] = []
        self._spans: dict[int, list[tuple[int, int]]] = {}
        self._unwritten: list[tuple[int, bytes]] = []
        self._kept = False
        self._alike: msgspec.Raw | None = None
        self._statuses: Counter[str] = Counter()
        self._worst = 0
        self._interrupted = False
        self._timed_s = self._setup_s = 0.0

    def run(self) -> FleetOutcome:
        """Measure, keep, tell. Raises GemmbenchError for a mistake of the user's."""
        with self._stop:
            try:
                self._prepare()
                self._carry_out()
            except KeyboardInterrupt:
                self._wind_up()
            finally:
                with self._stop.held():
                    self._ground.close()
                    outcome = self._close()
        if not self._kept and self._lost and not self._interrupted:
            raise GemmbenchError(self._nothing())
        self._listener.finished(outcome)
        return outcome

    # What there is to do.

    def _prepare(self) -> None:
        if self._resume is not None:  # lock the file before anything is spent on it
            self._journal = Journal.resume(self._resume)
            self._journal.again = self._again
        sites = self._ground.sites()
        if self._resume is None:
            at_once = 1 if self._order == "one-by-one" else len(sites)
            sites = [
                replace(site, place=msgspec.structs.replace(site.place, at_once=at_once))
                for site in sites
            ]
            self._fleet = Fleet(
                run_id=new_id(),
                started=datetime.now(UTC).isoformat(timespec="seconds"),
                version=__version__,
                places=tuple(site.place for site in sites),
                order=self._order,
                by=self._by,
                command=command_of(self._request.command),
                request=options_of(self._request),
            )
            units = [Unit(number=at, site=site, part=at) for at, site in enumerate(sites)]
        else:
            units = self._left_of(self._resume, sites)
        self._units = max(self._units, len(units))
        self._idle = list(sites) if self._order == "shared" else []
        self._listener.begins(sites if self._order == "shared" else [one.site for one in units])
        self._waiting.extend(units)

    def _left_of(self, path: Path, sites: Sequence[Site]) -> list[Unit]:
        """The units of a file that are to go on. Raises GemmbenchError where there is none."""
        index = fleet_of(path)
        assert index is not None
        fleet = self._fleet = index.fleet
        self._order = fleet.order
        self._spans = {
            unit: [(start, size) for _, start, size in spans] for unit, spans in index.spans.items()
        }
        if self._order == "shared":
            units = self._parts_left(path, index, sites)
        else:
            units = self._units_left(path, index, sites)
        if not units and not self._lost:
            raise GemmbenchError(f"run {fleet.run_id} is complete: nothing is left to do")
        if not units:
            raise GemmbenchError(f"{path}: {next(iter(self._lost.values()))}")
        at_once = fleet.places[0].at_once if fleet.places else 1
        if self._order == "together" and len(units) < at_once:
            told_by = units[0]
            self._listener.warned(
                told_by.number,
                told_by.site,
                f"{len(units)} of {at_once} devices are left to measure: what is measured now is "
                "measured beside fewer",
            )
        return units

    def _units_left(self, path: Path, index: fleets.Index, sites: Sequence[Site]) -> list[Unit]:
        left: list[Unit] = []
        free = list(sites)
        for number, place in enumerate(index.fleet.places):
            found = unit_of(place, free)
            if found is not None:
                free.remove(found)
            if number in index.spans:
                run = read(fleets.member(path, number))
                self._count(run.records)
                if is_complete(run):
                    continue
            site = replace(found or Site(place=place, device=""), place=place)
            unit = Unit(number=number, site=site, part=number)
            if found is None:
                self._lose(unit, f"{told(place, number)} is not there now")
            else:
                left.append(unit)
        return left

    def _parts_left(self, path: Path, index: fleets.Index, sites: Sequence[Site]) -> list[Unit]:
        """Parts of shared work go on as new units, on whichever devices there are."""
        number = 1 + max([*index.spans, len(index.fleet.places) - 1])
        parts = [(part, done) for part, done in parts_of(path, index).items() if done is not None]
        for unit in index.spans:
            self._count(read(fleets.member(path, unit)).records)
        self._alike = self._line(min(index.spans), 0) if index.spans else None
        self._units = number + len(parts)
        return [
            Unit(number=number + at, site=sites[0], part=part, done=done)
            for at, (part, done) in enumerate(parts)
        ]

    def _count(self, records: Iterable[Record]) -> None:
        """What an earlier sitting has finished."""
        done = [record.status for record in records if finished(record)]
        self._statuses.update(done)
        self._worst = max(self._worst, int(any(status in _BAD for status in done)))

    # The work.

    def _carry_out(self) -> None:
        with self._stop.held():
            self._next()
        while self._at_work:
            # What was said is kept before the user's Ctrl-C is heard.
            with self._stop.held():
                for number, message in self._ground.receive(WAIT_S):
                    if number in self._at_work:
                        self._hear(self._at_work[number], message)
                self._write()
                self._next()

    def _next(self) -> None:
        """Start what can be started."""
        while self._waiting:
            if self._order == "one-by-one" and self._at_work:
                return
            if self._order != "shared":
                self._start(self._waiting.popleft())
            elif self._idle:
                unit = self._waiting.popleft()
                unit.site = self._idle.pop(0)
                self._start(unit)
            elif self._at_work:
                return
            else:
                unit = self._waiting.popleft()
                self._lose(unit, self._lost.get(unit.part) or "no device is left for it")

    def _start(self, unit: Unit) -> None:
        unit.starts += 1
        self._at_work[unit.number] = unit
        assert self._fleet is not None
        part = (unit.part, len(self._fleet.places)) if self._order == "shared" else None
        self._ground.start(
            unit.number,
            unit.site,
            Charge(
                version=__version__,
                request=request_of(self._request, unit.site, part),
                place=unit.site.place,
                before=self._lines_of(unit),
                done=unit.done,
                alike=self._alike,
            ),
        )

    def _lines_of(self, unit: Unit) -> tuple[msgspec.Raw, ...]:
        """What the unit's run has so far, of the file: none of it is held in memory."""
        count = len(self._spans.get(unit.number, ()))
        return tuple(self._line(unit.number, at) for at in range(count))

    def _line(self, number: int, at: int) -> msgspec.Raw:
        assert self._journal is not None
        start, size = self._spans[number][at]
        with self._journal.path.open("rb") as stream:
            return msgspec.Raw(os.pread(stream.fileno(), size, start))

    def _hear(self, unit: Unit, message: FromAgent | Gone) -> None:
        match message:
            case Kept():
                self._keep(unit, message.lines)
            case Planned():
                self._listener.planned(unit.number, unit.site, message)
            case Measured():
                self._listener.measured(unit.number, unit.site, message)
            case Warned():
                self._listener.warned(unit.number, unit.site, message.text)
            case Ended():
                self._timed_s += message.timed_s
                self._setup_s += message.setup_s
                self._worst = max(self._worst, message.exit_code)
                self._ended(unit)
            case Refused():
                self._went(unit, message.error, returns=False)
            case Gone():
                self._went(unit, message.reason, returns=message.returns)

    def _ended(self, unit: Unit) -> None:
        self._write()
        del self._at_work[unit.number]
        self._idle.append(unit.site)
        self._listener.ended(unit.number, unit.site)

    def _went(self, unit: Unit, reason: str, *, returns: bool) -> None:
        """An agent is no more: another takes its place, there or, of shared work, elsewhere."""
        self._write()
        if unit.closed:  # its run has come to its end, and only its last word is missing
            self._ended(unit)
            return
        del self._at_work[unit.number]
        if returns and unit.starts < MOST_STARTS:
            self._listener.lost(unit.number, unit.site, reason, again=True)
            self._start(unit)
            return
        self._lose(unit, reason)
        if self._order == "shared":
            done = self._done_of(unit)
            rest = Unit(number=self._units, site=unit.site, part=unit.part, done=done)
            self._units += 1
            self._moved.add(unit.number)
            self._waiting.append(rest)

    def _done_of(self, unit: Unit) -> tuple[str, ...]:
        """The cases that are finished, by it or before it."""
        lines = self._lines_of(unit)
        if not lines:
            return unit.done
        run = read_lines(map(bytes, lines), "the unit's run")
        done = (record.case for record in run.records if finished(record))
        return tuple(sorted({*unit.done, *done}))

    def _lose(self, unit: Unit, reason: str) -> None:
        self._lost[unit.number] = reason
        if not self._kept:  # where all say the same, it is said once, and no file is touched
            self._early.append(unit)
        else:
            self._write_off([unit])

    def _write_off(self, units: Sequence[Unit]) -> None:
        assert self._journal is not None
        lines = [
            Lost(unit=one.number, reason=self._lost[one.number], place=one.site.place)
            for one in units
        ]
        with self._stop.held():
            if lines:
                self._journal.append(*lines)
            for one in units:
                self._listener.lost(one.number, one.site, self._lost[one.number], again=False)

    def _keep(self, unit: Unit, lines: Sequence[msgspec.Raw]) -> None:
        """To be written with what others say at the same time: one wait for the disk a batch."""
        for line in map(bytes, lines):
            self._unwritten.append((unit.number, line))
            seen = _SEEN.decode(line)
            unit.closed = seen.type == "end"
            if seen.type == "record":
                unit.starts = 0
                self._statuses[seen.status] += 1

    def _write(self) -> None:
        """On the disk before anything is made of it; the first line of all begins the file."""
        if not self._unwritten:
            return
        with self._stop.held():
            if self._journal is None:
                assert self._fleet is not None
                self._journal = Journal.create(Path(self._request.out), self._fleet)
                self._journal.again = self._again
            lines, self._unwritten = self._unwritten, []
            for (number, _), span in zip(lines, self._journal.append_of(lines), strict=True):
                self._spans.setdefault(number, []).append(span)
            if not self._kept:
                self._kept = True
                self._write_off(self._early)

    # The end.

    def _wind_up(self) -> None:
        """The user stops it: each agent says how its run ended, if that takes it not too long."""
        self._interrupted = True
        self._waiting.clear()
        self._ground.interrupt()
        end_s = time.monotonic() + PATIENCE_S
        while self._at_work and time.monotonic() < end_s:
            for number, message in self._ground.receive(WAIT_S):
                unit = self._at_work.get(number)
                if unit is None:
                    continue
                if isinstance(message, Kept):
                    self._keep(unit, message.lines)
                elif isinstance(message, Ended | Refused | Gone):
                    del self._at_work[number]
            self._write()

    def _close(self) -> FleetOutcome:
        wall_s = time.monotonic() - self._began
        if self._journal is not None:
            footer = Footer(
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                wall_s=wall_s,
                timed_s=self._timed_s,
                setup_s=self._setup_s,
                statuses=dict(self._statuses),
                interrupted=self._interrupted,
            )
            try:
                if self._kept and not self._at_work and not self._waiting:
                    self._journal.append(footer)
            finally:
                self._journal.close()
        bad = self._worst or (1 if self._lost.keys() - self._moved else 0)
        return FleetOutcome(
            path=self._journal.path if self._journal else None,
            statuses=dict(self._statuses),
            lost=dict(self._lost),
            wall_s=wall_s,
            timed_s=self._timed_s,
            setup_s=self._setup_s,
            interrupted=self._interrupted,
            exit_code=130 if self._interrupted else bad,
        )

    def _nothing(self) -> str:
        """Why nothing was measured: what all say, or the first says."""
        reasons = list(dict.fromkeys(self._lost.values()))
        others = f" (and {len(reasons) - 1} other reasons)" if len(reasons) > 1 else ""
        return f"{reasons[0]}{others}"


def told(place: Place, unit: int) -> str:
    """What to call a device: `n3 GPU 5`, `CPU 0-3`; by its number where that is all there is."""
    which = f"GPU {place.index}" if place.index is not None else f"CPU {place.cores}"
    known = place.index is not None or place.cores
    return " ".join(filter(None, (place.node, which if known else f"device {unit}")))
