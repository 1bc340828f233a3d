"""The process that watches the device: `python -m gemmbench.devices.sampler`.

It never imports torch: a driver's call can block for ever, and amdsmi and torch break each other.
The target comes as one line of JSON on stdin, a line for each sample goes out on stdout, and the
end of stdin, which the death of the parent is too, ends it.
"""

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Protocol

import msgspec

from gemmbench.devices.sample import Sample
from gemmbench.devices.target import TelemetryTarget
from gemmkernels.errors import GemmbenchError


class Sensors(Protocol):
    name: str
    period_s: float

    def read(self) -> Sample: ...


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first line: what the samples are read from, or why there will be none."""

    sensors: str = ""
    problem: str | None = None


def open_sensors(target: TelemetryTarget, root: Path = Path("/")) -> Sensors:
    """The sensors of a device; raises GemmbenchError with the reason where there are none."""
    if target.kind == "cpu":
        from gemmbench.devices.telemetry_cpu import CpuSensors

        return CpuSensors(target, root)
    if target.vendor == "nvidia":
        import pynvml

        from gemmbench.devices.telemetry_nvidia import NvidiaSensors

        return NvidiaSensors(target, pynvml)
    if target.vendor == "amd":
        return _amd(target, root)
    raise GemmbenchError(f"no sensors are known for a {target.vendor} {target.kind}")


def _amd(target: TelemetryTarget, root: Path) -> Sensors:
    from gemmbench.devices.telemetry_amd import AmdSmiSensors, AmdSysfsSensors

    # The wrapper must be that of the installed ROCm; the copy on package indexes often isn't.
    installed = Path(os.environ.get("ROCM_PATH", "/opt/rocm")) / "share/amd_smi"
    if installed.is_dir():
        sys.path.insert(0, str(installed))
    try:
        import amdsmi

        return AmdSmiSensors(target, amdsmi)
    except Exception as smi:
        try:
            return AmdSysfsSensors(target, root)
        except GemmbenchError as error:
            raise GemmbenchError(f"{error}; amdsmi: {_line(smi)}") from None


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _leave_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    # Libraries print on stdout: give them /dev/null, and keep the pipe for the samples.
    pipe = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    encoder = msgspec.json.Encoder()

    def send(message: Hello | Sample) -> None:
        os.write(pipe, encoder.encode(message) + b"\n")

    line = sys.stdin.buffer.readline()
    parent = threading.Thread(target=_leave_with_parent, daemon=True)
    parent.start()
    # A closed pipe means that nobody listens any more.
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        try:
            sensors = open_sensors(msgspec.json.decode(line, type=TelemetryTarget))
        except Exception as error:
            is_ours = isinstance(error, GemmbenchError)
            send(Hello(problem=str(error) if is_ours else _line(error)))
            parent.join()
            return
        send(Hello(sensors=sensors.name))
        while True:
            began = time.monotonic()
            send(sensors.read())
            time.sleep(max(0.01, began + sensors.period_s - time.monotonic()))


if __name__ == "__main__":
    main()
