"""pytest-benchmark's JSON (ionelmc/pytest-benchmark, src/pytest_benchmark/stats.py), ours among it.

Seconds a call. What `gemmbench export` and the fixture write comes back with its turns; of other
files shape and type stand in `params` or `extra_info`, or in what the user says.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from gemmbench.records.imports.dtypes import encoding_of
from gemmbench.records.imports.named import case_of
from gemmbench.records.imports.text import document
from gemmbench.records.imports.words import Asked, Findings, How, Place, Told, Value, named, plain
from gemmkernels.device import Vendor
from gemmkernels.errors import GemmbenchError, one_line
from gemmkernels.kernel import TIERS, Tier
from gemmkernels.precision import PRECISIONS
from gemmkernels.problem import LAYOUTS

MAX_RAW = 2**20
MAX_DATA = 2**24
"""Bytes of one test's data."""


class _Stats(msgspec.Struct):
    median: float
    rounds: int
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    stddev: float | None = None
    q1: float | None = None
    q3: float | None = None
    iterations: int | None = None
    data: msgspec.Raw = msgspec.Raw(b"[]")


class _Benchmark(msgspec.Struct):
    stats: _Stats
    name: str = ""
    fullname: str = ""
    params: msgspec.Raw = msgspec.Raw(b"null")
    extra_info: msgspec.Raw = msgspec.Raw(b"null")


class _File(msgspec.Struct):
    benchmarks: list[_Benchmark]
    machine_info: msgspec.Raw = msgspec.Raw(b"null")
    datetime: str = ""
    version: str = ""


Plain = dict[str, str]


def read(data: bytes, asked: Asked) -> Findings:
    """Every test of a shape. Raises GemmbenchError where none has one, or one that has tells no
    type."""
    file = document(data, _File, what="pytest-benchmark's JSON")
    found = Findings(started=one_line(file.datetime, 60) or None)
    machine = _object(file.machine_info)
    _machine(machine, file.version, found)
    keys: dict[str, None] = {}
    for benchmark in file.benchmarks:
        info = _object(benchmark.extra_info)
        params = _object(benchmark.params)
        given = {**_flat(params), **_flat(info)}
        keys |= dict.fromkeys(list(given)[:20])
        told = _told(benchmark, info=info, params=params, given=given, asked=asked, found=found)
        if told is not None:
            found.add(told)
    if not found.told:
        what = f"their parameters are {named(keys)}" if keys else "they have no parameters"
        raise GemmbenchError(
            f"no test of it has a shape: {what}; say which are M, N and K with --map m=…,n=…,k=… "
            "(a name or a number)"
        )
    return found


def _object(raw: msgspec.Raw) -> dict[str, object]:
    """A JSON object of reasonable size; {} for anything else."""
    if len(bytes(raw)) > MAX_RAW:
        return {}
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _flat(values: Mapping[str, object]) -> Plain:
    """Texts and numbers as text, a list of three numbers as MxNxK."""
    found: Plain = {}
    for name, value in values.items():
        if isinstance(value, list) and 3 <= len(value) <= 4:
            found[name] = "x".join(str(one)[:12] for one in value if isinstance(one, int))
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            found[name] = _text(value)
    return found


def _text(value: str | int | float) -> str:
    if isinstance(value, str):
        return value[:200]
    return str(value) if abs(value) < 2**63 else ""


def _machine(machine: Mapping[str, object], version: str, found: Findings) -> None:
    """Software and machine, without the host's name (`node`)."""

    def text(name: str) -> str:
        value = machine.get(name)
        return one_line(value, 80) if isinstance(value, str) else ""

    software = machine.get("software")
    if isinstance(software, dict):  # of our own export
        for name, value in list(software.items())[:40]:
            found.software[one_line(name, 40)] = one_line(value, 80)
    elif python := text("python_version"):
        found.software["python"] = python
    if version:
        found.software["pytest-benchmark"] = one_line(version, 40)
    if ours := text("gemmbench_version"):
        found.software["gemmbench"] = ours
    host = {"machine": text("machine"), "system": text("system"), "kernel": text("release")}
    found.host |= {name: value for name, value in host.items() if value}


