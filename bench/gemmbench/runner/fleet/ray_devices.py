"""The devices of a Ray cluster: each is one bundle that Ray reserves, and an actor in it."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from gemmbench.devices.place import spelt
from gemmbench.records.schema import Place
from gemmbench.runner.fleet.ray_agent import RayAgent
from gemmbench.runner.fleet.ray_cluster import Node, Software
from gemmbench.runner.fleet.ray_messages import Spot

NODE_ID = "ray.io/node-id"
"""The label that Ray itself gives each node."""

_CALLS = 4
"""At once: the agent is listened to, started, and interrupted."""


@dataclass(kw_only=True, eq=False)
class RayDevice:
    """A device, what Ray holds for it, and the unit that it works for.

    `index` is of a GPU, `cores` of a CPU's worker that has only some of its node's. `gone` says why
    it is not to be had. `heard` counts the batches that its actor was heard to say, `asked_s`
    is when it was asked for the next, or 0.
    """

    node: str
    node_id: str
    rack: str
    bundle: dict[str, float]
    index: int | None = None
    cores: str = ""
    group: Any = None
    actor: Any = None
    ready: bool = False
    gone: str = ""
    unit: int | None = None
    charge: bytes = b""
    heard: int = 0
    silent_s: float = 0.0
    asked_s: float = 0.0
    until_s: float = 0.0

    @property
    def spot(self) -> Spot:
        cpu = f"cpu:{self.cores}" if self.cores else "cpu"
        place = Place(node=self.node, rack=self.rack, index=self.index, cores=self.cores)
        return Spot(place=place, device="cuda:0" if self.index is not None else cpu)

    @property
    def waits(self) -> bool:
        """Does a unit wait for it?"""
        return self.unit is not None and not self.ready

    def take(self) -> Any:
        """Ask Ray for it, on its node alone; the answer to come is what its actor says of it."""
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        if self.group is None:
            # A group of its own: what one device waits for holds up no other, and the same device
            # stays reserved where its actor dies.
            self.group = placement_group(
                [self.bundle],
                strategy="STRICT_PACK",
                bundle_label_selector=[{NODE_ID: self.node_id}],
            )
        self.actor = (
            _actor_class()
            .options(
                num_cpus=self.bundle.get("CPU", 0),
                num_gpus=self.bundle.get("GPU", 0),
                max_concurrency=_CALLS,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(self.group, 0),
            )
            .remote()
        )
        self.heard = 0
        self.silent_s = 0.0
        return self.actor.where.remote()

    def drop(self, *, node_lost: bool) -> None:
        """Its actor is no more; the device stays reserved, unless its node is lost."""
        import ray

        if self.actor is not None:
            with contextlib.suppress(Exception):  # it may be dead by now
                ray.kill(self.actor)
        self.actor = None
        self.ready = False
        self.asked_s = 0.0
        if node_lost:
            self._free()
            self.node_id = ""

    def give_up(self, reason: str) -> None:
        self.drop(node_lost=False)
        self._free()
        self.gone = reason

    def swap(self, other: "RayDevice") -> None:
        """Each has what Ray gave the other."""
        for name in ("group", "actor", "node_id", "heard", "asked_s", "until_s"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)

    def _free(self) -> None:
        from ray.util.placement_group import remove_placement_group

        if self.group is not None:
            with contextlib.suppress(Exception):  # the cluster may have lost it
                remove_placement_group(self.group)
        self.group = None


@cache
def _actor_class() -> Any:
    """Made once: Ray sends each one that is made to the cluster, and keeps it there."""
    import ray

    return ray.remote(RayAgent)


def devices_of(
    found: Sequence[Node],
    has: Mapping[str, Software],
    *,
    kind: str,
    threads: int | None,
) -> tuple[RayDevice, ...]:
    """One a GPU; or, of CPUs, one a node, or as many of `threads` CPUs as a node has."""
    devices: list[RayDevice] = []
    for node in found:
        device = partial(RayDevice, node=node.name, node_id=node.id, rack=node.rack)
        if kind == "gpu":
            devices += [device(bundle={"GPU": 1}, index=at) for at in range(node.gpus)]
        elif threads is None:
            devices.append(device(bundle={"CPU": node.cpus}))
        else:
            cpus = has[node.id].cpus
            for at in range(min(node.cpus, len(cpus)) // threads):
                own = spelt(cpus[at * threads : (at + 1) * threads])
                devices.append(device(bundle={"CPU": threads}, cores=own))
    return tuple(devices)


def reserved() -> set[str]:
    """The groups that Ray has found room for, by their ids."""
    from ray.util.placement_group import placement_group_table

    return {name for name, one in placement_group_table().items() if one["state"] == "CREATED"}
