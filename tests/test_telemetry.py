"""The sampler as a process: what it says, how it dies, and that it never holds anybody up."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gemmbench.devices.detect import detect, telemetry_target
from gemmbench.devices.target import TelemetryTarget
from gemmbench.devices.telemetry import Telemetry

GPU = TelemetryTarget(kind="gpu", vendor="nvidia", uuid="8a0e3c3c-0123-4567-89ab-cdef01234567")

NVML = """
import os, signal, time
os.write(1, b"a library that prints ")
os.write(2, b"and complains")
_nvmlGetFunctionPointer = None
def nvmlInit(): pass
def nvmlDeviceGetHandleByUUID(name): return name
def nvmlDeviceGetPowerUsage(handle): return 500000
def nvmlDeviceGetClockInfo(handle, kind):
    {clock}
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a pynvml before the real one, whose clock is read by this line."""

    def install(clock: str) -> None:
        (tmp_path / "pynvml.py").write_text(NVML.format(clock=clock))
        (tmp_path / "torch.py").write_text("raise SystemExit('the sampler imported torch')")
        paths = [str(tmp_path), *filter(None, sys.path)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    return install


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    watcher = Telemetry(patience_s=0.5)
    yield watcher
    began = time.monotonic()
    watcher.stop()
    assert time.monotonic() - began < 2


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def test_samples_reach_their_window(fake: Callable[[str], None], telemetry: Telemetry) -> None:
    fake("return 1830")
    telemetry.start(GPU)
    until(lambda: telemetry._samples)
    assert telemetry._hello is not None
    assert telemetry._hello.sensors == "NVML"
    start_s = time.monotonic()
    until(lambda: time.monotonic() > start_s + 0.4)
    stop_s = time.monotonic()
    until(lambda: telemetry._samples[-1].time_s > stop_s)
    found = telemetry.window(start_s, stop_s)
    assert found.clock_mhz == 1830
    assert found.samples >= 2
    assert found.problem is None
    assert found.power_w is None, "the averaged sensor looks back a whole second"
    assert telemetry.problem is None
    assert telemetry.window(start_s - 100, start_s - 99).problem == "no sample fell into the window"


def test_a_stopped_telemetry_keeps_its_samples(
    fake: Callable[[str], None], telemetry: Telemetry
) -> None:
    fake("return 1830")
    start_s = time.monotonic()
    telemetry.start(GPU)
    until(lambda: telemetry._samples)
    telemetry.stop()
    assert telemetry.window(start_s, time.monotonic()).clock_mhz == 1830
    assert telemetry.problem == "telemetry was stopped"


def test_a_hanging_driver_holds_nobody_up(
    fake: Callable[[str], None], telemetry: Telemetry
) -> None:
    fake("time.sleep(600)")
    telemetry.start(GPU)
    until(lambda: telemetry.problem)
    began = time.monotonic()
    found = telemetry.window(0, began)
    assert time.monotonic() - began < 0.1
    assert (found.samples, found.clock_mhz, found.power_w) == (0, None, None)
    assert found.problem is not None
    assert "silent" in found.problem


def test_a_sampler_that_is_stuck_is_killed(
    fake: Callable[[str], None], telemetry: Telemetry
) -> None:
    fake("os.kill(os.getpid(), signal.SIGSTOP)")
    telemetry.start(GPU)
    assert telemetry._process is not None
    pid = telemetry._process.pid
    until(lambda: telemetry.problem)
    began = time.monotonic()
    telemetry.stop()
    assert time.monotonic() - began < 2
    assert not is_alive(pid)


@pytest.mark.parametrize(
    ("death", "says"),
    [("os._exit(3)", "exit status 3"), ("os.kill(os.getpid(), signal.SIGSEGV)", "exit status -11")],
)
def test_a_sampler_that_dies_is_a_problem_and_no_error(
    fake: Callable[[str], None], telemetry: Telemetry, death: str, says: str
) -> None:
    fake(death)
    telemetry.start(GPU)
    until(lambda: telemetry.problem and says in telemetry.problem)
    assert says in (telemetry.window(0, time.monotonic()).problem or "")


def test_a_driver_that_refuses_is_a_problem_in_one_line(
    fake: Callable[[str], None], telemetry: Telemetry, tmp_path: Path
) -> None:
    fake("pass")
    (tmp_path / "pynvml.py").write_text("raise OSError('no driver\\nat all')")
    telemetry.start(GPU)
    until(lambda: telemetry.problem)
    assert telemetry.problem == "OSError: no driver at all"


def test_the_sampler_dies_with_its_parent(fake: Callable[[str], None]) -> None:
    fake("time.sleep(600)")
    code = (
        "import os, time\n"
        "from gemmbench.devices.telemetry import Telemetry\n"
        "from gemmbench.devices.target import TelemetryTarget\n"
        "telemetry = Telemetry()\n"
        f"telemetry.start(TelemetryTarget(kind='gpu', vendor='nvidia', uuid='{GPU.uuid}'))\n"
        "time.sleep(0.5)\n"
        "print(telemetry._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert parent.returncode == -9, parent.stderr
    pid = int(parent.stdout)
    until(lambda: not is_alive(pid), 5)


def test_nothing_to_watch() -> None:
    with Telemetry() as telemetry:
        assert telemetry.window(0, 1).problem == "telemetry was not started"
        telemetry.start(None)
        assert telemetry.window(0, 1).problem == "there is nothing to watch"


def test_on_a_real_cpu_it_is_none_or_plausible(
    capfd: pytest.CaptureFixture[str], telemetry: Telemetry
) -> None:
    start_s = time.monotonic()
    telemetry.start(telemetry_target(detect("cpu")))
    until(lambda: len(telemetry._samples) > 1 or (telemetry._hello and telemetry._hello.problem))
    found = telemetry.window(start_s, time.monotonic())
    assert found.problem or found.samples
    assert found.clock_mhz is None or 100 < found.clock_mhz < 10_000
    assert found.power_w is None or 0 < found.power_w < 5_000
    telemetry.stop()
    assert capfd.readouterr() == ("", "")


def test_start_does_not_wait(fake: Callable[[str], None], telemetry: Telemetry) -> None:
    fake("return 1")
    began = time.monotonic()
    telemetry.start(GPU)
    assert time.monotonic() - began < 1
    first = telemetry._process
    telemetry.start(GPU)
    assert first is not None
    assert first.returncode is not None
