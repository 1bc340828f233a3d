"""From what a tool told to runs as `read` returns them: one a device and a method."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gemmbench._version import __version__
from gemmbench.records.imports.devices import device_of, encoded
from gemmbench.records.imports.words import Asked, Findings, How, Place, Told, Value
from gemmbench.records.journal import keep_samples
from gemmbench.records.reader import Run
from gemmbench.records.schema import Check, Header, Method, Record
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, one_line
from gemmkernels.kernel import settings_text
from gemmkernels.problem import Problem, shape_text

NOT_VERIFIED = "not verified by its tool"
INDEX = "device_index"
"""In a header's host: the tool's number of the device, where it tells one."""

RATE_OFF = 0.1
"""How far a tool's own rate may be from shape and time: printed digits and epilogues are within."""

DIGITS = 5
"""Of a time, by which the same measurement printed twice is known: tools print six."""

MAX_NS = 1e18


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is the same for all runs of one file."""

    path: Path
    data: bytes
    tool: str
    asked: Asked
    command: tuple[str, ...]
    modified: float


def runs_of(found: Findings, source: Source) -> tuple[Run, ...]:
    """The runs of a file. Raises GemmbenchError where nothing of it is a measurement."""
    _check_precision(found, source.asked)
    left_out = Counter(found.left_out)
    by_method: dict[tuple[Place, How], list[Told]] = {}
    for told in found.told:
        if why := _impossible(told):
            left_out[why] += 1
        else:
            by_method.setdefault((told.place, told.how), []).append(told)
    if not by_method:
        reasons = "; ".join(_counted(left_out)) or "it has no rows"
        raise GemmbenchError(f"nothing to import: {reasons}")
    runs = []
    for (place, how), some in by_method.items():
        device, device_id = device_of(place, tool=source.tool, device_id=source.asked.device_id)
        records, twice = _records(some, device)
        if twice:
            left_out["printed twice"] += twice
        header = _header(found, source, device=device, device_id=device_id, place=place, how=how)
        runs.append(Run(path=source.path, header=header, records=records))
    first = runs[0]
    import msgspec

    # What is in no run is told with the first of them.
    told_of = msgspec.structs.replace(first.header, left_out=_counted(left_out))
    runs[0] = Run(path=first.path, header=told_of, records=first.records)
    return tuple(runs)


def _check_precision(found: Findings, asked: Asked) -> None:
    told = dict.fromkeys(one.precision for one in found.told)
    if asked.precision is not None and told and asked.precision not in told:
        raise GemmbenchError(
            f"--precision {asked.precision} is not what it tells itself, {', '.join(told)}: leave "
            "it out"
        )


def _counted(left_out: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{count} {why}" for why, count in left_out.most_common())


def _impossible(told: Told) -> str | None:
    """Why a record could not hold it."""
    try:
        Problem(
            m=told.m,
            n=told.n,
            k=told.k,
            batch=told.batch,
            experts=told.experts,
            layout=told.layout,
            precision=told.precision,
        )
    except GemmbenchError:
        return "of a shape that cannot be"
    times = (*told.rounds_ns, *((told.time_ns,) if told.time_ns is not None else ()))
    if not all(0 < one < MAX_NS for one in times):
        return "of a time that cannot be"
    return None


def _header(
    found: Findings,
    source: Source,
    *,
    device: Device,
    device_id: str | None,
    place: Place,
    how: How,
) -> Header:
    began = datetime.fromtimestamp(source.modified, UTC).isoformat(timespec="seconds")
    return Header(
        run_id=_run_id(source, place, how),
        started=found.started or began,
        version=__version__,
        device=device,
        device_id=device_id,
        method=_method(how),
        software=found.software,
        host=found.host | ({} if place.index is None else {INDEX: str(place.index)}),
        command=source.command,
        tool=source.tool,
    )


def _run_id(source: Source, place: Place, how: How) -> str:
    """The same for the same file read in the same way: then it is known when it comes again."""
    mark = hashlib.sha256(source.data)
    for part in (source.tool, source.asked, place, how):
        mark.update(repr(part).encode("utf-8", "replace"))
    return mark.hexdigest()[:8]


def _method(how: How) -> Method:
    """Theirs. What they do not tell of it is "" or 0; nothing of ours decided anything."""
    return Method(
        preset=how.preset[:60],
        cache=how.cache[:40],
        launch=how.launch[:40],
        data=how.data[:40],
        seed=0,
        settle_s=0.0,
        turn_s=0.0,
        sample_s=0.0,
        min_rounds=1,
        max_rounds=1,
        max_time_s=0.0,
        target=0.0,
        repeats=1,
    )


def _records(some: Sequence[Told], device: Device) -> tuple[tuple[Record, ...], int]:
    """The records, each with rounds that no other of its group has; and how many came twice."""
    seen: set[tuple[object, ...]] = set()
    repeats: Counter[str] = Counter()
    rounds: Counter[str] = Counter()
    records: list[Record] = []
    twice = 0
    for told in (encoded(one, device) for one in some):
        group = f"{shape_text(told.m, told.n, told.k, told.batch, told.experts)}-{told.layout}"
        case = f"{group}/{told.kernel}/{told.precision}/{settings_text(told.settings)}"
        time = f"{told.time_ns:.{DIGITS - 1}e}" if told.time_ns is not None else told.status
        key = (case, tuple(sorted(told.modes.items())), time, told.label)
        if key in seen:
            twice += 1
            continue
        seen.add(key)
        records.append(_record(told, group=group, repeat=repeats[case], first=rounds[group]))
        repeats[case] += 1
        rounds[group] += max(1, len(told.rounds_ns))
    return tuple(records), twice


def _record(told: Told, *, group: str, repeat: int, first: int) -> Record:
    turns = _turns(told, first) if told.status == "ok" else ()
    warnings = list(told.warnings)
    if told.status == "ok" and not told.verified:
        warnings.append(NOT_VERIFIED)
    if off := _rate_off(told):
        warnings.append(off)
    record = Record(
        group=group,
        repeat=repeat,
        kernel=told.kernel,
        tier=told.tier,
        backend=told.backend,
        base=False,
        m=told.m,
        n=told.n,
        k=told.k,
        batch=told.batch,
        experts=told.experts,
        layout=told.layout,
        precision=told.precision,
        label=one_line(told.label),
        status=told.status,
        reason=one_line(told.reason),
        encoding=told.encoding,
        out_dtype=told.out_dtype,
        accumulate=told.accumulate,
        turns=turns,
        n_samples=told.n_samples,
        check=Check(exact_by="its tool", error=None, rows=0) if told.verified else None,
        config={name: value for name, value in told.config.items() if _is_sound(value)},
        tile=told.tile,
        splits=told.splits,
        modes=told.modes,
        warnings=tuple(warnings),
        settings=told.settings or None,
    )
    return keep_samples(record)


def _is_sound(value: Value) -> bool:
    """Has it been told, and can JSON hold it?"""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _turns(told: Told, first: int) -> tuple[Turn, ...]:
    """A turn a value. A turn has one sample at least, also where the tool does not tell."""
    values = told.rounds_ns or ((told.time_ns,) if told.time_ns is not None else ())
    count = len(told.samples_ns) or told.n_samples // max(1, len(values)) or 1
    return tuple(
        Turn(
            round=first + index,
            start_s=0.0,
            stop_s=0.0,
            settle_s=0.0,
            launches=0,
            n_samples=count,
            disturbed=0,
            median_ns=value,
            samples_ns=told.samples_ns or None,
            clock_mhz=told.clock_mhz,
            power_w=told.power_w,
        )
        for index, value in enumerate(values)
    )


def _rate_off(told: Told) -> str | None:
    """A tool's rate that its shape and time do not make: one of the three was misread."""
    if not told.told_tflops or told.time_ns is None:
        return None
    made = 2.0 * told.batch * told.m * told.n * told.k / told.time_ns / 1e3
    if abs(told.told_tflops / made - 1) <= RATE_OFF:
        return None
    return f"its tool says {told.told_tflops:.4g} TFLOP/s, shape and time make {made:.4g}"
