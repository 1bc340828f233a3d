"""Which of a machine's devices it is, and the CPUs near it that its worker is bound to."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from gemmbench.devices.cpu import allowed_cpus
from gemmbench.devices.files import text
from gemmkernels.device import Device, Vendor
from gemmkernels.errors import GemmbenchError

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

_CLASSES = ("0x0300", "0x0302", "0x0380", "0x1200")
"""PCI classes of GPUs: VGA, 3D and other display controllers, processing accelerators."""

_VENDORS = ("0x10de", "0x1002")
_MASKS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_LIST = r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the devices of a machine or a fleet was measured.

    `index` counts the node's devices, `pci_address` is spelt `0000:18:00.0`, `cores` are the CPUs
    that its worker was bound to, as `taskset` spells them. `at_once` is how many devices were
    measured at the same time, this one among them. `node` and `rack` are what the user calls them.
    """

    node: str = ""
    rack: str = ""
    index: Count | None = None
    pci_address: str = ""
    numa_node: Count | None = None
    cores: str = ""
    at_once: Count = 1


def cpus_of(device: str) -> tuple[int, ...] | None:
    """The CPUs that a device's name lists; None for a name that lists none.

    >>> cpus_of("cpu:0-2,8")
    (0, 1, 2, 8)

    Raises GemmbenchError for a range that runs backwards, or over 4096 CPUs.
    """
    found = re.fullmatch(rf"cpu:({_LIST})", device)
    if not found:
        return None
    cpus: set[int] = set()
    for part in found[1].split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if high < low or high - low > 4095:
            raise GemmbenchError(f"device {device!r}: {part} is no range of CPUs: say cpu:0-3")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def spelt(cpus: Iterable[int]) -> str:
    """CPUs as `taskset` spells them: `0-3,8`."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][1] + 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


def bind(cpus: Sequence[int]) -> None:
    """Keep this process, with all its threads, on those CPUs. Raises GemmbenchError."""
    allowed = allowed_cpus()
    if missing := sorted(set(cpus) - set(allowed)):
        raise GemmbenchError(
            f"device 'cpu:{spelt(cpus)}': this process may not use CPU {spelt(missing)}: choose of "
            f"{spelt(allowed)}"
        )
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cpus)


def place_of(
    device: Device, pci_address: str | None, *, bound: bool, root: Path = Path("/")
) -> Place:
    """The place of a device, without node and rack; `bound` to the CPUs in use now."""
    cpus = allowed_cpus()
    numa = _cpu_node(cpus, root) if bound else None
    if device.is_gpu:
        numa = _node_of(pci_address, root)
    return Place(
        index=visible_index(device.torch_device, device.vendor) if device.is_gpu else None,
        pci_address=pci_address or "",
        numa_node=numa,
        cores=spelt(cpus) if bound else "",
    )


def visible_index(
    torch_device: str, vendor: Vendor, environment: Mapping[str, str] = os.environ
) -> int | None:
    """The number of a GPU on its node: torch's, through what the masks in force leave of them.

    None where a mask names GPUs by their UUIDs. It is in the runtime's order, which need not be
    that of nvidia-smi: a PCI address is what names a GPU for sure.
    """
    index = int(torch_device.partition(":")[2] or 0)
    cuda, hip, rocr = _MASKS
    # HIP's is read before CUDA's, as torch does; ROCR's is below: the others count what it leaves.
    masks = ((hip if hip in environment else cuda), rocr) if vendor == "amd" else (cuda,)
    for name in masks:
        listed = environment.get(name)
        if listed is None:
            continue
        entries = [one.strip() for one in listed.split(",")]
        if index >= len(entries) or not entries[index].isdecimal():
            return None
        index = int(entries[index])
    return index


def near(pci_address: str | None, root: Path = Path("/")) -> tuple[int, ...]:
    """This GPU's share of the CPUs of its NUMA node that this process may use.

    GPUs of one NUMA node share its cores evenly, in the order of their addresses; the threads of a
    core stay together. Empty where the machine does not tell.
    """
    devices = root / "sys/bus/pci/devices"
    listed = text(devices / pci_address / "local_cpulist") if pci_address else None
    if not pci_address or not listed or not re.fullmatch(_LIST, listed):
        return ()
    cpus = sorted(set(cpus_of(f"cpu:{listed}") or ()) & set(allowed_cpus()))
    beside = sorted(
        one for one in _gpus(devices) if text(devices / one / "local_cpulist") == listed
    )
    if pci_address not in beside or len(_cores(cpus, root)) < len(beside):
        return tuple(cpus)
    return share(cpus, beside.index(pci_address), len(beside), root)


def share(cpus: Sequence[int], at: int, of: int, root: Path = Path("/")) -> tuple[int, ...]:
    """One of `of` even shares of the CPUs, the first at 0; what is left over is left idle.

    The threads of a core stay together while there is a core for each share; where there are not
    even as many CPUs, some shares are the same one.
    """
    cores = _cores(cpus, root)
    if len(cores) < of:
        cores = [(cpu,) for cpu in sorted(cpus)]
    each = len(cores) // of
    mine = cores[at * each : (at + 1) * each] if each else [cores[at % len(cores)]]
    return tuple(sorted(cpu for core in mine for cpu in core))


def _gpus(devices: Path) -> list[str]:
    found = []
    for folder in devices.glob("*"):
        kind, vendor = text(folder / "class") or "", text(folder / "vendor") or ""
        if kind.startswith(_CLASSES) and vendor in _VENDORS:
            found.append(folder.name)
    return found


def _cores(cpus: Iterable[int], root: Path) -> list[tuple[int, ...]]:
    """The CPUs by physical core, in order."""
    topology = root / "sys/devices/system/cpu"
    found: dict[str, list[int]] = {}
    for cpu in sorted(cpus):
        siblings = text(topology / f"cpu{cpu}/topology/thread_siblings_list")
        found.setdefault(siblings or str(cpu), []).append(cpu)
    return [tuple(one) for one in found.values()]


def _node_of(pci_address: str | None, root: Path) -> int | None:
    found = text(root / "sys/bus/pci/devices" / pci_address / "numa_node") if pci_address else None
    return int(found) if found and found.isdecimal() else None  # -1: the machine does not tell


def _cpu_node(cpus: Sequence[int], root: Path) -> int | None:
    """The NUMA node that all of these CPUs are of."""
    nodes = set()
    for cpu in cpus:
        found = [*(root / f"sys/devices/system/cpu/cpu{cpu}").glob("node[0-9]*")]
        nodes.add(int(found[0].name[4:]) if found else None)
    return nodes.pop() if len(nodes) == 1 else None
