"""AMD's sensors: AMD SMI where its wrapper fits the installed ROCm, else the driver's files."""

import re
import time
from pathlib import Path
from typing import Any

from gemmbench.devices.files import number, text
from gemmbench.devices.sample import AVERAGE_SPAN_S, INSTANT_SPAN_S, Sample, ask, attempt, within
from gemmbench.devices.target import TelemetryTarget
from gemmkernels.errors import GemmbenchError

_RESIDENCY = {
    "ppt_residency_acc": "power",
    "socket_thm_residency_acc": "thermal/socket",
    "vr_thm_residency_acc": "thermal/regulator",
    "hbm_thm_residency_acc": "thermal/memory",
    "prochot_residency_acc": "hw_slowdown",
}
_POWERS = (
    ("socket_power", INSTANT_SPAN_S),
    ("current_socket_power", INSTANT_SPAN_S),
    ("average_socket_power", AVERAGE_SPAN_S),
)
_MAX_W, _MAX_MHZ = 5_000, 10_000


class AmdSmiSensors:
    """One GPU by `amdsmi`. Units differ by call: W for power, 15.3 µJ steps for energy, °C.

    Of a partition power and energy are absent, as they belong to the whole board, and so is the
    clock where several XCDs are shown, as not all are its own. Raises GemmbenchError, or what
    amdsmi raises, where the GPU is not listed.
    """

    name = "AMD SMI"
    period_s = 0.05

    def __init__(self, target: TelemetryTarget, smi: Any) -> None:
        self._smi, self._partition = smi, target.partition
        smi.amdsmi_init()
        self._handle = self._find(target)
        self._residency = Residency()

    def read(self) -> Sample:
        now = time.monotonic()
        metrics = self._dict("amdsmi_get_gpu_metrics_info")
        power, span_s = self._power()
        return Sample(
            time_s=now,
            clocks_mhz=self._clocks(metrics),
            power_w=power,
            power_span_s=span_s,
            temperature_c=self._temperature(),
            energy_j=self._energy(),
            counters_ns=self._residency.update(now, metrics),
        )

    def _find(self, target: TelemetryTarget) -> Any:
        """By serial, then by PCI address; an index means another GPU on some machines."""
        handles = self._smi.amdsmi_get_processor_handles()
        for handle in handles if target.uuid else ():
            asic = ask(self._smi, "amdsmi_get_gpu_asic_info", handle) or {}
            if _same_serial(asic.get("asic_serial"), target.uuid):
                return handle
        for handle in handles if target.pci else ():
            shown = ask(self._smi, "amdsmi_get_gpu_device_bdf", handle)
            if str(shown).lower() == target.pci:
                return handle
        raise GemmbenchError("AMD SMI does not list this GPU")

    def _dict(self, name: str, *args: object) -> dict[str, Any]:
        found = ask(self._smi, name, self._handle, *args)
        return found if isinstance(found, dict) else {}

    def _clocks(self, metrics: dict[str, Any]) -> tuple[float | None, ...]:
        listed = metrics.get("current_gfxclks")
        clocks = [within(c, 1, _MAX_MHZ) for c in listed] if isinstance(listed, list) else []
        if not any(clocks):
            kind = attempt(lambda: self._smi.AmdSmiClkType.GFX)
            info = self._dict("amdsmi_get_clock_info", kind)
            clocks = [within(info.get("clk", info.get("cur_clk")), 1, _MAX_MHZ)]
        shown = sum(clock is not None for clock in clocks)
        return () if self._partition and shown > 1 else tuple(clocks)

    def _power(self) -> tuple[float | None, float]:
        """Watts and their span. The odd half of an MI250X shows 0 W, which is no measurement."""
        info = {} if self._partition else self._dict("amdsmi_get_power_info")
        for key, span_s in _POWERS:
            found = within(info.get(key), 1, _MAX_W)
            if found is not None:
                return found, span_s
        return None, INSTANT_SPAN_S

    def _energy(self) -> float | None:
        """Joules: counts of `counter_resolution` µJ; the count's key was `power` before 6.3."""
        info = {} if self._partition else self._dict("amdsmi_get_energy_count")
        count = within(info.get("energy_accumulator", info.get("power")), 1, 2**63)
        step_uj = within(info.get("counter_resolution"), 0.01, 1e6)
        return None if count is None or step_uj is None else count * step_uj * 1e-6

    def _temperature(self) -> float | None:
        smi = self._smi
        return within(
            attempt(
                lambda: smi.amdsmi_get_temp_metric(
                    self._handle,
                    smi.AmdSmiTemperatureType.HOTSPOT,
                    smi.AmdSmiTemperatureMetric.CURRENT,
                )
            ),
            1,
            150,
        )


