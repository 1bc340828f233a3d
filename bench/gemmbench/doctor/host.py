"""Checks of the host: what takes the cores, holds their clock or moves their memory."""

from collections.abc import Iterator

from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor.facts import Host
from gemmbench.doctor.finding import Finding, Grade
from gemmbench.timing.verdict import OTHERS

STOLEN = 0.01
"""Above it a core is not there for 1% of the time: half of the 2% that a CPU's figures aim at."""

MANY_CORES = 0.01
"""On a large machine daemons use more than a part of one core: 1% of all is what counts there."""

SLOW_GOVERNORS = ("powersave", "conservative", "userspace")
"""Under the older clock drivers these hold the clock low, or raise it in steps of 10 ms or more.
Under intel_pstate and amd-pstate `powersave` is the default and reaches the full clock."""

_OWN_CLOCK = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
LEAST_MEMORY = 0.1
GIB = 2**30


def host_findings(host: Host, target: TelemetryTarget) -> Iterator[Finding]:
    """What matters to a device: on a GPU most of the host's faults do no harm to its time."""
    on_cpu = target.kind == "cpu"
    harm: Grade = "fault" if on_cpu else "note"
    yield _numa(host, harm if target.vendor != "amd" else "fault")
    yield _others(host, harm)
    yield _steal(host, harm)
    yield _quota(host, harm)
    if on_cpu:
        yield _governor(host)
        if host.governors or host.turbo is not None:
            yield _turbo(host)
        yield _smt(host)
    yield _memory(host)


def _numa(host: Host, harm: Grade) -> Finding:
    name = "NUMA balancing"
    if host.numa_balancing is None:
        return Finding(check=name, grade="ok", what="this kernel has none")
    if host.numa_balancing == 0 or host.numa_nodes < 2:
        return Finding(check=name, grade="ok", what="off, or a single node")
    return Finding(
        check=name,
        grade=harm,
        what=f"on, with {host.numa_nodes} nodes: pages move while kernels run",
        remedy="echo 0 | sudo tee /proc/sys/kernel/numa_balancing",
    )


def _others(host: Host, harm: Grade) -> Finding:
    name = "other processes"
    if host.others is None:
        return Finding(
            check=name, grade="unknown", what="/proc/stat counts no core time here", remedy=""
        )
    seen = f"{host.others:.2f} of {_cores(host.cpus)} used over {host.window_s:.1f} s"
    if host.others <= max(OTHERS, MANY_CORES * host.cpus):
        return Finding(check=name, grade="ok", what=seen)
    end = f"end {host.busiest}" if host.busiest else "nothing that can be seen from here uses them"
    return Finding(
        check=name, grade=harm, what=seen, remedy=f"{end}, or measure on an idle machine"
    )


def _steal(host: Host, harm: Grade) -> Finding:
    name = "steal time"
    remedy = "ask for a machine, or cores, of your own"
    if host.steal is None or host.steal_ever is None:
        return Finding(check=name, grade="unknown", what="/proc/stat counts no steal time here")
    ever = f"{100 * host.steal_ever:.1f}% of the time used since the machine started"
    if host.steal > STOLEN:
        what = f"other guests took {100 * host.steal:.1f}% of the cores just now, {ever}"
        return Finding(check=name, grade=harm, what=what, remedy=remedy)
    if host.steal_ever > STOLEN:
        what = f"none to speak of just now, but other guests took {ever}"
        return Finding(check=name, grade="note", what=what, remedy=remedy)
    return Finding(check=name, grade="ok", what=f"{100 * host.steal:.1f}% just now, {ever}")


def _quota(host: Host, harm: Grade) -> Finding:
    name = "CPU quota"
    if host.quota is not None and host.quota < 1:
        return Finding(
            check=name,
            grade=harm,
            what=f"{host.quota:g} of a core: the kernel stops this container in every turn",
            remedy="start the container with --cpus 1 or more",
        )
    if host.quota is not None and host.quota < host.cpus:
        return Finding(
            check=name,
            grade="note",
            what=f"{host.quota:g} of {_cores(host.cpus)} in this container",
            remedy="start the container without --cpus",
        )
    if host.online is not None and host.cpus < host.online:
        return Finding(
            check=name,
            grade="note",
            what=f"this process may use {host.cpus} of {host.online} CPUs",
            remedy="start it without taskset, numactl or --cpuset-cpus",
        )
    return Finding(check=name, grade="ok", what=f"none, {_cores(host.cpus)}")


def _governor(host: Host) -> Finding:
    name = "CPU governor"
    if not host.governors:
        what = "not shown, as in most virtual machines: the clock is the hypervisor's"
        return Finding(check=name, grade="note", what=what)
    shown = " and ".join(host.governors)
    if host.governors == ("performance",):
        return Finding(check=name, grade="ok", what=shown)
    slow = set(host.governors) & set(SLOW_GOVERNORS) and host.clock_driver not in _OWN_CLOCK
    return Finding(
        check=name,
        grade="fault" if slow else "note",
        what=f"{shown}, not performance ({host.clock_driver or 'unknown driver'})",
        remedy="sudo cpupower frequency-set -g performance",
    )


def _turbo(host: Host) -> Finding:
    name = "CPU turbo"
    if host.turbo is None:
        return Finding(check=name, grade="unknown", what="the clock driver does not show it")
    if host.turbo:
        return Finding(check=name, grade="ok", what="on")
    return Finding(
        check=name,
        grade="note",
        what="off: the clock stays at its base",
        remedy="echo 0 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo, "
        "or echo 1 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
    )


def _smt(host: Host) -> Finding:
    name = "SMT"
    if host.smt:
        return Finding(
            check=name, grade="note", what="on: the run uses one thread of each core it may use"
        )
    return Finding(check=name, grade="ok", what="off, or not shown")


def _memory(host: Host) -> Finding:
    name = "memory"
    if host.memory_bytes is None or host.available_bytes is None:
        return Finding(check=name, grade="unknown", what="/proc/meminfo does not show it")
    what = f"{host.available_bytes / GIB:.1f} of {host.memory_bytes / GIB:.1f} GiB are free"
    if host.available_bytes < LEAST_MEMORY * host.memory_bytes:
        remedy = "end what holds it: operands that do not fit are swapped or left out"
        return Finding(check=name, grade="note", what=what, remedy=remedy)
    return Finding(check=name, grade="ok", what=what)


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"
