"""NVIDIA GPUs by NVML: every figure is optional, and absent is None."""

from typing import Any

from gemmbench.devices.sample import ask, attempt, within
from gemmbench.devices.target import TelemetryTarget
from gemmbench.devices.telemetry_nvidia import NvidiaSensors
from gemmbench.doctor.facts import Gpu
from gemmbench.doctor.watched import Load, Watched

_CLOCK_SM, _CLOCK_GRAPHICS, _TEMPERATURE_GPU, _SLOWDOWN = 1, 0, 0, 1
_UNCORRECTED, _SINCE_START = 1, 0
_MEMORY_V2 = 0x02000028
"""Of the second version `used` leaves out what the driver holds back for itself (nvml.h)."""

_CLOCK_SETTING = 0x02
_MAX_W, _MAX_MHZ = 5_000, 10_000


def read_nvidia(nvml: Any) -> list[Watched]:
    """All GPUs that NVML lists; raises what nvmlInit raises where it can't start."""
    nvml.nvmlInit()
    count = ask(nvml, "nvmlDeviceGetCount") or 0
    handles = [ask(nvml, "nvmlDeviceGetHandleByIndex", index) for index in range(count)]
    return [_watched(nvml, h, index) for index, h in enumerate(handles) if h is not None]


def driver_versions(nvml: Any) -> tuple[str | None, str | None]:
    """(the driver's version, the newest CUDA that it can run such as 12.4)."""
    version = ask(nvml, "nvmlSystemGetDriverVersion")
    cuda = ask(nvml, "nvmlSystemGetCudaDriverVersion_v2")
    shown = f"{cuda // 1000}.{cuda % 1000 // 10}" if isinstance(cuda, int) and cuda > 0 else None
    return (version if isinstance(version, str) else None), shown


def _watched(nvml: Any, handle: Any, index: int) -> Watched:
    def get(name: str, *args: object) -> Any:
        return ask(nvml, name, handle, *args)

    def watts(name: str) -> float | None:
        found = within(get(name), 1e3, _MAX_W * 1e3)
        return None if found is None else found / 1e3

    uuid = str(get("nvmlDeviceGetUUID") or "").partition("-")[2].lower() or None
    pci = attempt(lambda: str(get("nvmlDeviceGetPciInfo").busId).lower()[-12:])
    temperature = get("nvmlDeviceGetTemperatureV", _TEMPERATURE_GPU)
    if temperature is None:
        temperature = get("nvmlDeviceGetTemperature", _TEMPERATURE_GPU)
    temperature_c = within(temperature, 1, 150)
    busy_percent, used = _load(get)
    remapped = get("nvmlDeviceGetRemappedRows")
    bits = get("nvmlDeviceGetCurrentClocksEventReasons")
    gpu = Gpu(
        vendor="nvidia",
        index=index,
        name=str(get("nvmlDeviceGetName") or ""),
        uuid=uuid,
        pci=pci,
        power_w=watts("nvmlDeviceGetEnforcedPowerLimit"),
        power_default_w=watts("nvmlDeviceGetPowerManagementDefaultLimit"),
        temperature_c=temperature_c,
        headroom_c=_headroom(get, temperature_c),
        busy_percent=busy_percent,
        used_bytes=used,
        total_bytes=attempt(lambda: int(_memory(get).total)),
        uncorrected=_whole(get("nvmlDeviceGetTotalEccErrors", _UNCORRECTED, _SINCE_START)),
        clock_set=bool(bits & _CLOCK_SETTING) if isinstance(bits, int) else None,
        max_clock_mhz=within(get("nvmlDeviceGetMaxClockInfo", _CLOCK_SM), 1, _MAX_MHZ),
        app_clock_mhz=within(get("nvmlDeviceGetApplicationsClock", _CLOCK_GRAPHICS), 1, _MAX_MHZ),
        default_app_clock_mhz=within(
            get("nvmlDeviceGetDefaultApplicationsClock", _CLOCK_GRAPHICS), 1, _MAX_MHZ
        ),
        persistence=attempt(lambda: bool(int(get("nvmlDeviceGetPersistenceMode")))),
        ecc=_modes(get("nvmlDeviceGetEccMode")),
        mig=_modes(get("nvmlDeviceGetMigMode")),
        remapped_pending=attempt(lambda: bool(remapped[2])),
        remapping_failed=attempt(lambda: bool(remapped[3])),
    )
    target = TelemetryTarget(kind="gpu", vendor="nvidia", uuid=uuid, pci=pci)
    return Watched(gpu, lambda: NvidiaSensors(target, nvml), lambda: _load(get))


def _load(get: Any) -> Load:
    busy_percent = within(attempt(lambda: get("nvmlDeviceGetUtilizationRates").gpu), 0, 100)
    return busy_percent, attempt(lambda: int(_memory(get).used))


def _memory(get: Any) -> Any:
    return get("nvmlDeviceGetMemoryInfo", _MEMORY_V2) or get("nvmlDeviceGetMemoryInfo")


def _headroom(get: Any, temperature_c: float | None) -> float | None:
    """Degrees left until the clock is slowed; newer GPUs say it themselves, older the limit."""
    margin = within(get("nvmlDeviceGetMarginTemperature"), -100, 150)
    if margin is not None:
        return margin
    slowdown = within(get("nvmlDeviceGetTemperatureThreshold", _SLOWDOWN), 30, 150)
    return None if slowdown is None or temperature_c is None else slowdown - temperature_c


def _modes(found: Any) -> tuple[int, int] | None:
    """(now, after the next reset)."""
    return attempt(lambda: (int(found[0]), int(found[1])))


def _whole(value: object) -> int | None:
    found = within(value, 0, 2**63)
    return None if found is None else int(found)
