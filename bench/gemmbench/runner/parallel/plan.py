"""What is measured on several ranks, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gemmbench.runner.messages import Case
from gemmbench.runner.parallel.request import ParallelRequest
from gemmbench.runner.plan import Group
from gemmbench.suites.parallel.reader import ParallelSuite, load_parallel
from gemmbench.timing.method import Timing, timing
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.parallel.ladder import COLLECTIVES, PARALLEL
from gemmkernels.parallel.task import Split, Task
from gemmkernels.precision import precision
from gemmkernels.problem import MAX_DIMENSION, Problem

DEFAULT = ("collectives", "tensor-parallel")
GRANULE = 16
"""Bytes: a rank's part of a message is a multiple of it, as nccl-tests has it."""

CASE_S = 0.3
"""Guessed for verification and calibration of a case."""

CPU_SAMPLE_S = 0.01
CPU_TURN_S = 0.1
"""Ranks leave a barrier over gloo some 0.1 ms apart: a sample of 2 ms would be 5% too long."""


@dataclass(frozen=True, kw_only=True)
class ParallelGroup:
    """What is sampled in turn: one layer with each kernel and precision, or one message."""

    name: str
    split: Split
    ranks: int
    cases: tuple[Case, ...]

    def task(self, case: Case) -> Task:
        return Task(problem=case.problem, split=self.split, ranks=self.ranks)

    def planned(self, how: Timing) -> Group:
        """As a run's plan has it."""
        each_s = CASE_S + how.min_rounds * (how.settle_s + how.turn_s)
        return Group(name=self.name, cases=self.cases, estimate_s=len(self.cases) * each_s)


def suites_of(request: ParallelRequest) -> tuple[ParallelSuite, ...]:
    """The suites asked for; all that ship with gemmbench where none is."""
    return tuple(load_parallel(name) for name in request.suites or DEFAULT)


def make_groups(
    request: ParallelRequest, suites: Sequence[ParallelSuite], device: Device, *, ranks: int
) -> tuple[ParallelGroup, ...]:
    """Groups in the order of the suites; each problem once. Raises GemmbenchError for none."""
    found: dict[str, ParallelGroup] = {}
    for suite in suites:
        part = suite.cpu if device.kind == "cpu" else suite.gpu
        names = request.kernels or suite.kernels or tuple(one.name for one in PARALLEL)
        precisions = request.precisions or part.precisions or ("fp32",)
        kernels = [one for one in PARALLEL if one.name in names]
        for size in part.sizes:
            for kernel in (one for one in kernels if one.name in COLLECTIVES):
                cases = [Case(kernel.name, _message(size, name, ranks)) for name in precisions]
                _add(found, f"{kernel.name}-{size}-{ranks}-ranks", "", ranks, cases)
        for layer in part.layers:
            for tokens in layer.m:
                split: Split = layer.split
                problems = [
                    Problem(
                        m=tokens,
                        n=layer.n,
                        k=layer.k,
                        layout="nt",
                        precision=name,
                        label=_label(layer.label, tokens),
                    )
                    for name in precisions
                ]
                cases = [
                    Case(kernel.name, problem)
                    for kernel in kernels
                    if split in kernel.splits
                    for problem in problems
                ]
                name = f"{problems[0].shape}-{split}-{ranks}-ranks"
                _add(found, name, split, ranks, cases)
    groups = tuple(group for group in found.values() if group.cases)
    if not groups:
        raise GemmbenchError(
            f"nothing to measure on {ranks} {device.kind.upper()} ranks: no kernel asked for is in "
            "a suite asked for; see gemmbench parallel --list"
        )
    return groups


def make_timing(request: ParallelRequest, device: Device) -> Timing:
    """The preset's constants for several ranks: one repeat, as a repeat is another start."""
    launch = "stream" if device.is_gpu else None
    found = timing(request.preset, kind=device.kind, vendor=device.vendor, launch=launch)
    found = msgspec.structs.replace(found, repeats=1)
    if not device.is_gpu:
        found = msgspec.structs.replace(found, sample_s=CPU_SAMPLE_S, turn_s=CPU_TURN_S)
    if request.target is not None:
        found = msgspec.structs.replace(found, target=request.target)
    if request.max_time_s is not None:
        found = msgspec.structs.replace(found, max_time_s=request.max_time_s, least_rounds=1)
    return found


def _add(
    found: dict[str, ParallelGroup], name: str, split: Split, ranks: int, cases: list[Case]
) -> None:
    """Each case once, whatever several suites call it."""
    known = found.get(name)
    held = {(case.kernel, case.problem.precision) for case in known.cases} if known else set()
    new = tuple(case for case in cases if (case.kernel, case.problem.precision) not in held)
    before = known.cases if known else ()
    found[name] = ParallelGroup(name=name, split=split, ranks=ranks, cases=before + new)


def _message(size: int, name: str, ranks: int) -> Problem:
    """A message of about `size` bytes, a whole number of granules on each rank."""
    each = precision(name).bytes_out
    elements = max(GRANULE, size // ranks // GRANULE * GRANULE) // each
    if elements > MAX_DIMENSION:
        raise GemmbenchError(f"a message of {size} bytes is too large for {ranks} ranks")
    return Problem(m=ranks, n=elements, k=1, precision=name)


def _label(label: str, tokens: int) -> str:
    return f"{label}, {tokens} tokens" if label else ""
