"""Synthetic runs that are hard to draw: long names, rates far apart, many points, no intervals."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from synthetic import CPU, H100, footer, header, record, roof, turns, write

from gemmbench.records.schema import Line, Record
from gemmkernels.device import Device

TIERS = ("naive", "tiled", "matrix-core", "library")
PRECISIONS = ("bf16", "fp8_e4m3_rowwise", "fp32", "fp16", "int8", "tf32", "fp64", "bf16_sparse")
LONG = "kernel-{}-with-a-name-that-goes-on-and-on-for-longer-than-40-characters"
MOST = 2_500


def hard(
    path: Path,
    *,
    kernels: int,
    points: int,
    precisions: int = 1,
    grid: bool = False,
    peak: bool = True,
    intervals: bool = True,
    rates: tuple[float, float] = (1e-5, 5e3),
    faster: float = 1.0,
    repeats: int = 1,
    seed: int = 0,
) -> Path:
    """A run of kernels × points × precisions, at most `MOST` of them: of more, fewer points.

    Every second name is long. The rates of the kernels go from the one of `rates` to the other, as
    far as a peak allows it; with `grid` the points differ in M and N, else M = N = K.
    """
    draw = random.Random(seed)
    points = min(points, max(1, MOST // (kernels * precisions * repeats)))
    shapes = list(_grid(points) if grid else _cubes(points))
    low, high = map(math.log, rates)
    found: list[Record] = []
    clock_s = 0.0
    for repeat in range(repeats):
        for precision in PRECISIONS[:precisions]:
            for number in range(kernels):
                for shape in shapes:
                    tflops = math.exp(low + (high - low) * (number + 1) / kernels)
                    tflops *= draw.uniform(0.5, 1.0) * faster
                    if peak:
                        tflops = min(tflops, 60.0 if precision in ("fp32", "fp64") else 450.0)
                    took = turns(
                        2 * math.prod(shape) / tflops / 1e6,
                        rounds=10 if intervals else 1,
                        noise=0.02,
                        seed=seed + repeat,
                        samples=8 if points < 20 else 0,
                    )
                    took = tuple(
                        replace(
                            one,
                            start_s=clock_s + place,
                            stop_s=clock_s + place + 0.5,
                            clock_mhz=draw.uniform(1500, 1900),
                            power_w=draw.uniform(300, 600),
                            temperature_c=draw.uniform(50, 60),
                        )
                        for place, one in enumerate(took)
                    )
                    clock_s += len(took)
                    found.append(
                        record(
                            LONG.format(number) if number % 2 else f"k{number}",
                            size=shape,
                            precision=precision,
                            repeat=repeat,
                            tier=TIERS[number * len(TIERS) // kernels],
                            base=number == 0,
                            took=took,
                            launch="graph",
                            limits={"thermal": 1e9 * (number == 1)},
                        )
                    )
    return written(path, found, device=H100 if peak else CPU)


def written(path: Path, records: Sequence[Record], *, device: Device = H100) -> Path:
    """A run of these records, with roofs if the device is a GPU."""
    software = {
        "torch": "2.13.0+a.long.local.version.label",
        "nvidia_driver": "580.1",
        "triton": "3.9.0",
    }
    of_device = [
        roof("copy", 2900.0, "GB/s"),
        roof("matrix", 760.0, "TFLOP/s", precision="bf16"),
    ]
    lines: list[Line] = [header(device, synthetic=True, software=software)]
    return write(path, [*lines, *(of_device if device.is_gpu else []), *records, footer(records)])


def _cubes(points: int) -> list[tuple[int, int, int]]:
    sizes = [int(64 * 256 ** (one / max(1, points - 1))) for one in range(points)]
    return [(size,) * 3 for size in (sizes if points > 1 else [777])]


def _grid(points: int) -> list[tuple[int, int, int]]:
    side = max(1, math.isqrt(points))
    wide = -(-points // side)
    return [(64 * (m + 1), 96 * (n + 1), 512) for m in range(side) for n in range(wide)][:points]
