"""The table of datasheets: its arithmetic, its sources, and what was decided."""

import math
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from gemmbench.devices import spec as table
from gemmbench.devices.sheetfile import citations
from gemmkernels import UnknownNameError
from gemmkernels.precision import PRECISIONS

PEAKS = [(spec, peak) for spec in table.specs() for peak in spec.peaks]

ROUNDED = {
    ("a40", "fp64 vector"): 0.8,
    ("h100-nvl", "fp32 vector"): 0.5,  # 60.3, printed 60
    ("h100-nvl", "fp64 vector"): 0.5,
    ("h100-nvl", "fp64 tensor core"): 0.5,
    ("h200-nvl", "fp32 vector"): 0.5,
    ("h200-nvl", "fp64 vector"): 0.5,
    ("h200-nvl", "fp64 tensor core"): 0.5,
    ("l4", "fp64 vector"): 0.7,
    ("l4", "tf32 tensor core"): 1.0,  # 60.6, printed 60
    ("rtx3090", "fp64 vector"): -0.7,
}
"""Printed to so few digits that they are over half a percent from what the units make."""

DISAGREE = {
    ("l40s", "fp16 tensor core"): 1.2,  # twice L40's
    ("l40s", "bf16 tensor core"): 1.2,
    ("l40s", "fp64 vector"): 2.2,  # 1.4 for 1.43
    ("b200", "fp32 vector"): -6.9,  # the 80 and 40 of the datasheet do not follow from the part
    ("b200", "fp64 vector"): -6.9,
    ("b300", "fp32 vector"): 2.7,
}
"""Known to differ by over 1%, in percent: computed over printed. See the notes of each sheet."""

IMPLIED = {"b200": 5.9, "gb200": 2.7, "b300": 9.5, "h100-nvl": 15.5, "h200-nvl": 15.5}
"""Sheets whose tensor peaks imply a clock that nobody states: how far the maximum clock, in
percent, would carry them. To compute such a peak from that clock would prove nothing."""

NOT_TWICE = {
    ("b300", "fp4 tensor core"): 18000 / 13125,
    ("gb300", "fp4 tensor core"): 20000 / 15000,
    ("l40s", "fp16 tensor core"): 733 / 362.05,
    ("l40s", "bf16 tensor core"): 733 / 362.05,
}

NO_ARITHMETIC = {
    "ascend-910": "*",
    "b100": "*",
    "b200": "fp64 tensor core",
    "b300": "fp64 vector, fp64 tensor core, fp4 tensor core, int8 tensor core",
    "gaudi3": "fp32 matrix unit, tf32 matrix unit, fp16 matrix unit",
    "gb200": "fp64 tensor core",
    "gb300": "*",
    "h20": "*",
    "max1550": "*",
    "rx7900xtx": "fp64 vector",
    "tpu-v5e": "*",
    "tpu-v5p": "*",
    "tpu-v6e": "*",
}
"""No source gives units, FLOP per clock or a clock for these peaks; * is all of the sheet."""


def percent_off(spec: table.Spec, peak: table.Peak, clock_mhz: float) -> float:
    assert spec.units is not None
    assert peak.flop_per_clock is not None
    computed = spec.units * clock_mhz * 1e6 * peak.flop_per_clock / 1e12
    return 100 * (computed / peak.tflops - 1)


def test_every_peak_follows_from_units_clock_and_flop_per_clock() -> None:
    rounded: dict[tuple[str, str], float] = {}
    disagree: dict[tuple[str, str], float] = {}
    without: dict[str, list[str]] = {}
    for spec, peak in PEAKS:
        if peak.clock_mhz is None or peak.flop_per_clock is None or spec.units is None:
            without.setdefault(spec.id, []).append(peak.label)
            continue
        off = percent_off(spec, peak, peak.clock_mhz)
        if abs(off) > 1:
            disagree[spec.id, peak.label] = round(off, 1)
        elif abs(off) > 0.5:
            rounded[spec.id, peak.label] = round(off, 1)
    assert disagree == DISAGREE
    assert rounded == ROUNDED
    peaks = {spec.id: [peak.label for peak in spec.peaks] for spec in table.specs()}
    named = {
        name: "*" if peaks[name] == rows else ", ".join(rows) for name, rows in without.items()
    }
    assert named == NO_ARITHMETIC


