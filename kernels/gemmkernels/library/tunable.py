"""TunableOp: every solution that rocBLAS and hipBLASLt have for the product, the fastest kept."""

import os
from functools import partial
from typing import Any

import torch

from gemmkernels.kernel import Launch
from gemmkernels.library import dense
from gemmkernels.library.switches import set_switches
from gemmkernels.operands import Operands

EACH_MS = 10
"""Time for each solution: torch's own 30 ms come to minutes, as there are up to thousands."""


def bind(operands: Operands) -> Launch:
    """The product of `dense`, tuned here, once for all operands of a shape.

    Nothing is tuned afterwards, and nothing is written: torch's file of results would land in the
    user's folder.
    """
    launch = dense.bind(operands)
    tunable: Any = torch.cuda.tunable
    kept = tunable.get_filename()
    tunable.set_filename(os.devnull)
    tunable.set_max_tuning_duration(EACH_MS)
    _prepare(tuning=True)
    try:
        launch.run()
        torch.cuda.synchronize()
    finally:
        tunable.tuning_enable(False)
        tunable.enable(False)
        tunable.set_filename(kept)
    return Launch(run=launch.run, prepare=partial(_prepare, tuning=False))


def _prepare(*, tuning: bool) -> None:
    set_switches(tf32=False)
    torch.cuda.tunable.enable(True)
    torch.cuda.tunable.tuning_enable(tuning)
