"""A device for each rank, and the library that connects them."""

import math
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from gemmbench.devices.cpu import allowed_cpus
from gemmbench.devices.place import bind, share
from gemmbench.devices.target import TelemetryTarget
from gemmbench.runner.parallel.ranks import Ranks
from gemmkernels.errors import GemmbenchError


def take_device(ranks: Ranks, asked: str, *, timeout_s: float) -> None:
    """Give each rank its device and open the group that is measured. Raises GemmbenchError."""
    cpus = own_cpus(ranks.every((ranks.node, allowed_cpus())), ranks.rank)
    ranks.agree(lambda: _take(ranks, asked, cpus))
    kinds = ranks.every(ranks.device.name)
    for rank, name in enumerate(kinds):
        if name != kinds[0]:
            raise GemmbenchError(
                f"rank {rank} has {name}, rank 0 {kinds[0]}: measure devices of one kind"
            )
    each_has_its_own(ranks.every((ranks.node, gpu_address(ranks.target))))
    _open(ranks, timeout_s)


def each_has_its_own(places: Sequence[tuple[int, str | None]]) -> None:
    """(node, PCI address) of each rank's GPU. Raises GemmbenchError where two have the same."""
    for rank, place in enumerate(places):
        first = places.index(place)
        if place[1] is not None and first != rank:
            raise GemmbenchError(
                f"ranks {first} and {rank} have the same GPU: start no more ranks on a node than it"
                " has GPUs (--nproc-per-node)"
            )


def gpu_address(target: TelemetryTarget | None) -> str | None:
    """Of a whole GPU: partitions share an address, as torch names no PCI function."""
    return None if target is None or target.partition else target.pci


def _take(ranks: Ranks, asked: str, cpus: Sequence[int]) -> None:
    import torch

    from gemmbench.devices.detect import detect, gpu_present, telemetry_target
    from gemmbench.runner.turners import take

    count = 0 if asked == "cpu" else torch.cuda.device_count()
    if asked == "cpu" or (asked == "auto" and not count and gpu_present() is None):
        bind(cpus)
        ranks.device = detect("cpu", threads=_threads(ranks))
    elif ranks.local_rank < count or count == 1:  # where each task sees its own GPU alone
        ranks.device = detect(f"cuda:{min(ranks.local_rank, count - 1)}")
    elif count:
        raise GemmbenchError(
            f"LOCAL_RANK is {ranks.local_rank}, and torch sees {count} GPUs: start "
            f"--nproc-per-node {count}"
        )
    else:
        ranks.device = detect("cuda")  # says why there is none
    take(ranks.device)
    ranks.target = telemetry_target(ranks.device)


def own_cpus(
    places: Sequence[tuple[int, tuple[int, ...]]], rank: int, root: Path = Path("/")
) -> tuple[int, ...]:
    """A rank's CPUs, of (node, the CPUs that it may use) of each rank.

    Those of a node that may use the same CPUs share them evenly, in their order: a launcher that
    has bound each rank to CPUs of its own has shared them already.
    """
    alike = [other for other, place in enumerate(places) if place == places[rank]]
    return share(places[rank][1], alike.index(rank), len(alike), root)


def _threads(ranks: Ranks) -> int:
    """The cores that the rank is bound to, within its share of a container's quota."""
    from gemmbench.devices.cgroup import cpu_quota
    from gemmbench.devices.cpu import cpu_device

    cores, quota = cpu_device().units, cpu_quota()
    beside = 1 + len(ranks.guard.peers)  # in this container
    return cores if quota is None else max(1, min(cores, math.floor(quota / beside)))


def _open(ranks: Ranks, timeout_s: float) -> None:
    import torch
    import torch.distributed as dist

    backend = "nccl" if ranks.device.is_gpu else "gloo"
    if not dist.is_backend_available(backend):
        raise GemmbenchError(f"torch {torch.__version__} was built without {backend}")
    # The guard is to end a rank whose others are gone, after it has written its file. torch's own
    # watchdog would abort it, for an error of NCCL's (torchrun asks for that) or a timeout.
    os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "0"
    patience = timedelta(seconds=timeout_s * (10 if ranks.device.is_gpu else 1))
    ranks.group = dist.new_group(backend=backend, timeout=patience)
    ranks.library, ranks.version = "gloo", f"of torch {torch.__version__}"
    if ranks.device.is_gpu:
        hip: Any = getattr(torch.version, "hip", None)
        ranks.library = "rccl" if hip else "nccl"
        # torch asks the loaded library; RCCL answers with the NCCL whose interface it has.
        version: Any = torch.cuda.nccl.version
        ranks.version = ".".join(map(str, version()))