def test_a_clock_that_only_the_peak_itself_implies_is_named() -> None:
    implied: dict[str, list[float]] = {}
    for spec, peak in PEAKS:
        boost = spec.boost_clock_mhz
        if peak.clock_mhz is None or peak.clock_mhz == boost:
            continue
        if "derived" in spec.sources["clock_mhz"]:
            assert boost is not None
            implied.setdefault(spec.id, []).append(percent_off(spec, peak, boost))
    for name, off in IMPLIED.items():
        assert all(one == pytest.approx(off, abs=0.15) for one in implied.pop(name))
        assert any(note.startswith("clock_mhz: ") for note in table.by_id(name).notes)
    assert implied == {}


def test_sparse_is_twice_dense_and_never_the_peak() -> None:
    found = {}
    for spec, peak in PEAKS:
        if peak.sparse_tflops is None:
            continue
        ratio = peak.sparse_tflops / peak.tflops
        if ratio != pytest.approx(2, rel=0.01):
            found[spec.id, peak.label] = ratio
    assert found == NOT_TWICE


def test_every_figure_names_a_source_that_the_table_holds() -> None:
    used = {name for spec in table.specs() for _, ids in citations(spec) for name in ids}
    assert used == table.sources().keys()
    assert all(peak.sources for _, peak in PEAKS)
    assert all(not spec.references for spec in table.specs())


def test_every_device_of_which_a_peak_is_known_is_there() -> None:
    ids = {spec.id for spec in table.specs()}
    assert len(ids) == 46
    assert not {"mi308x", "ascend-910b"} & ids  # no peak of theirs is published
    unverified = {spec.id for spec in table.specs() if not spec.verified}
    assert unverified == {"h800-sxm", "h20", "b100", "max1550", "ascend-910"}


def test_ids_and_names_are_one_devices_only() -> None:
    ids = Counter(spec.id for spec in table.specs())
    names = Counter(name for spec in table.specs() for name in spec.names)
    assert {*ids.values(), *names.values()} == {1}
    shared = Counter(pci for spec in table.specs() for pci in spec.pci_ids)
    assert {pci for pci, count in shared.items() if count > 1} == set()


def test_notes_name_a_figure_first() -> None:
    figures = {"peaks", "memory_gb", *table.Spec.__struct_fields__, *PRECISIONS, "fp8", "fp4"}
    figures |= {"dense", "sparse", "clock_mhz"}
    for spec in table.specs():
        for note in spec.notes:
            named, colon, _ = note.partition(": ")
            assert colon, note
            assert set(re.split(r", ", named)) <= figures, note


@pytest.mark.parametrize(
    ("device", "precision", "tflops", "unit", "clock_mhz"),
    [
        ("h100-sxm5", "bf16", 989.4, "tensor core", 1830),
        ("h100-sxm5", "fp64", 66.9, "tensor core", 1980),
        ("h100-sxm5", "fp32", 66.9, "vector", 1980),
        ("h200-sxm", "fp8_e4m3", 1978.9, "tensor core", 1830),
        ("a100-sxm4-80gb", "fp16", 312, "tensor core", 1410),
        ("a100-sxm4-80gb", "int8_sparse", 1248, "tensor core", 1410),
        ("mi300x", "fp8_e5m2", 2614.9, "matrix core", 2100),
        ("mi300x", "fp32", 163.4, "vector", 2100),
        ("mi355x", "int8", 5033.2, "matrix core", 2400),
        ("mi355x", "mxfp8", 5033.2, "matrix core", 2400),
        ("mi355x", "mxfp4", 10066.3, "matrix core", 2400),
        ("b200", "nvfp4", 9000, "tensor core", 1856),
        ("b300", "nvfp4", 13125, "tensor core", None),
        ("gb300", "int8", 160, "tensor core", None),
        ("rtx4090", "fp8_e4m3", 330.3, "tensor core", 2520),
        ("rtx4090", "fp16", 165.2, "tensor core", 2520),
        ("rtx5090", "fp8_e4m3", 838, "tensor core", 2407),
        ("rtx5090", "fp16", 209.5, "tensor core", 2407),
        ("mi210", "fp32", 45.3, "matrix core", 1700),
        ("mi250x-gcd", "bf16", 191.5, "matrix core", 1700),
        ("gaudi3", "bf16", 1677, "matrix unit", 1600),
    ],
)
def test_the_highest_dense_peak_of_any_unit(
    device: str, precision: str, tflops: float, unit: str, clock_mhz: float | None
) -> None:
    peak = table.by_id(device).peak(precision)
    assert peak is not None
    assert (peak.tflops, peak.unit, peak.clock_mhz) == (tflops, unit, clock_mhz)


