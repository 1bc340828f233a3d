"""From run files to columns: a few numbers a record, and what became of each device."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gemmbench.analysis.fleet.columns import Columns, Fault, Gathered, Throttled
from gemmbench.analysis.fleet.model import Case, Model
from gemmbench.analysis.fleet.of_record import (
    case_of,
    facts_of,
    limits_of,
    model_of,
    name_of,
    peak_of,
    temperature_of,
    throttled_of,
)
from gemmbench.records.fleet import split
from gemmbench.records.frame import spec_of
from gemmbench.records.outline import RecordOutline
from gemmbench.records.reader import (
    Run,
    Source,
    fleet_of,
    paths_of,
    read_outline,
    without_collector,
)
from gemmbench.records.schema import Header, Place
from gemmbench.timing.statistics import Floats
from gemmbench.timing.verdict import THROTTLED_SHARE, judged
from gemmkernels.kernel import settings_text

if TYPE_CHECKING:
    from gemmbench.devices.spec import Spec

BATCH = 200
"""Records that are judged at once: the turns of more don't fit into a cache."""

_FAULTS = ("wrong", "failed", "timeout", "interrupted")
_OWN = ("ok", *_FAULTS)


def gather(sources: Sequence[Source]) -> Columns:
    """Read runs one after the other, and keep a few numbers of each record.

    Raises GemmbenchError as `paths_of` and `read_outline` do.
    """
    reading = _Reading()
    with without_collector():
        for path in paths_of(sources):
            reading.take(*read_outline(path))
        reading.flush()
    for path in dict.fromkeys(split(path)[0] for path in reading.paths):
        reading.absent(path)
    return reading.columns(tuple(map(str, sources)))


