"""Settings that were found by measuring: `tuned/<architecture>.toml`, and the nearest entry."""

from gemmkernels.device import Device
from gemmkernels.kernel import Settings
from gemmkernels.problem import Problem


def tuned(kernel: str, problem: Problem, device: Device) -> Settings | None:  # noqa: ARG001
    """The settings of the nearest tuned problem of the kernel on that architecture, or None."""
    return None
