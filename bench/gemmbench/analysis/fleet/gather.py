"""From run files to columns: which devices there are, and what became of each."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gemmbench.analysis.fleet.columns import Columns, Ran
from gemmbench.analysis.fleet.kept import Kept
from gemmbench.analysis.fleet.known import Devices
from gemmbench.analysis.fleet.of_record import facts_of, model_of
from gemmbench.records.fleet import Index, member, split
from gemmbench.records.outline import RecordOutline
from gemmbench.records.reader import (
    ForeignFileError,
    Run,
    Source,
    files_of,
    outlines,
    without_collector,
)
from gemmbench.records.schema import Place
from gemmkernels.errors import GemmbenchError


def gather(sources: Sequence[Source]) -> Columns:
    """Read runs one after the other, and keep a few numbers of each record.

    A run file of which nothing can be read is a device without a run. Raises GemmbenchError where
    nothing can be read at all, and for a file that was named and is none of ours.
    """
    named: dict[Path, bool] = {}
    for one in sources:
        for path, is_named in files_of(one):
            named[path] = is_named or named.get(path, False)
    reading = _Reading()
    with without_collector():
        for path, is_named in named.items():
            reading.file(path, is_named=is_named)
    reading.place_those_to_be()
    return reading.kept.columns(
        tuple(map(str, sources)),
        reading.devices.every,
        warnings=_told(reading.warned),
        synthetic=reading.synthetic,
    )


@dataclass
class _Reading:
    devices: Devices = field(default_factory=Devices)
    kept: Kept = field(default_factory=Kept)
    plans: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    seen: dict[tuple[str, int | None], int] = field(default_factory=dict)
    to_be: list[tuple[object, Place, Path, Ran]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    warned: Counter[str] = field(default_factory=Counter)
    is_any_read: bool = False
    synthetic: bool = False

    def file(self, path: Path, *, is_named: bool) -> None:
        """All runs of a file, and the places in it that have none."""
        index = None
        try:
            for one in outlines(path):
                if isinstance(one, Index):
                    index = one
                    self._expected(path, one)
                elif one.run is not None:
                    self._take(one.run, one.records, index)
                else:
                    self._not_read(one.path, one.fault, index)
        except ForeignFileError as error:
            if is_named:
                raise
            self.unread.append(str(error))
            self.warned[f"not loaded: {error}"] += 1
        except GemmbenchError as error:
            file, unit = split(path)
            if is_named and (unit is not None or not file.is_file()):
                raise
            self._not_read(path, str(error), None)

    def _not_read(self, path: Path, fault: str, index: Index | None) -> None:
        self.unread.append(fault)
        unit = split(path)[1]
        if index is None or unit is None:
            ran = Ran(file=path.name, lost=fault, is_read=False)
            self.to_be.append((path, Place(), path, ran))
        else:
            self._missing_unit(split(path)[0], index, unit, fault)

    def _expected(self, path: Path, index: Index) -> None:
        """Places of a fleet's file that have no run, or of which it was lost."""
        self.is_any_read |= bool(index.absent or index.lost)
        path, asked = split(path)
        for unit in sorted({*index.absent, *index.lost}):
            if asked in (None, unit):
                lost = index.lost[unit].reason if unit in index.lost else "it never began"
                self._missing_unit(path, index, unit, lost)

    def _missing_unit(self, path: Path, index: Index, unit: int, lost: str) -> None:
        name = member(path, unit)
        ran = Ran(file=name.name, started=index.fleet.started, lost=lost, is_read=False)
        self.to_be.append(((index.fleet.run_id, unit), index.place(unit), name, ran))

    def _take(self, run: Run, records: Sequence[RecordOutline], index: Index | None) -> None:
        header, unit = run.header, split(run.path)[1]
        self.is_any_read = True
        if header.probing or header.tuning:
            self.warned[f"{run.path.name} does not count: it holds no cases of a suite"] += 1
            return
        key = (header.run_id, unit)
        if key in self.seen:
            self.warned[f"{run.path.name} does not count: twice"] += 1
            return
        place = header.place or Place()
        number = self.devices.measured(place, run.path, header.device.partition or "")
        self.seen[key] = number
        if index is not None:
            self.devices.is_of((index.fleet.run_id, unit), number)
        one = self.devices.every[number]
        model = self.kept.add(number, model_of(header, place), header, records)
        one.model, one.facts = one.model or model, one.facts or facts_of(header)
        one.runs.append(self._ran(run, records))
        self.synthetic |= header.synthetic
        for told in run.warnings:
            if "planned cases" not in told:
                self.warned[f"{run.path.name}: {told}"] += 1

    def _ran(self, run: Run, records: Sequence[RecordOutline]) -> Ran:
        plan = run.header.plan
        missing = set(plan) - {one.case for one in records} if len(records) < len(plan) else ()
        return Ran(
            file=run.path.name,
            started=run.header.started,
            plan=self.plans.setdefault(plan, plan),
            missing=frozenset(missing),
            lost=run.lost,
            came_to_end=run.footer is not None and not run.footer.interrupted,
        )

    def place_those_to_be(self) -> None:
        """Runs that were to be are of devices that others tell of, or of new ones.

        Raises GemmbenchError where nothing was read, or no device is told of.
        """
        if self.unread and not self.is_any_read:
            more = f"; nor can {len(self.unread) - 1} more" if len(self.unread) > 1 else ""
            raise GemmbenchError(f"{self.unread[0]}{more}")
        for run, place, path, ran in self.to_be:
            one = self.devices.every[self.devices.planned(run, place, path)]
            if not any(known.file == ran.file and known.lost for known in one.runs):
                one.runs.append(ran)
        if not self.devices.every:
            raise GemmbenchError(
                "no run of a suite is in these files: measure one with gemmbench run --suite quick"
            )


def _told(warned: Counter[str], most: int = 5) -> Iterable[str]:
    for text, count in list(warned.items())[:most]:
        yield text if count == 1 else f"{text} ({count} times)"
    if len(warned) > most:
        yield f"{len(warned) - most} more warnings: gemmbench show has them"
