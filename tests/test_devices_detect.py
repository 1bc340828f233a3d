import os
import platform
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gemmbench.devices import cpu as cpu_module
from gemmbench.devices.cgroup import cpu_quota, memory_available
from gemmbench.devices.cpu import FEATURES, cpu_device, slugify
from gemmbench.devices.detect import detect, gpu_present, telemetry_target
from gemmkernels import GemmbenchError, UnknownNameError

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz
flags\t\t: fpu cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 f16c fma movbe \
xsave avx512bw avx512cd avx512dq avx512f avx512vl avx512_bf16 amx_tile amx_bf16 amx_int8 avx512ifma

processor\t: 1
model name\t: another
"""

H200 = {
    "name": "NVIDIA H200",
    "major": 9,
    "minor": 0,
    "multi_processor_count": 132,
    "total_memory": 150_110_011_392,
    "L2_cache_size": 60 * 2**20,
    "gcnArchName": "NVIDIA H200",
    "uuid": "8a0e3c3c-0123-4567-89ab-cdef01234567",
    "pci_domain_id": 0,
    "pci_bus_id": 12,
    "pci_device_id": 0,
}
MI300X = {
    "name": "AMD Instinct MI300X",
    "major": 9,
    "minor": 4,
    "multi_processor_count": 304,
    "total_memory": 196592 * 2**20,
    "L2_cache_size": 4 * 2**20,
    "gcnArchName": "gfx942:sramecc+:xnack-",
    "uuid": SimpleNamespace(bytes=list(b"f330dc4d00dee22b")),
    "shared_memory_per_block": 65536,
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Puts a torch in place that sees these GPUs."""

    def install(
        *gpus: dict[str, Any],
        hip: str | None = None,
        cuda: str | None = "12.8",
        init: Exception | None = None,
        warning: str | None = None,
        broken: dict[int, str] | None = None,
    ) -> None:
        def start() -> None:
            if init is not None:
                raise init
            if warning is not None:
                warnings.warn(warning, UserWarning, stacklevel=1)

        def ones(_: int, *, device: str) -> Any:
            number = int(device.partition(":")[2])
            if broken and number in broken:
                raise RuntimeError(broken[number])
            return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: 8.0))

        for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        torch = SimpleNamespace(
            __version__="2.13.0",
            version=SimpleNamespace(cuda=None if hip else cuda, hip=hip),
            ones=ones,
            cuda=SimpleNamespace(
                init=start,
                device_count=lambda: len(gpus),
                get_device_properties=lambda index: SimpleNamespace(**gpus[index]),
            ),
        )
        monkeypatch.setitem(sys.modules, "torch", torch)

    return install


def test_an_nvidia_gpu(machine: Machine, tmp_path: Path) -> None:
    machine(H200)
    address = "sys/bus/pci/devices/0000:0c:00.0"
    write(tmp_path, {f"{address}/vendor": "0x10de\n", f"{address}/device": "0x2335\n"})
    found = detect("auto", root=tmp_path)
    assert (found.kind, found.vendor, found.architecture) == ("gpu", "nvidia", "sm_90")
    assert (found.torch_device, found.slug, found.units) == ("cuda:0", "h200-sxm", 132)
    assert found.llc_bytes == 60 * 2**20
    assert found.shared_bytes == 227 * 1024
    assert found.pci_id == "10de:2335"
    assert found.partition is None
    assert found.features == ()


def test_an_amd_gpu_without_a_sheet_has_its_chips_cache(machine: Machine, tmp_path: Path) -> None:
    machine({**MI300X, "name": "AMD Instinct MI308X", "multi_processor_count": 80}, hip="6.4")
    found = detect("cuda", root=tmp_path)
    assert found.slug == "amd-instinct-mi308x"
    assert found.llc_bytes == 256 * 2**20


def test_an_amd_gpu_takes_its_cache_from_the_datasheet(machine: Machine, tmp_path: Path) -> None:
    machine(MI300X, hip="6.4")
    found = detect("cuda", root=tmp_path)
    assert (found.vendor, found.architecture, found.slug) == ("amd", "gfx942", "mi300x")
    assert found.llc_bytes == 256 * 2**20
    assert found.shared_bytes == 65536
    assert found.features == ("sramecc+", "xnack-")
    assert found.sm == 0


def test_a_cpx_partition_is_known_by_its_units(machine: Machine, tmp_path: Path) -> None:
    machine({**MI300X, "multi_processor_count": 38}, hip="6.4")
    found = detect(root=tmp_path)
    assert (found.partition, found.slug) == ("CPX", "mi300x-cpx")
    assert telemetry_target(found).partition


def test_a_mig_slice(machine: Machine, tmp_path: Path) -> None:
    name = "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    machine({**H200, "name": name, "multi_processor_count": 16, "total_memory": 10_200_547_328})
    found = detect(root=tmp_path)
    assert (found.partition, found.slug) == ("MIG 1g.10gb", "h100-sxm5-mig-1g-10gb")


