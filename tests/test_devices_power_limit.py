"""The power limit in force, as NVML or the amdgpu driver tells it."""

import sys
from pathlib import Path
from typing import Any

import pytest

from gemmbench.devices.power_limit import power_limit
from gemmbench.devices.target import TelemetryTarget

H200 = TelemetryTarget(
    kind="gpu",
    vendor="nvidia",
    uuid="8a0e3c3c-0123-4567-89ab-cdef01234567",
    pci="0000:0c:00.0",
)
MI300X = TelemetryTarget(kind="gpu", vendor="amd", uuid="f330dc4d00dee22b", pci="0000:05:00.0")


class FakeNvml:
    """NVML as nvidia-ml-py has it, with one GPU in it."""

    def __init__(self, limit_mw: int | None = 600_000, *, is_slice: bool = False) -> None:
        self.open = 0
        self.nvmlInit = lambda: self._count(1)
        self.nvmlShutdown = lambda: self._count(-1)
        self.nvmlDeviceGetHandleByUUID = {f"GPU-{H200.uuid}": "handle"}.__getitem__
        self.nvmlDeviceIsMigDeviceHandle = lambda _handle: is_slice
        if limit_mw is not None:
            self.nvmlDeviceGetEnforcedPowerLimit = {"handle": limit_mw}.__getitem__

    def _count(self, step: int) -> None:
        self.open += step


def nvml(monkeypatch: pytest.MonkeyPatch, fake: Any) -> Any:
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_nvidias_limit_is_the_enforced_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = nvml(monkeypatch, FakeNvml())
    assert power_limit(H200) == 600
    assert fake.open == 0


@pytest.mark.parametrize(
    "fake", [FakeNvml(None), FakeNvml(0), FakeNvml(2**32 - 1), FakeNvml(is_slice=True), object()]
)
def test_what_nvml_does_not_say_is_not_known(monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    nvml(monkeypatch, fake)
    assert power_limit(H200) is None
    assert getattr(fake, "open", 0) == 0


def test_another_gpus_limit_is_not_this_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, FakeNvml())
    other = TelemetryTarget(kind="gpu", vendor="nvidia", uuid="0" * 36, pci=H200.pci)
    assert power_limit(other) is None


@pytest.mark.parametrize(
    ("said", "limit_w"), [("750000000\n", 750), ("0\n", None), ("", None), ("N/A", None)]
)
def test_amds_limit_is_the_drivers_file(tmp_path: Path, said: str, limit_w: float | None) -> None:
    folder = tmp_path / "sys/bus/pci/devices/0000:05:00.0/hwmon/hwmon3"
    folder.mkdir(parents=True)
    assert power_limit(MI300X, tmp_path) is None
    (folder / "power1_cap").write_text(said)
    assert power_limit(MI300X, tmp_path) == limit_w
    no_address = TelemetryTarget(kind="gpu", vendor="amd", uuid=MI300X.uuid)
    assert power_limit(no_address, tmp_path) is None


@pytest.mark.parametrize("target", [H200, MI300X])
def test_a_part_has_no_limit_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: TelemetryTarget
) -> None:
    nvml(monkeypatch, FakeNvml())
    folder = tmp_path / "sys/bus/pci/devices/0000:05:00.0/hwmon/hwmon3"
    folder.mkdir(parents=True)
    (folder / "power1_cap").write_text("750000000")
    whole = power_limit(target, tmp_path)
    assert whole is not None
    part = TelemetryTarget(
        kind="gpu", vendor=target.vendor, uuid=target.uuid, pci=target.pci, partition=True
    )
    assert power_limit(part, tmp_path) is None
