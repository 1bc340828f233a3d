"""The doctor's checks of a GPU, sound and not, over fakes of NVML and of amdgpu's files."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gemmbench.devices.spec import by_id
from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor import read_nvidia as read_nvidia_module
from gemmbench.doctor.facts import Gpu
from gemmbench.doctor.finding import Finding
from gemmbench.doctor.gpu import find, gpu_findings
from gemmbench.doctor.read_amd import read_amd
from gemmbench.doctor.read_nvidia import driver_versions, read_nvidia

H200 = by_id("h200-sxm")
UUID = "8a0e3c3c-0123-4567-89ab-cdef01234567"


class NotSupportedError(Exception):
    pass


def refuse(*_: object) -> None:
    raise NotSupportedError


def nvml(**replaced: Any) -> SimpleNamespace:
    """A sound H200, idle; `replaced` are functions, or what they return."""
    entry = SimpleNamespace(nvmlReturn=3, valueType=3, value=SimpleNamespace(ullVal=0))
    calls: dict[str, Any] = {
        "Init": None,
        "DeviceGetCount": 1,
        "SystemGetDriverVersion": "550.54.15",
        "SystemGetCudaDriverVersion_v2": 12040,
        "DeviceGetHandleByIndex": "handle",
        "DeviceGetHandleByUUID": "handle",
        "DeviceIsMigDeviceHandle": 0,
        "DeviceGetName": "NVIDIA H200",
        "DeviceGetUUID": f"GPU-{UUID}",
        "DeviceGetPciInfo": SimpleNamespace(busId="00000000:0C:00.0"),
        "DeviceGetTemperatureV": 31,
        "DeviceGetTemperatureThreshold": 87,
        "DeviceGetMarginTemperature": refuse,
        "DeviceGetMemoryInfo": SimpleNamespace(used=4 * 2**20, total=141 * 10**9),
        "DeviceGetUtilizationRates": SimpleNamespace(gpu=0, memory=0),
        "DeviceGetEnforcedPowerLimit": 700_000,
        "DeviceGetPowerManagementDefaultLimit": 700_000,
        "DeviceGetPowerUsage": 76_000,
        "DeviceGetTotalEnergyConsumption": 1,
        "DeviceGetFieldValues": lambda h, wanted: [entry for _ in wanted],
        "DeviceGetTotalEccErrors": 0,
        "DeviceGetClockInfo": 345,
        "DeviceGetMaxClockInfo": 1980,
        "DeviceGetApplicationsClock": 1980,
        "DeviceGetDefaultApplicationsClock": 1980,
        "DeviceGetPersistenceMode": 1,
        "DeviceGetEccMode": [1, 1],
        "DeviceGetMigMode": [0, 0],
        "DeviceGetRemappedRows": (0, 0, 0, 0),
        "DeviceGetCurrentClocksEventReasons": 0x1,
    }

    def function(value: Any) -> Any:
        return value if callable(value) else lambda *_: value

    made = {f"nvml{name}": function(value) for name, value in (calls | replaced).items()}
    return SimpleNamespace(_nvmlGetFunctionPointer=None, **made)


def nvidia(**replaced: Any) -> Gpu:
    (watched,) = read_nvidia(nvml(**replaced))
    time.sleep(0.001)
    return watched.finish()


def by_check(gpu: Gpu) -> dict[str, Finding]:
    spec = H200 if gpu.vendor == "nvidia" else None
    return {finding.check: finding for finding in gpu_findings(gpu, spec)}


def test_a_sound_h200_has_one_thing_that_cannot_be_seen() -> None:
    found = by_check(nvidia())
    assert [f.check for f in found.values() if f.grade != "ok"] == ["clock setting"]
    assert found["clock setting"].grade == "unknown"
    assert "-lgc" in found["clock setting"].what
    assert found["power limit"].what == "700 W, the default"
    assert found["temperature"].what == "56 °C below the slowdown at 31 °C"


def test_the_numbers_of_nvmls_arguments_are_nvmls_own() -> None:
    import pynvml

    ours, theirs = vars(read_nvidia_module), vars(pynvml)
    for name, own in (
        ("NVML_CLOCK_SM", "_CLOCK_SM"),
        ("NVML_CLOCK_GRAPHICS", "_CLOCK_GRAPHICS"),
        ("NVML_TEMPERATURE_GPU", "_TEMPERATURE_GPU"),
        ("NVML_TEMPERATURE_THRESHOLD_SLOWDOWN", "_SLOWDOWN"),
        ("NVML_MEMORY_ERROR_TYPE_UNCORRECTED", "_UNCORRECTED"),
        ("NVML_VOLATILE_ECC", "_SINCE_START"),
        ("nvmlMemory_v2", "_MEMORY_V2"),
        ("nvmlClocksThrottleReasonApplicationsClocksSetting", "_CLOCK_SETTING"),
    ):
        assert ours[own] == theirs[name], name


def test_nvidias_figures_have_their_units() -> None:
    gpu = nvidia()
    assert (gpu.uuid, gpu.pci, gpu.name) == (UUID, "0000:0c:00.0", "NVIDIA H200")
    assert (gpu.power_w, gpu.power_default_w, gpu.max_clock_mhz) == (700, 700, 1980)
    assert (gpu.used_bytes, gpu.busy_percent, gpu.limits) == (4 * 2**20, 0, ())
    assert driver_versions(nvml()) == ("550.54.15", "12.4")
    assert driver_versions(SimpleNamespace()) == (None, None)


@pytest.mark.parametrize(
    ("replaced", "check", "grade", "figure", "remedy"),
    [
        (
            {"DeviceGetEnforcedPowerLimit": 500_000},
            *("power limit", "fault", "500 W of 700 W by default", "sudo nvidia-smi -i 0 -pl 700"),
        ),
        ({"DeviceGetEnforcedPowerLimit": 750_000}, "power limit", "note", "750 W of 700 W", "-pl"),
        ({"DeviceGetEnforcedPowerLimit": refuse}, "power limit", "unknown", "", ""),
        (
            {"DeviceGetUtilizationRates": SimpleNamespace(gpu=97)},
            *("GPU in use", "fault", "97% busy", "nvidia-smi"),
        ),
        (
            {"DeviceGetMemoryInfo": SimpleNamespace(used=60 * 2**30, total=2**37)},
            *("GPU in use", "note", "60.0 GiB held", "nvidia-smi"),
        ),
        (
            {"DeviceGetUtilizationRates": refuse, "DeviceGetMemoryInfo": refuse},
            *("GPU in use", "unknown", "neither", ""),
        ),
        ({"DeviceGetTemperatureV": 78}, "temperature", "fault", "only 9 °C", "cool down"),
        ({"DeviceGetMarginTemperature": 4}, "temperature", "fault", "only 4 °C", "cool down"),
        ({"DeviceGetTemperatureThreshold": refuse}, "temperature", "unknown", "31 °C", ""),
        (
            {"DeviceGetCurrentClocksEventReasons": 0x40},
            *("clock limits", "fault", "heat", "cool it"),
        ),
        ({"DeviceGetCurrentClocksEventReasons": 0x80}, "clock limits", "fault", "brake", "power"),
        ({"DeviceGetCurrentClocksEventReasons": 0x08}, "clock limits", "fault", "hardware", "cool"),
        ({"DeviceGetCurrentClocksEventReasons": 0x04}, "clock limits", "ok", "none", ""),
        (
            {
                "DeviceGetCurrentClocksEventReasons": refuse,
                "DeviceGetCurrentClocksThrottleReasons": refuse,
            },
            *("clock limits", "unknown", "no sensor", ""),
        ),
        ({"DeviceGetCurrentClocksEventReasons": 0x02}, "clock setting", "note", "setting", "-rgc"),
        (
            {"DeviceGetApplicationsClock": 1200},
            *("clock setting", "fault", "1200 MHz, 1980 MHz by default", "-rac"),
        ),
        ({"DeviceGetDefaultApplicationsClock": 1500}, "clock setting", "note", "1980 MHz", "-rac"),
        (
            {"DeviceGetMaxClockInfo": 1410},
            *("clock setting", "fault", "1410 MHz at most, 1980 MHz on the datasheet", "-rgc"),
        ),
        ({"DeviceGetPersistenceMode": 0}, "persistence mode", "note", "off", "nvidia-smi -pm 1"),
        ({"DeviceGetPersistenceMode": refuse}, "persistence mode", "unknown", "", ""),
        ({"DeviceGetEccMode": [0, 0]}, "ECC", "note", "off", "-e 1"),
        ({"DeviceGetEccMode": [1, 0]}, "ECC", "note", "on now, off after", "--gpu-reset"),
        ({"DeviceGetEccMode": refuse}, "ECC", "ok", "none", ""),
        ({"DeviceGetMigMode": [1, 1]}, "MIG", "note", "scaled by its SMs", "-mig 0"),
        ({"DeviceGetMigMode": [0, 1]}, "MIG", "note", "off now, on after", "--gpu-reset"),
        ({"DeviceGetTotalEccErrors": 3}, "memory errors", "fault", "3 that ECC", "reset"),
        ({"DeviceGetTotalEccErrors": refuse}, "memory errors", "unknown", "", ""),
        ({"DeviceGetRemappedRows": (1, 0, 1, 0)}, "memory errors", "note", "waits", "reset"),
        ({"DeviceGetRemappedRows": (1, 0, 0, 1)}, "memory errors", "fault", "faulty", "replace"),
    ],
)
def test_what_is_wrong_with_an_nvidia_gpu(
    replaced: dict[str, Any], check: str, grade: str, figure: str, remedy: str
) -> None:
    found = by_check(nvidia(**replaced))
    assert found[check].grade == grade
    assert figure in found[check].what
    assert remedy in found[check].remedy
    worse = [f.check for f in found.values() if f.grade in ("fault", "note")]
    assert worse == ([check] if grade in ("fault", "note") else [])


def test_a_slowdown_seen_once_is_a_change_of_state() -> None:
    bits = iter([0x02, 0x08, 0x00])
    assert nvidia(DeviceGetCurrentClocksEventReasons=lambda _: next(bits)).limits == ()


def test_a_load_of_before_is_not_one_of_now(tmp_path: Path) -> None:
    """NVML's figure is of up to the last second, in which another process may have ended."""

    def falling(*values: Any) -> Any:
        left = list(values)
        return lambda *_: left.pop(0) if len(left) > 1 else left[0]

    busy, idle = SimpleNamespace(gpu=97), SimpleNamespace(gpu=0)
    held, free = (SimpleNamespace(used=n * 2**30, total=141 * 10**9) for n in (40, 1))
    (watched,) = read_nvidia(nvml(DeviceGetUtilizationRates=falling(busy, idle)))
    assert watched.finish().busy_percent == 0
    (watched,) = read_nvidia(nvml(DeviceGetMemoryInfo=falling(held, held, free)))
    assert watched.finish().used_bytes == 2**30
    assert nvidia(DeviceGetUtilizationRates=falling(idle, busy)).busy_percent == 0  # our own
    assert nvidia(DeviceGetUtilizationRates=lambda *_: busy).busy_percent == 97
    amd(tmp_path, gpu_busy_percent="88", mem_info_vram_used="90000000000")
    (watched,) = read_amd(tmp_path)
    card = tmp_path / "sys/class/drm/card1/device"
    (card / "gpu_busy_percent").write_text("1")
    (card / "mem_info_vram_used").unlink()
    gpu = watched.finish()  # what is not told again is as it was
    assert (gpu.busy_percent, gpu.used_bytes) == (1, 90_000_000_000)