def test_an_old_torch_shows_little(machine: Machine, tmp_path: Path) -> None:
    keys = ("name", "major", "minor", "multi_processor_count", "total_memory")
    machine({**{key: H200[key] for key in keys}, "name": "NVIDIA RTX Unheard-of"})
    found = detect(root=tmp_path)
    assert found.slug == "nvidia-rtx-unheard-of"
    assert found.llc_bytes is None
    assert found.pci_id is None
    target = telemetry_target(found)
    assert (target.uuid, target.pci) == (None, None)


def test_the_telemetry_target_of_each_vendor(machine: Machine, tmp_path: Path) -> None:
    machine(H200)
    target = telemetry_target(detect(root=tmp_path))
    assert (target.uuid, target.pci) == (H200["uuid"], "0000:0c:00.0")
    machine(MI300X, hip="6.4")
    assert telemetry_target(detect(root=tmp_path)).uuid == "f330dc4d00dee22b"
    for unknown in (b"0000000000000000", b"XX" + bytes(14), bytes(16)):
        machine({**MI300X, "uuid": SimpleNamespace(bytes=list(unknown))}, hip="6.4")
        assert telemetry_target(detect(root=tmp_path)).uuid is None


def test_auto_passes_over_a_gpu_that_does_not_work(machine: Machine, tmp_path: Path) -> None:
    machine(H200, H200, broken={0: "CUDA error: no kernel image is available\nmore"})
    assert detect(root=tmp_path).torch_device == "cuda:1"
    with pytest.raises(GemmbenchError, match="no kernel image is available") as caught:
        detect("cuda:0", root=tmp_path)
    assert "\n" not in str(caught.value)


def test_auto_is_the_cpu_only_where_there_is_no_gpu(machine: Machine, tmp_path: Path) -> None:
    machine(cuda=None)
    assert detect(root=tmp_path).kind == "cpu"
    for name in ("dev/nvidia0", "dev/nvidiactl", "dev/kfd", "dev/dxg"):
        write(tmp_path / name.replace("/", "-"), {name: ""})
        with pytest.raises(GemmbenchError, match="CPUs only") as caught:
            detect(root=tmp_path / name.replace("/", "-"))
        assert f"/{name}" in str(caught.value)
        assert "--device cpu" in str(caught.value)


def test_a_gpu_that_fails_is_not_replaced_by_the_cpu(machine: Machine, tmp_path: Path) -> None:
    machine(H200, broken={0: "out of memory"})
    with pytest.raises(GemmbenchError, match=r"out of memory.*--device cpu"):
        detect(root=tmp_path)


def test_the_reason_comes_with_its_remedy(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"dev/nvidia0": "", "dev/nvidiactl": ""})
    machine(init=RuntimeError("Found no NVIDIA driver on your system. Please check.\nmore"))
    with pytest.raises(GemmbenchError, match=r"Found no NVIDIA driver.*install or update"):
        detect(root=tmp_path)
    machine(warning="CUDA initialization: The NVIDIA driver on your system is too old")
    with pytest.raises(GemmbenchError, match="too old: install or update"):
        detect(root=tmp_path)
    machine()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(GemmbenchError, match="CUDA_VISIBLE_DEVICES='' hides it"):
        detect(root=tmp_path)


def test_a_container_without_the_device_is_told_so(machine: Machine, tmp_path: Path) -> None:
    machine()
    with pytest.raises(GemmbenchError, match="--gpus all"):
        detect(root=write(tmp_path / "nvidia", {"dev/nvidiactl": ""}))
    machine(hip="6.4")
    with pytest.raises(GemmbenchError, match="/dev/dri"):
        detect(root=write(tmp_path / "amd", {"dev/kfd": ""}))


def test_a_gpu_that_is_not_there(machine: Machine, tmp_path: Path) -> None:
    machine(H200)
    with pytest.raises(GemmbenchError, match="torch sees 1 GPU: cuda:0"):
        detect("cuda:3", root=tmp_path)
    machine(cuda=None)
    with pytest.raises(GemmbenchError, match=r"no GPU: torch 2.13.0 is a build for CPUs only"):
        detect("cuda", root=tmp_path)


@pytest.mark.parametrize("name", ["cdua", "gpu", "cuda:", "cuda:x", "CPU", "", "cuda:0 "])
def test_an_unknown_name_is_one_line(machine: Machine, tmp_path: Path, name: str) -> None:
    machine(H200)
    with pytest.raises(UnknownNameError, match="unknown device") as caught:
        detect(name, root=tmp_path)
    assert "cuda" in str(caught.value) or "cpu" in str(caught.value)


def test_gpu_present_names_the_device_file(tmp_path: Path) -> None:
    assert gpu_present(tmp_path) is None
    assert gpu_present(write(tmp_path, {"dev/kfd": ""})) == "/dev/kfd"


