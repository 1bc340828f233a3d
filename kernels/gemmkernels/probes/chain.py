"""The self-test pair: a chain of dependent steps in registers, at two lengths 1.37 apart.

What a method of measuring makes of a ratio that is known shows what it can resolve. A step is one
xorshift (Marsaglia 2003): shifts and exclusive ors that depend on each other, so that neither a
compiler nor a wide core can shorten the chain.
"""

from collections.abc import Callable
from functools import partial

from gemmkernels.device import Device

WORK = 1.37
"""What `more` does, over what `less` does."""

CPU_UNIT = 1_600
GPU_UNIT = 640
"""Steps in a hundredth of `less`: about 250 µs on a CPU, 1 ms on a GPU: what a call costs
besides (1 µs, 2 µs) takes no more than 0.1% off the ratio.

Both lengths are multiples of 16, so that no compiler treats one of them apart.
"""


def pair(device: Device) -> tuple[Callable[[], object], Callable[[], object]]:
    """(less, more): two runs of the same code, of which `more` makes exactly 1.37 times the steps.

    On a GPU each writes its result into a tensor of its own and allocates nothing.
    """
    if device.is_gpu:
        from gemmkernels.probes import chain_gpu

        launch = partial(chain_gpu.launch, device)
        return launch(steps=100 * GPU_UNIT), launch(steps=137 * GPU_UNIT)
    # numba is loaded where the pair runs: who only asks for WORK needs it not.
    from gemmkernels.probes.chain_cpu import SEED, xorshift

    return partial(xorshift, SEED, 100 * CPU_UNIT), partial(xorshift, SEED, 137 * CPU_UNIT)
