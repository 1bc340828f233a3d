"""What of a group these ranks can do, and with how many operand sets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gemmbench.runner.parallel.plan import ParallelGroup
from gemmbench.runner.parallel.ranks import Ranks
from gemmbench.runner.recording import Progress
from gemmbench.timing.method import Timing, operand_sets
from gemmkernels.parallel.kernel import ParallelKernel
from gemmkernels.parallel.ladder import PARALLEL
from gemmkernels.parallel.task import Task

KERNELS: Mapping[str, ParallelKernel] = {one.name: one for one in PARALLEL}


def sets_of(tasks: Sequence[Task], ranks: Ranks, timing: Timing) -> dict[Task, int]:
    """How many operand sets each task has: on all ranks as many as the one with the least cache and
    memory takes, so that all rotate through them alike.

    Layers rotate through memory; a message is sent from the same place again and again, as
    nccl-tests does.
    """
    device = ranks.device
    memory_bytes = device.memory_bytes // (1 if device.is_gpu else ranks.on_node)
    mine = [
        operand_sets(
            task.shard_bytes,
            cache=timing.cache,
            llc_bytes=device.llc_bytes,
            memory_bytes=memory_bytes,
        )
        if task.split
        else 1
        for task in tasks
    ]
    return dict(zip(tasks, map(min, *ranks.every(mine), mine), strict=True))


def unsupported(group: ParallelGroup, ranks: Ranks) -> list[Progress]:
    """The cases of a group that cannot be done, each with its reason."""
    found = []
    for case in group.cases:
        reason = KERNELS[case.kernel].why_not(group.task(case), ranks.device)
        if reason:
            found.append(Progress(case=case, status="unsupported", reason=reason))
    return found


def without(group: ParallelGroup, cases: list[Progress]) -> ParallelGroup:
    """The group without those."""
    gone = [one.case for one in cases]
    return replace(group, cases=tuple(case for case in group.cases if case not in gone))
