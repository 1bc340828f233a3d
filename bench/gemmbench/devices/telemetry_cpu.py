"""A CPU's sensors: the core clock where it really varies, RAPL's energy where it may be read."""

import re
import time
from pathlib import Path
from statistics import median

from gemmbench.devices.files import number, text
from gemmbench.devices.sample import Sample
from gemmbench.devices.target import TelemetryTarget
from gemmkernels.errors import GemmbenchError

_LEAST_SPREAD = 1e-3
_BUSY = 0.01
"""The sampler's share of one core at most: on a CPU it takes time from what it watches."""


class CpuSensors:
    """Clock of the busiest cores, power and energy of the packages, thermal throttling.

    Raises GemmbenchError where the machine shows none of them, as virtual machines do.
    """

    name = "cpufreq, RAPL"

    def __init__(self, target: TelemetryTarget, root: Path = Path("/")) -> None:
        cpu = root / "sys/devices/system/cpu"
        self._cpuinfo, self._busy = root / "proc/cpuinfo", target.busy
        governed = [cpu / f"cpu{n}/cpufreq/scaling_cur_freq" for n in target.cpus]
        self._governed = [path for path in governed if number(path)]
        self._seen: set[float] = set()
        flags = re.search(r"^flags\s*:(.*)$", text(self._cpuinfo) or "", re.MULTILINE)
        # A guest is shown the constant rate of the time stamp counter.
        self._guest = bool(flags and "hypervisor" in flags[1].split())
        self._packages = [
            path
            for path in sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
            if (text(path / "name") or "").startswith("package") and number(path / "energy_uj")
        ]
        self._last_uj = [number(path / "energy_uj") for path in self._packages]
        self._joules, self._since = 0.0, time.monotonic()
        throttle = (
            cpu / f"cpu{n}/thermal_throttle/package_throttle_total_time_ms" for n in target.cpus[:1]
        )
        self._throttle = next((path for path in throttle if number(path) is not None), None)
        if self._clock() is None and self._guest and not self._packages and not self._throttle:
            raise GemmbenchError("this machine shows neither its core clock nor its power")
        self.period_s = 0.1

    def read(self) -> Sample:
        now = time.monotonic()
        span_s, self._since = now - self._since, now
        grown = self._energy()
        throttled_ms = number(self._throttle) if self._throttle else None
        sample = Sample(
            time_s=now,
            clocks_mhz=(self._clock(),),
            power_w=grown / span_s if grown and span_s > 0 else None,
            power_span_s=span_s,
            energy_j=self._joules if grown is not None else None,
            counters_ns={} if throttled_ms is None else {"thermal": throttled_ms * 1e6},
        )
        self.period_s = max(0.1, (time.monotonic() - now) / _BUSY)
        return sample

    def _clock(self) -> float | None:
        """Median over as many of the fastest cores as the run keeps busy; idle ones say nothing."""
        if self._governed:
            clocks = [khz / 1e3 for path in self._governed if (khz := number(path))]
        elif self._guest:
            clocks = []
        else:
            lines = re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", text(self._cpuinfo) or "", re.MULTILINE)
            clocks = [float(line) for line in lines]
            self._seen |= {min(clocks, default=0.0), max(clocks, default=0.0)}
            if max(self._seen) <= min(self._seen) * (1 + _LEAST_SPREAD):
                clocks = []
        busiest = sorted(clocks, reverse=True)[: max(1, self._busy)]
        return median(busiest) if busiest else None

    def _energy(self) -> float | None:
        """Joules since the last reading, of all packages; None unless all can be read."""
        total_uj = 0
        for index, package in enumerate(self._packages):
            last, now = self._last_uj[index], number(package / "energy_uj")
            self._last_uj[index] = now
            if last is None or now is None:
                return None
            wrap = number(package / "max_energy_range_uj") or 0
            total_uj += now - last if now >= last else now - last + wrap
        if not self._packages or total_uj < 0:
            return None
        self._joules += total_uj / 1e6
        return total_uj / 1e6
