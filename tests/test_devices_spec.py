import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.devices import spec as table
from gemmkernels import GemmbenchError, UnknownNameError
from gemmkernels.device import Device

SHEET = """
[[device]]
id = "x1"
name = "X1"
names = ["NVIDIA X1"]
vendor = "nvidia"
architecture = "sm_90"
unit_kind = "SM"
units = 10
boost_clock_mhz = 1000
memory = "HBM"
memory_gb = 16
bandwidth_gbps = 500
tdp_w = 100
peaks = [
  { precision = "bf16", unit = "tensor core", dense = 10.0, sparse = 20.0, flop_per_clock = 1000, \
clock_mhz = 1000 },
]
[device.sources]
names = ["a"]
units = ["a"]
boost_clock_mhz = ["a"]
clock_mhz = ["a"]
flop_per_clock = ["a"]
dense = ["a"]
sparse = ["a"]
memory = ["a"]
bandwidth_gbps = ["a"]
tdp_w = ["a"]
"""

FIGURES = (
    "units = 10",
    "boost_clock_mhz = 1000",
    "memory_gb = 16",
    "bandwidth_gbps = 500",
    "tdp_w = 100",
    "dense = 10.0",
    "sparse = 20.0",
    "flop_per_clock = 1000",
    " clock_mhz = 1000 ",
)

ROUNDED = {
    ("h100-nvl", "fp64", "vector"),
    ("h100-nvl", "fp64", "tensor core"),
    ("h100-nvl", "fp32", "vector"),
    ("h200-nvl", "fp64", "vector"),
    ("h200-nvl", "fp64", "tensor core"),
    ("h200-nvl", "fp32", "vector"),
}
"""NVIDIA prints 30 and 60 for its NVL cards; 1785 MHz makes 30.2 and 60.3."""


def gpu(name: str, units: int, vendor: str = "nvidia") -> Device:
    return Device(
        kind="gpu",
        vendor=vendor,  # type: ignore[arg-type]
        name=name,
        architecture="",
        torch_device="cuda:0",
        slug="",
        units=units,
        memory_bytes=1,
    )


def test_every_peak_follows_from_units_clock_and_flop_per_clock() -> None:
    disagree = set()
    for spec in table.specs():
        for peak in spec.peaks:
            computed = spec.units * peak.clock_mhz * 1e6 * peak.flop_per_clock / 1e12
            assert peak.tflops == pytest.approx(computed, rel=0.01), (spec.id, peak)
            if abs(computed / peak.tflops - 1) > 0.005:
                disagree.add((spec.id, peak.precision, peak.unit))
    assert disagree == ROUNDED


def test_sparse_is_twice_dense_and_never_the_peak() -> None:
    for spec in table.specs():
        for peak in spec.peaks:
            if peak.sparse_tflops is not None:
                assert peak.sparse_tflops == pytest.approx(2 * peak.tflops, rel=0.002)


def test_every_figure_names_a_source_that_the_table_holds() -> None:
    known = table.sources()
    for spec in table.specs():
        cited = {source for ids in spec.sources.values() for source in ids}
        cited |= {source for peak in spec.peaks for source in peak.sources}
        assert cited <= known.keys()
        assert all(peak.sources for peak in spec.peaks)
    used = {s for spec in table.specs() for ids in spec.sources.values() for s in ids}
    used |= {s for spec in table.specs() for peak in spec.peaks for s in peak.sources}
    assert used == known.keys()


@pytest.mark.parametrize(
    ("device", "precision", "tflops", "unit", "clock_mhz"),
    [
        ("h100-sxm5", "bf16", 989.4, "tensor core", 1830),
        ("h100-sxm5", "fp64", 66.9, "tensor core", 1980),
        ("h100-sxm5", "fp32", 66.9, "vector", 1980),
        ("h200-sxm", "fp8_e4m3", 1978.9, "tensor core", 1830),
        ("a100-sxm4-80gb", "fp16", 312, "tensor core", 1410),
        ("mi300x", "fp8_e5m2", 2614.9, "matrix core", 2100),
        ("mi300x", "fp32", 163.4, "vector", 2100),
        ("mi355x", "int8", 5033.2, "matrix core", 2400),
    ],
)
def test_the_highest_dense_peak_of_any_unit(
    device: str, precision: str, tflops: float, unit: str, clock_mhz: float
) -> None:
    peak = table.by_id(device).peak(precision)
    assert peak is not None
    assert (peak.tflops, peak.unit, peak.clock_mhz) == (tflops, unit, clock_mhz)


def test_no_peak_where_the_hardware_has_none() -> None:
    assert table.by_id("mi355x").peak("tf32") is None
    assert table.by_id("a100-sxm4-40gb").peak("fp8_e4m3") is None
    with pytest.raises(UnknownNameError, match="bf16"):
        table.by_id("mi355x").peak("bf17")


def test_last_level_cache_is_the_infinity_cache_where_there_is_one() -> None:
    assert table.by_id("mi300x").llc_bytes == 256 * 2**20
    assert table.by_id("h100-sxm5").llc_bytes == 50 * 2**20
    assert table.by_id("h200-nvl").llc_bytes is None


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="h100-pcie"):
        table.by_id("h100-pci")


@pytest.mark.parametrize(
    ("name", "units", "expected"),
    [
        ("NVIDIA H200", 132, "h200-sxm"),
        ("NVIDIA H200 NVL", 132, "h200-nvl"),
        ("NVIDIA H100 NVL", 132, "h100-nvl"),
        ("NVIDIA A100 80GB PCIe", 108, "a100-pcie-80gb"),
        ("NVIDIA H20", 78, None),
        ("NVIDIA H200 ", 132, None),
        ("NVIDIA A100X", 108, None),
        ("GRID A100X-40C", 108, None),
        ("NVIDIA H200", 131, None),
    ],
)
def test_match_is_exact(name: str, units: int, expected: str | None) -> None:
    found = table.match(gpu(name, units))
    assert (found and found.id) == expected
    if found:
        assert found.partition is None
        assert found.scaled == 1


