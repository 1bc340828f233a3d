"""What a kernel of several ranks is."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemmkernels.device import Device
from gemmkernels.kernel import Launch
from gemmkernels.parallel.task import Task

if TYPE_CHECKING:
    from gemmkernels.parallel.shards import Shards

PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16")
"""Those whose inputs and outputs are plain tensors of one type."""

CHUNKS = 4
"""Of the rows, where a collective overlaps the product; two where they do not split into four."""

TIER = "library"


@dataclass(frozen=True, kw_only=True)
class ParallelKernel:
    """One kernel that all ranks launch together.

    `collective` is what they exchange, empty where nothing is; `splits` are the kinds of tasks that
    it does, `output` the tensor of `Shards` that it writes. A `base` is what the others of its
    group are compared with. `bind` is "module:function", from `Shards` to a Launch.
    """

    name: str
    summary: str
    bind: str
    splits: tuple[str, ...]
    output: str
    collective: str = ""
    overlaps: bool = False
    base: bool = False

    def why_not(self, task: Task, device: Device) -> str | None:
        """None if it can do the task on such devices, or the reason why not."""
        name = task.problem.precision
        if task.split not in self.splits:
            return f"does {' and '.join(filter(None, self.splits)) or 'no'} splits only"
        if name not in PRECISIONS:
            return f"has no {name}: {', '.join(PRECISIONS)}"
        if not task.split and name == "tf32":
            return "exchanges tensors, and tf32 is stored as fp32: ask for fp32"
        if lack := device.lacks(name) if task.split else None:
            return lack
        if why := task.misfit:
            return why
        if self.overlaps and task.chunks(CHUNKS) == 1:
            rows = 2 * task.ranks
            return (
                f"overlaps two chunks or more, a row a rank: M = {task.problem.m} is below {rows}"
            )
        return None

    def message_bytes(self, task: Task) -> int | None:
        """What nccl-tests calls the size: the larger of a rank's input and output, in bytes."""
        return task.exchanged_bytes if self.collective else None

    def launch(self, shards: "Shards") -> Launch:
        """Bind to the tensors of one rank; imports torch."""
        module, _, name = self.bind.partition(":")
        found: Callable[[Shards], Launch] = _function(module, name)
        return found(shards)


def _function(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"gemmkernels.parallel.{module}"), name)