@pytest.mark.parametrize("how", ["refuses", "is absent"])
def test_a_driver_that_shows_nothing_is_unknown_never_fine_nor_a_fault(how: str) -> None:
    silent = nvml(**{
        name.removeprefix("nvml"): refuse
        for name in vars(nvml())
        if name.startswith("nvmlDeviceGet") and "Handle" not in name and "Count" not in name
    })  # fmt: skip
    if how == "is absent":
        kept = ("nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex")
        silent = SimpleNamespace(**{name: vars(silent)[name] for name in kept})
    (watched,) = read_nvidia(silent)
    found = by_check(watched.finish())
    assert {f.grade for f in found.values()} == {"unknown", "ok"}
    assert {f.check for f in found.values() if f.grade == "ok"} == {"ECC", "MIG"}


def amd_files(**changed: str) -> dict[str, str]:
    card, hwmon = "sys/class/drm/card1/device", "sys/class/drm/card1/device/hwmon/hwmon3"
    files = {
        f"{card}/vendor": "0x1002\n",
        f"{card}/unique_id": "f330dc4d00dee22b\n",
        f"{card}/gpu_busy_percent": "0\n",
        f"{card}/mem_info_vram_used": "300000000\n",
        f"{card}/mem_info_vram_total": "206141652992\n",
        f"{card}/power_dpm_force_performance_level": "auto\n",
        f"{card}/current_compute_partition": "SPX\n",
        f"{card}/current_memory_partition": "NPS1\n",
        f"{card}/ras/umc_err_count": "ue: 0\nce: 5\n",
        f"{card}/ras/gfx_err_count": "ue: 0\nce: 0\n",
        f"{hwmon}/power1_cap": "750000000\n",
        f"{hwmon}/power1_cap_default": "750000000\n",
        f"{hwmon}/temp1_label": "mem\n",
        f"{hwmon}/temp1_input": "90000\n",
        f"{hwmon}/temp2_label": "junction\n",
        f"{hwmon}/temp2_input": "41000\n",
        f"{hwmon}/temp2_crit": "100000\n",
        "sys/class/drm/card0/device/vendor": "0x1a03\n",
        "sys/class/drm/card1-DP-1/device/vendor": "0x1002\n",
    }
    for name, value in changed.items():
        (path,) = [path for path in files if path.endswith(f"/{name}") and "card1/" in path]
        files[path] = value
    return files


