"""A GPU under watch: its state at first sight, and what it did until the second."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from gemmbench.devices.sample import Sample, attempt, summarise
from gemmbench.devices.sampler import Sensors
from gemmbench.doctor.facts import Gpu
from gemmbench.timing.verdict import THROTTLED_SHARE, THROTTLING

Number = TypeVar("Number", int, float)

Load = tuple[float | None, int | None]
"""(busy, in percent; bytes used)."""


class Watched:
    """Reads the sensors once now; `finish` reads them again and says what limited the clock.

    `connect` opens the GPU's sensors; where that fails, or no sensor tells, nothing is known.
    `load` reads again how busy it is. A driver's figure covers up to the second before, in which
    another process may have ended: the smaller of both counts.
    """

    def __init__(self, gpu: Gpu, connect: Callable[[], Sensors], load: Callable[[], Load]) -> None:
        self._gpu = gpu
        self._load = load
        self._sensors: Any = attempt(connect)
        self._first: Sample | None = attempt(lambda: self._sensors.read())

    def finish(self) -> Gpu:
        busy_percent, used_bytes = attempt(self._load) or (None, None)
        gpu = msgspec.structs.replace(
            self._gpu,
            busy_percent=_smaller(self._gpu.busy_percent, busy_percent),
            used_bytes=_smaller(self._gpu.used_bytes, used_bytes),
        )
        second: Sample | None = attempt(lambda: self._sensors.read())
        if self._first is None or second is None:
            return gpu
        start_s, stop_s = self._first.time_s, second.time_s
        seen = summarise([self._first, second], start_s, stop_s)
        limits = None
        if seen.limits_ns:
            least_ns = THROTTLED_SHARE * (stop_s - start_s) * 1e9
            limits = tuple(name for name in THROTTLING if seen.limits_ns.get(name, 0.0) > least_ns)
        return msgspec.structs.replace(
            gpu, temperature_c=gpu.temperature_c or seen.temperature_c, limits=limits
        )


def _smaller(first: Number | None, second: Number | None) -> Number | None:
    known = [value for value in (first, second) if value is not None]
    return min(known, default=None)
