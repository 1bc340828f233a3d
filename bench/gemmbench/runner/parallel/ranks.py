"""All ranks together: how they meet, what they must share, and how they agree."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gemmkernels
from gemmbench import _version
from gemmbench.runner.parallel.guard import Guard, Peer
from gemmbench.runner.parallel.launcher import Launcher
from gemmbench.runner.worker import digest_of
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from gemmbench.devices.target import TelemetryTarget

Told = TypeVar("Told")

CONTROL_PATIENCE = 3
"""Times the timeout: what ranks agree over outlives a collective that times out."""


@dataclass(kw_only=True)
class Ranks:
    """This rank among the others. `group` is what is measured; they agree over another, by gloo.

    `on_node` is how many ranks share this node, `node` is its number; `local_rank` is what the
    launcher calls it.
    """

    rank: int
    ranks: int
    guard: Guard
    node: int = 0
    on_node: int = 1
    local_rank: int = 0
    device: Device = field(init=False)
    target: "TelemetryTarget | None" = None
    group: "ProcessGroup | None" = None
    library: str = ""
    version: str = ""

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def tell(self, value: Told | None) -> Told:
        """What rank 0 has, on every rank."""
        import torch.distributed as dist

        found: list[Any] = [value]
        dist.broadcast_object_list(found, src=0)
        told: Told = found[0]
        return told

    def every(self, value: Told) -> list[Told]:
        """What each rank has, on every rank, in their order."""
        import torch.distributed as dist

        found: list[Any] = [None] * self.ranks
        dist.all_gather_object(found, value)
        return found

    def largest(self, values: Sequence[float]) -> list[float]:
        """The largest of all ranks', number by number: the same on every rank, to the bit."""
        import torch
        import torch.distributed as dist

        found = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return list(found.tolist())

    def wait(self) -> None:
        """For all ranks."""
        import torch.distributed as dist

        dist.barrier()

    def agree(self, work: Callable[[], None]) -> None:
        """Do it on each rank; a mistake on any of them is raised on all, under its number."""
        mine = ""
        try:
            work()
        except GemmbenchError as error:
            mine = str(error)
        for rank, text in enumerate(self.every(mine)):
            if text:
                raise GemmbenchError(f"rank {rank}: {text}" if rank else text)


class UnmetError(GemmbenchError):
    """The ranks did not find one another: who hears of it knows of no other that says so."""


def meet(launched: Launcher, guard: Guard, *, timeout_s: float) -> Ranks:
    """Meet the other ranks. Raises UnmetError where they do not come, and GemmbenchError where they
    are not of one kind.

    Imports torch.
    """
    import torch
    import torch.distributed as dist

    guard.step("the rendezvous")
    patience, began = timedelta(seconds=timeout_s), time.monotonic()
    try:
        rendezvous: Any = dist.rendezvous  # type: ignore[attr-defined]
        store, rank, size = next(iter(rendezvous("env://", timeout=patience)))
        store.set_timeout(patience)
        dist.init_process_group(
            "gloo", store=store, rank=rank, world_size=size, timeout=CONTROL_PATIENCE * patience
        )
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        told = next(iter(str(error).splitlines()), "")[:160]
        raise UnmetError(
            f"not all {launched.ranks} ranks met at {where} in {time.monotonic() - began:.0f} s "
            f"({told}): see that each is started, and that each node reaches the others; of several"
            " networks name one, in GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
        ) from None
    guard.store = store
    ranks = Ranks(
        rank=launched.rank, ranks=launched.ranks, guard=guard, local_rank=launched.local_rank
    )
    _alike(ranks, "gemmbench", _version.__version__)
    _alike(ranks, "torch", torch.__version__)
    _alike(ranks, "gemmbench's kernels", kernels_digest())
    found = ranks.every((_machine(), _processes(), os.getpid()))
    machines = [machine for machine, _, _ in found]
    ranks.node = list(dict.fromkeys(machines)).index(machines[rank])
    ranks.on_node = machines.count(machines[rank])
    guard.peers = [
        Peer(rank=other, pid=pid)
        for other, (*where, pid) in enumerate(found)
        if other != rank and where == [*found[rank][:2]]
    ]
    return ranks


def _machine() -> str:
    """This node, until it is started anew. Its name does not do: nodes may share one, and
    containers have their own."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _processes() -> str:
    """The PID namespace: only within one does a process's number name it."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def kernels_digest() -> str:
    """Of the files that hold the kernels' code."""
    return digest_of(Path(gemmkernels.__file__).parent.rglob("*.py"))


def _alike(ranks: Ranks, what: str, mine: str) -> None:
    """Before anything else is exchanged: another version may not understand it."""
    found = ranks.every(mine)
    for rank, other in enumerate(found):
        if other != found[0]:
            raise GemmbenchError(
                f"rank {rank} has {what} {other}, rank 0 has {found[0]}: install the same on all "
                "nodes"
            )
