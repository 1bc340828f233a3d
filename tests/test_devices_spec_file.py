"""What the reader of datasheets takes and refuses: ours, and those of a user."""

import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.devices import spec as table
from gemmbench.devices.own import parse_own
from gemmbench.devices.sheetfile import parse_table
from gemmkernels import GemmbenchError

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
OWN = (
    SHEET
    + """
[sources.a]
title = "Sheet"
where = "page 3"
kind = "datasheet"
"""
)
LIKE = """
[[device]]
id = "x2"
like = "x1"
name = "X2"
tdp_w = 200
[device.sources]
tdp_w = ["b"]
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


def parse(text: str) -> tuple[table.Spec, ...]:
    return table.parse(text, file="x.toml", known={"a", "b"})


def own(text: str) -> tuple[table.Spec, ...]:
    return parse_own(text.encode(), source="mine.toml", others=table.specs())


def test_the_loader_takes_a_good_sheet() -> None:
    (spec,) = parse(SHEET)
    assert spec.peaks[0].sources == ("a",)


def test_a_sheet_may_be_like_one_before_it() -> None:
    first, second = parse(SHEET + LIKE)
    assert (second.id, second.name, second.tdp_w) == ("x2", "X2", 200)
    assert second.names == ()  # what it is known by is never handed on
    assert second.sources["tdp_w"] == ("b",)
    assert second.sources["dense"] == ("a",)
    assert "names" not in second.sources
    assert second.peaks == first.peaks


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
        parse(bad)
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
        ('memory = ["a"]', 'memory = ["c"]', "'c' is not among the sources"),
        ('memory = ["a"]', 'memory = ["a"]\nl2_mib = ["a"]', "sources.l2_mib is the source of no"),
        ("tdp_w = 100\n", "", "sources.tdp_w is the source of no figure"),
        ("tdp_w = 100\n", "tdp_w = 100\nscaled = 0.5\n", "whole device"),
        ("tdp_w = 100\n", "tdp_w = 100\npartitions = { CPX = 10 }\n", "sources.partitions"),
        ("sparse = 20.0", "sparse = 5.0", "sparse = 5 is below dense = 10"),
        ('unit = "tensor core"', 'unit = "tensor"', "tensor"),
        ('precision = "bf16"', 'precision = "bf17"', "bf17"),
        ('vendor = "nvidia"', 'vendor = "nvidea"', "nvidea"),
        ("memory_gb = 16", "memory_gb = 16\ncolour = 3", "colour"),
        ("memory_gb = 16", 'memory_gb = 16\npci_ids = ["10DE:2335"]', "pci_ids"),
        ('id = "x1"', 'id = "X 1"', "id"),
        ('id = "x1"', 'id = "x1"\nlike = "x0"', "like = 'x0': no device of that id stands before"),
        ('id = "x1"', 'id = "x1"\nlike = 3', "like = 3"),
        ("[[device]]", "[[device", "x.toml"),
        ("[[device]]", "[[gpu]]", "x.toml"),
    ],
)
def test_the_loader_names_the_fault(old: str, new: str, says: str) -> None:
    assert old in SHEET
    with pytest.raises(GemmbenchError) as caught:
        parse(SHEET.replace(old, new))
    assert says in str(caught.value)


def test_a_part_has_fewer_units_than_the_whole() -> None:
    text = SHEET.replace("tdp_w = 100\n", "tdp_w = 100\npartitions = { CPX = 10 }\n")
    with pytest.raises(GemmbenchError, match=r"partitions\.CPX = 10"):
        parse(text.replace("[device.sources]", '[device.sources]\npartitions = ["a"]'))


def test_the_loader_refuses_the_same_peak_twice() -> None:
    row = SHEET[SHEET.index("  { precision") : SHEET.index("]\n[device.sources]")]
    with pytest.raises(GemmbenchError, match="bf16 tensor core is there 2 times"):
        parse(SHEET.replace(row, row + row))
    variant = row.replace("dense", 'variant = "fp16 sums", dense')
    assert len(parse(SHEET.replace(row, row + variant))[0].peaks) == 2


@given(
    text=st.sampled_from([SHEET + LIKE, OWN]),
    start=st.integers(0, len(OWN)),
    length=st.integers(0, 60),
    filling=st.one_of(st.just(""), st.text(max_size=20)),
)
def test_anything_else_is_one_line_and_no_traceback(
    text: str, start: int, length: int, filling: str
) -> None:
    text = text[:start] + filling + text[start + length :]
    for reader in (parse, own):
        try:
            assert all(spec.peaks for spec in reader(text))
        except GemmbenchError as error:
            fault = str(error)
            assert fault.startswith(("x.toml", "mine.toml"))
            assert "\n" not in fault


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
KEYS = st.sampled_from(["like", "id", "sources", "peaks", "names", "partitions", "units", "notes"])


@given(changes=st.dictionaries(KEYS, JSON, max_size=4), second=st.booleans())
def test_whatever_a_table_holds_is_one_line(changes: dict[str, object], second: bool) -> None:
    document = tomllib.loads(SHEET + LIKE)
    document["device"][int(second)] |= changes
    try:
        assert parse_table(document, file="x.toml", known={"a", "b"})
    except GemmbenchError as error:
        assert str(error).startswith("x.toml: ")
        assert "\n" not in str(error)


def test_sources_stand_apart_in_our_own_files() -> None:
    with pytest.raises(GemmbenchError, match=r"sources belong into sources\.toml"):
        parse(OWN)
