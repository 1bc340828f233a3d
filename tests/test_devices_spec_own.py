"""Sheets that a user adds: where they are read from, what is refused, and what a header keeps."""

from pathlib import Path

import msgspec
import pytest
import synthetic
from test_devices_spec_file import OWN, own

from gemmbench.devices import spec as table
from gemmbench.devices.own import (
    TEMPLATE,
    VARIABLE,
    doubts,
    own_specs,
    parse_own,
    unmatched,
    user_file,
)
from gemmbench.runner.header import sheets_of
from gemmkernels import GemmbenchError
from gemmkernels.device import Device


def device(units: int = 10, **changes: object) -> Device:
    found = {
        "kind": "gpu",
        "vendor": "nvidia",
        "name": "NVIDIA X1",
        "architecture": "sm_90",
        "torch_device": "cuda:0",
        "slug": "x1",
        "units": units,
        "memory_bytes": 16 * 2**30,
    }
    return msgspec.convert(found | changes, Device)


def test_a_users_sheet_is_matched_and_carries_its_sources() -> None:
    (spec,) = own(OWN)
    assert table.match(device(), [spec]) == spec
    assert table.match(device()) is None
    assert table.match(device(units=9), [spec]) is None
    assert spec.references["a"].where == "page 3"
    assert table.source_of(spec, "a") == spec.references["a"]
    assert table.by_id("x1", [spec]) is spec


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("dense = 10.0", "dense = -10.0", "mine.toml: device[0]: peaks[0].dense"),
        ('units = ["a"]', "", "mine.toml: x1: sources.units is missing"),
        ("[sources.a]", "[sources.b]", "'a' is not among the sources"),
        ('id = "x1"', 'id = "h200-sxm"', "the id 'h200-sxm' is the sheet h200-sxm's: give it"),
        ("NVIDIA X1", "NVIDIA H200", "the name 'NVIDIA H200' is the sheet h200-sxm's"),
        ("[[device]]", "[[device", "mine.toml is not TOML"),
        ('kind = "datasheet"', "", "mine.toml: sources.a: missing"),
    ],
)
def test_a_bad_file_of_a_users_is_one_clear_line(old: str, new: str, says: str) -> None:
    assert old in OWN
    with pytest.raises(GemmbenchError) as caught:
        own(OWN.replace(old, new))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_files_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, named = tmp_path / "gemmbench/devices.toml", tmp_path / "named.toml"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_file() == usual
    assert own_specs() == ()
    usual.parent.mkdir()
    usual.write_text(OWN)
    assert [spec.id for spec in own_specs()] == ["x1"]
    named.write_text(OWN)
    with pytest.raises(GemmbenchError, match="the id 'x1' is the sheet x1's"):
        own_specs(str(named))
    named.write_text(OWN.replace("x1", "x3").replace("NVIDIA X1", "NVIDIA X3"))
    assert [spec.id for spec in own_specs(str(named))] == ["x1", "x3"]
    assert [spec.id for spec in own_specs(str(usual))] == ["x1"]  # named, and read anyway
    monkeypatch.setenv(VARIABLE, "")
    assert user_file() is None
    assert [spec.id for spec in own_specs(str(named))] == ["x3"]
    monkeypatch.setenv(VARIABLE, str(named))
    assert [spec.id for spec in own_specs()] == ["x3"]
    for bad, says in ((str(tmp_path), "no regular file"), (str(tmp_path / "none"), "cannot read")):
        with pytest.raises(GemmbenchError, match=says):
            own_specs(bad)


def test_the_template_is_a_sheet() -> None:
    (spec,) = parse_own(TEMPLATE.read_bytes(), source="template.toml", others=table.specs())
    assert spec.units is not None
    for peak in spec.peaks:
        assert peak.flop_per_clock is not None
        assert peak.clock_mhz is not None
        computed = spec.units * peak.flop_per_clock * peak.clock_mhz / 1e6
        assert peak.tflops == pytest.approx(computed, rel=0.01)


