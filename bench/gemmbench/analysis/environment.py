"""What runs were made with: device, method, software, host; and what of it differs."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gemmbench.analysis.sources import together
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
        ("kernels (digest of the source)", lambda one: together(one.kernels)),
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
        "units": str(device.units or ""),
        "partition": device.partition or "",
        "memory (GiB)": f"{device.memory_bytes / 2**30:.4g}" if device.memory_bytes else "",
        "last-level cache (MiB)": f"{device.llc_bytes / 2**20:.4g}" if device.llc_bytes else "",
        "power limit (W)": "" if device.power_limit_w is None else f"{device.power_limit_w:g}",
        "features": ", ".join(device.features),
        "measured by": header.tool,
    }


_METHOD: tuple[tuple[str, str, float], ...] = (
    ("preset", "preset", 1),
    ("cache", "cache", 1),
    ("launch", "launch", 1),
    ("data", "data", 1),
    ("seed", "seed", 1),
    ("threads", "threads", 1),
    ("repeats", "repeats", 1),
    ("settle_s", "settling before a turn (ms)", 1e3),
    ("turn_s", "timed part of a turn (ms)", 1e3),
    ("sample_s", "sample, at least (ms)", 1e3),
    ("least_rounds", "rounds always taken", 1),
    ("min_rounds", "rounds before the first look", 1),
    ("max_rounds", "rounds at most", 1),
    ("max_time_s", "time for the rounds after those (s)", 1),
    ("target", "target: interval of at most ± (%)", 100),
    ("unsettled", "unsettled", 1),
)
"""Field, words, and how many of the words' unit one of the field's is."""

_TOLD_BY_TOOLS = ("preset", "cache", "launch", "data", "threads")
"""Another tool's method has no turns: the constants of ours say nothing of it."""


def _method(header: Header) -> dict[str, str]:
    found = {"suites": ", ".join(header.suites)}
    for field, words, scale in _METHOD:
        if not header.tool or field in _TOLD_BY_TOOLS:
            value = getattr(header.method, field)
            found[words] = _told(scale * value if scale != 1 else value)
    return found


def _told(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
