"""What is detected of a real GPU, against its datasheet and torch."""

import pytest

from gemmbench.devices.detect import detect, gpu_present, telemetry_target
from gemmbench.devices.software import software
from gemmbench.devices.spec import match

pytestmark = pytest.mark.gpu


def test_auto_finds_the_gpu() -> None:
    found = detect("auto")
    assert found.is_gpu
    assert found == detect("cuda:0")
    assert gpu_present() is not None
    assert found.units > 0
    assert found.shared_bytes is None or found.shared_bytes >= 48 * 1024
    assert found.llc_bytes is None or found.llc_bytes >= 2**20


def test_the_datasheet_is_this_devices() -> None:
    found = detect("auto")
    spec = match(found)
    if spec is None:
        pytest.skip(f"the table has no {found.name}")
    assert found.slug.startswith(spec.id)
    assert found.architecture == spec.architecture
    assert found.units == spec.units
    if spec.partition is None and spec.memory_gb is not None:
        assert found.memory_bytes == pytest.approx(spec.memory_gb * 1e9, rel=0.1)


def test_the_power_limit_is_no_higher_than_the_board_takes() -> None:
    found = detect("auto")
    spec = match(found)
    if found.partition is not None or found.power_limit_w is None:
        pytest.skip("the driver shows no limit of this GPU")
    assert 10 < found.power_limit_w <= (spec.tdp_w * 1.1 if spec and spec.tdp_w else 3_000)


def test_the_telemetry_can_name_it() -> None:
    target = telemetry_target(detect("auto"))
    assert target.uuid or target.pci


def test_the_driver_and_the_build_are_known() -> None:
    found = software()
    assert "torch_cuda" in found or "torch_hip" in found
    assert "nvidia_driver" in found or "rocm" in found or "amdgpu_driver" in found
