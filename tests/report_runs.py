"""Synthetic runs for the report's table of all cases: one with all that a detail can show."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from synthetic import H100, footer, header, launched, method, record, roof, turn, write

from gemmbench.records.schema import Check, Record
from gemmbench.timing.turn import Turn

DEVICE = replace(H100, power_limit_w=700.0, llc_bytes=50 * 2**20)
HOSTILE = '<img src=x onerror="window.pwned=1">{{7*7}}</script><script>window.pwned=2</script>'
REASON = "RuntimeError: CUDA error: an illegal memory access was encountered"
COMPILED: dict[str, object] = {
    "function": "persistent_kernel",
    "registers": 168,
    "spills": 0,
    "instructions": {"wgmma.mma_async": 64},
}


def watched(
    time_us: float,
    *,
    repeat: int = 0,
    rounds: int = 12,
    samples: int = 15,
    noise: float = 0.004,
    clock_mhz: float | None = 1410.0,
) -> tuple[Turn, ...]:
    """Turns with samples of which some are disturbed, and what sensors saw of them."""
    draw = random.Random(f"{time_us}:{repeat}")
    found = []
    for number in range(rounds):
        middle = time_us * 1e3 * math.exp(draw.gauss(0, noise / 2))
        kept = [middle * math.exp(draw.gauss(0, noise)) for _ in range(samples)]
        spoilt = (3,) if number % 4 == 1 and samples > 4 else ()
        for place in spoilt:
            kept[place] *= 1.015 if number % 8 == 1 else 1.2
        one = turn(
            number,
            middle,
            samples=kept or None,
            disturbed=len(spoilt),
            clock_mhz=None if clock_mhz is None else clock_mhz + draw.choice((-15, 0, 15)),
            power_w=None if clock_mhz is None else 692.0 + draw.gauss(0, 4),
        )
        seen = None if clock_mhz is None else 48.0 + 1.4 * number + repeat
        found.append(replace(one, disturbed_at=spoilt, temperature_c=seen))
    return tuple(found)


def timed(kernel: str, tflops: float, *, size: int = 8192, **changes: Any) -> Record:
    keys = ("noise", "samples", "rounds", "clock_mhz")
    of_turns = {name: changes.pop(name) for name in keys if name in changes}
    flop = 2 * size**3
    took = watched(flop / tflops / 1e6, repeat=changes.get("repeat", 0), **of_turns)
    span_ns = sum(one.stop_s - one.start_s - one.settle_s for one in took) * 1e9
    given: dict[str, Any] = {
        "precision": "bf16",
        "launch": "graph",
        "sets": 8,
        "limits": {"power": 0.97 * span_ns},
        "check": Check(exact_by="freivalds", error=0.31, rows=64, checks=6, bound="Higham & Mary"),
    }
    return record(kernel, size=size, took=took, **(given | changes))


def rich_run(path: Path, **of_header: Any) -> Path:
    """An H100's run: three repeats, roofs, telemetry, and cases of every status."""
    records = []
    for repeat in range(3):
        records += [
            timed("naive", 7.1, base=True, tier="naive", repeat=repeat, noise=0.002),
            timed(
                *("triton-persistent", 672.8),
                tier="matrix-core",
                repeat=repeat,
                tile=(128, 256, 64),
                grid=(132,),
                config={"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "num_warps": 8},
                compiled=(COMPILED,),
                ran_on="matrix cores",
                label="llama-3-8b gate_up",
            ),
            timed("torch", 640.0 + 9 * repeat, tier="library", repeat=repeat, energy_j=812.0),
            timed("torch", 1100.0, precision="fp8_e4m3", tier="library", repeat=repeat),
        ]
    lost = [replace(one, disturbed=14) for one in watched(1400.0)]
    records += [
        timed("blind", 300.0, size=4096, clock_mhz=None, samples=0, limits={}),
        timed("too-fast", 850.0, tier="matrix-core", size=4096),
        record("beside", precision="bf16", tier="tiled", took=lost, size=4096),
        record("broken", precision="bf16", status="failed", reason=REASON, tier="tiled"),
        record("inexact", precision="bf16", status="wrong", reason="error 1.7 of the bound"),
        record("slow", precision="bf16", status="timeout", reason="no word for 120 s"),
        record("older", precision="mxfp4", status="unsupported", reason="needs sm_100"),
        record("cut", precision="bf16", status="interrupted"),
        timed(HOSTILE, 120.0, size=2048, warnings=(f"1% of the samples stall {HOSTILE}",)),
    ]
    lines = [
        roof("copy", 3000.0, "GB/s"),
        roof("matrix", 760.0, "TFLOP/s", precision="bf16"),
        roof("launch-graph", 1.5, "us"),
    ]
    tail = [launched(records[2], names=("nvjet_tst_128x256_64x4_2x1_v_bz_coopB_TNT",))]
    head: dict[str, Any] = {
        "synthetic": True,
        "method": method(launch="graph", repeats=3, target=0.005),
        "run_id": path.stem,
        **of_header,
    }
    return write(path, [header(DEVICE, **head), *lines, *records, *tail, footer(records)])


def many(path: Path, *, sizes: int = 4, **of_each: Any) -> Path:
    """An H100's run of five precisions and kernels on so many sizes, with roofs and telemetry."""
    kernels = [("naive", "naive", 7.0), *((f"k{at}", "tiled", 300.0 + 30 * at) for at in range(4))]
    records = [
        timed(
            *(kernel, rate),
            size=256 * (size + 1),
            precision=precision,
            tier=tier,
            base=tier == "naive",
            tile=(128, 256, 64),
            grid=(132,),
            label=f"llama-3-8b layer {size}",
            **of_each,
        )
        for size in range(sizes)
        for precision in ("bf16", "fp16", "fp8_e4m3", "int8", "tf32")
        for kernel, tier, rate in kernels
    ]
    roofs = [roof("copy", 3000.0, "GB/s"), roof("matrix", 760.0, "TFLOP/s", precision="bf16")]
    roofs.append(roof("launch-graph", 1.5, "us"))
    head = header(DEVICE, synthetic=True, method=method(launch="graph"))
    return write(path, [head, *roofs, *records, footer(records)])


def contended_run(path: Path) -> Path:
    """A case of five repeats, the second and fourth contended, which take ten times as long."""
    records = []
    for repeat in range(5):
        lost = repeat in (1, 3)
        one = timed("tiled", 50.0 if lost else 500.0, repeat=repeat)
        turns = tuple(replace(turn, disturbed=14) if lost else turn for turn in one.turns)
        records.append(msgspec.structs.replace(one, turns=turns))
    return write(path, [header(DEVICE, synthetic=True, method=method(repeats=5)), *records])
