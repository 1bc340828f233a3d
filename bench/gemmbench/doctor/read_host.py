"""The host's state, by the files of /proc and /sys."""

import re
from pathlib import Path

from gemmbench.devices.cgroup import cpu_quota, memory_available
from gemmbench.devices.cpu import allowed_cpus
from gemmbench.devices.files import number, text
from gemmbench.doctor.cores import Cores, others
from gemmbench.doctor.facts import Host


def read_host(before: Cores, after: Cores, *, family: int, root: Path = Path("/")) -> Host:
    """The state of the host, and what its cores did between the two readings."""
    cpus = allowed_cpus()
    system = root / "sys/devices/system"
    span_s = after.time_s - before.time_s
    used, busiest = others(before, after, family=family)
    governors = {text(system / f"cpu/cpu{n}/cpufreq/scaling_governor") for n in cpus}
    online = text(system / "cpu/online")
    smt = number(system / "cpu/smt/active")
    return Host(
        cpus=len(cpus),
        online=_count(online) if online else None,
        governors=tuple(sorted(filter(None, governors))),
        clock_driver=text(system / f"cpu/cpu{cpus[0]}/cpufreq/scaling_driver"),
        turbo=_turbo(system),
        smt=None if smt is None else smt == 1,
        numa_nodes=len(list((system / "node").glob("node[0-9]*"))) or 1,
        numa_balancing=number(root / "proc/sys/kernel/numa_balancing"),
        quota=cpu_quota(root),
        memory_bytes=_memory(root, "MemTotal"),
        available_bytes=_available(root),
        window_s=span_s,
        steal=_share(after.steal_s - before.steal_s, span_s * len(cpus)) if after.busy_s else None,
        steal_ever=_share(after.steal_s, after.busy_s) if after.busy_s else None,
        others=used,
        busiest=busiest,
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _turbo(system: Path) -> bool | None:
    """Intel's driver says when it is off, the others when it is on."""
    off = number(system / "cpu/intel_pstate/no_turbo")
    if off is not None:
        return off == 0
    on = number(system / "cpu/cpufreq/boost")
    return None if on is None else on == 1


def _memory(root: Path, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB", text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _available(root: Path) -> int | None:
    sizes = (_memory(root, "MemAvailable"), memory_available(root))
    return min((size for size in sizes if size is not None), default=None)


def _count(listed: str) -> int:
    """How many CPUs "0-3,8" names."""
    ranges = re.findall(r"(\d+)(?:-(\d+))?", listed)
    return sum(int(last or first) - int(first) + 1 for first, last in ranges)
