"""NVIDIA's sensors, by NVML (nvidia-ml-py). A GPU is found by UUID or PCI address, never by index:
NVML counts by bus, CUDA by speed."""

import time
from typing import Any

from gemmbench.devices.sample import AVERAGE_SPAN_S, INSTANT_SPAN_S, Sample, ask, attempt, within
from gemmbench.devices.target import TelemetryTarget
from gemmkernels.errors import GemmbenchError

_POWER_INSTANT = 186
_COUNTERS = {
    74: "power",
    76: "sync_boost",
    269: "thermal/software",
    270: "thermal/hardware",
    271: "power_brake",
}
"""Field → limit reason; cumulative nanoseconds (nvml.h, NVML_FI_DEV_CLOCKS_EVENT_REASON_*)."""

_BITS = {"power": 0x04, "sync_boost": 0x10, "thermal": 0x60, "power_brake": 0x80}
_HW_SLOWDOWN = 0x08
_VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
_CLOCK_SM, _TEMPERATURE_GPU = 1, 0


def find_gpu(nvml: Any, target: TelemetryTarget) -> Any:
    """NVML's handle of a GPU or MIG slice; None where NVML lists none such."""
    # Which of the two prefixes torch's UUID of a MIG slice wants is not documented.
    for prefix in ("MIG-", "GPU-") if target.uuid else ():
        found = ask(nvml, "nvmlDeviceGetHandleByUUID", f"{prefix}{target.uuid}")
        if found is not None:
            return found
    address = f"0000{target.pci}".upper() if target.pci else None
    return ask(nvml, "nvmlDeviceGetHandleByPciBusId", address) if address else None


class NvidiaSensors:
    """SM clock, power, energy, temperature and limit reasons of one GPU.

    Raises GemmbenchError, or NVML's own error, where there is nothing to read. On a MIG slice
    power and energy are absent: they can only be read for the whole GPU.
    """

    name = "NVML"
    period_s = 0.05

    def __init__(self, target: TelemetryTarget, nvml: Any) -> None:
        if not hasattr(nvml, "_nvmlGetFunctionPointer"):
            raise GemmbenchError(
                "the old package pynvml hides nvidia-ml-py: uninstall pynvml, then reinstall "
                "nvidia-ml-py"
            )
        self._nvml = nvml
        nvml.nvmlInit()
        handle = find_gpu(nvml, target)
        if handle is None:
            raise GemmbenchError("NVML does not list this GPU, neither by its UUID nor its address")
        is_slice = bool(ask(nvml, "nvmlDeviceIsMigDeviceHandle", handle))
        if is_slice:
            handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        self._handle = handle
        mode = self._get("nvmlDeviceGetMigMode")
        self._shared = target.partition or is_slice or bool(mode and mode[0])
        self._slowed = False

    def read(self) -> Sample:
        now = time.monotonic()
        fields = self._fields()
        power, span_s = self._power(fields)
        counters = {name: fields[key] for key, name in _COUNTERS.items() if key in fields}
        return Sample(
            time_s=now,
            clocks_mhz=(within(self._get("nvmlDeviceGetClockInfo", _CLOCK_SM), 1, 10_000),),
            power_w=power,
            power_span_s=span_s,
            temperature_c=self._temperature(),
            energy_j=self._energy(),
            counters_ns=counters,
            active=self._active({name.partition("/")[0] for name in counters}),
        )

    def _get(self, name: str, *args: object) -> Any:
        return ask(self._nvml, name, self._handle, *args)

    def _fields(self) -> dict[int, float]:
        wanted = [(key, 0) for key in (*_COUNTERS, _POWER_INSTANT)]
        found = {}
        for (key, _), entry in zip(
            wanted, self._get("nvmlDeviceGetFieldValues", wanted) or (), strict=False
        ):
            value = attempt(
                lambda entry=entry: getattr(entry.value, _VALUE_MEMBERS[entry.valueType])
            )
            if entry.nvmlReturn == 0 and value is not None:
                found[key] = float(value)
        return found

    def _power(self, fields: dict[int, float]) -> tuple[float | None, float]:
        """Watts, and over how many seconds they are a mean. NVML says milliwatts."""
        if self._shared:
            return None, INSTANT_SPAN_S
        instant = within(fields.get(_POWER_INSTANT), 1, 1e7)
        if instant is not None:
            return instant / 1e3, INSTANT_SPAN_S
        average = within(self._get("nvmlDeviceGetPowerUsage"), 1, 1e7)
        return (None if average is None else average / 1e3), AVERAGE_SPAN_S

    def _energy(self) -> float | None:
        """Joules since the driver was loaded; NVML says millijoules."""
        if self._shared:
            return None
        found = within(self._get("nvmlDeviceGetTotalEnergyConsumption"), 1, 2**63)
        return None if found is None else found / 1e3

    def _temperature(self) -> float | None:
        found = self._get("nvmlDeviceGetTemperatureV", _TEMPERATURE_GPU)
        if found is None:
            found = self._get("nvmlDeviceGetTemperature", _TEMPERATURE_GPU)
        return within(found, 1, 150)

    def _active(self, counted: set[str]) -> dict[str, bool]:
        """The reasons of this moment, of those that no counter covers."""
        bits = self._get("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:
            bits = self._get("nvmlDeviceGetCurrentClocksThrottleReasons")
        if not isinstance(bits, int):
            return {}
        found = {name: bool(bits & mask) for name, mask in _BITS.items() if name not in counted}
        # It is also set for a moment at every change of P-state: only a second sight counts.
        slowed, self._slowed = self._slowed, bool(bits & _HW_SLOWDOWN)
        return found | {"hw_slowdown": slowed and self._slowed}
