"""Runs that were never measured: built for tests, and marked so in every file."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from gemmbench.records.schema import (
    Check,
    Footer,
    Header,
    Launched,
    Line,
    Method,
    Record,
    Roof,
    SelfTest,
    Status,
)
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device

CPU = Device(
    kind="cpu",
    vendor="other",
    name="Synthetic CPU",
    architecture="x86-64-v4+amx",
    torch_device="cpu",
    slug="synthetic-cpu",
    units=2,
    memory_bytes=2**34,
    features=("amx_bf16",),
)
H100 = Device(
    kind="gpu",
    vendor="nvidia",
    name="NVIDIA H100 80GB HBM3",
    architecture="sm_90",
    torch_device="cuda",
    slug="h100-sxm5",
    units=132,
    memory_bytes=80 * 2**30,
)
MI300X = Device(
    kind="gpu",
    vendor="amd",
    name="AMD Instinct MI300X",
    architecture="gfx942",
    torch_device="cuda",
    slug="mi300x",
    units=304,
    memory_bytes=192 * 2**30,
)


def method(**changes: Any) -> Method:
    found = Method(
        preset="sustained",
        cache="rotated",
        launch="loop",
        data="normal",
        seed=0,
        settle_s=0.01,
        turn_s=0.02,
        sample_s=0.0002,
        min_rounds=10,
        max_rounds=80,
        max_time_s=60.0,
        target=0.02,
        repeats=1,
    )
    return msgspec.structs.replace(found, **changes)


def header(device: Device = CPU, *, run_id: str = "synthetic", **changes: Any) -> Header:
    found = Header(
        run_id=run_id,
        started="2026-01-01T00:00:00Z",
        version="0.1.0",
        device=device,
        device_id=device.slug if device.is_gpu else None,
        method=method(),
        software={"synthetic": "never measured", "torch": "2.10.0"},
        command=("synthetic",),
    )
    return msgspec.structs.replace(found, **changes)


def turn(
    number: int,
    median_ns: float | None,
    *,
    samples: Sequence[float] | None = None,
    n_samples: int = 10,
    disturbed: int = 0,
    clock_mhz: float | None = None,
    power_w: float | None = None,
) -> Turn:
    return Turn(
        round=number,
        start_s=float(number),
        stop_s=number + 0.03,
        settle_s=0.01,
        launches=100,
        n_samples=len(samples) if samples is not None else n_samples,
        disturbed=disturbed,
        median_ns=median_ns,
        samples_ns=None if samples is None else tuple(samples),
        clock_mhz=clock_mhz,
        power_w=power_w,
    )


def turns(
    time_us: float, *, rounds: int = 10, noise: float = 0.001, seed: int = 0, samples: int = 0
) -> tuple[Turn, ...]:
    """Turns about a time, with noise that is shared by nothing."""
    draw = random.Random(f"{seed}:{time_us}")

    def one(number: int) -> Turn:
        value = time_us * 1e3 * math.exp(draw.gauss(0, noise))
        kept = [value * math.exp(draw.gauss(0, noise)) for _ in range(samples)] or None
        return turn(number, value, samples=kept)

    return tuple(one(number) for number in range(rounds))


def roof(
    name: str,
    value: float,
    unit: Literal["GB/s", "TFLOP/s", "us"],
    *,
    precision: str = "",
    clock_mhz: float | None = None,
    noise: float = 0.0,
    repeat: int = 0,
) -> Roof:
    """A probe's line that reads as `value`."""
    work = 0.0 if unit == "us" else 1e12
    time_us = value if unit == "us" else work / value / {"GB/s": 1e3, "TFLOP/s": 1e6}[unit]
    took = (replace(one, clock_mhz=clock_mhz) for one in turns(time_us, noise=noise, seed=repeat))
    return Roof(
        repeat=repeat, name=name, unit=unit, precision=precision, work=work, turns=tuple(took)
    )


def record(
    kernel: str = "tiled",
    *,
    size: int | tuple[int, int, int] = 1024,
    precision: str = "fp32",
    repeat: int = 0,
    base: bool = False,
    tier: str = "tiled",
    status: Status = "ok",
    layout: str = "nn",
    took: Sequence[Turn] = (),
    **changes: Any,
) -> Record:
    m, n, k = (size, size, size) if isinstance(size, int) else size
    found = Record(
        group=f"{m}x{n}x{k}-{layout}",
        repeat=repeat,
        kernel=kernel,
        tier=tier,
        backend="numba",
        base=base,
        m=m,
        n=n,
        k=k,
        batch=1,
        layout=layout,
        precision=precision,
        label="",
        status=status,
        encoding={"fp32": "float32", "bf16": "bfloat16"}.get(precision, precision),
        turns=tuple(took),
        n_samples=sum(one.n_samples for one in took),
        check=Check(exact_by="product", error=0.25, rows=16) if status == "ok" else None,
    )
    return msgspec.structs.replace(found, **changes)


def selftest(repeat: int = 0, *, time_us: float = 50.0, seed: int = 0) -> SelfTest:
    return SelfTest(
        repeat=repeat,
        work=1.37,
        less=turns(time_us, seed=seed),
        more=turns(time_us * 1.37, seed=seed + 1),
    )


def launched(of: Record | None = None, *, names: Sequence[str] = ("nvjet_hsh",)) -> Launched:
    case = of or record("library", precision="bf16")
    return Launched(
        group=case.group, kernel=case.kernel, precision=case.precision, names=tuple(names)
    )


def footer(records: Sequence[Record]) -> Footer:
    counts: dict[str, int] = Counter(one.status for one in records)
    return Footer(
        finished="2026-01-01T00:01:00Z",
        wall_s=60.0,
        timed_s=30.0,
        setup_s=5.0,
        statuses=dict(counts),
    )


def write(path: Path, lines: Iterable[Line]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


LADDER = (
    ("naive", "naive", 1.0),
    ("tiled", "tiled", 4.0),
    ("matrix", "matrix-core", 30.0),
    ("library", "library", 50.0),
)
"""(kernel, tier, times the speed of the first)."""


def ladder_run(
    path: Path,
    *,
    sizes: Sequence[int] = (512, 1024),
    precisions: Sequence[str] = ("fp32", "bf16"),
    kernels: Sequence[tuple[str, str, float]] = LADDER,
    repeats: int = 1,
    device: Device = CPU,
    speed: Callable[[str, str, int, int], float] = lambda kernel, precision, size, repeat: 1.0,
    noise: float = 0.001,
    **of_header: Any,
) -> Path:
    """A run in which the first kernel takes 1 ms at 1024³; `speed` changes single cases."""
    found = []
    for number, (repeat, size, precision, (name, tier, factor)) in enumerate(
        itertools.product(range(repeats), sizes, precisions, kernels)
    ):
        time_us = 1e3 * (size / 1024) ** 3 / factor / speed(name, precision, size, repeat)
        found.append(
            record(
                name,
                size=size,
                precision=precision,
                repeat=repeat,
                tier=tier,
                base=name == kernels[0][0],
                took=turns(time_us, noise=noise, seed=number),
            )
        )
    tests = [selftest(repeat, seed=repeat) for repeat in range(repeats)]
    return write(path, [header(device, **of_header), *tests, *found, footer(found)])
