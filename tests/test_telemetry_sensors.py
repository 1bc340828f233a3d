"""Sensors over fakes of NVML, AMD SMI and sysfs: units, what is missing, what fails."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gemmbench.devices import sampler
from gemmbench.devices.sampler import open_sensors
from gemmbench.devices.target import TelemetryTarget
from gemmbench.devices.telemetry_amd import AmdSmiSensors, AmdSysfsSensors, Residency
from gemmbench.devices.telemetry_cpu import CpuSensors
from gemmbench.devices.telemetry_nvidia import NvidiaSensors
from gemmkernels import GemmbenchError

UUID = "8a0e3c3c-0123-4567-89ab-cdef01234567"
NVIDIA = TelemetryTarget(kind="gpu", vendor="nvidia", uuid=UUID, pci="0000:0c:00.0")
AMD = TelemetryTarget(kind="gpu", vendor="amd", uuid="f330dc4d00dee22b", pci="0000:0c:00.0")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


class NotSupportedError(Exception):
    pass


def field(value: float, *, kind: int = 3, code: int = 0) -> SimpleNamespace:
    names = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    members = dict.fromkeys(names, -1) | {names[kind]: value}
    return SimpleNamespace(nvmlReturn=code, valueType=kind, value=SimpleNamespace(**members))


class FakeNvml:
    """One GPU; `fields` are values by number, `missing` the names of functions that fail."""

    def __init__(
        self, *, fields: dict[int, SimpleNamespace] | None = None, missing: tuple[str, ...] = ()
    ) -> None:
        self._nvmlGetFunctionPointer = object()
        self.fields = fields or {}
        self.missing = missing
        self.bits = 0
        self.mig = [0, 0]

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "missing"):

            def fail(*_: object) -> None:
                raise NotSupportedError(name)

            return fail
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:  # noqa: N802
        if name != f"GPU-{UUID}":
            raise NotSupportedError(name)
        return "by uuid"

    def nvmlDeviceGetHandleByPciBusId(self, name: str) -> str:  # noqa: N802
        if name != "00000000:0C:00.0":
            raise NotSupportedError(name)
        return "by address"

    def nvmlDeviceIsMigDeviceHandle(self, _: str) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetMigMode(self, _: str) -> list[int]:  # noqa: N802
        return self.mig

    def nvmlDeviceGetClockInfo(self, _: str, kind: int) -> int:  # noqa: N802
        assert kind == 1
        return 1980

    def nvmlDeviceGetFieldValues(self, _: str, wanted: list[Any]) -> list[Any]:  # noqa: N802
        return [self.fields.get(key, field(0, code=3)) for key, _ in wanted]

    def nvmlDeviceGetPowerUsage(self, _: str) -> int:  # noqa: N802
        return 650_000

    def nvmlDeviceGetTotalEnergyConsumption(self, _: str) -> int:  # noqa: N802
        return 5_000_000

    def nvmlDeviceGetTemperatureV(self, _: str, sensor: int) -> int:  # noqa: N802
        assert sensor == 0
        return 61

    def nvmlDeviceGetTemperature(self, _: str, __: int) -> int:  # noqa: N802
        return 62

    def nvmlDeviceGetCurrentClocksEventReasons(self, _: str) -> int:  # noqa: N802
        return self.bits

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _: str) -> int:  # noqa: N802
        return self.bits | 0x80


COUNTERS = {74: field(4e9), 76: field(0), 269: field(1e9), 270: field(2e9), 271: field(3e9)}


def test_nvidia_units() -> None:
    nvml = FakeNvml(fields={**COUNTERS, 186: field(698_500, kind=1)})
    found = NvidiaSensors(NVIDIA, nvml).read()
    assert found.clocks_mhz == (1980.0,)
    assert (found.power_w, found.power_span_s) == (698.5, 0.1)
    assert found.energy_j == 5000
    assert found.temperature_c == 61
    assert found.counters_ns == {
        "power": 4e9,
        "sync_boost": 0,
        "thermal/software": 1e9,
        "thermal/hardware": 2e9,
        "power_brake": 3e9,
    }
    assert abs(found.time_s - time.monotonic()) < 5


def test_nvidia_average_power_is_over_a_second() -> None:
    for fields in ({}, {186: field(0)}, {186: field(698_500, code=3)}):
        found = NvidiaSensors(NVIDIA, FakeNvml(fields=fields)).read()
        assert (found.power_w, found.power_span_s) == (650, 1.0)


def test_nvidia_reasons_are_polled_where_no_counter_is() -> None:
    nvml = FakeNvml(fields={74: field(4e9)})
    sensors = NvidiaSensors(NVIDIA, nvml)
    idle = {"sync_boost": False, "thermal": False, "power_brake": False, "hw_slowdown": False}
    assert sensors.read().active == idle
    for bits, name in ((0x20, "thermal"), (0x40, "thermal"), (0x80, "power_brake")):
        nvml.bits = bits
        assert sensors.read().active == idle | {name: True}
    nvml.bits = 0x103
    assert sensors.read().active == idle


def test_nvidia_hardware_slowdown_counts_when_it_lasts() -> None:
    nvml = FakeNvml(fields=COUNTERS)
    sensors = NvidiaSensors(NVIDIA, nvml)
    nvml.bits = 0x08
    assert [sensors.read().active for _ in range(2)] == [
        {"hw_slowdown": False},
        {"hw_slowdown": True},
    ]
    nvml.bits = 0
    assert sensors.read().active == {"hw_slowdown": False}


CALLS = [name for name in dir(FakeNvml) if name.startswith("nvmlDevice")]


@pytest.mark.parametrize("name", CALLS)
def test_nvidia_one_missing_call_costs_one_figure(name: str) -> None:
    sensors = NvidiaSensors(NVIDIA, FakeNvml(missing=(name,)))
    found = sensors.read()
    present = [found.clocks_mhz[0], found.power_w, found.energy_j, found.temperature_c]
    assert sum(value is None for value in present) <= 1


def test_nvidia_nothing_supported_is_none_everywhere() -> None:
    readers = tuple(n for n in CALLS if "Handle" not in n)
    found = NvidiaSensors(NVIDIA, FakeNvml(missing=readers)).read()
    assert found.clocks_mhz == (None,)
    assert (found.power_w, found.energy_j, found.temperature_c) == (None, None, None)
    assert (found.counters_ns, found.active) == ({}, {})


def test_nvidia_handle_by_uuid_then_by_address_and_never_by_index() -> None:
    nvml = FakeNvml()
    assert NvidiaSensors(NVIDIA, nvml)._handle == "by uuid"
    other = TelemetryTarget(kind="gpu", vendor="nvidia", uuid="0" * 8, pci="0000:0c:00.0")
    assert NvidiaSensors(other, nvml)._handle == "by address"
    with pytest.raises(GemmbenchError, match="does not list"):
        NvidiaSensors(TelemetryTarget(kind="gpu", vendor="nvidia"), nvml)


def test_nvidia_a_mig_slice_has_no_power_of_its_own() -> None:
    nvml = FakeNvml(fields={186: field(698_500)})
    nvml.mig = [1, 1]
    found = NvidiaSensors(NVIDIA, nvml).read()
    assert (found.power_w, found.energy_j) == (None, None)
    assert found.clocks_mhz == (1980.0,)


def test_the_old_pynvml_is_named() -> None:
    with pytest.raises(GemmbenchError, match="uninstall pynvml"):
        NvidiaSensors(NVIDIA, SimpleNamespace(nvmlInit=lambda: None))


def smi(**replaced: Any) -> SimpleNamespace:
    """AMD SMI of ROCm 7 on two MI300X, of which ours is listed second."""
    serials = {"a": "0xAAAA", "b": "0xF330DC4D00DEE22B"}
    calls: dict[str, Any] = {
        "amdsmi_init": lambda: None,
        "amdsmi_get_processor_handles": lambda: ["a", "b"],
        "amdsmi_get_gpu_asic_info": lambda h: {"asic_serial": serials[h]},
        "amdsmi_get_gpu_device_bdf": lambda h: {"a": "0000:0b:00.0", "b": "0000:0C:00.0"}[h],
        "amdsmi_get_power_info": lambda h: {
            "socket_power": 742,
            "current_socket_power": 742,
            "average_socket_power": "N/A",
            "power_limit": 750_000_000,
        },
        "amdsmi_get_energy_count": lambda h: {
            "energy_accumulator": 10**9,
            "counter_resolution": 15.259,
            "timestamp": 1,
        },
        "amdsmi_get_gpu_metrics_info": lambda h: {
            "current_gfxclks": [1300, 1290, 1310, 1305, 1301, 1299, 65535, "N/A"],
            "accumulation_counter": 1000,
            "ppt_residency_acc": 100,
            "socket_thm_residency_acc": 0,
            "prochot_residency_acc": "N/A",
        },
        "amdsmi_get_clock_info": lambda h, kind: {"clk": 1234, "max_clk": 2100},
        "amdsmi_get_temp_metric": lambda h, sensor, metric: {("hot", "now"): 71}[sensor, metric],
        "AmdSmiClkType": SimpleNamespace(GFX="gfx"),
        "AmdSmiTemperatureType": SimpleNamespace(HOTSPOT="hot"),
        "AmdSmiTemperatureMetric": SimpleNamespace(CURRENT="now"),
    }
    calls |= replaced
    return SimpleNamespace(**{name: call for name, call in calls.items() if call is not None})


def test_amd_units() -> None:
    sensors = AmdSmiSensors(AMD, smi())
    assert sensors._handle == "b"
    found = sensors.read()
    assert found.clocks_mhz == (1300.0, 1290.0, 1310.0, 1305.0, 1301.0, 1299.0, None, None)
    assert (found.power_w, found.power_span_s) == (742, 0.1)
    assert found.energy_j == pytest.approx(15259)
    assert found.temperature_c == 71
    assert found.counters_ns == {"power": 0, "thermal/socket": 0}


@pytest.mark.parametrize(
    ("info", "watts", "span_s"),
    [
        ({"current_socket_power": 500, "average_socket_power": "N/A"}, 500, 0.1),
        ({"current_socket_power": "N/A", "average_socket_power": 300}, 300, 1.0),
        ({"current_socket_power": 65535, "average_socket_power": 300}, 300, 1.0),
        ({"average_socket_power": 0}, None, 0.1),
        ({}, None, 0.1),
    ],
)
def test_amd_power_by_generation(info: dict[str, Any], watts: float | None, span_s: float) -> None:
    found = AmdSmiSensors(AMD, smi(amdsmi_get_power_info=lambda h: info)).read()
    assert (found.power_w, found.power_span_s) == (watts, span_s)


def test_amd_energy_under_its_old_key() -> None:
    old = {"power": 10**9, "counter_resolution": 15.3}
    found = AmdSmiSensors(AMD, smi(amdsmi_get_energy_count=lambda h: old)).read()
    assert found.energy_j == pytest.approx(15300)


def test_amd_clock_of_one_xcd_where_the_list_is_missing() -> None:
    for metrics in ({}, {"current_gfxclks": "N/A"}, {"current_gfxclks": [65535] * 8}):
        found = AmdSmiSensors(AMD, smi(amdsmi_get_gpu_metrics_info=lambda h, m=metrics: m)).read()
        assert found.clocks_mhz == (1234.0,)
    old = smi(
        amdsmi_get_gpu_metrics_info=None, amdsmi_get_clock_info=lambda h, kind: {"cur_clk": 900}
    )
    assert AmdSmiSensors(AMD, old).read().clocks_mhz == (900.0,)


SMI_CALLS = sorted(vars(smi()).keys() - {"amdsmi_init", "amdsmi_get_processor_handles"})


@pytest.mark.parametrize("how", ["absent", "raises"])
@pytest.mark.parametrize("name", SMI_CALLS)
def test_amd_one_missing_call_costs_one_figure(name: str, how: str) -> None:
    def fail(*_: object) -> None:
        raise NotSupportedError(name)

    broken = smi(**{name: None if how == "absent" else fail})
    found = AmdSmiSensors(AMD, broken).read()
    present = [found.clocks_mhz[0], found.power_w, found.energy_j, found.temperature_c]
    assert sum(value is None for value in present) <= 1


def test_amd_a_gpu_that_is_not_listed_is_not_replaced_by_another() -> None:
    stranger = TelemetryTarget(kind="gpu", vendor="amd", uuid="1234", pci="0000:ff:00.0")
    with pytest.raises(GemmbenchError, match="does not list"):
        AmdSmiSensors(stranger, smi())


def test_amd_a_partition_has_no_power_and_no_clock_of_its_own() -> None:
    part = TelemetryTarget(kind="gpu", vendor="amd", uuid=AMD.uuid, partition=True)
    found = AmdSmiSensors(part, smi()).read()
    assert (found.power_w, found.energy_j, found.clocks_mhz) == (None, None, ())


def test_amd_residency_becomes_nanoseconds() -> None:
    residency = Residency()
    base = {"accumulation_counter": 1000, "ppt_residency_acc": 0, "hbm_thm_residency_acc": 500}
    assert residency.update(10.0, base) == {"power": 0, "thermal/memory": 0}
    assert residency.update(10.1, base)["power"] == 0
    half = {"accumulation_counter": 1200, "ppt_residency_acc": 100, "hbm_thm_residency_acc": 500}
    assert residency.update(10.2, half) == {"power": pytest.approx(1e8), "thermal/memory": 0}
    reset = {"accumulation_counter": 5, "ppt_residency_acc": 5, "hbm_thm_residency_acc": 0}
    assert residency.update(10.3, reset)["power"] == pytest.approx(1e8)
    assert residency.update(10.4, {"accumulation_counter": "N/A"}) == {}


def sysfs(root: Path, **extra: str) -> Path:
    device = "sys/bus/pci/devices/0000:0c:00.0"
    hwmon = f"{device}/hwmon/hwmon3"
    files = {
        f"{device}/pp_dpm_sclk": "0: 132Mhz\n1: 1286Mhz *\n2: 2100Mhz\n",
        f"{hwmon}/power1_input": "741000000\n",
        f"{hwmon}/temp1_label": "edge\n",
        f"{hwmon}/temp1_input": "50000\n",
        f"{hwmon}/temp2_label": "junction\n",
        f"{hwmon}/temp2_input": "71000\n",
    }
    return write(root, files | {f"{hwmon}/{name}": value for name, value in extra.items()})


def test_amd_sysfs_units(tmp_path: Path) -> None:
    found = AmdSysfsSensors(AMD, sysfs(tmp_path)).read()
    assert found.clocks_mhz == (1286.0,)
    assert (found.power_w, found.power_span_s, found.temperature_c) == (741, 0.1, 71)


def test_amd_sysfs_average_power_and_missing_files(tmp_path: Path) -> None:
    sysfs(tmp_path, power1_input="0\n", power1_average="300000000\n", temp2_label="mem\n")
    sensors = AmdSysfsSensors(AMD, tmp_path)
    found = sensors.read()
    assert (found.power_w, found.power_span_s, found.temperature_c) == (300, 1.0, None)
    bare = write(tmp_path / "bare", {"sys/bus/pci/devices/0000:0c:00.0/vendor": "0x1002"})
    found = AmdSysfsSensors(AMD, bare).read()
    assert (found.power_w, found.temperature_c, found.clocks_mhz) == (None, None, (None,))


def test_amd_sysfs_by_serial(tmp_path: Path) -> None:
    write(tmp_path, {"sys/class/drm/card0/device/unique_id": "aaaa\n"})
    write(tmp_path, {"sys/class/drm/card1/device/unique_id": "f330dc4d00dee22b\n"})
    write(tmp_path, {"sys/class/drm/card1/device/pp_dpm_sclk": "S: 99Mhz *\n"})
    target = TelemetryTarget(kind="gpu", vendor="amd", uuid=AMD.uuid)
    assert AmdSysfsSensors(target, tmp_path).read().clocks_mhz == (99.0,)
    with pytest.raises(GemmbenchError, match="does not list"):
        AmdSysfsSensors(TelemetryTarget(kind="gpu", vendor="amd", uuid="12"), tmp_path)


@pytest.mark.parametrize("failure", [KeyError("libamd_smi.so"), AttributeError("undefined symbol")])
def test_amd_falls_back_to_sysfs_whatever_the_import_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "none"))
    real = __import__

    def broken(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "amdsmi":
            raise failure
        return real(name, *args, **kwargs)

    monkeypatch.setattr("builtins.__import__", broken)
    assert open_sensors(AMD, sysfs(tmp_path)).name == "sysfs"
    with pytest.raises(GemmbenchError, match=f"amdsmi: {type(failure).__name__}"):
        open_sensors(AMD, tmp_path / "empty")


CPUS = TelemetryTarget(kind="cpu", vendor="intel", cpus=(0, 1, 2, 3), busy=2)


def bare_metal(root: Path) -> Path:
    files = {"proc/cpuinfo": "flags\t: fpu avx2\ncpu MHz\t\t: 2000.000\n"}
    for n, khz in enumerate((3_500_000, 800_000, 3_300_000, 800_000)):
        files[f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq"] = f"{khz}\n"
    for n, name in enumerate(("package-0", "package-1", "psys")):
        rapl = f"sys/class/powercap/intel-rapl:{n}"
        files |= {f"{rapl}/name": f"{name}\n", f"{rapl}/energy_uj": "1000000\n"}
        files[f"{rapl}/max_energy_range_uj"] = "9000000\n"
    throttle = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_total_time_ms"
    return write(root, files | {throttle: "12\n"})


def test_cpu_clock_is_that_of_the_busy_cores(tmp_path: Path) -> None:
    found = CpuSensors(CPUS, bare_metal(tmp_path)).read()
    assert found.clocks_mhz == (3400.0,)
    assert found.temperature_c is None
    assert found.counters_ns == {"thermal": 12e6}


def test_cpu_power_is_that_of_all_packages(tmp_path: Path) -> None:
    sensors = CpuSensors(CPUS, bare_metal(tmp_path))
    sensors._since -= 1.0
    rapl = "sys/class/powercap/intel-rapl"
    write(tmp_path, {f"{rapl}:0/energy_uj": "81000000\n", f"{rapl}:1/energy_uj": "500000\n"})
    found = sensors.read()
    # The second package's counter went past its range, and started again.
    assert found.energy_j == pytest.approx(80 + 8.5)
    assert found.power_w == pytest.approx(88.5, rel=0.05)
    assert found.power_span_s == pytest.approx(1, rel=0.05)


def test_cpu_without_cpufreq_believes_only_a_clock_that_varies(tmp_path: Path) -> None:
    line = "cpu MHz\t\t: {}\n"
    write(tmp_path, {"proc/cpuinfo": "flags\t: fpu\n" + line.format("2596.142") * 2})
    sensors = CpuSensors(CPUS, tmp_path)
    assert sensors.read().clocks_mhz == (None,)
    write(tmp_path, {"proc/cpuinfo": "flags\t: fpu\n" + line.format("3100.5") * 2})
    assert sensors.read().clocks_mhz == (3100.5,)


def test_a_guest_without_sensors_says_so(tmp_path: Path) -> None:
    write(tmp_path, {"proc/cpuinfo": "flags\t: fpu hypervisor\ncpu MHz\t: 2596.1\n"})
    with pytest.raises(GemmbenchError, match="neither its core clock nor its power"):
        open_sensors(CPUS, tmp_path)


def test_a_vendor_without_sensors_says_so() -> None:
    with pytest.raises(GemmbenchError, match="intel gpu"):
        open_sensors(TelemetryTarget(kind="gpu", vendor="intel"))


def test_the_sampler_reports_an_error_in_one_line() -> None:
    assert sampler._line(ValueError("a\n  b")) == "ValueError: a b"
