"""Runs that claims are put to: synthetic all, and told as if they had been measured."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from synthetic import H100, MI300X, footer, header, record, turn, turns, write

from gemmbench.analysis.claims.claim import Decision
from gemmbench.analysis.claims.evidence import Known, known
from gemmbench.analysis.claims.table import CLAIMS
from gemmbench.records.evidence import kept
from gemmbench.records.reader import read
from gemmbench.records.schema import Place
from gemmkernels.device import Device

Case = tuple[str, str, str, int, float, float | None]
"""Kernel, tier, precision, size, TFLOP/s, W."""


def run(path: Path, device: Device, cases: Sequence[Case], **of_header: Any) -> Path:
    found = []
    for kernel, tier, precision, size, tflops, power in cases:
        ns = 2 * size**3 / tflops / 1e3
        took = [turn(one, ns * (1 + 1e-4 * one), power_w=power) for one in range(10)]
        base = tier == "naive"
        found.append(
            record(kernel, size=size, precision=precision, tier=tier, base=base, took=took)
        )
    head = header(device, synthetic=True, run_id=path.stem, **of_header)
    return write(path, [head, *found, footer(found)])


def as_written(*paths: Path) -> Known:
    return known(kept(), [read(path) for path in paths])


def of(*paths: Path) -> Known:
    """As if the runs had been measured: synthetic ones, which all of these are, decide nothing."""
    found = as_written(*paths)
    assert found.rows is not None
    assert found.collectives is not None
    return replace(
        found,
        rows=found.rows.assign(synthetic=False),
        collectives=found.collectives.assign(synthetic=False),
    )


def decide(name: str, facts: Known | None = None) -> Decision:
    (claim,) = [claim for claim in CLAIMS if claim.id == name]
    return claim.decide(facts or Known(kept()))


def cube(device: Device, path: Path, *, naive: float, matrix: float) -> Path:
    """A run of 1024³ in so many TFLOP/s."""
    return run(
        path,
        device,
        [
            ("triton-naive", "naive", "fp32", 1024, naive, None),
            ("triton-naive", "naive", "bf16", 1024, naive, None),
            ("triton-matrix-core", "matrix-core", "bf16", 1024, matrix, None),
        ],
    )


def rivals(folder: Path, ratios: Sequence[float], **of_mi300x: Any) -> tuple[Path, Path]:
    """An H100 at 700 TFLOPS on so many sizes, and an MI300X at these ratios of it."""
    sizes = [1024 * (1 + one) for one in range(len(ratios))]
    ours: list[Case] = [("torch", "library", "bf16", size, 700.0, None) for size in sizes]
    theirs: list[Case] = [
        ("torch", "library", "bf16", size, 700.0 * ratio, None)
        for size, ratio in zip(sizes, ratios, strict=True)
    ]
    return (
        run(folder / "h100.jsonl", H100, ours),
        run(folder / "mi300x.jsonl", MI300X, theirs, **of_mi300x),
    )


SIZES = tuple(2**power for power in (20, 24, 26, 28, 30))
"""Bytes of messages: 1 and 16 MiB, which tell latency, then 64 MiB to 1 GiB."""


def reduced(
    path: Path,
    device: Device,
    *,
    library: str,
    gbps: Callable[[int, int], float] | float,
    ranks: int = 8,
    on_node: int | None = None,
    repeats: int = 1,
    sizes: Sequence[int] = SIZES,
    precision: str = "fp32",
    version: str = "2.26.2",
    rounds: int = 10,
    collective: str = "all-reduce",
    noise: float = 0.001,
    **of_header: Any,
) -> Path:
    """A run of all-reduce with a bus bandwidth, GB/s, of each size and repeat."""
    found = []
    for repeat in range(repeats):
        for size in sizes:
            rate = gbps if isinstance(gbps, float) else gbps(size, repeat)
            time_us = 2 * (ranks - 1) / ranks * size / rate / 1e3
            found.append(
                record(
                    collective,
                    size=(size // 4096, 1024, 1),
                    precision=precision,
                    tier="library",
                    repeat=repeat,
                    took=turns(time_us, rounds=rounds, noise=noise, seed=repeat),
                    collective=collective,
                    ranks=ranks,
                    message_bytes=size,
                )
            )
    head = header(
        device,
        synthetic=True,
        run_id=path.stem,
        software={"torch": "2.10.0", library: version},
        place=Place(at_once=ranks if on_node is None else on_node),
        **of_header,
    )
    return write(path, [head, *found, footer(found)])
