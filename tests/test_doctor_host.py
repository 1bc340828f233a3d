"""The doctor's checks of the host, sound and not, over fakes of /proc and /sys."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gemmbench.devices.cpu import allowed_cpus
from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor.cores import Cores, Process, others, read_cores
from gemmbench.doctor.facts import Host
from gemmbench.doctor.finding import Finding
from gemmbench.doctor.host import host_findings
from gemmbench.doctor.read_host import read_host

CPU = TelemetryTarget(kind="cpu", vendor="intel")
NVIDIA = TelemetryTarget(kind="gpu", vendor="nvidia")
AMD = TelemetryTarget(kind="gpu", vendor="amd")
SOUND: dict[str, Any] = {
    "cpus": 8,
    "online": 8,
    "governors": ("performance",),
    "clock_driver": "acpi-cpufreq",
    "turbo": True,
    "smt": False,
    "numa_nodes": 2,
    "numa_balancing": 0,
    "memory_bytes": 2**36,
    "available_bytes": 2**35,
    "window_s": 1.0,
    "steal": 0.0,
    "steal_ever": 0.001,
    "others": 0.05,
}


def findings(target: TelemetryTarget = CPU, **changed: Any) -> dict[str, Finding]:
    host = Host(**{**SOUND, **changed})
    return {finding.check: finding for finding in host_findings(host, target)}


def test_a_sound_host_has_nothing_to_say() -> None:
    found = findings()
    assert {f.grade for f in found.values()} == {"ok"}
    assert found.keys() > {"NUMA balancing", "other processes", "steal time", "CPU governor"}
    assert {f.grade for f in findings(AMD).values()} == {"ok"}


@pytest.mark.parametrize(
    ("changed", "check", "grade", "figure", "remedy"),
    [
        ({"numa_balancing": 1}, "NUMA balancing", "fault", "2 nodes", "numa_balancing"),
        ({"numa_balancing": 1, "numa_nodes": 1}, "NUMA balancing", "ok", "single", ""),
        ({"numa_balancing": None}, "NUMA balancing", "ok", "none", ""),
        ({"others": 0.151}, "other processes", "fault", "0.15 of 8 cores", "idle machine"),
        ({"others": 0.149}, "other processes", "ok", "0.15 of 8 cores", ""),
        ({"others": 1.5, "cpus": 192}, "other processes", "ok", "1.50", ""),
        ({"others": 2.0, "cpus": 192}, "other processes", "fault", "2.00", ""),
        ({"others": 1.0, "busiest": "make (process 7)"}, "other processes", "fault", "1", "end ma"),
        ({"others": None}, "other processes", "unknown", "/proc/stat", ""),
        ({"steal": 0.011}, "steal time", "fault", "1.1%", "of your own"),
        ({"steal_ever": 0.02}, "steal time", "note", "2.0%", "of your own"),
        ({"steal": None}, "steal time", "unknown", "/proc/stat", ""),
        ({"quota": 0.5}, "CPU quota", "fault", "0.5 of a core", "--cpus 1"),
        ({"quota": 2.0}, "CPU quota", "note", "2 of 8 cores", "without --cpus"),
        ({"quota": 8.0}, "CPU quota", "ok", "", ""),
        ({"online": 16}, "CPU quota", "note", "8 of 16 CPUs", "taskset"),
        ({"governors": ("powersave",)}, "CPU governor", "fault", "powersave", "cpupower"),
        ({"governors": ("schedutil",)}, "CPU governor", "note", "schedutil", "cpupower"),
        (
            {"governors": ("powersave",), "clock_driver": "intel_pstate"},
            *("CPU governor", "note", "intel_pstate", "cpupower"),
        ),
        ({"governors": ("performance", "powersave")}, "CPU governor", "fault", "and", "cpupower"),
        ({"governors": ()}, "CPU governor", "note", "virtual machines", ""),
        ({"turbo": False}, "CPU turbo", "note", "off", "no_turbo"),
        ({"turbo": None}, "CPU turbo", "unknown", "", ""),
        ({"smt": True}, "SMT", "note", "on", ""),
        ({"available_bytes": 2**32}, "memory", "note", "4.0 of 64.0 GiB", "end what"),
        ({"memory_bytes": None}, "memory", "unknown", "", ""),
    ],
)
def test_what_a_cpu_run_minds(
    changed: dict[str, Any], check: str, grade: str, figure: str, remedy: str
) -> None:
    found = findings(**changed)[check]
    assert found.grade == grade
    assert figure in found.what
    assert remedy in found.remedy
    assert bool(found.remedy) >= (grade == "fault")


def test_a_gpu_run_minds_numa_balancing_on_amd_and_no_other_load() -> None:
    bad: dict[str, Any] = {"numa_balancing": 1, "others": 3.0, "steal": 0.5, "quota": 0.5}
    assert {f.grade for f in findings(NVIDIA, **bad).values()} == {"note", "ok"}
    on_amd = findings(AMD, **bad)
    assert [f.check for f in on_amd.values() if f.grade == "fault"] == ["NUMA balancing"]
    assert not findings(NVIDIA, governors=("powersave",)).keys() & {"CPU governor", "SMT"}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def stat(pid: int, name: str, parent: int, own: int, ended: int = 0) -> str:
    zeros = "0 " * 9
    return f"{pid} ({name}) S {parent} {zeros}{own} 0 {ended} 0 20 0 1"


def reading(root: Path, *, busy: int, steal: int, now_s: float, pids: dict[str, str]) -> Cores:
    cpu = allowed_cpus()[0]
    lines = (
        f"cpu  9 9 9 9\ncpu{cpu} {busy} 0 0 500 0 0 0 {steal} 0 0\ncpu999 7777 0 0 0 0 0 0 0 0\n"
    )
    write(root, {"proc/stat": lines} | {f"proc/{pid}/stat": text for pid, text in pids.items()})
    return read_cores((cpu,), now_s=now_s, root=root)


def test_our_own_work_is_no_neighbour(tmp_path: Path) -> None:
    """Ticks are of 10 ms: 100 of them are a core for a second."""
    before = {"10": stat(10, "us", 1, 50), "11": stat(11, "our) child", 10, 20)}
    before["20"] = stat(20, "noisy one", 1, 300)
    first = reading(tmp_path, busy=1000, steal=0, now_s=5.0, pids=before)
    after = {"10": stat(10, "us", 1, 70, 30), "11": stat(11, "our) child", 10, 40)}
    after["20"] = stat(20, "noisy one", 1, 330)
    second = reading(tmp_path, busy=1100, steal=10, now_s=6.0, pids=after)
    used, busiest = others(first, second, family=10)
    # 110 busy with those stolen, less 20 + 30 of ours and 20 of our child's.
    assert used == pytest.approx(0.40)
    assert busiest == "noisy one (process 20)"
    assert others(first, second, family=999)[0] == pytest.approx(1.10)


def test_a_child_that_ended_is_counted_with_its_parent(tmp_path: Path) -> None:
    before = {"10": stat(10, "us", 1, 0), "11": stat(11, "child", 10, 60)}
    first = reading(tmp_path, busy=0, steal=0, now_s=0.0, pids=before)
    (tmp_path / "proc/11/stat").unlink()
    second = reading(
        tmp_path, busy=50, steal=0, now_s=1.0, pids={"10": stat(10, "us", 1, 0, ended=100)}
    )
    # It had 60 before, and 100 in all: 40 of the 50 were its.
    assert others(first, second, family=10)[0] == pytest.approx(0.10)


def test_a_kernel_that_counts_nothing_is_unknown(tmp_path: Path) -> None:
    empty = read_cores((0,), now_s=0.0, root=tmp_path)
    assert empty.busy_s is None
    assert others(empty, empty, family=1) == (None, "")
    host = read_host(empty, empty, family=1, root=tmp_path)
    assert (host.steal, host.steal_ever, host.others) == (None, None, None)
    assert (host.governors, host.turbo, host.quota, host.numa_balancing) == ((), None, None, None)


def test_the_hosts_files_are_read(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu"
    files = {f"{cpus}/cpu{n}/cpufreq/scaling_governor": "powersave\n" for n in allowed_cpus()}
    files |= {
        f"{cpus}/cpu{allowed_cpus()[0]}/cpufreq/scaling_driver": "acpi-cpufreq\n",
        f"{cpus}/online": "0-3,8,10-11\n",
        f"{cpus}/smt/active": "1\n",
        f"{cpus}/cpufreq/boost": "0\n",
        "sys/devices/system/node/node0/x": "",
        "sys/devices/system/node/node1/x": "",
        "sys/devices/system/node/possible": "0-1",
        "proc/sys/kernel/numa_balancing": "1\n",
        "proc/meminfo": "MemTotal: 1024 kB\nMemFree: 1 kB\nMemAvailable: 512 kB\n",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
    }
    write(tmp_path, files)
    first = reading(tmp_path, busy=0, steal=0, now_s=0.0, pids={})
    second = reading(tmp_path, busy=50, steal=5, now_s=1.0, pids={})
    host = read_host(first, second, family=1, root=tmp_path)
    assert (host.governors, host.clock_driver) == (("powersave",), "acpi-cpufreq")
    assert (host.online, host.smt, host.turbo) == (7, True, False)
    assert (host.numa_nodes, host.numa_balancing, host.quota) == (2, 1, 1.5)
    assert (host.memory_bytes, host.available_bytes) == (2**20, 2**19)
    assert host.steal == pytest.approx(0.05 / len(allowed_cpus()))
    assert host.steal_ever == pytest.approx(5 / 55)
    assert host.others == pytest.approx(0.55)
    (tmp_path / f"{cpus}/intel_pstate").mkdir()
    (tmp_path / f"{cpus}/intel_pstate/no_turbo").write_text("0")
    assert read_host(first, second, family=1, root=tmp_path).turbo


def test_a_process_that_burns_a_core_is_named() -> None:
    """On this machine, over its real /proc: the process that burns is no child of the family."""
    burning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        cpus = allowed_cpus()
        first = read_cores(cpus, now_s=time.monotonic())
        time.sleep(0.5)
        second = read_cores(cpus, now_s=time.monotonic())
        grown = second.processes[burning.pid].own_s - first.processes[burning.pid].own_s
        assert grown > 0
        with_it, _ = others(first, second, family=burning.pid)
        without, _ = others(first, second, family=0)
        assert with_it is not None
        assert without is not None
        assert without >= with_it
        ours, _ = others(first, second, family=os.getpid())
        assert ours is not None
        assert ours <= without
    finally:
        burning.kill()
        burning.wait()


def test_processes_have_names_with_brackets_and_spaces(tmp_path: Path) -> None:
    write(tmp_path, {"proc/5/stat": stat(5, "a (b) c)", 1, 100)})
    found = read_cores((0,), now_s=0.0, root=tmp_path).processes[5]
    assert found == Process(name="a (b) c)", parent=1, own_s=1.0, ended_s=0.0)
