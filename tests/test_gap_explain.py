"""`explain`: whose roofs, which cases, what it says; and that each percentage can be traced."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from synthetic import H100, MI300X, header, method, record, roof, turns, write

from gemmbench.analysis.explain import Wanted, explain
from gemmbench.cli import app
from gemmbench.records.schema import Line, Record
from gemmbench.show.explained import sentences, table, to_json
from gemmbench.show.tables import to_markdown, to_text
from gemmbench.show.text import half_width
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError

PEAK, CLOCK = 989.4, 1830.0
DEVICE = dataclasses.replace(H100, power_limit_w=700.0, llc_bytes=50 * 2**20)
TILE: dict[str, Any] = {"tile": (128, 256, 64), "grid": (132,)}


def case(
    kernel: str, tflops: float, *, size: int = 8192, clock_mhz: float = 1410, **changes: Any
) -> Record:
    spent = turns(2 * size**3 / tflops / 1e6, noise=0.0005)
    took = [dataclasses.replace(one, clock_mhz=clock_mhz) for one in spent]
    span_ns = sum(one.stop_s - one.start_s - one.settle_s for one in took) * 1e9
    given: dict[str, Any] = {
        "launch": "graph",
        "sets": 8,
        "limits": {"power": 0.97 * span_ns},
        "precision": "bf16",
    }
    return record(kernel, size=size, took=took, **(given | changes))


def run(path: Path, *lines: Line, device: Device = DEVICE, **of_header: Any) -> Path:
    given: dict[str, Any] = {"synthetic": True, "method": method(launch="graph"), **of_header}
    return write(path, [header(device, **given), *lines])


def probing(path: Path, gbps: float, *, started: str = "2026-01-02", **options: Any) -> Path:
    lines = [roof("copy", gbps, "GB/s"), roof("matrix", 760.0, "TFLOP/s", precision="bf16")]
    head: dict[str, Any] = {"probing": True, "run_id": path.stem, "started": started}
    return run(path, *lines, **(head | options))


@pytest.fixture
def some(tmp_path: Path) -> Path:
    return run(
        tmp_path / "run.jsonl",
        case("triton-persistent", 672.8, **TILE),
        case("torch", 640.0),
        case("triton-persistent", 300.0, size=4096, **TILE),
        case("torch", 1100.0, precision="fp8_e4m3"),
        record("bad", precision="bf16", status="wrong"),
        roof("launch-graph", 1.5, "us"),
    )


def test_the_issues_sentence(some: Path) -> None:
    (found,) = explain(some)
    said = sentences(found, filtered=False)
    assert said == (
        "bf16 8192³, triton-persistent: 68% of the dense peak; the clock held 1410 of 1830 MHz at "
        "the 700 W limit (−23%), 3.03% of the units' time was idle in 16 whole waves; of what was "
        "left the kernel reaches 91%",
        "fp8_e4m3 8192³, torch: 56% of the dense peak; the clock held 1410 of 1830 MHz at the "
        "700 W limit (−23%); of what was left the kernel reaches 72%",
    )
    assert len(sentences(found, filtered=True)) == 4


def test_the_table(some: Path) -> None:
    (found,) = explain(some)
    shown = table(found)
    assert len(shown.rows) == 4
    assert shown.columns[-7:-1] == ("clock", "padding", "waves", "memory", "launch", "own")
    first = next(row for row in shown.rows if row[0] == "triton-persistent" and "8192" in row[2])
    assert first[6:] == ("68.0%", "77.0%", "100%", "97.0%", "100%", "100%", "91.0%", "compute")
    library = next(row for row in shown.rows if row[0] == "torch")
    assert library[8:10] == ("–", "–")
    notes = "\n".join(shown.notes)
    assert "spec sheet: h100-sxm5" in notes
    assert "3,350 GB/s, of the sheet (h100-sxm5: " in notes
    assert "launch: 1.500 µs each, measured (run.jsonl: launch-graph)" in notes
    assert "padding and waves not known: the kernel does not say its tile" in notes
    assert "not explained: 1 wrong" in notes
    assert all(name in to_markdown(shown) for name in shown.columns)


def test_how_wide_a_roof_is_beside_a_sheets_peak(tmp_path: Path) -> None:
    probes = [roof("matrix", 750.0 + r, "TFLOP/s", precision="bf16", repeat=r) for r in range(3)]
    (found,) = explain(run(tmp_path / "a.jsonl", case("torch", 640.0), *probes))
    (width,) = [one for one in table(found).notes if one.startswith("of roof: ")]
    (over,) = found.ceilings
    low, high = over.roof_ends
    assert 0 < low < over.roof_tflops < high
    assert width == (
        f"of roof: the roofs were measured to bf16 {half_width(over.roof_tflops, low, high)}"
    )


def test_what_refutes_the_model_is_said(tmp_path: Path) -> None:
    (found,) = explain(run(tmp_path / "run.jsonl", case("too-fast", 850.0)))
    assert "compute; refuted" in to_text(table(found))
    (said,) = sentences(found, filtered=True)
    assert said.endswith("the model is refuted: the kernel reaches 112% of what it allows")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clock_mhz": 1980.0}, "the clock ran at 1980 MHz where the peak is for 1830 (+8%)"),
        ({"limits": {}}, "the clock held 1410 of 1830 MHz (−23%)"),
        ({"limits": {"power": 0.0}}, "1410 of 1830 MHz, with no limit reported (−23%)"),
        ({"limits": {"thermal": 0.1e9}}, "1410 of 1830 MHz for too hot in 50% of the time (−23%)"),
        ({"clock_mhz": 1831.0}, "68% of the dense peak; of what was left"),
    ],
)
def test_why_the_clock_was_what_it_was(tmp_path: Path, changes: Any, said: str) -> None:
    found = explain(run(tmp_path / "run.jsonl", case("torch", 672.8, **changes)))
    (text,) = sentences(found[0], filtered=True)
    assert said.replace("; of what was left", "; nothing but") in text


def test_a_lowered_power_limit_is_set_beside_the_sheets(tmp_path: Path) -> None:
    device = dataclasses.replace(DEVICE, power_limit_w=500.0)
    found = explain(run(tmp_path / "run.jsonl", case("torch", 500.0), device=device))
    (text,) = sentences(found[0], filtered=True)
    assert "at the 500 W limit (the sheet says 700 W)" in text


def test_bytes_and_launches_in_words(tmp_path: Path) -> None:
    lines = [roof("copy", 3000.0, "GB/s"), roof("launch-graph", 2.0, "us")]
    tiny, thin = case("tiny", 0.2, size=64), case("thin", 20.0, n=16)
    found = explain(run(tmp_path / "run.jsonl", tiny, thin, *lines))
    said = {
        text.split(",")[1].split(":")[0].strip(): text
        for text in sentences(found[0], filtered=True)
    }
    assert "an empty launch of 2.000 µs allows 0.0265% of it" in said["tiny"]
    assert "135 MB through memory at 3,000 GB/s (measured) allow 4.83% of it" in said["thin"]


def test_json_traces_every_percentage(some: Path) -> None:
    documents = json.loads(to_json(explain(some)))
    assert len(documents) == 4
    first = next(one for one in documents if one["case"]["kernel"] == "triton-persistent")
    top, clock = first["causes"]["top"], first["causes"]["clock"]
    assert top["id"] == "h100-sxm5"
    assert {"id", "title", "where"} == set(top["sources"][0])
    assert (clock["held_mhz"], clock["sensor"], clock["turns"]) == (1410.0, "SM clock, NVML", 10)
    assert first["causes"]["tiling"]["tile"] == [128, 256, 64]
    for one in documents:
        product = 1.0
        for factor in one["factors"]:
            unknown = any(told["cause"] == factor["cause"] for told in one["causes"]["unknown"])
            assert (factor["value"] is None) == unknown
            left = factor["before_us"] / factor["after_us"]
            assert unknown or factor["value"] == pytest.approx(left)
            product *= left
        assert one["pct_top"] == pytest.approx(100 * product)
        assert one["tflops"] == pytest.approx(one["case"]["flop"] / one["case"]["time_us"] / 1e6)
        memory = one["causes"]["memory"]
        assert not memory["measured"]
        assert memory["source"].startswith("h100-sxm5: ")


# Whose roofs.


def copy_gbps(*sources: Path, **options: Any) -> float:
    (found,) = explain([str(one) for one in sources], **options)
    memory = found.gaps[0].causes.memory
    assert memory is not None
    return round(memory.gbps)


def test_the_runs_own_roofs_come_first_then_the_named_then_the_newest_beside(
    tmp_path: Path,
) -> None:
    path = run(tmp_path / "a.jsonl", case("torch", 500.0))
    assert copy_gbps(path) == 3350  # the sheet's
    probing(tmp_path / "b.jsonl", 1000.0, started="2026-01-02")
    probing(tmp_path / "new.jsonl", 2000.0, started="2026-01-03")
    probing(tmp_path / "z.jsonl", 1500.0, started="2026-01-01")
    capped = dataclasses.replace(DEVICE, power_limit_w=500.0)
    other_limit = probing(tmp_path / "limit.jsonl", 1600.0, started="2026-01-09", device=capped)
    with pytest.raises(GemmbenchError, match="500 W"):
        explain(path, roofs=[other_limit])
    probing(tmp_path / "capped.jsonl", 1600.0, started="2026-01-09", device=capped)
    probing(tmp_path / "amd.jsonl", 4000.0, started="2026-01-09", device=MI300X)
    probing(tmp_path / "real.jsonl", 4500.0, started="2026-01-09", synthetic=False)
    (tmp_path / "junk.jsonl").write_text("no run")
    assert copy_gbps(path) == 2000
    spoilt = [dataclasses.replace(one, disturbed=9) for one in roof("copy", 2200.0, "GB/s").turns]
    bad = msgspec.structs.replace(roof("copy", 2200.0, "GB/s"), turns=tuple(spoilt))
    run(tmp_path / "bad.jsonl", bad, probing=True, started="2026-01-04")
    assert copy_gbps(path) == 2000  # what neighbours spoilt is no roof
    (found,) = explain(path)
    assert [one.name for one in found.roofs_from] == ["new.jsonl"]
    assert found.gaps[0].pct_roof == pytest.approx(100 * 500 / 760, rel=1e-2)
    assert "roofs are from new.jsonl" in table(found).notes
    with_roofs = run(
        tmp_path / "both.jsonl",
        *(case("torch", 500.0), roof("copy", 2100.0, "GB/s")),
        started="2026-01-08",
        request={"roofs": True},
    )
    assert copy_gbps(path) == 2100  # of `run --roofs`
    with_roofs.unlink()
    (tmp_path / "elsewhere").mkdir()
    other = probing(tmp_path / "elsewhere" / "b.jsonl", 2500.0)
    assert copy_gbps(path, other) == 2500  # given beside it
    assert copy_gbps(path, roofs=[other]) == 2500
    own = run(tmp_path / "own.jsonl", case("torch", 500.0), roof("copy", 2900.0, "GB/s"))
    assert copy_gbps(own) == 2900
    assert copy_gbps(own, roofs=[other]) == 2900
    (found,) = explain(own)
    assert found.roofs_from == ()
    assert math.isnan(found.gaps[0].pct_roof)  # a run with roofs has no use for those beside it
    slow = roof("vector", 600.0, "TFLOP/s", precision="bf16")
    own = run(tmp_path / "own.jsonl", case("torch", 500.0), slow)
    (found,) = explain(own, roofs=[other])
    assert found.gaps[0].pct_roof == pytest.approx(100 * 500 / 600, rel=1e-2)


def test_roofs_of_another_device_are_refused(tmp_path: Path, some: Path) -> None:
    other = probing(tmp_path / "amd.jsonl", 4000.0, device=MI300X)
    with pytest.raises(GemmbenchError, match=r"amd\.jsonl holds roofs of AMD Instinct MI300X"):
        explain(some, roofs=[other])
    empty = run(tmp_path / "none.jsonl", case("torch", 1.0))
    with pytest.raises(GemmbenchError, match=r"none\.jsonl holds no roofs: gemmbench roofs"):
        explain(some, roofs=[empty])
    with pytest.raises(GemmbenchError, match=r"amd\.jsonl holds roofs only"):
        explain(other)


# Which cases.


def test_filters(some: Path) -> None:
    (found,) = explain(some, wanted=Wanted(kernels=("torch",)))
    assert {gap.case.kernel for gap in found.gaps} == {"torch"}
    (found,) = explain(some, wanted=Wanted(problems=("4096X4096×4096",)))
    assert [gap.case.shape for gap in found.gaps] == ["4096x4096x4096"]
    with pytest.raises(UnknownNameError, match="did you mean torch"):
        explain(some, wanted=Wanted(kernels=("torhc",)))
    with pytest.raises(UnknownNameError, match="unknown problem"):
        explain(some, wanted=Wanted(problems=("8192",)))
    with pytest.raises(GemmbenchError, match="no measured case is all of torch, 4096"):
        explain(some, wanted=Wanted(kernels=("torch",), problems=("4096x4096x4096",)))


def test_nothing_with_a_time_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GemmbenchError, match="no case has a time that counts"):
        explain(run(tmp_path / "run.jsonl", record(status="failed")))


def test_several_runs_one_after_the_other(tmp_path: Path, some: Path) -> None:
    more = run(tmp_path / "more.jsonl", case("torch", 500.0), run_id="more")
    assert [one.path.name for one in explain([some, more])] == ["run.jsonl", "more.jsonl"]


@pytest.mark.parametrize(
    "changes",
    [
        {"tile": (2**62, 1, 1), "grid": (2**62, 2**62, 2**62)},
        {"splits": 2**53},
        {"experts": 2**31 - 1},
        {"precision": "of-tomorrow"},
        {"limits": {"power": 1e308, "\x1b[31m": 1e308}},
        {"tile": (-5, 0, 3)},
    ],
)
def test_damaged_records_are_explained_or_left_out(tmp_path: Path, changes: Any) -> None:
    path = run(tmp_path / "run.jsonl", case("odd", 500.0, **changes), case("torch", 400.0))
    (found,) = explain(path)
    assert "\x1b" not in to_text(table(found)) + "".join(sentences(found, filtered=True))
    json.loads(to_json([found]))


@pytest.mark.parametrize("clock", [0.0, -5.0, 1e300])
def test_a_clock_that_can_be_none_is_none(tmp_path: Path, clock: float) -> None:
    (found,) = explain(run(tmp_path / "run.jsonl", case("torch", 500.0, clock_mhz=clock)))
    assert found.gaps[0].causes.clock is None


def test_an_imported_run_says_whose_clock_it_is(tmp_path: Path) -> None:
    line = case("theirs", 500.0)
    (found,) = explain(run(tmp_path / "run.jsonl", line, tool="nvbench"))
    clock = found.gaps[0].causes.clock
    assert clock is not None
    assert clock.sensor == "as nvbench tells it"
    untold = msgspec.structs.replace(method(), cache="")
    (found,) = explain(run(tmp_path / "x.jsonl", line, tool="nvbench", method=untold))
    assert found.gaps[0].causes.memory is None


# The command.


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_command(some: Path) -> None:
    done = call("explain", str(some), "--format", "markdown", "--precision", "bf16")
    assert done.exit_code == 0, done.stderr
    assert "| kernel | precision | shape |" in done.stdout
    assert "- bf16 8192³, torch: " in done.stdout
    assert len(json.loads(call("explain", str(some), "--format", "json").stdout)) == 4


@pytest.mark.parametrize(
    "arguments", [("--roofs", "nowhere.jsonl"), ("--format", "csv"), ("--kernel", "x")]
)
def test_a_mistake_is_one_line_and_exit_code_2(some: Path, arguments: tuple[str, ...]) -> None:
    done = call("explain", str(some), *arguments)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("gemmbench: ")


def test_plots_of_what_is_asked_for(some: Path) -> None:
    done = call("plot", str(some), "--kind", "waterfall", "--problem", "8192x8192x8192")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == [
        str(some.with_name(f"run-waterfall.{k}")) for k in ("png", "svg")
    ]
    done = call("plot", str(some), "--kind", "compare", "--kernel", "torch")
    assert done.exit_code == 2
    assert "are for ladder, sweep, waterfall, roofline, heatmap and samples" in done.stderr
