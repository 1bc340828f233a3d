"""Who uses the cores now: other processes, and other guests of the same machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gemmbench.devices.files import text
from gemmbench.timing.contention import TICK_NS

_STAT = re.compile(r"(\d+) \((.*)\) \S (\d+) (?:-?\d+ ){9}(\d+) (\d+) (\d+) (\d+) ", re.DOTALL)
"""pid (name) state ppid … utime stime cutime cstime: proc(5)."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """Seconds of core time: its own, and those of its children that have ended."""

    name: str
    parent: int
    own_s: float
    ended_s: float


@dataclass(frozen=True, kw_only=True)
class Cores:
    """Core time so far, seconds: of the CPUs looked at, and of each process that can be seen."""

    time_s: float
    busy_s: float | None
    steal_s: float
    processes: Mapping[int, Process]


def read_cores(cpus: tuple[int, ...], *, now_s: float, root: Path = Path("/")) -> Cores:
    """One reading; `busy_s` is None where the kernel counts nothing."""
    tick_s = TICK_NS / 1e9
    busy = steal = total = 0
    for line in (text(root / "proc/stat") or "").splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in cpus:
            user, nice, system, idle, wait, irq, soft, stolen = [*map(int, fields), *[0] * 8][:8]
            busy += user + nice + system + irq + soft + stolen
            steal += stolen
            total += busy + idle + wait
    return Cores(
        time_s=now_s,
        busy_s=busy * tick_s if total else None,
        steal_s=steal * tick_s,
        processes=dict(_processes(root, tick_s)),
    )


def others(before: Cores, after: Cores, *, family: int) -> tuple[float | None, str]:
    """(cores that others used between two readings, the busiest of them in words).

    The process `family` and all that descend from it are not others.
    """
    span_s = after.time_s - before.time_s
    if before.busy_s is None or after.busy_s is None or span_s <= 0:
        return None, ""
    # A child that ended in between is in its parent's count; one that was orphaned stays ours.
    ours = _descendants(before.processes, family) | _descendants(after.processes, family)
    own_s = _spent_s(after.processes, ours) - _spent_s(before.processes, ours)
    grown = {
        pid: process.own_s - (before.processes[pid].own_s if pid in before.processes else 0.0)
        for pid, process in after.processes.items()
        if pid not in ours
    }
    most = max(grown, key=lambda pid: grown[pid], default=None)
    busiest = ""
    if most is not None and grown[most] > 0:
        busiest = f"{after.processes[most].name} (process {most})"
    return max(0.0, (after.busy_s - before.busy_s - own_s) / span_s), busiest


def _processes(root: Path, tick_s: float) -> list[tuple[int, Process]]:
    found = []
    for folder in (root / "proc").glob("[0-9]*"):
        match = _STAT.match(text(folder / "stat") or "")
        if match:
            pid, name, parent, *ticks = match.groups()
            user, system, ended_user, ended_system = (int(tick) * tick_s for tick in ticks)
            process = Process(
                name=name,
                parent=int(parent),
                own_s=user + system,
                ended_s=ended_user + ended_system,
            )
            found.append((int(pid), process))
    return found


def _spent_s(processes: Mapping[int, Process], chosen: set[int]) -> float:
    return sum(processes[p].own_s + processes[p].ended_s for p in chosen if p in processes)


def _descendants(processes: Mapping[int, Process], ancestor: int) -> set[int]:
    found = {ancestor} & processes.keys()
    grown = True
    while grown:
        more = {p for p, process in processes.items() if process.parent in found} - found
        found |= more
        grown = bool(more)
    return found
