"""Every right kernel of ours passes verification on 20 seeds on the CPU, and on 5 interpreted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemmbench.devices.detect import detect
from gemmbench.verify import Verifier
from gemmkernels.ladder import LADDER
from gemmkernels.operands import allocate
from gemmkernels.problem import Problem

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
SEEDS = range(5 if INTERPRETED else 20)  # interpreted, a kernel takes a second a seed


def verify(kernel: str, precision: str, *, shape: tuple[int, int, int], layout: str) -> float:
    """The largest error of the seeds, as a multiple of the bound; raises WrongError."""
    m, n, k = shape
    problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
    (operands,) = allocate(problem, detect("cpu"))
    launch = next(one for one in LADDER if one.name == kernel).launch(operands)

    def execute():  # type: ignore[no-untyped-def]
        returned = launch.run()
        return (returned if launch.returns_output else operands.out,)

    worst = 0.0
    for seed in SEEDS:
        verifier = Verifier(operands=operands, seed=seed)
        verifier.exact(execute, salt=seed)
        # Triton's interpreter cuts fp32 off to bf16, where hardware rounds: exact integers only.
        if not (INTERPRETED and problem.numerics.output == "bfloat16"):
            verifier.rounding(execute)
        worst = max(worst, verifier.error)
    return worst


INTERPRETED_HERE = ("triton-naive", "triton-tiled", "triton-matrix-core")
"""The rungs without ideas of their own; test_kernels_triton*.py interpret all."""


def cases(kind: str) -> Iterator[tuple[str, str]]:
    device = detect("cpu")
    for kernel in LADDER:
        if kind in kernel.kinds and (kind == "cpu" or kernel.name in INTERPRETED_HERE):
            for precision in kernel.precisions:
                problem = Problem(m=65, n=33, k=129, precision=precision)
                if kind == "gpu" or not kernel.why_not(problem, device):
                    yield kernel.name, precision


@pytest.mark.parametrize(("kernel", "precision"), list(cases("cpu")))
def test_on_the_cpu(kernel: str, precision: str) -> None:
    assert verify(kernel, precision, shape=(65, 33, 129), layout="nn") <= 1


def test_in_tritons_interpreter() -> None:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    worst = json.loads(done.stdout)
    assert len(worst) == len(list(cases("gpu"))) >= 20
    assert max(worst.values()) <= 1, worst


if __name__ == "__main__":
    found = {
        f"{kernel} {precision}": verify(kernel, precision, shape=(17, 16, 48), layout="nt")
        for kernel, precision in cases("gpu")
    }
    print(json.dumps(found))
