"""Comparing two devices, methods and files: what is told of both, and how it is written."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from synthetic import (
    H100,
    MI300X,
    header,
    ladder_run,
    method,
    record,
    selftest,
    turn,
    turns,
    write,
)

from gemmbench.analysis.compare import DELTA, DELTA_APART, compare
from gemmbench.cli.app import app
from gemmbench.devices.spec import by_id
from gemmbench.records.frame import load
from gemmbench.records.schema import Record
from gemmbench.show.comparison import comparison, to_csv, to_json
from gemmbench.show.results import caption
from gemmbench.show.tables import to_text
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError


def held(time_us: float, *, clock: float, power: float) -> Sequence[Turn]:
    return [turn(r, time_us * 1e3, clock_mhz=clock, power_w=power) for r in range(10)]


def gpu_run(path: Path, device: Device, *records: Record, **of_header: Any) -> Path:
    return write(path, [header(device, synthetic=True, **of_header), *records])


def _fp8(encoding: str, precision: str, took: Sequence[Turn]) -> Record:
    return record("torch", size=4096, precision=precision, encoding=encoding, took=took)


def both(tmp_path: Path, precision: str = "bf16") -> tuple[Path, Path]:
    """An H100 at 1410 MHz and 700 W, an MI300X at 1800 MHz and 750 W: 250 and 200 µs."""
    a = _fp8("e4m3fn", precision, held(250.0, clock=1410, power=700))
    b = _fp8("e4m3fnuz", precision, held(200.0, clock=1800, power=750))
    return (
        gpu_run(tmp_path / "a.jsonl", H100, a, software={"torch": "2.10.0", "cuda": "13.0"}),
        gpu_run(tmp_path / "b.jsonl", MI300X, b, software={"torch": "2.10.0", "hip": "7.2"}),
    )


def test_three_normalisations_and_power_side_by_side(tmp_path: Path) -> None:
    (row,) = compare(*both(tmp_path)).rows
    flop = 2 * 4096**3
    expected = []
    for device, time_us, clock, power in (
        ("h100-sxm5", 250.0, 1410, 700),
        ("mi300x", 200.0, 1800, 750),
    ):
        peak = by_id(device).peak("bf16")
        assert peak is not None
        assert peak.clock_mhz is not None
        tflops = flop / time_us / 1e6
        at_clock = peak.tflops * clock / peak.clock_mhz
        expected.append(
            (tflops, 100 * tflops / peak.tflops, 100 * tflops / at_clock, tflops / power)
        )
    for index, one in enumerate(
        (row.tflops, row.pct_peak, row.pct_peak_at_clock, row.tflops_per_w)
    ):
        assert (one.a, one.b) == pytest.approx((expected[0][index], expected[1][index]))
        assert one.ratio == pytest.approx(expected[1][index] / expected[0][index])
    assert row.ratio == pytest.approx(row.tflops.ratio) == pytest.approx(1.25)


def test_what_is_not_known_of_one_side_has_no_ratio(tmp_path: Path) -> None:
    a, _ = both(tmp_path)
    blind = gpu_run(
        tmp_path / "c.jsonl", H100, record("torch", size=4096, precision="bf16", took=turns(200.0))
    )
    (row,) = compare(a, blind).rows
    assert row.pct_peak.ratio == pytest.approx(1.25, rel=0.01)
    for one in (row.pct_peak_at_clock, row.tflops_per_w):
        assert one.a > 0
        assert math.isnan(one.b)
        assert math.isnan(one.ratio)


def test_sparse_rates_are_apart(tmp_path: Path) -> None:
    lines = [
        record("torch", size=4096, precision=p, took=turns(200.0)) for p in ("bf16", "bf16_sparse")
    ]
    a = gpu_run(tmp_path / "a.jsonl", H100, *lines)
    b = gpu_run(tmp_path / "b.jsonl", H100, *lines)
    found = compare(a, b)
    dense, sparse = found.rows
    assert (dense.sparse, sparse.sparse) == (False, True)
    assert sparse.pct_peak.a == pytest.approx(dense.pct_peak.a / 2, rel=0.01)
    assert math.isnan(sparse.pct_peak_at_clock.a)
    tables = comparison(found)
    titles = [table.title for table in tables]
    (apart,) = [table for table in tables if table.title.startswith("2:4 sparse")]
    assert len(apart.rows) == 1
    assert sum("2:4 sparse" in title for title in titles) == 1


def test_cuda_and_rocm_are_told_apart(tmp_path: Path) -> None:
    found = compare(*both(tmp_path, "fp8_e4m3"))
    told = {one.what: (one.a, one.b) for one in found.differs}
    assert told["fp8_e4m3 encoding"] == ("e4m3fn", "e4m3fnuz")
    assert (told["cuda"], told["hip"]) == (("13.0", ""), ("", "7.2"))
    assert told["arch"] == ("sm_90", "gfx942")
    (row,) = found.rows
    assert (row.encoding_a, row.encoding_b) == ("e4m3fn", "e4m3fnuz")


def test_tf32_and_xf32_are_named(tmp_path: Path) -> None:
    def tf32(name: str, device: Device) -> Path:
        line = record("torch", precision="tf32", encoding=device.encoding("tf32"), took=turns(9.0))
        return gpu_run(tmp_path / f"{name}.jsonl", device, line)

    a, b = tf32("a", H100), tf32("b", MI300X)
    told = {one.what: (one.a, one.b) for one in compare(a, b).differs}
    assert told["tf32 computed as"] == ("tf32", "xf32")
    assert "tf32 encoding" not in told
    assert not [one.what for one in compare(a, tf32("c", H100)).differs]
    fails = record("torch", precision="tf32", status="unsupported")
    lines = [record("torch", size=4096, precision="bf16", took=turns(9.0)), fails]
    runs = [gpu_run(tmp_path / f"{d.slug}.jsonl", d, *lines) for d in (H100, MI300X)]
    assert "tf32 computed as" not in {one.what for one in compare(*runs).differs}


CPX = replace(MI300X, partition="CPX", units=38)


@pytest.mark.parametrize(
    ("device", "other", "differs"),
    [
        (MI300X, CPX, {"partition": ("", "CPX"), "units": ("304", "38")}),
        (MI300X, replace(MI300X, units=228), {"units": ("304", "228")}),
        (
            replace(H100, power_limit_w=700.0),
            replace(H100, power_limit_w=350.0),
            {"power limit": ("700 W", "350 W")},
        ),
    ],
)
def test_partitions_units_and_power_limits_are_other_machines(
    tmp_path: Path, device: Device, other: Device, differs: dict[str, tuple[str, str]]
) -> None:
    def run(name: str, on: Device) -> Path:
        return ladder_run(tmp_path / f"{name}.jsonl", run_id=name, device=on, repeats=2)

    a, b = run("a", device), run("b", other)
    found = compare(a, b)
    assert {one.what: (one.a, one.b) for one in found.differs} == differs
    assert found.machine == "another"
    assert compare(a, run("c", device)).machine == "unmoved"
    unknown = run("d", replace(other, units=0, power_limit_w=None))
    is_part = device.partition != other.partition
    assert compare(a, unknown).machine == ("another" if is_part else "unmoved")
    (name, (left, right)), *_ = differs.items()
    with pytest.raises(GemmbenchError, match=f"the first mixes runs of {name} ") as seen:
        compare([a, b], a)
    assert f"{left or 'none'}, {right}" in str(seen.value)


def test_the_partition_is_in_titles_and_captions(tmp_path: Path) -> None:
    a = ladder_run(tmp_path / "a.jsonl", device=MI300X)
    b = ladder_run(tmp_path / "b.jsonl", device=CPX)
    found = compare(a, b)
    assert f"b: {MI300X.name} CPX (b.jsonl)" in comparison(found)[0].title
    assert f"a: {MI300X.name} (a.jsonl)" in comparison(found)[0].title
    assert caption(load(b)).startswith(f"{MI300X.name} CPX · ")
    slice_name = "NVIDIA H100 80GB HBM3 MIG 3g.40gb"
    mig = replace(H100, name=slice_name, partition="MIG 3g.40gb", units=60)
    part = ladder_run(tmp_path / "c.jsonl", device=mig)
    assert caption(load(part)).startswith(f"{slice_name} · ")
    told = json.loads(to_json(found))
    assert (told["b"]["partition"], told["b"]["units"], told["b"]["power_limit_w"]) == (
        "CPX",
        38,
        None,
    )


def test_synthetic_and_imported_sides_are_named(tmp_path: Path) -> None:
    a, _ = both(tmp_path)
    line = record("torch", size=4096, precision="bf16", took=turns(250.0))
    others = gpu_run(tmp_path / "n.jsonl", H100, line, tool="nvbench")
    with pytest.raises(GemmbenchError, match="different ways, tool gemmbench and nvbench"):
        compare(a, others)
    found = compare(a, others, anyway=True)
    assert (found.a.tool, found.b.tool, found.a.synthetic) == ("", "nvbench", True)
    title = comparison(found)[0].title
    assert "NOT MEASURED ALIKE (tool gemmbench and nvbench)" in title
    assert "measured by nvbench; synthetic: never measured" in title
    real = write(tmp_path / "r.jsonl", [header(H100, run_id="r"), line])
    with pytest.raises(GemmbenchError, match="the first mixes runs of synthetic"):
        compare([a, real], real)


@pytest.mark.parametrize(
    "changes", [{"preset": "quick"}, {"cache": "hot"}, {"launch": "stream"}, {"data": "zeros"}]
)
def test_anyway_compares_what_is_refused_and_says_so(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    ((name, value),) = changes.items()
    a = ladder_run(tmp_path / "a.jsonl", repeats=3)
    b = ladder_run(tmp_path / "b.jsonl", repeats=3, method=method(**changes))
    with pytest.raises(GemmbenchError, match=f"{name} .*{value}.*--anyway"):
        compare(a, b)
    found = compare(a, b, anyway=True)
    assert len(found.rows) == 16
    assert {row.verdict for row in found.rows} == {"same"}
    assert all(f"not measured alike: {name} " in row.why for row in found.rows)
    assert f"NOT MEASURED ALIKE ({name} " in comparison(found)[0].title
    assert json.loads(to_json(found))["unlike"] == list(found.unlike)
    assert name in {one.what for one in found.differs}
    alike = f"not measured alike: {found.unlike[0]}"
    assert {mean.why for mean in found.geomeans} == {found.shift.why} == {alike}
    assert json.loads(to_json(found))["shift"]["why"] == alike
    assert {mean["why"] for mean in json.loads(to_json(found))["geomeans"]} == {alike}
    text = to_text(comparison(found)[0])
    assert any(line.startswith("median of all") and alike in line for line in text.split("\n"))


def test_single_cases_in_cache_are_told_row_by_row(tmp_path: Path) -> None:
    fits = record("small", sets=1, took=turns(9.0))
    a = write(tmp_path / "a.jsonl", [header(), fits, record("large", sets=2, took=turns(9.0))])
    lines = [record("small", sets=2, took=turns(9.0)), record("large", sets=2, took=turns(9.0))]
    b = write(tmp_path / "b.jsonl", [header(), *lines])
    told = {row.name: row.why for row in compare(a, b).rows}
    assert told["small"] == "of two states of the cache, hot and rotated"
    assert "cache" not in told["large"]


def test_runs_that_took_turns_are_judged_by_two_percent(tmp_path: Path) -> None:
    def run(name: str, minute: int, speed: float) -> Path:
        return ladder_run(
            tmp_path / f"{name}{minute}.jsonl",
            run_id=f"{name}{minute}",
            started=f"2026-01-01T00:{minute:02}:00Z",
            repeats=2,
            speed=lambda *_: speed,
        )

    order = [("a", 1.0), ("b", 1.03)] * 2
    runs = [run(name, minute, speed) for minute, (name, speed) in enumerate(order)]
    taken = compare(runs[0::2], runs[1::2])
    assert (taken.alternated, taken.delta) == (True, DELTA)
    assert taken.count("faster") == len(taken.rows)
    later = [run("a", 0, 1.0), run("a", 1, 1.0)], [run("b", 8, 1.03), run("b", 9, 1.03)]
    apart = compare(*later)
    assert (apart.alternated, apart.delta) == (False, DELTA_APART)
    assert apart.count("same") == len(apart.rows)
    assert "did not alternate" in to_text(comparison(apart)[0])
    assert compare(*later, delta=0.02).count("faster") == len(apart.rows)


def test_what_moved_all_rows_has_a_line_of_its_own(tmp_path: Path) -> None:
    a = ladder_run(tmp_path / "a.jsonl", repeats=3)
    b = ladder_run(tmp_path / "b.jsonl", repeats=3, speed=lambda *_: 0.97)
    found = compare(a, b)
    assert found.shift.rows == 16
    assert found.shift.ratio == pytest.approx(0.97, rel=1e-3)
    assert "median of all 16 rows: b / a 0.970" in to_text(comparison(found)[0])


def test_the_formats_hold_everything(tmp_path: Path) -> None:
    found = compare(*both(tmp_path))
    told = json.loads(to_json(found))
    assert told["a"]["files"] == ["a.jsonl"]
    assert told["b"]["device"] == MI300X.name
    assert (told["a"]["preset"], told["b"]["cache"]) == ("sustained", "rotated")
    assert told["rows"][0]["pct_peak"]["ratio"] == pytest.approx(found.rows[0].pct_peak.ratio)
    assert told["rows"][0]["ratio_low"] is None
    assert {"geomeans", "differs", "left_out", "shift", "anchor", "delta"} <= told.keys()
    (line,) = csv.DictReader(io.StringIO(to_csv(found)))
    assert float(line["tflops_per_w_b"]) == pytest.approx(found.rows[0].tflops_per_w.b)
    assert (line["ratio_low"], line["repeats_a"], line["verdict"]) == (
        "",
        "1",
        found.rows[0].verdict,
    )


# The command.


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def noisy(path: Path, speed: float, *, repeats: int = 3, **of_header: Any) -> Path:
    return ladder_run(
        path,
        sizes=(512,),
        precisions=("fp32",),
        repeats=repeats,
        speed=lambda kernel, _, __, repeat: (
            (1 + repeat / 500) * (speed if kernel == "library" else 1)
        ),
        **of_header,
    )


def test_the_gate_fails_on_what_is_slower_beyond_noise_only(tmp_path: Path) -> None:
    a = noisy(tmp_path / "a.jsonl", 1.0)
    slow = call(a, noisy(tmp_path / "b.jsonl", 0.9), "--fail-if-slower", "5%")
    assert slow.exit_code == 1
    (line,) = slow.stderr.splitlines()
    assert line.startswith("gemmbench: slower by more than 5%: library fp32 512x512x512, b / a 0.8")
    for speed, limit in ((1.001, "5%"), (0.96, "5%"), (1.2, "5%"), (0.9, "15%")):
        found = call(a, noisy(tmp_path / "c.jsonl", speed), "--fail-if-slower", limit)
        assert (found.exit_code, found.stderr) == (0, ""), (speed, limit)


def test_a_gate_that_cannot_fail_says_so(tmp_path: Path) -> None:
    a = noisy(tmp_path / "a.jsonl", 1.0, repeats=1)
    one = call(a, noisy(tmp_path / "b.jsonl", 0.5, repeats=1), "--fail-if-slower", "5%")
    assert one.exit_code == 2
    assert "4 of 4 not judged" in one.stderr
    assert "Measure both sides with --repeat 3" in one.stderr
    itself = call(a, a, "--fail-if-slower", "5%")
    assert (itself.exit_code, "name another run" in itself.stderr) == (2, True)
    lines = [record(repeat=r, took=turns(100.0 + r)) for r in range(3)]
    moved = [
        write(
            tmp_path / f"{t}.jsonl", [header(), *(selftest(r, time_us=t) for r in range(3)), *lines]
        )
        for t in (50.0, 60.0)
    ]
    found = call(*moved, "--fail-if-slower", "5%")
    assert (found.exit_code, "the machine changed" in found.stderr) == (2, True)
    assert not found.stderr.count("slower by")
    c, d = noisy(tmp_path / "c.jsonl", 1), noisy(tmp_path / "d.jsonl", 1.001)
    low = call(c, d, "--fail-if-slower", "1%")
    assert "a change below 5% does not count here" in low.stderr


def test_a_file_against_itself_is_pointed_out_by_any_name(tmp_path: Path) -> None:
    a = noisy(tmp_path / "a.jsonl", 1.0)
    (tmp_path / "link.jsonl").symlink_to(a)
    (tmp_path / "folder").mkdir()
    (tmp_path / "copy.jsonl").write_bytes(a.read_bytes())
    for other in (
        a,
        tmp_path / "folder" / ".." / "a.jsonl",
        tmp_path / "link.jsonl",
        tmp_path / "copy.jsonl",
        tmp_path / "[a].jsonl",
    ):
        assert "is on both sides" in call(a, other).stderr, other
    assert not call(a, noisy(tmp_path / "b.jsonl", 1.01)).stderr


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_every_format_is_printed(tmp_path: Path, form: str) -> None:
    a, b = both(tmp_path)
    done = call(a, b, "--format", form)
    assert done.exit_code == 0
    text = done.stdout
    if form == "json":
        assert json.loads(text)["rows"][0]["verdict"] == "faster"
    elif form == "csv":
        assert len(list(csv.DictReader(io.StringIO(text)))) == 1
    else:
        assert "What differs" in text
        assert "TFLOP/s/W" in text


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    a = noisy(tmp_path / "a.jsonl", 1.0)
    b = noisy(tmp_path / "b.jsonl", 1.0, method=method(preset="quick"))
    for arguments, told in (
        ((a, a, "--fail-if-slower", "0"), "no percentage"),
        ((a, a, "--delta", "200%"), "no percentage"),
        ((a, a, "--format", "xml"), "unknown format"),
        ((a, b), "preset sustained and quick"),
    ):
        done = call(*arguments)
        assert done.exit_code == 2
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
