"""What a container leaves of the machine: CPU quota and memory, by cgroup v1 or v2."""

from collections.abc import Iterator
from pathlib import Path

from gemmbench.devices.files import number, text

_UNLIMITED = 1 << 60
"""cgroup v1 writes "no limit" as a number near 2⁶³."""


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs that the cgroup may use at once, or None without a quota."""
    return min(
        (q for folder in _folders(root, "cpu") if (q := _quota(folder)) is not None), default=None
    )


def memory_available(root: Path = Path("/")) -> int | None:
    """Bytes that the cgroup may still take, page cache counted as free; None without a limit."""
    return min(
        (left for f in _folders(root, "memory") if (left := _left(f)) is not None), default=None
    )


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """This process's cgroups with that controller, from its own up to the root: limits nest."""
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        hierarchy, controllers, path = [*line.split(":", 2), "", ""][:3]
        mounts = root / "sys/fs/cgroup"
        if hierarchy == "0" and not controllers:
            tops = [mounts, mounts / "unified"]
        elif controller in controllers.split(","):
            tops = [mounts / controllers, mounts / controller]
        else:
            continue
        own = Path(path.strip().lstrip("/"))
        for top in tops:
            # Inside a container the path may be the host's, and the own cgroup be the mount itself.
            for folder in (own, *own.parents):
                if ".." not in folder.parts and (top / folder).is_dir():
                    yield top / folder


def _quota(folder: Path) -> float | None:
    if limit := text(folder / "cpu.max"):
        quota, _, period = limit.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            return int(quota) / int(period)
        return None
    v1 = number(folder / "cpu.cfs_quota_us")
    period_us = number(folder / "cpu.cfs_period_us")
    return v1 / period_us if v1 and period_us and v1 > 0 and period_us > 0 else None


def _left(folder: Path) -> int | None:
    limit, used = number(folder / "memory.max"), number(folder / "memory.current")
    cache = "inactive_file"
    if limit is None:
        limit = number(folder / "memory.limit_in_bytes")
        used = number(folder / "memory.usage_in_bytes")
        cache = "total_inactive_file"
    if limit is None or used is None or not 0 < limit < _UNLIMITED:
        return None
    for line in (text(folder / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == cache and value.isdecimal():
            used -= int(value)
    return max(0, limit - max(0, used))
