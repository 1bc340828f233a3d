"""Real sensors of a real GPU while it multiplies."""

import time

import pytest

from gemmbench.devices.detect import detect, telemetry_target
from gemmbench.devices.sample import LIMITS, Window
from gemmbench.devices.spec import match
from gemmbench.devices.telemetry import Telemetry

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def busy() -> Window:
    """Three seconds of bf16 products, without a pause that the sensors could see."""
    import torch

    device = detect("cuda")
    a = torch.randn(8192, 8192, device=device.torch_device, dtype=torch.bfloat16)
    c = torch.empty_like(a)
    with Telemetry() as telemetry:
        telemetry.start(telemetry_target(device))
        deadline = time.monotonic() + 20
        while not telemetry._samples and telemetry.problem is None and time.monotonic() < deadline:
            time.sleep(0.05)
        torch.mm(a, a, out=c)
        torch.cuda.synchronize()
        start_s = time.monotonic()
        while time.monotonic() < start_s + 3:
            for _ in range(20):
                torch.mm(a, a, out=c)
            torch.cuda.synchronize()
        stop_s = time.monotonic()
        time.sleep(0.3)
        found = telemetry.window(start_s, stop_s)
    assert found.problem is None
    return found


def test_the_sampler_keeps_its_pace(busy: Window) -> None:
    assert busy.samples >= 15


def test_the_clock_is_one_that_the_device_can_have(busy: Window) -> None:
    device = detect("cuda")
    spec = match(device)
    boost_mhz = spec.boost_clock_mhz if spec else None
    assert busy.clock_mhz is not None
    assert 300 < busy.clock_mhz <= (boost_mhz or 4_000) * 1.02


def test_power_and_energy_agree(busy: Window) -> None:
    device = detect("cuda")
    if device.partition:
        assert busy.power_w is None
        assert busy.energy_j is None
        return
    spec = match(device)
    assert busy.power_w is not None
    assert 30 < busy.power_w < (spec.tdp_w * 1.15 if spec and spec.tdp_w else 2_000)
    if busy.energy_j is not None:
        mean_w = busy.energy_j / (busy.stop_s - busy.start_s)
        assert mean_w == pytest.approx(busy.power_w, rel=0.25)


def test_temperature_and_limits_are_plausible(busy: Window) -> None:
    assert busy.temperature_c is None or 10 < busy.temperature_c < 110
    assert set(busy.limits_ns) <= set(LIMITS)
    window_ns = (busy.stop_s - busy.start_s) * 1e9
    assert all(0 <= held <= 1.05 * window_ns for held in busy.limits_ns.values())


def test_nvidias_counters_are_there(busy: Window) -> None:
    if detect("cuda").vendor != "nvidia":
        pytest.skip("counters of limit reasons by NVML's names are NVIDIA's")
    assert {"power", "thermal"} <= set(busy.limits_ns)
