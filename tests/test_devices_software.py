import os
import re
import socket
from pathlib import Path

import pytest

from gemmbench.devices import software as module
from gemmbench.devices.software import container, environment, host, software


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_software_names_versions_and_leaves_out_what_is_absent() -> None:
    found = software()
    assert re.match(r"3\.\d+", found["python"])
    assert found["torch"]
    assert found["numpy"]
    assert all(isinstance(value, str) and value for value in found.values())
    assert not any(value.startswith("/") for value in found.values())


def test_torchs_cpu_libraries_are_read_from_its_build() -> None:
    shown = (
        "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605\n"
        "  - Intel(R) MKL-DNN v3.7.1 (Git Hash 8d263e6)\n  - CPU capability usage: AVX512\n"
    )
    expected = {"mkl": "2024.2-Product", "onednn": "3.7.1", "cpu_capability": "AVX512"}
    assert module._libraries(shown) == expected
    assert module._libraries("") == {}


def test_host_names_no_host_and_no_user() -> None:
    found = host()
    assert found["cpu"]
    assert int(found["logical_cpus"]) == os.cpu_count()
    assert socket.gethostname() not in found.values()
    assert not any("/" in value for value in found.values() if value.startswith("/"))


def test_host_of_an_empty_machine_leaves_out_what_is_absent(tmp_path: Path) -> None:
    assert not {"governor", "numa_balancing", "memory_gib", "virtual"} & host(tmp_path).keys()


def test_host_reads_governor_memory_and_huge_pages(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/meminfo": "MemTotal:       65536000 kB\n",
            "proc/cpuinfo": "model name : X\nflags : fpu hypervisor\n",
            "proc/sys/kernel/numa_balancing": "1\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        },
    )
    found = host(tmp_path)
    assert found["memory_gib"] == "62"
    assert found["governor"] == "powersave"
    assert found["numa_balancing"] == "1"
    assert found["transparent_hugepage"] == "madvise"
    assert found["virtual"] == "yes"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, "none"),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"proc/1/cgroup": "0::/kubepods/besteffort/pod1\n"}, "kubernetes"),
        ({"proc/version": "Linux version 4.4.0 #1 SMP"}, "gvisor"),
    ],
)
def test_container(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert container(write(tmp_path, files)) == kind


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("8", "8"),
        ("granularity=fine,compact,1,0", "granularity=fine,compact,1,0"),
        ("results.csv", "results.csv"),
        ("/home/jo/cache", "<path>"),
        ("/home/jo doe/cache", "<path>"),
        ("~/cache", "<path>"),
        ("~jo", "<path>"),
        ("cache/jo", "<path>"),
        ("-I/home/jo", "<path>"),
        ("file=/home/jo,level=2", "file=<path>,level=2"),
        ("/a:/b", "<path>:<path>"),
        (r"C:\Users\jo", "C:<path>"),
        ("GPU-8a0e3c3c-0123-4567-89ab-cdef01234567,1", "<uuid>,1"),
        ("MIG-GPU-8a0e3c3c/1/0", "<uuid>"),
    ],
)
def test_environment_masks_paths_and_serial_numbers(
    monkeypatch: pytest.MonkeyPatch, value: str, shown: str
) -> None:
    monkeypatch.setenv("TRITON_TEST", value)
    assert environment()["TRITON_TEST"] == shown


def test_environment_holds_only_what_changes_results(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    wanted = ["OMP_NUM_THREADS", "MKL_DYNAMIC", "CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF"]
    for name in [*wanted, "HOME", "SECRET_TOKEN", "USER", "MY_CUDA_X"]:
        monkeypatch.setenv(name, "1")
    assert sorted(environment()) == sorted(wanted)
