"""Which of the ranks this process is, as its launcher says in the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from gemmkernels.errors import GemmbenchError

HOW = "torchrun --nproc-per-node 8 -m gemmbench parallel"
_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
MOST_RANKS = 2**20


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """The rank of this process among all `ranks`, and on its node."""

    rank: int
    ranks: int
    local_rank: int


def launcher(environment: Mapping[str, str] = os.environ) -> Launcher:
    """What torchrun set, or a line of srun or mpirun. Raises GemmbenchError where nothing did."""
    missing = [name for name in _NEEDED if not environment.get(name)]
    if len(missing) == len(_NEEDED):
        raise GemmbenchError(f"parallel is started once a device, by a launcher: {HOW}")
    if missing:
        raise GemmbenchError(
            f"{' and '.join(missing)} missing in the environment: start with {HOW}, or have srun "
            f"or mpirun set {', '.join(_NEEDED)}"
        )
    numbers = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        value = environment[name]
        if not value.isdecimal() or len(value) > 7 or int(value) > MOST_RANKS:
            raise GemmbenchError(f"{name}={value[:40]!r} is no rank: start with {HOW}")
        numbers[name] = int(value)
    rank, ranks = numbers["RANK"], numbers["WORLD_SIZE"]
    if rank >= ranks:
        raise GemmbenchError(f"RANK={rank} is not below WORLD_SIZE={ranks}: start with {HOW}")
    return Launcher(rank=rank, ranks=ranks, local_rank=numbers["LOCAL_RANK"])
