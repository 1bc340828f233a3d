"""A device for each rank, and the library that connects them."""

import math
from datetime import timedelta
from typing import Any

from gemmbench.runner.parallel.ranks import Ranks
from gemmkernels.errors import GemmbenchError


def take_device(ranks: Ranks, asked: str, *, timeout_s: float) -> None:
    """Give each rank its device and open the group that is measured. Raises GemmbenchError."""
    ranks.agree(lambda: _take(ranks, asked))
    kinds = ranks.every(ranks.device.name)
    for rank, name in enumerate(kinds):
        if name != kinds[0]:
            raise GemmbenchError(
                f"rank {rank} has {name}, rank 0 {kinds[0]}: measure devices of one kind"
            )
    addresses = ranks.every((ranks.node, ranks.target.pci if ranks.target else None))
    for rank, (node, address) in enumerate(addresses):
        first = addresses.index((node, address))
        if address is not None and first != rank and ranks.device.is_gpu:
            raise GemmbenchError(
                f"ranks {first} and {rank} have the same GPU: start no more ranks on a node than it"
                " has GPUs (--nproc-per-node)"
            )
    _open(ranks, timeout_s)


def _take(ranks: Ranks, asked: str) -> None:
    import torch

    from gemmbench.devices.detect import detect, gpu_present, telemetry_target
    from gemmbench.runner.turners import take

    count = 0 if asked == "cpu" else torch.cuda.device_count()
    if asked == "cpu" or (asked == "auto" and not count and gpu_present() is None):
        _bind(ranks)
        ranks.device = detect("cpu", threads=_threads(ranks))
    elif ranks.local_rank < count or count == 1:  # where each task sees its own GPU alone
        ranks.device = detect(f"cuda:{min(ranks.local_rank, count - 1)}")
    elif count:
        raise GemmbenchError(
            f"torch sees {count} GPUs for {ranks.on_node} ranks of this node: start "
            f"--nproc-per-node {count}"
        )
    else:
        ranks.device = detect("cuda")  # says why there is none
    take(ranks.device)
    ranks.target = telemetry_target(ranks.device)


def _bind(ranks: Ranks) -> None:
    from gemmbench.devices.cpu import allowed_cpus
    from gemmbench.devices.place import bind

    bind(share(allowed_cpus(), ranks.local_rank, ranks.on_node))


def share(cpus: tuple[int, ...], rank: int, of: int) -> tuple[int, ...]:
    """A rank's even share of the CPUs, one at least; what is left over is left idle.

    >>> share((0, 1, 2, 3, 4), 1, 2)
    (2, 3)
    """
    each = len(cpus) // of
    return cpus[rank * each : (rank + 1) * each] if each else (cpus[rank % len(cpus)],)


def _threads(ranks: Ranks) -> int:
    """The cores that the rank is bound to, within its share of a container's quota."""
    from gemmbench.devices.cgroup import cpu_quota
    from gemmbench.devices.cpu import cpu_device

    cores, quota = cpu_device().units, cpu_quota()
    return cores if quota is None else max(1, min(cores, math.floor(quota / ranks.on_node)))


def _open(ranks: Ranks, timeout_s: float) -> None:
    import torch
    import torch.distributed as dist

    backend = "nccl" if ranks.device.is_gpu else "gloo"
    if not dist.is_backend_available(backend):
        raise GemmbenchError(f"torch {torch.__version__} was built without {backend}")
    # NCCL's own watchdog aborts the process with pages of trace: the guard is to be first.
    patience = timedelta(seconds=timeout_s * (10 if ranks.device.is_gpu else 1))
    ranks.group = dist.new_group(backend=backend, timeout=patience)
    ranks.library, ranks.version = "gloo", f"of torch {torch.__version__}"
    if ranks.device.is_gpu:
        hip: Any = getattr(torch.version, "hip", None)
        ranks.library = "rccl" if hip else "nccl"
        # torch asks the loaded library; RCCL answers with the NCCL whose interface it has.
        version: Any = torch.cuda.nccl.version
        ranks.version = ".".join(map(str, version()))