def _told(
    benchmark: _Benchmark,
    *,
    info: Mapping[str, object],
    params: Mapping[str, object],
    given: Plain,
    asked: Asked,
    found: Findings,
) -> Told | None:
    stats = benchmark.stats
    # The fixture gives pytest-benchmark single samples, `gemmbench export` medians of turns.
    is_exported = benchmark.fullname.startswith("gemmbench::")
    # A plain function has no tier, a file without a device is no one's of ours.
    is_ours = is_exported or {"kernel", "arch", "preset"} <= info.keys()
    case = case_of(given, asked)
    if case is None:
        found.leave("without a shape")
        return None
    precision = case.precision or asked.precision
    if precision is None:
        raise GemmbenchError(
            "no parameter of it tells the type of the operands: say --precision, such as "
            "--precision fp32, or --map precision=NAME"
        )
    data = _data(stats.data)
    time_s = stats.median if math.isfinite(stats.median) and 0 < stats.median < 1e9 else None
    spread: dict[str, Value] = {
        f"{name}_us": value * 1e6
        for name in ("min", "max", "mean", "stddev", "q1", "q3")
        if (value := getattr(stats, name)) is not None and math.isfinite(value)
    }
    told = Told(
        kernel=plain(benchmark.name.partition("[")[0], "pytest-benchmark"),
        backend="pytest-benchmark",
        m=case.m,
        n=case.n,
        k=case.k,
        batch=case.batch,
        layout=case.layout,
        precision=precision,
        how=How(preset="pytest-benchmark"),
        place=Place(cpu=asked.device_id is None),
        time_ns=time_s * 1e9 if time_s else None,
        samples_ns=tuple(one * 1e9 for one in data),
        n_samples=min(max(stats.rounds, 0), 2**31),
        status="ok" if time_s else "failed",
        reason="" if time_s else "no median",
        encoding=encoding_of(case.kind) if case.kind else "",
        warnings=case.warnings,
        config={"statistic": "median", "iterations": stats.iterations, **spread},
        settings={
            one_line(name, 60): one_line(value, 60)
            for name, value in list(_flat(params).items())[:20]
            if name not in case.used and not is_ours
        },
    )
    return _ours(told, info, turns=data if is_exported else []) if is_ours else told


def _data(raw: msgspec.Raw) -> list[float]:
    """One value a round, in seconds; none where any of them is no time."""
    if len(bytes(raw)) > MAX_DATA:
        return []
    try:
        found = msgspec.json.decode(raw, type=list[float])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    return found if all(0 < one < 1e9 for one in found) else []


def _ours(told: Told, info: Mapping[str, object], *, turns: list[float]) -> Told:
    """What our own columns say of it. They come from a file like any other: nothing is believed
    that a record could not hold."""

    def text(name: str, known: tuple[str, ...] = ()) -> str:
        value = info.get(name)
        kept = one_line(value, 120) if isinstance(value, str) else ""
        return kept if not known or kept in known else ""

    def size(name: str) -> int:
        value = info.get(name)
        return value if isinstance(value, int) and 1 <= value < 2**31 else 1

    def figure(name: str) -> float | None:
        value = info.get(name)
        return float(value) if isinstance(value, float | int) and 0 < value < 1e9 else None

    tiers: dict[str, Tier] = {name: name for name in TIERS}
    modes = (part.partition("=") for part in text("modes").split("; ") if "=" in part)
    architecture = text("arch")
    return replace(
        told,
        kernel=plain(text("kernel"), told.kernel),
        backend=plain(text("backend"), told.backend),
        tier=tiers.get(text("tier"), told.tier),
        precision=text("precision", tuple(PRECISIONS)) or told.precision,
        layout=text("layout", LAYOUTS) or told.layout,
        label=text("label"),
        batch=size("batch"),
        experts=size("experts"),
        encoding=text("encoding") or told.encoding,
        modes={name: value for name, _, value in modes},
        how=How(
            preset=text("preset") or told.how.preset,
            cache=text("cache"),
            launch=text("launch"),
            data=text("data"),
        ),
        place=Place(
            vendor=_vendor(architecture),
            name=text("device"),
            architecture=architecture,
            cpu=not architecture.startswith(("sm_", "gfx")),
            sheet=text("device_id"),
        ),
        rounds_ns=tuple(one * 1e9 for one in turns),
        samples_ns=() if turns else told.samples_ns,
        n_samples=size("n_samples"),
        clock_mhz=figure("clock_mhz"),
        power_w=figure("power_w"),
        verified="error" in info,
    )


def _vendor(architecture: str) -> Vendor:
    if architecture.startswith("sm_"):
        return "nvidia"
    return "amd" if architecture.startswith("gfx") else "other"
