"""NVBench's JSON (NVIDIA/nvbench, nvbench/json_printer.cu).

Numbers are strings, times are seconds, clocks Hz. Its cold times (caches flushed, one launch a
sample) and its batch times (launches back to back) are two methods, and so two runs. No field tells
a shape or a type: they are axes, under names that the benchmark's author chose.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from gemmbench.records.imports.dtypes import encoding_of
from gemmbench.records.imports.named import Case, case_of
from gemmbench.records.imports.nvbench_file import Device, File, State, samples_of
from gemmbench.records.imports.text import document, number, positive
from gemmbench.records.imports.words import (
    Asked,
    Findings,
    How,
    Place,
    Told,
    Value,
    named,
    plain,
)
from gemmkernels.errors import GemmbenchError, one_line

_SIDE = "nv/json/bin:nv/cold/sample_times"


@dataclass(frozen=True)
class _Kind:
    """One of NVBench's ways to time, by the beginning of its tags."""

    time: str
    count: str
    how: How


_COLD = _Kind(
    "nv/cold/time/gpu/",
    "nv/cold/sample_size",
    How(preset="nvbench-cold", cache="flushed", launch="single"),
)
_KINDS = (
    _COLD,
    _Kind(
        "nv/batch/time/gpu/",
        "nv/batch/sample_size",
        How(preset="nvbench-batch", cache="hot", launch="stream"),
    ),
    _Kind(
        "nv/cpu_only/time/cpu/",
        "nv/cpu_only/sample_size",
        How(preset="nvbench-cpu-only", launch="loop"),
    ),
)
_SPREAD = {
    "mean": "mean_us",
    "median": "median_us",
    "min": "min_us",
    "max": "max_us",
    "q1": "q1_us",
    "q3": "q3_us",
    "stdev/absolute": "stdev_us",
}


def read(data: bytes, asked: Asked, folder: Path) -> Findings:
    """Every state of a shape; `folder` is where the files of its single samples lie, if any.

    Raises GemmbenchError where no state has a shape, or one that has tells no type.
    """
    file = document(data, File, what="NVBench's JSON")
    found = Findings()
    version = file.meta.version.nvbench
    if told := version.git_version or version.string:
        found.software["nvbench"] = one_line(told, 60)
    places = {device.id: _place(device) for device in file.devices}
    axes: dict[str, None] = {}
    for benchmark in file.benchmarks:
        for state in benchmark.states:
            values = {axis.name: _text(axis.value) for axis in state.axis_values or ()}
            axes |= dict.fromkeys(list(values)[:20])
            case = case_of(values, asked)
            if case is None:
                found.leave("without a shape")
                continue
            place = places.get(
                -1 if state.device is None else state.device,
                Place(vendor="nvidia", index=state.device),
            )
            base = _base(benchmark.name, case, values=values, place=place, asked=asked)
            _state(state, base, folder=folder, found=found)
    if not found.told:
        what = f"its axes are {named(axes)}" if axes else "it has no axes"
        raise GemmbenchError(
            f"no state of it has a shape: {what}; say which are M, N and K with --map m=…,n=…,k=… "
            "(a name or a number)"
        )
    return found


def _text(value: str | float | None) -> str:
    """Newer versions write numbers as text, and a whole one may come as 4096.0."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else str(value)
    return "" if value is None else value[:200]


def _place(device: Device) -> Place:
    return Place(
        vendor="nvidia",
        index=device.id,
        name=one_line(device.name, 120),
        # 900 is 9.0, and 1000 is 10.0
        architecture=f"sm_{device.sm_version // 10}" if 0 < device.sm_version < 100_000 else "",
        units=device.number_of_sms if 0 < device.number_of_sms < 100_000 else 0,
        memory_bytes=max(0, min(device.global_memory_size, 2**50)),
        llc_bytes=device.l2_cache_size if 0 < device.l2_cache_size < 2**40 else None,
    )


def _base(name: str, case: Case, *, values: Mapping[str, str], place: Place, asked: Asked) -> Told:
    """What the times of a state share; axes that are no part of the shape stay as settings."""
    precision = case.precision or asked.precision
    if precision is None:
        raise GemmbenchError(
            "no axis of it tells the type of the operands: say --precision, such as --precision "
            "bf16, or --map precision=AXIS"
        )
    others = [(name, value) for name, value in values.items() if name not in case.used]
    return Told(
        kernel=plain(name, "nvbench"),
        backend="nvbench",
        place=place,
        how=_COLD.how,
        precision=precision,
        m=case.m,
        n=case.n,
        k=case.k,
        batch=case.batch,
        layout=case.layout,
        encoding=encoding_of(case.kind) if case.kind else "",
        warnings=case.warnings,
        settings={one_line(name, 60): one_line(value, 60) for name, value in others[:20]},
    )


def _state(state: State, base: Told, *, folder: Path, found: Findings) -> None:
    if state.is_skipped:
        reason = one_line(state.skip_reason, 200)
        found.add(replace(base, status="unsupported", reason=reason))
        return
    numbers = _numbers(state)
    told = False
    for kind in _KINDS:
        if f"{kind.time}mean" not in numbers and f"{kind.time}median" not in numbers:
            continue
        told = True
        statistic = "median" if positive(numbers.get(f"{kind.time}median")) else "mean"
        time_s = positive(numbers.get(f"{kind.time}{statistic}"))
        count = number(numbers.get(kind.count)) or 0.0
        samples: tuple[float, ...] = ()
        if kind is _COLD and _SIDE in numbers:
            samples = samples_of(folder, numbers[_SIDE], found)
        if samples:
            time_s, statistic, count = median(samples), "median", len(samples)
        clock = positive(numbers.get("nv/cold/sm_clock_rate/mean")) if kind is _COLD else None
        found.add(
            replace(
                base,
                how=kind.how,
                time_ns=time_s * 1e9 if time_s else None,
                samples_ns=tuple(one * 1e9 for one in samples),
                n_samples=int(min(max(count, 0), 2**31)),
                clock_mhz=clock / 1e6 if clock else None,
                status="ok" if time_s else "failed",
                reason="" if time_s else "no samples: NVBench throttled it or ran out of time",
                config={"statistic": statistic, **_spread(numbers, kind)},
            )
        )
    if not told:
        found.leave("without a time")


def _numbers(state: State) -> dict[str, str]:
    """Tag → value, as text; of a side file its name."""
    found: dict[str, str] = {}
    for summary in state.summaries or ():
        for datum in summary.data:
            if datum.name in ("value", "filename") and datum.value is not None:
                found[summary.tag[:200]] = str(datum.value)[:300]
    return found


def _spread(numbers: Mapping[str, str], kind: _Kind) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for tag, name in _SPREAD.items():
        if (seconds := number(numbers.get(f"{kind.time}{tag}"))) is not None:
            found[name] = seconds * 1e6
    if (share := number(numbers.get(f"{kind.time}stdev/relative"))) is not None:
        found["stdev_percent"] = 100 * share
    return found
