"""The chain on a CPU: one core, compiled as it is loaded."""

from typing import Any

import numba
import numpy as np

SEED = np.uint64(88172645463325252)


@numba.njit("uint64(uint64, int64)", nogil=True)
def xorshift(state: Any, steps: int) -> Any:
    """`state` after that many steps of xorshift64."""
    for _ in range(steps):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
    return state