def test_match_wants_the_vendor_too() -> None:
    assert table.match(gpu("AMD Instinct MI300X", 304, "amd")) == table.by_id("mi300x")
    assert table.match(gpu("AMD Instinct MI300X", 304)) is None
    assert table.match(replace(gpu("NVIDIA H200", 132), kind="cpu")) is None


@pytest.mark.parametrize(("units", "mode"), [(152, "DPX"), (76, "QPX"), (38, "CPX")])
def test_an_amd_partition_has_its_share_of_the_peak(units: int, mode: str) -> None:
    whole, part = (table.match(gpu("AMD Instinct MI300X", n, "amd")) for n in (304, units))
    assert whole is not None
    assert part is not None
    assert (part.partition, part.scaled, part.units) == (mode, units / 304, units)
    peaks = whole.peak("bf16"), part.peak("bf16")
    assert peaks[0] is not None
    assert peaks[1] is not None
    assert peaks[1].tflops == pytest.approx(peaks[0].tflops * units / 304)
    assert peaks[1].sparse_tflops == pytest.approx(2 * peaks[1].tflops, rel=0.002)
    assert part.bandwidth_gbps is None
    assert part.tdp_w is None
    assert part.llc_bytes == 256 * 2**20


@pytest.mark.parametrize("units", [300, 37, 303, 0, 608])
def test_an_amd_device_of_odd_size_has_no_sheet(units: int) -> None:
    assert table.match(gpu("AMD Instinct MI300X", units, "amd")) is None


def test_a_mig_slice_has_its_share_of_the_peak() -> None:
    part = table.match(gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 16))
    assert part is not None
    assert (part.id, part.partition) == ("h100-sxm5", "MIG 1g.10gb")
    peak = part.peak("bf16")
    assert peak is not None
    assert peak.tflops == pytest.approx(989.4 * 16 / 132)
    assert table.match(gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 133)) is None


def test_the_loader_takes_a_good_sheet() -> None:
    (spec,) = table.parse(SHEET, file="x.toml", known={"a"})
    assert spec.peaks[0].sources == ("a",)


@given(
    figure=st.sampled_from(FIGURES),
    value=st.one_of(
        st.floats(max_value=0),
        st.sampled_from([math.nan, math.inf]),
        st.just(10.0**12),
        st.text(max_size=3),
        st.booleans(),
    ),
)
def test_the_loader_refuses_what_is_no_figure(figure: str, value: float | str | bool) -> None:
    key = figure.split("=")[0].strip()
    spelt = str(value).lower() if not isinstance(value, str) else '"text"'
    bad = SHEET.replace(figure, f" {key} = {spelt} ")
    with pytest.raises(GemmbenchError) as caught:
        table.parse(bad, file="x.toml", known={"a"})
    message = str(caught.value)
    assert message.startswith("x.toml: ")
    assert key in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('units = ["a"]', "", "x.toml: x1: sources.units is missing"),
        ('dense = ["a"]', "", "sources.dense is missing"),
        ('sparse = ["a"]', "", "sources.sparse is missing"),
        ('tdp_w = ["a"]', "tdp_w = []", "sources.tdp_w is empty"),
        ('memory = ["a"]', 'memory = ["b"]', "'b' is not in sources.toml"),
        ('memory = ["a"]', 'memory = ["a"]\nl2_mib = ["a"]', "sources.l2_mib is the source of no"),
        ("tdp_w = 100\n", "", "tdp_w"),
        ("tdp_w = 100\n", "tdp_w = 100\nscaled = 0.5\n", "whole device"),
        ("sparse = 20.0", "sparse = 5.0", "sparse = 5 is below dense = 10"),
        ('unit = "tensor core"', 'unit = "tensor"', "tensor"),
        ('precision = "bf16"', 'precision = "bf17"', "bf17"),
        ('vendor = "nvidia"', 'vendor = "nvidea"', "nvidea"),
        ("memory_gb = 16", "memory_gb = 16\ncolour = 3", "colour"),
        ("[[device]]", "[[device", "x.toml"),
    ],
)
def test_the_loader_names_the_fault(old: str, new: str, says: str) -> None:
    assert old in SHEET
    with pytest.raises(GemmbenchError) as caught:
        table.parse(SHEET.replace(old, new), file="x.toml", known={"a"})
    assert says in str(caught.value)


def test_the_loader_refuses_the_same_peak_twice() -> None:
    row = SHEET[SHEET.index("  { precision") : SHEET.index("]\n[device.sources]")]
    with pytest.raises(GemmbenchError, match="bf16 tensor core is there 2 times"):
        table.parse(SHEET.replace(row, row + row), file="x.toml", known={"a"})


@given(
    start=st.integers(0, len(SHEET)),
    length=st.integers(0, 60),
    filling=st.one_of(st.just(""), st.text(max_size=20)),
)
def test_anything_else_is_one_line_and_no_traceback(start: int, length: int, filling: str) -> None:
    text = SHEET[:start] + filling + SHEET[start + length :]
    fault = "x.toml: "
    try:
        table.parse(text, file="x.toml", known={"a"})
    except GemmbenchError as error:
        fault = str(error)
    assert fault.startswith("x.toml: ")
    assert "\n" not in fault


def test_reading_the_table_imports_no_torch() -> None:
    code = (
        "import sys; from gemmbench.devices import spec; assert spec.specs(); "
        "assert not {'torch', 'numpy', 'triton'} & sys.modules.keys()"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=env)