def test_no_peak_where_the_hardware_has_none() -> None:
    assert table.by_id("mi355x").peak("tf32") is None
    assert table.by_id("mi355x").peak("nvfp4") is None
    assert table.by_id("h100-sxm5").peak("mxfp8") is None
    assert table.by_id("a100-sxm4-40gb").peak("fp8_e4m3") is None
    assert table.by_id("h800-sxm").peak("fp64") is None
    assert table.by_id("h20").peak("fp32") is None
    assert table.by_id("h100-sxm5").peak("bf16x3") is None
    with pytest.raises(UnknownNameError, match="bf16"):
        table.by_id("mi355x").peak("bf17")


def test_block_scaled_formats_are_where_there_is_fp4() -> None:
    for spec in table.specs():
        has_fp4 = any(peak.precision == "fp4" for peak in spec.peaks)
        formats = {"nvidia": ("mxfp8", "mxfp4", "nvfp4"), "amd": ("mxfp8", "mxfp4")}
        assert spec.block_scaled == (formats[spec.vendor] if has_fp4 else ()), spec.id


def test_what_sums_in_less_is_never_the_peak() -> None:
    variants = {(spec.id, peak.label): peak.tflops for spec, peak in PEAKS if peak.variant}
    assert variants == {
        ("mi210", "fp32 vector, packed"): 45.3,
        ("mi250x-gcd", "fp32 vector, packed"): 47.9,
        ("mi250x-card", "fp32 vector, packed"): 95.7,
        ("rtx3090", "fp16 tensor core, fp16 sums"): 142,
        ("rtx4090", "fp16 tensor core, fp16 sums"): 330.3,
        ("rtx4090", "fp8 tensor core, fp16 sums"): 660.6,
        ("rtx5090", "fp16 tensor core, fp16 sums"): 419,
        ("rtx5090", "fp8 tensor core, fp32 sums, no block scales"): 419,
    }
    for spec in table.specs():
        for name in PRECISIONS:
            peak = spec.peak(name)
            assert peak is None or peak.variant is None


def test_last_level_cache_is_the_infinity_cache_where_there_is_one() -> None:
    assert table.by_id("mi300x").llc_bytes == 256 * 2**20
    assert table.by_id("h100-sxm5").llc_bytes == 50 * 2**20
    assert table.by_id("h200-nvl").llc_bytes is None


def test_what_is_like_another_says_only_what_differs() -> None:
    boards = [table.by_id(f"a100-{name}") for name in ("sxm4-40gb", "sxm4-80gb", "pcie-80gb")]
    assert [board.bandwidth_gbps for board in boards] == [1555, 2039, 1935]
    assert [board.tdp_w for board in boards] == [400, 400, 300]
    for one, other in pairwise(boards):
        assert one.peaks == other.peaks
        assert not set(one.names) & set(other.names)
        assert not set(one.pci_ids) & set(other.pci_ids)


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="h100-pcie"):
        table.by_id("h100-pci")


def test_figures_are_finite() -> None:
    for spec, peak in PEAKS:
        assert math.isfinite(peak.tflops)
        assert peak.tflops > 0, spec.id


def test_reading_the_table_imports_no_torch() -> None:
    code = (
        "import sys; from gemmbench.devices import spec; assert spec.specs(); "
        "assert not {'torch', 'numpy', 'triton'} & sys.modules.keys()"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=env)
