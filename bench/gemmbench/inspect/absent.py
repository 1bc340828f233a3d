"""Launches on a GPU that is not there: operands without memory, and Triton told that it is there.

What Triton specialises on (types, alignment, ones, sizes) it then finds by itself, as at a launch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemmbench.inspect.targets import Target
from gemmkernels.kernel import Kernel, Launch, Settings
from gemmkernels.operands import allocate
from gemmkernels.problem import Problem

if TYPE_CHECKING:
    from triton.backends.compiler import GPUTarget


@dataclass(frozen=True)
class _Driver:
    """As much of Triton's driver as compiling asks for."""

    target: "GPUTarget"

    def get_current_target(self) -> "GPUTarget":
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:  # noqa: ARG002
        return 0


def triton_target(target: Target) -> "GPUTarget":
    """The target in Triton's words."""
    from triton.backends.compiler import GPUTarget

    if target.vendor == "nvidia":
        return GPUTarget("cuda", target.device().sm, target.lanes)
    return GPUTarget("hip", target.name, target.lanes)


def pretend(target: Target) -> None:
    """From now on Triton compiles for that target, in all of this process."""
    from triton.runtime.driver import driver

    driver.set_active(_Driver(triton_target(target)))


def launch_on(
    kernel: Kernel, problem: Problem, target: Target, *, settings: Settings | None = None
) -> Launch:
    """The kernel bound to operands without memory, laid out as `allocate` does on the device."""
    (operands,) = allocate(problem, target.device())
    return kernel.launch(operands, settings=settings)