def test_this_machines_cpu() -> None:
    found = detect("cpu")
    assert found.kind == "cpu"
    assert 1 <= found.units <= (os.cpu_count() or 1)
    assert found.memory_bytes > 2**20
    assert set(found.features) <= set(FEATURES)
    target = telemetry_target(found)
    assert target.cpus
    assert target.uuid is None


@pytest.fixture
def xeon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sockets of two cores with two threads each: CPUs 0-7, siblings n and n + 4."""
    monkeypatch.setattr(cpu_module, "allowed_cpus", lambda: tuple(range(8)))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    files = {"proc/cpuinfo": CPUINFO}
    for n in range(8):
        folder, socket = f"sys/devices/system/cpu/cpu{n}", n % 4 // 2
        files[f"{folder}/topology/thread_siblings_list"] = f"{n % 4},{n % 4 + 4}\n"
        for index, level, size in ((0, 1, "48K"), (1, 1, "32K"), (2, 2, "2048K"), (3, 3, "105M")):
            cache = f"{folder}/cache/index{index}"
            files[f"{cache}/level"], files[f"{cache}/size"] = f"{level}\n", f"{size}\n"
            files[f"{cache}/type"] = "Instruction\n" if index == 1 else "Unified\n"
            files[f"{cache}/shared_cpu_list"] = f"socket {socket}" if level == 3 else f"{n % 4}"
    return write(tmp_path, files)


def test_a_cpu_is_described_by_what_gemm_needs(xeon: Path) -> None:
    found = cpu_device(root=xeon)
    assert (found.vendor, found.architecture) == ("intel", "x86-64-v4+amx")
    assert found.slug == "intel-xeon-platinum-8480-plus"
    assert found.units == 4
    assert found.llc_bytes == 2 * 105 * 2**20
    expected = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
    assert found.features == expected


def test_a_lower_level_lacks_one_flag(xeon: Path) -> None:
    for flag, level in ((" avx512vl", "v3"), (" movbe", "v2"), (" ssse3", "v1")):
        write(xeon, {"proc/cpuinfo": CPUINFO.replace(flag, "").replace(" amx_tile", "")})
        assert cpu_device(root=xeon).architecture == f"x86-64-{level}"


def test_threads_are_the_users_choice_within_the_machine(xeon: Path) -> None:
    assert cpu_device(8, root=xeon).units == 8
    assert cpu_device(1, root=xeon).units == 1
    for threads in (0, -1, 9):
        with pytest.raises(GemmbenchError, match=f"threads = {threads}: .*choose 1 … 8"):
            cpu_device(threads, root=xeon)


def test_a_quota_limits_cores_and_threads(xeon: Path) -> None:
    write(xeon, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"})
    assert cpu_device(root=xeon).units == 2
    with pytest.raises(GemmbenchError, match="choose 1 … 3"):
        cpu_device(4, root=xeon)


def test_an_empty_machine_still_has_a_cpu(tmp_path: Path) -> None:
    found = cpu_device(root=tmp_path)
    assert found.name
    assert found.llc_bytes is None
    assert found.features == ()


@pytest.mark.parametrize(
    ("vendor", "name", "slug"),
    [
        ("amd", "AMD EPYC 9354P 32-Core Processor", "amd-epyc-9354p"),
        ("intel", "13th Gen Intel(R) Core(TM) i9-13900K", "13th-gen-intel-core-i9-13900k"),
        ("nvidia", "NVIDIA GeForce RTX 4090", "nvidia-geforce-rtx-4090"),
        ("nvidia", "Tesla T4", "nvidia-tesla-t4"),
        ("other", "Neoverse-N1", "neoverse-n1"),
        ("other", "  ", "unknown"),
        ("other", "../../etc", "etc"),
    ],
)
def test_slugs_are_folder_names(vendor: str, name: str, slug: str) -> None:
    assert slugify(vendor, name) == slug


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000",
                "sys/fs/cgroup/a/cpu.max": "200000 100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "junk"}, None),
    ],
)
def test_the_cgroups_cpu_quota(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(write(tmp_path, files)) == quota


def test_memory_is_what_the_cgroup_leaves(tmp_path: Path) -> None:
    assert memory_available(tmp_path) is None
    v2 = {
        "proc/self/cgroup": "0::/job\n",
        "sys/fs/cgroup/job/memory.max": "1000000\n",
        "sys/fs/cgroup/job/memory.current": "600000\n",
        "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 100000\n",
    }
    assert memory_available(write(tmp_path / "v2", v2)) == 500_000
    assert cpu_device(root=tmp_path / "v2").memory_bytes == 500_000
    v1 = {
        "proc/self/cgroup": "3:memory:/job\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "1000000\n",
        "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "600000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "600000\n",
    }
    assert memory_available(write(tmp_path / "v1", v1)) == 400_000
