"""A Ray cluster: how to reach it, its nodes, and what is installed on them."""

import os
import platform
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemmbench.quantities import counted
from gemmkernels.errors import GemmbenchError

ADDRESS = re.compile(r"(?P<client>ray://)?(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<port>\d{1,5})")
ANSWER_S = 5.0
_FEW = 4


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster. `name` is Ray's name for it where it has one, else its host's."""

    id: str
    name: str
    rack: str
    gpus: int
    cpus: int


@dataclass(frozen=True, kw_only=True)
class Software:
    """What is installed on a node; "" is nothing. `cpus` are those that a process there may use."""

    gemmbench: str
    torch: str
    cpus: tuple[int, ...]


# How to reach it.


def check_address(address: str) -> str:
    """The address to connect to; `auto` is RAY_ADDRESS, if that is set.

    Raises GemmbenchError for what is none, and where nobody listens there.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or "auto"
    if address == "auto":
        return address
    found = ADDRESS.fullmatch(address)
    if not found or not 0 < int(found["port"]) < 2**16:
        raise GemmbenchError(
            f"address {address[:80]!r} is none of Ray's: say auto, HOST:6379 or ray://HOST:10001"
        )
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), ANSWER_S).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise GemmbenchError(
            f"nothing answers at {address}: {reason}; is the cluster up (ray start --head), and "
            "its port open to this machine?"
        ) from None
    return address


def unreachable(address: str, error: BaseException) -> str:
    """Why Ray would not connect, in one line with what to do."""
    text = " ".join(str(error).split())
    if "running Ray instance" in text:
        return (
            "no Ray cluster runs on this machine: start one with ray start --head, or name one "
            "with --address HOST:6379"
        )
    if "ray[client]" in text:
        return f"{address} needs Ray's client: pip install 'ray[client]'"
    if found := re.search(r"started with: Ray: (\S+) Python: (\S+)", text):
        import ray

        own = platform.python_version()
        return (
            f"the cluster at {address} runs Ray {found[1]} on Python {found[2]}, and here are Ray "
            f"{ray.__version__} and Python {own}: install the same"
        )
    return f"cannot connect to the Ray cluster at {address}: {text[:300]}"


def how_it_died(text: str) -> tuple[str, bool]:
    """What Ray's error on an actor says: (what happened, may it be tried again?)."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and "creation task" in text:
        return f"could not start: {lines[-1][:300]}", False
    return ("ran out of memory" if "OutOfMemory" in text else "died"), True


# Its nodes.


def nodes(listed: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Those of `ray.nodes()` that are alive, by their names."""
    alive = [one for one in listed if one["Alive"]]
    names = Counter(map(_name, alive))
    found = []
    for one in alive:
        name = _name(one)
        if names[name] > 1:  # several on one host: their ports tell them apart
            name = f"{name}:{one['NodeManagerPort']}"
        resources = one["Resources"]
        found.append(
            Node(
                id=one["NodeID"],
                name=name,
                rack=one.get("Labels", {}).get("rack", ""),
                gpus=int(resources.get("GPU", 0)),
                cpus=int(resources.get("CPU", 0)),
            )
        )
    return sorted(found, key=lambda node: [_number(part) for part in re.split(r"(\d+)", node.name)])


def _name(listed: Mapping[str, Any]) -> str:
    address, name = listed["NodeManagerAddress"], listed.get("NodeName") or ""
    return str(name if name and name != address else listed["NodeManagerHostname"] or address)


def _number(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() and len(part) < 10 else (-1, part)


def check_kind(found: Sequence[Node], kind: str, address: str) -> list[Node]:
    """The nodes that have devices of that kind. Raises GemmbenchError where none has."""
    fit = [node for node in found if (node.gpus if kind == "gpu" else node.cpus)]
    if fit:
        return fit
    if kind == "cpu":
        raise GemmbenchError(f"the {counted(len(found), 'node')} at {address} offer Ray no CPU")
    cpus = sum(node.cpus for node in found)
    raise GemmbenchError(
        f"the cluster at {address} has no GPU: it has {counted(len(found), 'node')} with "
        f"{counted(cpus, 'CPU')}; start Ray where GPUs are, or measure its CPUs with --device cpu"
    )


# What is installed there.


def ask_software(
    found: Sequence[Node], limit_s: float, still: Callable[[], None]
) -> dict[str, Software]:
    """What each node has, by its id; those that do not answer in time are missing.

    `still` is called now and then.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def look() -> tuple[str, str, list[int]]:
        # It is sent there by value: what it uses must not be ours, which may be missing there.
        import importlib.metadata
        import os

        try:
            from gemmbench._version import __version__ as own
        except ImportError:
            own = ""
        try:
            torch = importlib.metadata.version("torch")
        except importlib.metadata.PackageNotFoundError:
            torch = ""
        return own, torch, sorted(os.sched_getaffinity(0))

    remote = ray.remote(look)
    asked = {
        remote.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        ).remote(): node.id
        for node in found
    }
    answers: dict[str, Software] = {}
    waiting = list(asked)
    end_s = time.monotonic() + limit_s
    while waiting and (left_s := end_s - time.monotonic()) > 0:
        done, waiting = ray.wait(waiting, num_returns=1, timeout=min(left_s, 1.0))
        for one in done:
            try:
                own, torch, cpus = ray.get(one)
            except ray.exceptions.RayError:
                continue
            answers[asked[one]] = Software(gemmbench=own, torch=torch, cpus=tuple(cpus))
            end_s = time.monotonic() + limit_s
        still()
    return answers


def check_software(found: Sequence[Node], has: Mapping[str, Software], version: str) -> list[str]:
    """What the user should know of nodes that differ.

    Raises GemmbenchError, with their names, where gemmbench is missing on some or another version.
    """
    known = [node for node in found if node.id in has]
    other: dict[str, list[str]] = {}
    for node in known:
        if (own := has[node.id].gemmbench) != version:
            other.setdefault(f"gemmbench {own}" if own else "no gemmbench", []).append(node.name)
    if other:
        told = "; ".join(f"{what} on {_few(names)}" for what, names in sorted(other.items()))
        raise GemmbenchError(
            f"the nodes must have gemmbench {version}, as this machine: there is {told}; install "
            "the same on all of them"
        )
    notes = []
    if missing := [node.name for node in found if node.id not in has]:
        notes.append(f"no answer from {_few(missing)}: nothing is measured there")
    torches: dict[str, list[str]] = {}
    for node in known:
        torches.setdefault(has[node.id].torch or "none", []).append(node.name)
    if len(torches) > 1:
        told = "; ".join(f"{what} on {_few(names)}" for what, names in sorted(torches.items()))
        notes.append(f"the nodes have different versions of torch: {told}")
    return notes


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more
