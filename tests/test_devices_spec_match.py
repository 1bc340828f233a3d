"""Which sheet is a device's: by all that is known of it, and never by likeness."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.devices import spec as table
from gemmkernels.device import Device, Vendor

GIB = 2**30
SHEETS = [one for one in table.specs() if one.names]
COUNTS = sorted(
    {n for one in SHEETS for n in (one.units, one.shown_units, 38, 76, 0) if n is not None}
)
SIZES = sorted({one.memory_gb for one in SHEETS if one.memory_gb is not None})


def gpu(
    name: str,
    units: int,
    gb: float,
    *,
    vendor: Vendor = "nvidia",
    pci: str | None = None,
) -> Device:
    """A GPU with so many GB, as drivers show them: GiB less a reserve."""
    return Device(
        kind="gpu",
        vendor=vendor,
        name=name,
        architecture="",
        torch_device="cuda:0",
        slug="",
        units=units,
        memory_bytes=int(gb * GIB * 0.99),
        pci_id=pci,
    )


def mi300x(units: int, gb: float = 192) -> Device:
    return gpu("AMD Instinct MI300X", units, gb, vendor="amd")


@pytest.mark.parametrize(
    ("name", "units", "gb", "pci", "expected"),
    [
        ("NVIDIA H200", 132, 141, "10de:2335", "h200-sxm"),
        ("NVIDIA H200", 132, 141, None, "h200-sxm"),
        ("NVIDIA H200 NVL", 132, 141, "10de:233b", "h200-nvl"),
        ("NVIDIA H100 NVL", 132, 94, "10de:2321", "h100-nvl"),
        ("NVIDIA H100 80GB HBM3", 132, 80, "10de:2330", "h100-sxm5"),
        ("NVIDIA H100 PCIe", 114, 80, "10de:2331", "h100-pcie"),
        ("NVIDIA A100 80GB PCIe", 108, 80, "10de:20b5", "a100-pcie-80gb"),
        ("NVIDIA GH200 480GB", 132, 96, "10de:2342", "gh200"),
        ("NVIDIA GH200 144G HBM3e", 132, 141, "10de:2348", "gh200-144gb"),
        ("NVIDIA GB300", 152, 284, "10de:31c2", "gb300"),
        ("NVIDIA B200", 148, 179, "10de:2901", "b200"),
        ("NVIDIA GeForce RTX 4090", 128, 24, "10de:2684", "rtx4090"),
        ("NVIDIA L40S", 142, 44.5, "10de:26b9", "l40s"),  # ECC takes a sixteenth
        ("NVIDIA H20", 78, 96, "10de:2329", "h20"),
        # Near, but other parts.
        ("NVIDIA H200 ", 132, 141, None, None),
        ("nvidia h200", 132, 141, None, None),
        ("NVIDIA H200", 131, 141, None, None),
        ("NVIDIA H200", 132, 141, "10de:233b", None),
        ("NVIDIA H200", 132, 96, None, None),
        ("NVIDIA H100", 132, 94, "10de:2339", None),
        ("NVIDIA H800 PCIe", 114, 80, "10de:2322", None),
        ("NVIDIA A100X", 108, 80, None, None),
        ("GRID A100X-40C", 108, 40, None, None),
        ("NVIDIA L40", 142, 48, "10de:26b5", None),
        ("NVIDIA A10G", 80, 24, "10de:2237", None),
        ("NVIDIA GeForce RTX 4090", 128, 48, "10de:2684", None),  # a modified board
        ("NVIDIA GeForce RTX 4090 D", 114, 24, "10de:2685", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 76, 16, "10de:2717", None),
        ("NVIDIA GB300", 152, 284, "10de:31a1", None),  # MaxQ
        ("NVIDIA A800-SXM4-40GB", 108, 40, "10de:20bd", None),
    ],
)
def test_match_is_exact(
    name: str, units: int, gb: float, pci: str | None, expected: str | None
) -> None:
    found = table.match(gpu(name, units, gb, pci=pci))
    assert (found and found.id) == expected
    if found:
        assert (found.partition, found.scaled) == (None, 1)


@pytest.mark.parametrize(
    ("name", "units", "gb", "pci", "expected"),
    [
        ("AMD Instinct MI300X HF", 304, 192, "1002:74a9", "mi300x"),
        ("AMD Instinct MI300X VF", 304, 192, "1002:74b5", "mi300x"),
        ("AMD Instinct MI325X VF", 304, 256, "1002:74b9", "mi325x"),
        ("AMD Instinct MI350X VF", 256, 288, "1002:75b0", "mi350x"),
        ("AMD Instinct MI355X VF", 256, 288, "1002:75b3", "mi355x"),
        ("AMD Instinct MI250X / MI250", 110, 64, "1002:740c", "mi250x-gcd"),
        ("AMD Instinct MI250X / MI250", 104, 64, "1002:740c", None),  # an MI250
        ("AMD Instinct MI308X", 80, 192, "1002:74a2", None),
    ],
)
def test_amds_boards_have_many_names(
    name: str, units: int, gb: float, pci: str, expected: str | None
) -> None:
    found = table.match(gpu(name, units, gb, vendor="amd", pci=pci))
    assert (found and found.id) == expected


@pytest.mark.parametrize("pci", ["1002:740c", "1002:744c", "10de:2342", "10de:2330"])
def test_a_pci_id_alone_is_no_evidence(pci: str) -> None:
    vendor: Vendor = "amd" if pci.startswith("1002") else "nvidia"
    assert table.match(gpu("AMD Radeon Graphics", 96, 24, vendor=vendor, pci=pci)) is None


def test_match_wants_the_vendor_too() -> None:
    device = mi300x(304)
    assert table.match(device) == table.by_id("mi300x")
    assert table.match(replace(device, vendor="nvidia")) is None
    assert table.match(replace(gpu("NVIDIA H200", 132, 141), kind="cpu")) is None


def test_half_of_a_card_is_a_device() -> None:
    """A MI250X is two; MI250 shares its PCI id and a name, and has 104 units."""
    for name in ("AMD Instinct MI250X", "AMD Instinct MI250X/MI250"):
        found = table.match(gpu(name, 110, 64, vendor="amd", pci="1002:740c"))
        assert found is not None
        assert (found.id, found.partition) == ("mi250x-gcd", None)
        for units in (104, 55, 220):
            assert table.match(gpu(name, units, 64, vendor="amd")) is None


@pytest.mark.parametrize(
    ("name", "gb", "expected"),
    [("AMD Radeon RX 9070 XT", 16, "rx9070xt"), ("AMD Radeon RX 7900 XTX", 24, "rx7900xtx")],
)
def test_radeons_are_counted_in_pairs(name: str, gb: int, expected: str) -> None:
    whole = table.by_id(expected)
    assert whole.units is not None
    for units in (whole.units, whole.units // 2):
        found = table.match(gpu(name, units, gb, vendor="amd"))
        assert found == whole  # half the count is no half of the device
    assert table.match(gpu(name, whole.units // 4, gb, vendor="amd")) is None


@pytest.mark.parametrize(("units", "mode"), [(152, "DPX"), (76, "QPX"), (38, "CPX")])
def test_an_amd_partition_has_its_share_of_the_peak(units: int, mode: str) -> None:
    whole = table.match(mi300x(304))
    part = table.match(mi300x(units, 192 * units / 304))
    assert whole is not None
    assert part is not None
    assert (part.partition, part.scaled, part.units) == (mode, units / 304, units)
    peaks = whole.peak("bf16"), part.peak("bf16")
    assert peaks[0] is not None
    assert peaks[1] is not None
    assert peaks[1].tflops == pytest.approx(peaks[0].tflops * units / 304)
    assert peaks[1].clock_mhz == peaks[0].clock_mhz
    assert peaks[1].sparse_tflops == pytest.approx(2 * peaks[1].tflops, rel=0.002)
    assert part.bandwidth_gbps is None  # NPS1 and NPS4 differ, and torch does not show which
    assert part.tdp_w is None
    assert part.l2_mib == 32 * units / 304
    assert part.llc_bytes == 256 * 2**20


@pytest.mark.parametrize("units", [300, 37, 303, 0, 608, 101])
def test_an_amd_device_of_odd_size_has_no_sheet(units: int) -> None:
    assert table.match(mi300x(units)) is None


def test_each_chip_has_its_own_modes() -> None:
    apu = gpu("AMD Instinct MI300A", 76, 42, vendor="amd")
    found = table.match(apu)
    assert found is not None
    assert (found.partition, found.scaled) == ("TPX", 1 / 3)
    assert table.match(replace(apu, units=114)) is None  # it has no DPX


@pytest.mark.parametrize(
    ("slice_", "units", "gb", "bandwidth"),
    [
        ("MIG 1g.10gb", 16, 10, 3350 / 8),
        ("MIG 1g.10gb+me", 16, 10, 3350 / 8),
        ("MIG 1g.20gb", 16, 20, 3350 / 4),
        ("MIG 3g.40gb", 60, 40, 3350 / 2),
        ("MIG 7g.80gb", 132, 80, 3350),
        ("MIG 1c.3g.40gb", 16, 40, None),  # others share the memory of that instance
        ("MIG 1g.15gb", 16, 15, None),
    ],
)
def test_a_mig_slice_has_its_share(
    slice_: str, units: int, gb: int, bandwidth: float | None
) -> None:
    part = table.match(gpu(f"NVIDIA H100 80GB HBM3 {slice_}", units, gb, pci="10de:2330"))
    assert part is not None
    assert (part.id, part.partition, part.units) == ("h100-sxm5", slice_, units)
    peak = part.peak("bf16")
    assert peak is not None
    assert peak.tflops == pytest.approx(989.4 * units / 132)
    assert part.bandwidth_gbps == (None if bandwidth is None else pytest.approx(bandwidth))
    assert part.l2_mib == (None if bandwidth is None else pytest.approx(50 * bandwidth / 3350))
    assert part.tdp_w is None


def test_a_mig_slice_is_of_a_known_whole() -> None:
    assert table.match(gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 133, 10)) is None
    assert table.match(gpu("NVIDIA H100 MIG 1g.12gb", 16, 12)) is None
    assert table.match(gpu("NVIDIA GB300 MIG 1g.36gb", 18, 36)) is None  # units are not known
    assert table.match(gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 16, 140)) is None


def test_a_power_limit_changes_no_peak() -> None:
    device = gpu("NVIDIA H200", 132, 141)
    assert table.match(replace(device, power_limit_w=350.0)) == table.match(device)


@pytest.mark.parametrize(
    ("device", "says"),
    [
        (gpu("NVIDIA H200", 131, 141), "the sheet h200-sxm has 132 SMs, this shows 131"),
        (gpu("NVIDIA GeForce RTX 4090", 128, 48), "the sheet rtx4090 has 24 GB, this 51.0"),
        (gpu("NVIDIA H200", 132, 141, pci="10de:ffff"), "10de:2335, this is 10de:ffff"),
        (gpu("NVIDIA RTX Unheard-of", 132, 141), None),
        (gpu("NVIDIA H200", 132, 141), None),
    ],
)
def test_a_near_miss_says_what_differs(device: Device, says: str | None) -> None:
    found = table.nearest_miss(device)
    if says is None:
        assert found is None
    else:
        assert found is not None
        assert says in found


@given(
    name=st.sampled_from([name for one in SHEETS for name in one.names]),
    units=st.sampled_from(COUNTS),
    gb=st.sampled_from(SIZES),
    pci=st.none() | st.sampled_from([pci for one in SHEETS for pci in one.pci_ids]),
    vendor=st.sampled_from(["nvidia", "amd"]),
)
def test_what_matches_is_the_sheet_in_everything_known(
    name: str, units: int, gb: float, pci: str | None, vendor: Vendor
) -> None:
    device = gpu(name, units, gb, vendor=vendor, pci=pci)
    found = table.match(device)
    if found is None:
        return
    assert name in found.names
    assert found.vendor == vendor
    assert pci is None or pci in found.pci_ids
    assert found.units in (None, units) or found.shown_units == units
    assert 0 < found.scaled <= 1