def amd(root: Path, **changed: str) -> Gpu:
    for name, content in amd_files(**changed).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (watched,) = read_amd(root)
    time.sleep(0.001)
    return watched.finish()


def test_a_sound_mi300x(tmp_path: Path) -> None:
    gpu = amd(tmp_path)
    assert (gpu.power_w, gpu.power_default_w, gpu.uuid) == (750, 750, "f330dc4d00dee22b")
    assert (gpu.temperature_c, gpu.headroom_c, gpu.uncorrected) == (41, 59, 0)
    found = by_check(gpu)
    # sysfs alone can't tell what holds the clock; AMD SMI is not here.
    assert [f.check for f in found.values() if f.grade != "ok"] == ["clock limits"]
    assert found["clock limits"].grade == "unknown"


@pytest.mark.parametrize(
    ("changed", "check", "grade", "figure", "remedy"),
    [
        (
            {"power1_cap": "550000000"},
            *("power limit", "fault", "550 W of 750 W by default", "--power-cap 750"),
        ),
        ({"power1_cap": "0"}, "power limit", "unknown", "", ""),
        ({"gpu_busy_percent": "88"}, "GPU in use", "fault", "88% busy", "amd-smi"),
        ({"mem_info_vram_used": "90000000000"}, "GPU in use", "note", "83.8 GiB held", "amd-smi"),
        ({"temp2_input": "95000"}, "temperature", "fault", "only 5 °C", "cool down"),
        ({"umc_err_count": "ue: 2\nce: 0\n"}, "memory errors", "fault", "2 that", "reset"),
        (
            {"power_dpm_force_performance_level": "low"},
            *("performance level", "fault", "low, not auto", "--perf-level auto"),
        ),
        (
            {"power_dpm_force_performance_level": "perf_determinism"},
            *("performance level", "fault", "clock is held", "--perf-level auto"),
        ),
        (
            {"power_dpm_force_performance_level": "high"},
            *("performance level", "note", "high, not auto", "--perf-level auto"),
        ),
        ({"current_compute_partition": "CPX"}, "partition", "note", "CPX NPS1", "SPX"),
        ({"current_memory_partition": "NPS4"}, "partition", "note", "SPX NPS4", "SPX"),
    ],
)
def test_what_is_wrong_with_an_amd_gpu(
    tmp_path: Path, changed: dict[str, str], check: str, grade: str, figure: str, remedy: str
) -> None:
    found = by_check(amd(tmp_path, **changed))
    assert found[check].grade == grade
    assert figure in found[check].what
    assert remedy in found[check].remedy
    worse = [f.check for f in found.values() if f.grade in ("fault", "note")]
    assert worse == ([check] if grade in ("fault", "note") else [])


