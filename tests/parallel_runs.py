"""Runs of several ranks that were never measured, and a real one on two or four CPU ranks."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import synthetic

from gemmbench.records.parallel import bus_factor
from gemmbench.records.schema import Place, Record
from gemmkernels.device import Device

SIZES = tuple(4**power * 1024 for power in range(11))
TINY = """
[cpu]
precisions = ["fp32"]
bytes = ["4K"]
layers = [
  { m = [16], n = 32, k = 64, split = "column", label = "wide" },
  { m = [16], n = 64, k = 32, split = "row", label = "narrow" },
]
"""


def collective(
    name: str, size: int, *, busbw_gbps: float, ranks: int = 8, library: str = "nccl"
) -> Record:
    """A bf16 message of `size` bytes that reads as that bus bandwidth."""
    time_us = size * bus_factor(name, ranks) / busbw_gbps / 1e3
    return synthetic.record(
        name,
        size=(ranks, size // ranks // 2, 1),
        precision="bf16",
        tier="library",
        backend=library,
        group=f"{name}-{size}-{ranks}-ranks",
        collective=name,
        ranks=ranks,
        message_bytes=size,
        took=synthetic.turns(time_us, seed=size % 97),
    )


def layer(kernel: str, *, collective: str, split: str, time_us: float, ranks: int = 8) -> Record:
    """A kernel on llama-3-8b's down (row) or gate_up (column) at 2048 tokens."""
    size = (2048, 4096, 14336) if split == "row" else (2048, 28672, 4096)
    m, n, k = size
    columns = k if split == "column" else n
    return synthetic.record(
        kernel,
        size=size,
        precision="bf16",
        tier="library",
        layout="nt",
        group=f"{m}x{n}x{k}-{split}-{ranks}-ranks",
        base=kernel in ("column-parallel", "row-parallel", "row-parallel-scatter"),
        collective=collective,
        ranks=ranks,
        message_bytes=m * columns * 2 if collective else None,
        label="llama-3-8b, 2048 tokens",
        took=synthetic.turns(time_us, seed=len(kernel)),
    )


def run_of(
    path: Path,
    *,
    device: Device = synthetic.H100,
    library: str = "nccl",
    speed: float = 1.0,
    ranks: int = 8,
    sizes: Sequence[int] = SIZES,
) -> Path:
    """Collectives and two layers; `speed` is of the collectives."""
    found = [
        collective(
            name,
            size,
            busbw_gbps=speed * 400 * size / (size + 2**22),
            ranks=ranks,
            library=library,
        )
        for name in ("all-reduce", "all-gather", "reduce-scatter")
        for size in sizes
    ]
    for split, kernels in (
        ("column", (("local-products-column", ""), ("column-parallel", "all-gather"))),
        ("row", (("local-products-row", ""), ("row-parallel", "all-reduce"))),
    ):
        for kernel, exchanged in kernels:
            time_us = 100.0 + (25.0 / speed if exchanged else 0.0)
            found.append(
                layer(kernel, collective=exchanged, split=split, time_us=time_us, ranks=ranks)
            )
    header = synthetic.header(
        device,
        run_id=path.stem,
        synthetic=True,
        software={"torch": "2.10.0", library: "2.27.5"},
        place=Place(at_once=ranks),
        request={"ranks": ranks},
    )
    return synthetic.write(path, [header, *found, synthetic.footer(found)])


def started(
    *arguments: str, ranks: int = 2, script: Path | None = None, cwd: Path, usual: bool = True
) -> "subprocess.Popen[str]":
    """`gemmbench parallel` on CPU ranks under torchrun, or a script that ends in it; with the
    `usual` options."""
    what = [str(script)] if script else ["-m", "gemmbench"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
            *what,
            "parallel",
            *(("--device", "cpu", "--preset", "quick") if usual else ()),
            *arguments,
        ],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )


def said(text: str) -> list[str]:
    """What gemmbench said, of all that a launcher prints."""
    return [line for line in text.splitlines() if line.startswith("gemmbench: ")]