def test_a_header_holds_the_sheet_whole() -> None:
    (spec,) = own(OWN)
    kept = msgspec.json.decode(msgspec.json.encode(spec))
    assert table.restore(kept) == spec
    assert table.restore(kept, device()) == spec
    assert table.restore(kept, device(units=9)) is None
    part = table.restore(kept, device(units=5, name="NVIDIA X1 MIG 1g.2gb", memory_bytes=2**31))
    assert part is not None
    assert (part.scaled, part.bandwidth_gbps, part.partition) == (0.5, 500 / 8, "MIG 1g.2gb")


def test_a_run_is_taken_up_with_the_sheet_that_it_began_with() -> None:
    (spec,) = own(OWN)
    kept = msgspec.json.decode(msgspec.json.encode(spec))
    assert sheets_of(synthetic.header(device(), sheet=kept)) == (spec,)
    assert sheets_of(synthetic.header(device())) == ()
    assert sheets_of(synthetic.header(device(), sheet={"id": "x1"})) == ()


@pytest.mark.parametrize(
    "damage",
    [
        {"units": -1},
        {"sources": {}},
        {"peaks": []},
        {"references": {}},
        {"scaled": 0.5},
        {"partition": "CPX"},
        {"id": "../x"},
    ],
)
def test_a_damaged_sheet_in_a_header_is_none(damage: dict[str, object]) -> None:
    (spec,) = own(OWN)
    assert table.restore(msgspec.to_builtins(spec) | damage, device()) is None


def test_a_cpu_may_have_a_sheet_and_some_of_its_cores_their_share() -> None:
    text = OWN.replace('"SM"', '"core"').replace("tensor core", "matrix unit")
    (spec,) = own(text.replace('vendor = "nvidia"', 'vendor = "intel"'))
    cpu = device(kind="cpu", vendor="intel", torch_device="cpu", memory_bytes=2**40)
    assert table.match(cpu, [spec]) == spec
    some = table.match(device(units=4, kind="cpu", vendor="intel", torch_device="cpu"), [spec])
    assert some is not None
    assert (some.partition, some.scaled, some.bandwidth_gbps) == ("4 of 10 cores", 0.4, 500)
    peak = some.peak("bf16")
    assert peak is not None
    assert peak.tflops == pytest.approx(4)
    assert table.match(device(units=11, kind="cpu", vendor="intel"), [spec]) is None
    assert table.match(device(vendor="intel"), [spec]) is None  # a GPU has no cores


def test_a_named_file_without_the_devices_sheet_says_why(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    assert unmatched(device(), None) is None
    assert unmatched(device(), str(path)) is None
    told = unmatched(device(name="NVIDIA X2"), str(path))
    assert told is not None
    assert "'NVIDIA X2': x1 is of 'NVIDIA X1'" in told
    told = unmatched(device(units=9), str(path))
    assert told is not None
    assert "x1 has 10 SMs, this shows 9" in told


def test_a_peak_that_its_own_units_and_clock_do_not_make_is_doubted() -> None:
    text = TEMPLATE.read_text("utf-8")
    assert doubts(own(text)) == []
    # The template's bf16: 100 × 1800 MHz × 4096 FLOPs make 737.28.
    for dense, doubted in (("703", False), ("698", True), ("771", False), ("777", True)):
        told = doubts(own(text.replace("dense = 737,", f"dense = {dense},")))
        assert bool(told) == doubted, dense
    assert told == [
        "my-gpu: peaks bf16 tensor core: dense = 777, but 100 SMs × 1800 MHz × 4096 FLOPs per "
        "clock make 737.3 TFLOP/s: check the sheet; is it the sparse figure?"
    ]
    # At the maximum clock where the peak states none, and not at all without units.
    sparse = text.replace(
        "dense = 737, flop_per_clock = 4096, clock_mhz = 1800",
        "dense = 1474, flop_per_clock = 4096",
    )
    assert len(doubts(own(sparse))) == 1
    without = sparse.replace("units = 100\n", "").replace('units = ["sheet"]\n', "")
    assert doubts(own(without)) == []