def test_an_amd_card_without_files_is_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "sys/class/drm/card0/device"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text("0x1002")
    (watched,) = read_amd(tmp_path)
    found = by_check(watched.finish())
    assert {f.grade for f in found.values()} == {"unknown", "ok"}
    assert read_amd(tmp_path / "none") == []


def test_the_gpu_in_use_is_found_by_serial_then_address_and_never_by_index() -> None:
    first = Gpu(vendor="nvidia", index=0, uuid="aa", pci="0000:01:00.0")
    second = Gpu(vendor="nvidia", index=1, uuid="00bb", pci="0000:02:00.0")
    card = Gpu(vendor="amd", index=0, uuid="f3", pci="0000:03:00.0")
    target = TelemetryTarget(kind="gpu", vendor="nvidia", uuid="BB", pci="0000:01:00.0")
    gpus = (first, second, card)
    assert find(gpus, target) == second
    assert find(gpus, msgspec.structs.replace(target, uuid=None)) == first
    assert find(gpus, TelemetryTarget(kind="gpu", vendor="nvidia")) is None
    assert find(gpus, TelemetryTarget(kind="gpu", vendor="amd")) == card
    stranger = TelemetryTarget(kind="gpu", vendor="nvidia", uuid="cc", pci="0000:09:00.0")
    assert find(gpus, stranger) is None