@dataclass
class _Reading:
    paths: list[Path] = field(default_factory=list)
    numbers: dict[tuple[object, ...], int] = field(default_factory=dict)
    devices: list[Gathered] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    cases: dict[Case, int] = field(default_factory=dict)
    known: dict[tuple[object, ...], int] = field(default_factory=dict)
    models: dict[Model, Model] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)
    rows: list[tuple[float, ...]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    throttled: list[Throttled] = field(default_factory=list)
    contended: list[tuple[int, int, int]] = field(default_factory=list)
    waiting: list[tuple[int, Model, Header, RecordOutline]] = field(default_factory=list)
    warned: Counter[str] = field(default_factory=Counter)
    specs: dict[Model, "Spec | None"] = field(default_factory=dict)
    parts: list[Floats] = field(default_factory=list)
    synthetic: bool = False

    def take(self, run: Run, records: Sequence[RecordOutline]) -> None:
        header = run.header
        self.paths.append(run.path)
        place = header.place or Place()
        number = self._number(place, run.path)
        one = self.devices[number]
        unit = split(run.path)[1]
        if (header.run_id, unit, number) in self.seen or header.probing or header.tuning:
            why = "it holds no cases of a suite" if header.probing or header.tuning else "twice"
            self.warned[f"{run.path.name} does not count: {why}"] += 1
            return
        self.seen.add((header.run_id, unit, number))
        model = model_of(header, place)
        model = self.models.setdefault(model, model)
        one.model, one.facts = one.model or model, one.facts or facts_of(header)
        one.files.append(run.path.name)
        one.unrecorded += max(0, len(header.plan) - len(records))
        one.lost = one.lost or run.lost
        self.synthetic |= header.synthetic
        if model not in self.specs:
            self.specs[model] = spec_of(header)
        for told in run.warnings:
            if "planned cases" not in told:
                self.warned[f"{run.path.name}: {told}"] += 1
        if self.waiting and self.waiting[0][2].method.target != header.method.target:
            self.flush()
        self.waiting += [
            (number, model, header, record) for record in records if record.status in _OWN
        ]
        if len(self.waiting) >= BATCH:
            self.flush()

    def absent(self, path: Path) -> None:
        """Places of a fleet's file that have no run."""
        if (index := fleet_of(path)) is None:
            return
        for unit in sorted({*index.absent, *index.lost}):
            name = path.with_name(f"{path.name}#{unit}")
            number = self._number(index.place(unit), name)
            one = self.devices[number]
            lost = index.lost[unit].reason if unit in index.lost else "it never began"
            one.lost = one.lost or lost

    def _number(self, place: Place, path: Path) -> int:
        """The device's number: the same place is the same device, if its node has a name."""
        where: tuple[object, ...] = (place.index, place.pci_address, place.cores)
        file: object = "" if place.node and any(one not in (None, "") for one in where) else path
        key = (place.node, *where, file)
        if key not in self.numbers:
            self.numbers[key] = len(self.devices)
            self.devices.append(Gathered(place, self._named(place, path)))
        return self.numbers[key]

    def _named(self, place: Place, path: Path) -> str:
        """A name of its own: each task of srun may see its one GPU as the first of the node."""
        by_pci = f"{place.node}/{place.pci_address}" if place.node and place.pci_address else ""
        for name in filter(None, (name_of(place, path), by_pci, path.name)):
            if name not in self.names:
                break
        else:
            name = str(path)
        self.names.add(name)
        return name

    def flush(self) -> None:
        """Judge the records that wait, all at once: far faster than run by run."""
        waiting, self.waiting = self.waiting, []
        ok = [one for one in waiting if one[3].status == "ok"]
        for number, model, header, record in waiting:
            if record.status != "ok":
                case = self._case(model, header, record)
                fault = Fault(
                    device=number,
                    case=case,
                    repeat=record.repeat,
                    status=record.status,
                    reason=record.reason[:200],
                )
                self.faults.append(fault)
        if not ok:
            return
        found = judged(
            [record.turns for *_, record in ok],
            target=ok[0][2].method.target,
            limits_ns=[limits_of(record) for *_, record in ok],
        )
        rows = np.empty((9, len(ok)))
        kept = np.zeros(len(ok), dtype=bool)
        times, spans = found.time_ns[0].tolist(), found.span_ns.tolist()
        for at, (number, model, header, record) in enumerate(ok):
            word = found.verdicts[at]
            case = self._case(model, header, record)
            if word == "contended" or not times[at] > 0:
                self.contended.append((number, case, record.repeat))
                continue
            if word == "throttled":
                self.throttled.append(throttled_of(number, case, record, spans[at]))
            limited = (
                record.limits and limits_of(record).get("power", 0) > THROTTLED_SHARE * spans[at]
            )
            kept[at] = True
            rows[:5, at] = (
                number,
                case,
                times[at] / 1e3,
                word in ("noisy", "drifting"),
                bool(limited),
            )
            rows[5, at] = temperature_of(record)
        rows[6], rows[7] = found.clock_mhz, found.power_w
        rows[8] = [record.repeat for *_, record in ok]
        self.parts.append(rows[:, kept])

    def _case(self, model: Model, header: Header, record: RecordOutline) -> int:
        """The case's number. A plain tuple tells if it is known: a `Case` takes longer to make."""
        key = (
            *(id(model), self._method(header), record.kernel, record.precision, record.m, record.n),
            *(record.k, record.batch, record.experts, record.layout, record.launch, record.sets),
            *(record.ranks, record.message_bytes, record.collective),
            str(record.modes) if record.modes else "",
            settings_text(record.settings) if record.settings else "",
        )
        found = self.known.get(key)
        if found is None:
            case = case_of(model, header, record)
            found = self.known[key] = self.cases.setdefault(case, len(self.cases))
            if found == len(self.peaks):
                self.peaks.append(peak_of(self.specs.get(model), record.precision))
        return found

    def _method(self, header: Header) -> tuple[object, ...]:
        method = header.method
        return method.preset, method.cache, method.data, method.launch, method.threads, header.tool

    def columns(self, sources: tuple[str, ...]) -> Columns:
        table = np.concatenate([np.empty((9, 0)), *self.parts], axis=1)
        device, case, time_us, noisy, limited, temperature, clock, power, repeat = table
        return Columns(
            sources=sources,
            devices=self.devices,
            cases=list(self.cases),
            peaks=self.peaks,
            device=device.astype(np.int64),
            case=case.astype(np.int64),
            repeat=repeat.astype(np.int64),
            time_us=time_us,
            temperature_c=temperature,
            clock_mhz=clock,
            power_w=power,
            noisy=noisy > 0,
            limited=limited > 0,
            faults=self.faults,
            throttled=self.throttled,
            contended=self.contended,
            warnings=tuple(_told(self.warned)),
            synthetic=self.synthetic,
        )


def _told(warned: Counter[str], most: int = 5) -> Iterable[str]:
    for text, count in list(warned.items())[:most]:
        yield text if count == 1 else f"{text} ({count} times)"
    if len(warned) > most:
        yield f"{len(warned) - most} more warnings: gemmbench show has them"
