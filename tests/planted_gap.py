"""Kernels whose time has one known cause, as a user's file; each does one shape only.

They multiply, then wait until their time is up: a device of `RATE`, `GBPS` and `LAUNCH_S`.
"""

import time

import torch

from gemmkernels import Device, Kernel, Launch, Operands, Problem

RATE = 4e9
"""FLOP/s."""

GBPS = 0.5
LAUNCH_S = 1e-3
HELD = 1410 / 1830
"""The share of its clock that the device holds in `clocked`."""

SHAPES = {"sleeps": (32, 32, 32), "copies": (512, 512, 1), "pads": (129, 128, 128)}
CLOCKED = (160, 160, 160)
TILE = (128, 128, 128)


def waits(seconds: float) -> object:
    """Asleep but for the last stretch: a kernel that spins is switched off the core."""

    def bind(operands: Operands) -> Launch:
        def run() -> None:
            until = time.perf_counter() + seconds
            torch.mm(operands.a, operands.b, out=operands.out)
            while (left := until - time.perf_counter()) > 0:
                if left > 3e-4:
                    time.sleep(left - 3e-4)

        tile = TILE if operands.problem.m == SHAPES["pads"][0] else None
        return Launch(run=run, tile=tile)

    return bind


def kernel(name: str, shape: tuple[int, int, int], seconds: float) -> Kernel:
    def needs(problem: Problem, device: Device) -> str | None:
        return None if (problem.m, problem.n, problem.k) == shape else "another shape's"

    return Kernel(
        name=name,
        tier="library",
        backend="user",
        precisions=("fp32",),
        summary="planted",
        bind=waits(seconds),  # type: ignore[arg-type]
        needs=needs,
    )


def flop(shape: tuple[int, int, int]) -> int:
    return 2 * shape[0] * shape[1] * shape[2]


def moved(shape: tuple[int, int, int]) -> int:
    return Problem(m=shape[0], n=shape[1], k=shape[2], precision="fp32").min_bytes


KERNELS = (
    kernel("sleeps", SHAPES["sleeps"], LAUNCH_S),
    kernel("copies", SHAPES["copies"], moved(SHAPES["copies"]) / GBPS / 1e9),
    kernel("pads", SHAPES["pads"], flop((256, 128, 128)) / RATE),
    kernel("clocked", CLOCKED, flop(CLOCKED) / RATE / HELD),
)
