"""What runs were made with: device, method, software, host; and what of it differs."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gemmbench.records.schema import Header


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing, and what it is in each run; empty where a run does not say."""

    what: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of one kind."""

    title: str
    facts: tuple[Fact, ...]


def environment(headers: Sequence[Header]) -> tuple[Facts, ...]:
    """All that the headers say of how their runs were made; what no run says is left out."""
    parts: tuple[tuple[str, Callable[[Header], Mapping[str, str]]], ...] = (
        ("device", _device),
        ("method", _method),
        ("software", lambda one: {"gemmbench": one.version} | one.software),
        ("host", lambda one: one.host),
        ("environment variables", lambda one: one.environment),
        ("kernels (digest of the source)", lambda one: one.kernels),
        ("command", lambda one: {"command": command_of(one)}),
    )
    found = (Facts(title=title, facts=_facts(map(told, headers))) for title, told in parts)
    return tuple(one for one in found if one.facts)


def command_of(header: Header) -> str:
    """The command line of a run; empty where it is not known."""
    return shlex.join(("gemmbench", *header.command)) if header.command else ""


def _facts(sides: Iterable[Mapping[str, str]]) -> tuple[Fact, ...]:
    given = list(sides)
    names = dict.fromkeys(name for one in given for name in one)
    found = (Fact(what=name, values=tuple(one.get(name, "") for one in given)) for name in names)
    return tuple(one for one in found if any(one.values))


def _device(header: Header) -> dict[str, str]:
    device = header.device
    return {
        "device": device.name,
        "spec sheet": header.device_id or "none known",
        "vendor": device.vendor,
        "architecture": device.architecture,
        "units": str(device.units),
        "partition": device.partition or "",
        "memory (GiB)": f"{device.memory_bytes / 2**30:.4g}",
        "last-level cache (MiB)": f"{device.llc_bytes / 2**20:.4g}" if device.llc_bytes else "",
        "power limit (W)": "" if device.power_limit_w is None else f"{device.power_limit_w:g}",
        "features": ", ".join(device.features),
        "measured by": header.tool,
    }


def _method(header: Header) -> dict[str, str]:
    found = msgspec.structs.asdict(header.method) | {"suites": ", ".join(header.suites)}
    return {name: _told(value) for name, value in found.items()}


def _told(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
