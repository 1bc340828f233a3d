"""The switches of torch that a rank's product needs."""

from collections.abc import Callable
from functools import partial

from gemmkernels.library.switches import set_switches
from gemmkernels.parallel.shards import Shards


def switches_for(shards: Shards) -> Callable[[], None] | None:
    """What sets them; a CPU has none. fp32 stays IEEE unless tf32 is asked for."""
    if not shards.device.is_gpu:
        return None
    return partial(set_switches, tf32=shards.task.problem.precision == "tf32")