class Residency:
    """Turns AMD's accumulators into nanoseconds per limit reason.

    Each accumulator counts the firmware's ticks in which its reason held; `accumulation_counter`
    counts all ticks. The ratio of their differences is the share of time.
    """

    def __init__(self) -> None:
        self._ns: dict[str, float] = {}
        self._base: tuple[float, int, dict[str, int]] | None = None

    def update(self, now_s: float, metrics: dict[str, Any]) -> dict[str, float]:
        ticks = metrics.get("accumulation_counter")
        counts = {
            name: int(metrics[key])
            for key, name in _RESIDENCY.items()
            if within(metrics.get(key), 0, 2**63) is not None
        }
        if within(ticks, 0, 2**63) is None or not isinstance(ticks, int) or not counts:
            return {}
        if self._base is None:
            self._base = now_s, ticks, counts
        then_s, then_ticks, then_counts = self._base
        if ticks != then_ticks:
            # After a reset of the driver the ticks start again: nothing is known of that step.
            for name in counts.keys() & then_counts.keys() if ticks > then_ticks else ():
                share = (counts[name] - then_counts[name]) / (ticks - then_ticks)
                grown = min(1.0, max(0.0, share)) * (now_s - then_s) * 1e9
                self._ns[name] = self._ns.get(name, 0.0) + grown
            self._base = now_s, ticks, counts
        return {name: self._ns.get(name, 0.0) for name in counts}


class AmdSysfsSensors:
    """One GPU by the files of the amdgpu driver: MHz, µW, thousandths of °C. Needs no library."""

    name = "sysfs"
    period_s = 0.05

    def __init__(self, target: TelemetryTarget, root: Path = Path("/")) -> None:
        self._partition = target.partition
        self._folder = self._find(target, root)
        self._hwmon = next(iter(sorted((self._folder / "hwmon").glob("hwmon*"))), self._folder)

    def read(self) -> Sample:
        now = time.monotonic()
        power, span_s = self._power()
        return Sample(
            time_s=now,
            clocks_mhz=(self._clock(),),
            power_w=power,
            power_span_s=span_s,
            temperature_c=self._temperature(),
        )

    def _find(self, target: TelemetryTarget, root: Path) -> Path:
        for folder in sorted((root / "sys/class/drm").glob("card*/device")):
            if target.uuid and _same_serial(text(folder / "unique_id"), target.uuid):
                return folder
        if target.pci and (found := root / "sys/bus/pci/devices" / target.pci).is_dir():
            return found
        raise GemmbenchError("sysfs does not list this GPU")

    def _clock(self) -> float | None:
        levels = text(self._folder / "pp_dpm_sclk") or ""
        current = re.search(r"^\s*\w+:\s*(\d+)\s*MHz\s*\*", levels, re.IGNORECASE | re.MULTILINE)
        return within(int(current[1]), 1, _MAX_MHZ) if current and not self._partition else None

    def _power(self) -> tuple[float | None, float]:
        for name, span_s in (("power1_input", INSTANT_SPAN_S), ("power1_average", AVERAGE_SPAN_S)):
            found = within(number(self._hwmon / name), 1e6, _MAX_W * 1e6)
            if found is not None and not self._partition:
                return found / 1e6, span_s
        return None, INSTANT_SPAN_S

    def _temperature(self) -> float | None:
        for label in sorted(self._hwmon.glob("temp*_label")):
            if text(label) == "junction":
                found = within(number(label.with_name(label.name[:-5] + "input")), 1e3, 150e3)
                return None if found is None else found / 1e3
        return None


def _same_serial(shown: object, serial: str | None) -> bool:
    """amdsmi writes "0xF330…", sysfs "f330…", torch "f330…" without leading zeros at times."""
    plain = [str(s).lower().removeprefix("0x").lstrip("0") for s in (shown, serial)]
    return plain[0] == plain[1] != ""
