"""Tables: what they say, what they escape, and that they compute nothing of their own."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from synthetic import H100, MI300X, header, ladder_run, method, record, turn, turns, write

from gemmbench.analysis.compare import compare
from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.records.frame import COLUMNS, load
from gemmbench.records.schema import Record
from gemmbench.show.comparison import comparison
from gemmbench.show.results import results, summary
from gemmbench.show.tables import Table, echo, listing, plain, to_markdown, to_text
from gemmbench.show.text import digits, duration, half_width, printable
from gemmkernels.errors import GemmbenchError


def rows(path: Path, *records: Record, **of_header: Any) -> pd.DataFrame:
    return ladder(load(write(path / "run.jsonl", [header(**of_header), *records])))


def cells(table: Table, kernel: str) -> dict[str, str]:
    (row,) = [row for row in table.rows if row[0] == kernel]
    return dict(zip(table.columns, row, strict=True))


def test_of_several_runs_each_table_names_its_file(tmp_path: Path) -> None:
    for name in ("base", "head"):
        given = header(run_id=name, device=H100)
        write(tmp_path / f"{name}.jsonl", [given, record(took=turns(9.0))])
    tables = results(ladder(load(tmp_path)))
    assert [table.title.split(":")[0] for table in tables] == ["base.jsonl", "head.jsonl"]
    (alone,) = results(ladder(load(tmp_path / "base.jsonl")))
    assert "base.jsonl" not in alone.title


def test_a_run_as_a_table(tmp_path: Path) -> None:
    (table,) = results(
        rows(
            tmp_path,
            record("base", tier="naive", base=True, took=turns(1000.0, noise=0.0005)),
            record("fast", took=turns(25.0, noise=0.0005), label="up"),
            record("bad", status="wrong", reason="element (3, 4)"),
            record("none", status="unsupported", reason="has no fp32"),
            device=H100,
        )
    )
    assert "NVIDIA H100 80GB HBM3" in table.title
    assert "preset sustained" in table.title
    fast = cells(table, "fast")
    assert fast["time"].endswith("µs")
    assert fast["shape"] == "1024x1024x1024 (up)"
    assert fast["speedup"] == "40.0×"
    assert fast["verdict"].startswith("converged")
    assert fast["of peak"].endswith("%")
    assert fast["±"].startswith("±0.0")
    assert cells(table, "bad")["verdict"] == "wrong: element (3, 4)"
    assert cells(table, "bad")["time"] == ""
    assert "1 unsupported case is not shown" in table.notes
    assert "speedup over base, paired within each round" in table.notes


def test_what_nothing_is_known_of_has_no_column(tmp_path: Path) -> None:
    (table,) = results(rows(tmp_path, record(took=turns(9.0))))
    assert "of peak" not in table.columns
    assert "TFLOP/s" in table.columns


def test_contended_says_why_it_has_no_ratio(tmp_path: Path) -> None:
    loud = [turn(r, 1e4, disturbed=9 if r < 7 else 0) for r in range(12)]
    base = record("base", tier="naive", base=True, took=loud)
    (table,) = results(rows(tmp_path, base, record("fast", took=turns(9.0))))
    assert cells(table, "base")["verdict"] == "contended"
    assert cells(table, "base")["±"] == ""
    assert cells(table, "fast")["verdict"] == "converged, base is contended"


def test_unsupported_can_be_shown(tmp_path: Path) -> None:
    odd = record("none", status="unsupported", reason="has no fp32")
    found = rows(tmp_path, record(took=turns(9.0)), odd)
    (table,) = results(found, unsupported=True)
    assert cells(table, "none")["verdict"] == "unsupported: has no fp32"


def test_the_summary_names_unit_and_base(tmp_path: Path) -> None:
    (table,) = summary(best(ladder(load(ladder_run(tmp_path / "run.jsonl", device=H100)))))
    assert [row[0] for row in table.rows] == ["fp32", "bf16"]
    text = to_text(table)
    assert "(tensor core)" in text
    assert "50.0× over naive" in text or "× over naive" in text


def test_a_comparison_as_tables(tmp_path: Path) -> None:
    a = ladder_run(tmp_path / "a.jsonl", device=H100, method=method(launch="graph"))
    b = ladder_run(tmp_path / "b.jsonl", device=MI300X, speed=lambda *_: 2.0)
    main, _, means, differs = comparison(compare(a, b))
    assert "a: NVIDIA H100 80GB HBM3 (a.jsonl), b: AMD Instinct MI300X (b.jsonl)" in main.title
    row = dict(zip(main.columns, main.rows[0], strict=True))
    assert row["b / a"] == "2.00×"
    assert row["verdict"] == "faster"
    assert [row[0] for row in means.rows] == ["fp32", "bf16"]
    assert ("launch", "graph", "loop") in differs.rows
    tiers = comparison(compare(a, b, by="tier"))
    assert tiers[0].columns[0] == "tier"


EVIL = "a\x1b[31m\u202eb|c\n`<b>`$\u200b"


def test_control_and_bidi_characters_are_escaped_everywhere(tmp_path: Path) -> None:
    evil = record(EVIL, label=EVIL, took=turns(9.0), modes={EVIL: EVIL})
    failed = record("bad", status="failed", reason=EVIL)
    found = rows(tmp_path, evil, failed, software={EVIL: EVIL})
    run = load(tmp_path / "run.jsonl")
    (table,) = results(found)
    texts = [to_text(table), to_markdown(table), plain(run, "csv"), plain(run, "json")]
    texts += [to_text(one) for one in summary(best(found))]
    same = compare(run, run)
    texts += [to_text(one) for one in comparison(same)]
    for text in texts:
        assert all(char.isprintable() or char == "\n" for char in text)
    assert r"\x1b[31m\u202eb" in texts[0]
    assert r"b\|c" in texts[1]
    assert "<b>" not in texts[1]


@given(st.text())
def test_printable_is_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text, 10)) <= 10


def test_csv_and_json_hold_the_columns(tmp_path: Path) -> None:
    run = load(ladder_run(tmp_path / "run.jsonl"))
    found = json.loads(plain(run, "json"))
    assert list(found[0])[: len(COLUMNS)] == list(COLUMNS)
    assert found[0]["peak_tflops"] is None
    assert found[0]["power_limited"] is None
    assert found[0]["time_us"] == pytest.approx(run.time_us[0], rel=1e-12)
    again = pd.read_csv(io.StringIO(plain(run, "csv")))
    assert again.tflops.tolist() == pytest.approx(run.tflops.tolist())
    assert math.isnan(again.peak_tflops[0])
    with pytest.raises(GemmbenchError, match="unknown format 'cvs': did you mean csv"):
        plain(run, "cvs")


def test_markdown_is_a_table() -> None:
    table = listing(("kernel", "what"), [("torch", "a | b"), ("naive", 3)], title="Kernels")
    assert to_markdown(table).split("\n") == [
        "**Kernels**",
        "",
        "| kernel | what |",
        "| --- | --- |",
        r"| torch | a \| b |",
        "| naive | 3 |",
    ]


def test_wide_characters_stay_aligned() -> None:
    text = to_text(listing(("name", "x"), [("核", "1"), ("ab", "2")]))
    assert text.split("\n")[2:] == ["核    1", "ab    2"]


@pytest.mark.parametrize("count", [3, 400])
@pytest.mark.parametrize("terminal", [True, False])
def test_short_and_long_tables_say_the_same(count: int, terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    names = [(f"[bold]kernel-{i}[/bold]", "faster") for i in range(count)]
    echo([listing(("kernel", "verdict"), names)], console=console)
    for name, _ in names:
        assert name in out.getvalue()


def test_markdown_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    echo([listing(("a",), [("b",)])], form="markdown")
    assert capsys.readouterr().out == "| a |\n| --- |\n| b |\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5678, "1,235"), (0.0012345, "0.001234"), (99.995, "100.0"), (0.0, "0"), (math.nan, "")],
)
def test_digits(value: float, text: str) -> None:
    assert digits(value) == text


def test_units() -> None:
    assert [duration(one) for one in (0.5, 999.0, 1500.0, 2.5e6, math.nan)] == [
        "0.5000 µs",
        "999.0 µs",
        "1.500 ms",
        "2.500 s",
        "",
    ]
    assert half_width(100.0, 99.0, 101.0) == "±1.0%"
    assert half_width(100.0, math.nan, math.nan) == ""


def test_sparse_and_dense_never_share_a_column(tmp_path: Path) -> None:
    """A sparse rate counts products that nobody does: beside a dense one it would look twice as
    fast."""
    found = rows(
        tmp_path,
        record("dense", precision="fp16", took=turns(100.0)),
        record("half", precision="fp16_sparse", tier="library", took=turns(60.0)),
        record("half", precision="fp16_sparse", tier="library", repeat=1, took=turns(62.0)),
        record("none", precision="fp16_sparse", status="unsupported", reason="has none"),
        device=H100,
        device_id="h100-sxm5",
    )
    sparse = found.iloc[-2] if found.iloc[-1].kernel == "none" else found.iloc[-1]
    assert math.isnan(sparse.tflops)
    assert math.isnan(sparse.pct_peak)
    assert sparse.sparse_tflops == pytest.approx(2 * 1024**3 / (60 * 62) ** 0.5 / 1e6, rel=0.01)
    assert sparse.pct_sparse_peak == pytest.approx(100 * sparse.sparse_tflops / 1979, rel=0.01)
    first, second = results(found)
    assert [row[0] for row in first.rows] == ["dense"]
    assert [row[0] for row in second.rows] == ["half"]
    assert second.title.startswith("2:4 sparse: ")
    assert {"sparse TFLOP/s", "of sparse peak"} < set(second.columns)
    assert "TFLOP/s" not in second.columns
    assert cells(second, "half")["speedup"] == "base"
    assert best(found).kernel.tolist() == ["dense"]
    (only,) = results(found[found.kernel == "half"])
    assert only.title.startswith("2:4 sparse: ")


def test_a_mode_ranks_apart_and_is_named(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        record("exact", precision="fp8_e4m3", took=turns(100.0)),
        record("quick", precision="fp8_e4m3", modes={"accumulate": "fast"}, took=turns(80.0)),
    )
    (table,) = summary(best(found))
    assert [row[1] for row in table.rows] == ["exact", "quick [accumulate=fast]"]
