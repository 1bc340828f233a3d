"""A GPU under watch: its state at first sight, and what held its clock until the second."""

from collections.abc import Callable
from typing import Any

import msgspec

from gemmbench.devices.sample import Sample, attempt, summarise
from gemmbench.devices.sampler import Sensors
from gemmbench.doctor.facts import Gpu
from gemmbench.timing.verdict import THROTTLED_SHARE, THROTTLING


class Watched:
    """Reads the sensors once now; `finish` reads them again and says what limited the clock.

    `connect` opens the GPU's sensors; where that fails, or no sensor tells, nothing is known.
    """

    def __init__(self, gpu: Gpu, connect: Callable[[], Sensors]) -> None:
        self._gpu = gpu
        self._sensors: Any = attempt(connect)
        self._first: Sample | None = attempt(lambda: self._sensors.read())

    def finish(self) -> Gpu:
        second: Sample | None = attempt(lambda: self._sensors.read())
        if self._first is None or second is None:
            return self._gpu
        start_s, stop_s = self._first.time_s, second.time_s
        seen = summarise([self._first, second], start_s, stop_s)
        limits = None
        if seen.limits_ns:
            least_ns = THROTTLED_SHARE * (stop_s - start_s) * 1e9
            limits = tuple(name for name in THROTTLING if seen.limits_ns.get(name, 0.0) > least_ns)
        return msgspec.structs.replace(
            self._gpu,
            temperature_c=self._gpu.temperature_c or seen.temperature_c,
            limits=limits,
        )
