"""Kernels whose best settings are known, as a user's file: what the tuner must find, and survive.

`gemmbench tune tests/planted_tuning.py --shape 64x64x64 --device cpu --budget 1m`. With
PLANTED_TUNING=alike the settings differ in nothing but their names; with =faults some fail.
"""

import itertools
import os

import torch

from gemmkernels import Kernel, Launch, Operands

KIND = os.environ.get("PLANTED_TUNING", "loops")


def space(problem, device):  # type: ignore[no-untyped-def]
    if KIND == "alike":
        return [{"name": number} for number in range(12)]
    if KIND == "faults":
        faults = ("wrong", "raise", "abort", "hang")
        return [{"times": 4}, *({"times": 1, "fault": fault} for fault in faults), {"times": 2}]
    return [{"times": 4}, *({"times": times} for times in (8, 6, 2, 5, 3, 7, 12))]


def bind(operands: Operands, settings=None) -> Launch:  # type: ignore[no-untyped-def]
    """As many products as `times` says."""
    settings = settings or {"times": 4}
    times, fault = settings.get("times", 3), settings.get("fault")
    if fault == "raise":
        raise RuntimeError("no such tile")

    def run() -> None:
        for _ in itertools.repeat(None, times):
            torch.mm(operands.a, operands.b, out=operands.out)
        if fault == "wrong":
            operands.out[0, 0] += 1
        elif fault == "abort":
            os.abort()
        while fault == "hang":
            pass

    return Launch(run=run, config={"times": times})


KERNEL = Kernel(
    name="planted",
    tier="library",
    backend="user",
    precisions=("fp32",),
    summary="planted",
    bind=bind,
    space=space,
)
