"""The few numbers that are kept of each record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gemmbench.analysis.fleet.columns import Columns, Fault, Gathered, Throttled
from gemmbench.analysis.fleet.model import Case, Model
from gemmbench.analysis.fleet.of_record import (
    case_of,
    limits_of,
    peak_of,
    temperature_of,
    throttled_of,
)
from gemmbench.records.frame import spec_of
from gemmbench.records.outline import RecordOutline
from gemmbench.records.schema import Header
from gemmbench.timing.statistics import Floats
from gemmbench.timing.verdict import THROTTLED_SHARE, judged
from gemmkernels.kernel import settings_text

if TYPE_CHECKING:
    from gemmbench.devices.spec import Spec

BATCH = 200
"""Records that are judged at once: the turns of more don't fit into a cache."""


@dataclass
class Kept:
    cases: dict[Case, int] = field(default_factory=dict)
    known: dict[tuple[object, ...], int] = field(default_factory=dict)
    models: dict[Model, Model] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unsupported: set[tuple[int, int]] = field(default_factory=set)
    throttled: list[Throttled] = field(default_factory=list)
    contended: list[tuple[int, int, int]] = field(default_factory=list)
    waiting: list[tuple[int, Model, Header, RecordOutline]] = field(default_factory=list)
    specs: dict[Model, "Spec | None"] = field(default_factory=dict)
    parts: list[Floats] = field(default_factory=list)

    def add(
        self, number: int, model: Model, header: Header, records: Iterable[RecordOutline]
    ) -> Model:
        """Take in the records of a run of that device. Returns the model, one object for all."""
        model = self.models.setdefault(model, model)
        if model not in self.specs:
            self.specs[model] = spec_of(header)
        if self.waiting and self.waiting[0][2].method.target != header.method.target:
            self.flush()
        self.waiting += [(number, model, header, record) for record in records]
        if len(self.waiting) >= BATCH:
            self.flush()
        return model

    def flush(self) -> None:
        """Judge the records that wait, all at once: far faster than run by run."""
        waiting, self.waiting = self.waiting, []
        ok = [one for one in waiting if one[3].status == "ok"]
        for number, model, header, record in waiting:
            if record.status != "ok":
                self._fault(number, self._case(model, header, record), record)
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

    def _fault(self, number: int, case: int, record: RecordOutline) -> None:
        if record.status == "unsupported":
            # In every repeat alike: once is enough.
            if (number, case) in self.unsupported:
                return
            self.unsupported.add((number, case))
        fault = Fault(
            device=number,
            case=case,
            repeat=record.repeat,
            status=record.status,
            reason=record.reason[:200],
        )
        self.faults.append(fault)

    def columns(
        self,
        sources: tuple[str, ...],
        devices: Sequence[Gathered],
        *,
        warnings: Iterable[str],
        synthetic: bool,
    ) -> Columns:
        self.flush()
        table = np.concatenate([np.empty((9, 0)), *self.parts], axis=1)
        device, case, time_us, noisy, limited, temperature, clock, power, repeat = table
        return Columns(
            sources=sources,
            devices=devices,
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
            warnings=tuple(warnings),
            synthetic=synthetic,
        )
