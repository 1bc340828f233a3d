"""Datasheets as a user meets them: `list devices`, and a run with a sheet of one's own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import gemmbench
from gemmbench.cli import app
from gemmbench.devices.cpu import cpu_device
from gemmbench.devices.own import own_specs
from gemmbench.devices.sheetfile import citations
from gemmbench.devices.spec import specs
from gemmbench.records.frame import spec_of
from gemmbench.records.reader import read


def listed(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["list", "devices", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["list", *arguments])
    assert done.exit_code == 2
    assert done.output.startswith("gemmbench: ")
    assert done.output.count("\n") == 1
    return done.output


def mine(path: Path, **changes: Any) -> Path:
    """A sheet for the CPU of this machine; nothing in it is true."""
    device = cpu_device()
    told = {"names": [device.name], "vendor": device.vendor, "units": device.units, "dense": 0.5}
    told |= changes
    path.write_text(
        f"""
[[device]]
id = "my-cpu"
name = "My CPU"
names = {json.dumps(told["names"])}
vendor = "{told["vendor"]}"
architecture = "x86-64"
unit_kind = "core"
units = {told["units"]}
peaks = [{{ precision = "fp32", unit = "vector", dense = {told["dense"]} }}]
[device.sources]
names = ["page"]
units = ["page"]
dense = ["page"]
[sources.page]
title = "Never printed"
where = "page \\u202e 3"
kind = "invented"
"""
    )
    return path


def test_all_devices_stand_in_lines_that_fit() -> None:
    lines = listed().splitlines()
    for spec in specs():
        (line,) = [one for one in lines if one.split()[:1] == [spec.id]]
        assert ("?" in line) is not spec.verified
    assert max(map(len, lines)) <= 100
    markdown = listed("--format", "markdown").splitlines()
    rows = [line for line in markdown if line.startswith("| ")]
    assert len(rows) == 2 + len(specs())
    assert len({row.count("|") for row in rows}) == 1


def test_one_sheet_shows_every_figure_with_its_source() -> None:
    text = listed("--sources", "--device", "b200")
    spec = next(one for one in specs() if one.id == "b200")
    for _, ids in citations(spec):
        for name in ids:
            assert re.search(rf"^{name} ", text, re.MULTILINE)
    for figure in ("148 SMs", "10de:2901", "8,000 GB/s", "126 MiB", "1,856", "18,000", "16,384"):
        assert figure in text
    for note in spec.notes:
        assert note in text
    assert "b100" not in text


def test_every_sheet_can_be_shown_in_full() -> None:
    text = listed("--sources", "--format", "markdown")
    for spec in specs():
        assert f"**{spec.id}: peaks**" in text
    assert text.count("**Sources**") == 1


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    assert "did you mean" in refused("devices", "--device", "h100-sxm")
    assert "--sources is for gemmbench list devices" in refused("kernels", "--sources")
    assert "no other option" in refused("devices", "--template", "--sources")
    assert "cannot read" in refused("devices", "--spec", str(tmp_path / "none.toml"))
    bad = mine(tmp_path / "bad.toml", dense=-1)
    assert "device[0]: peaks[0].dense" in refused("devices", "--spec", str(bad))
    same = mine(tmp_path / "same.toml", names=["NVIDIA H200"])
    assert "'NVIDIA H200' is the sheet h200-sxm's" in refused("devices", "--spec", str(same))


def test_the_template_is_what_spec_takes(tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text(listed("--template"))
    text = listed("--spec", str(tmp_path / "new.toml"))
    assert re.search(r"^my-gpu \+ ", text, re.MULTILINE)
    assert "from a file of your own" in text


def test_a_users_words_are_escaped(tmp_path: Path) -> None:
    text = listed("--sources", "--device", "my-cpu", "--spec", str(mine(tmp_path / "mine.toml")))
    assert "\u202e" not in text
    assert r"page \u202e 3" in text


def test_a_run_keeps_the_sheet_that_it_was_told(tmp_path: Path) -> None:
    sheet = mine(tmp_path / "mine.toml")
    (spec,) = own_specs(str(sheet))
    arguments = ["run", "--device", "cpu", "--shape", "64x64x64", "--precision", "fp32"]
    arguments += ["--kernel", "torch", "--preset", "quick", "--out", str(tmp_path), "--quiet"]
    done = CliRunner().invoke(app, [*arguments, "--spec", str(sheet)])
    assert done.exit_code == 0, done.output
    sheet.unlink()  # who reads a run has not that file
    (path,) = tmp_path.glob("*.jsonl")
    header = read(path).header
    assert (header.device_id, header.device.slug) == ("my-cpu", "my-cpu")
    assert spec_of(header) == spec
    assert str(tmp_path) not in json.dumps(header.request)
    row: Any
    (row,) = gemmbench.load(path).itertuples()
    assert (row.peak_tflops, row.peak_unit) == (0.5, "vector")
    assert row.pct_peak == pytest.approx(100 * row.tflops / 0.5, nan_ok=True)


def test_every_figure_is_in_the_json(tmp_path: Path) -> None:
    found = json.loads(listed("--format", "json"))
    assert [one["id"] for one in found] == [spec.id for spec in specs()]
    (one,) = json.loads(listed("--format", "json", "--device", "h100-sxm5"))
    assert (one["units"], one["tdp_w"]) == (132, 700.0)
    fp8 = next(peak for peak in one["peaks"] if peak["precision"] == "fp8")
    assert fp8["dense"] == 1978.9
    assert fp8["sources"]
    mine = tmp_path / "mine.toml"
    mine.write_text(listed("--template").replace("My GPU, 80 GB", "\\u202eGPU"))
    (own,) = json.loads(listed("--format", "json", "--device", "my-gpu", "--spec", str(mine)))
    assert own["name"] == "\\u202eGPU"
    assert own["references"]["sheet"]["kind"] == "datasheet"


@pytest.mark.parametrize("what", ["kernels", "suites", "precisions", "published"])
def test_other_lists_are_objects_by_their_columns(what: str) -> None:
    done = CliRunner().invoke(app, ["list", what, "--format", "json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert len(found) > 3
    assert all(row.keys() == found[0].keys() and len(row) > 3 for row in found)


@pytest.mark.filterwarnings("default")
def test_a_peak_that_is_doubted_is_told_where_it_is_listed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(listed("--template").replace("dense = 737,", "dense = 1474,"))
    assert "make 737.3 TFLOP/s: check the sheet" in listed("--spec", str(mine))
