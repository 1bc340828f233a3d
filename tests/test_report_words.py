"""What the report's page says in words is true of the runs: also imported, cut and shared ones."""

import html
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from matplotlib.figure import Figure
from report_runs import DEVICE, timed, watched
from synthetic import footer, header, record, roof, turns, write
from test_report import Page, lines, made

from gemmbench.analysis.names import apart
from gemmbench.analysis.overview import overview
from gemmbench.records.schema import Check, Record
from gemmbench.show.report import drawn, page
from gemmbench.show.report.vector import themed
from gemmbench.show.style import figure
from gemmkernels.device import Device

NOTHING = "Nothing: every planned case has a verified figure."
CHECK = Check(exact_by="product", error=0.3, rows=64)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "_KINDS", ())


def text_of(page_html: str) -> str:
    return " ".join(Page(page_html).text.split())


def one(**changes: Any) -> Record:
    return record(took=turns(9.0), **({"check": CHECK} | changes))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lines(one()), NOTHING),
        (lines(one(check=None)), "Nothing failed, but only 0 of 1 measured records say that"),
        (lines(one(), tool="cutlass"), "Nothing that cutlass told of failed; gemmbench did not"),
        (lines(one(), plan=("0/a/b/c",)), "the run was cut short: 1 of 1 planned cases may have"),
        ([header(), one()], "No case that ran failed, but the run was cut short: some planned"),
        (
            [header(), one(), msgspec.structs.replace(footer([one()]), interrupted=True)],
            "the run was cut short: some planned cases may have no record.",
        ),
    ],
)
def test_that_nothing_failed_is_said_of_what_is_known(
    tmp_path: Path, given: list[Any], said: str
) -> None:
    text = text_of(made(write(tmp_path / "run.jsonl", given)))
    assert said in text
    assert (NOTHING in text) == (said == NOTHING)


def test_an_imported_run_is_told_as_its_tool_tells_it(tmp_path: Path) -> None:
    nothing_known = Device(
        kind="gpu",
        vendor="nvidia",
        name="unknown (cutlass)",
        architecture="",
        torch_device="",
        slug="unknown",
        units=0,
        memory_bytes=0,
    )
    checked = one(check=Check(exact_by="its tool", error=None, rows=0))
    other = lines(checked, device=nothing_known, tool="cutlass", left_out=("2 printed twice",))
    text = text_of(made(write(tmp_path / "run.jsonl", other)))
    assert "Deviceunknown (cutlass) Software" in text
    assert "checked by cutlass itself: 1 of 1" in text
    assert "bit for bit" not in text
    assert "Each kernel is verified" not in text
    assert "Not imported: 2 printed twice" in text
    assert "Left out of the plan" not in text
    assert "memory (GiB)" not in text
    assert "settling before a turn" not in text
    write(tmp_path / "own.jsonl", lines(one()))
    both = text_of(made(tmp_path / "run.jsonl", tmp_path / "own.jsonl"))
    assert "Of what gemmbench measured itself: Each kernel is verified" in both


def contended(repeat: int) -> Record:
    lost = [replace(seen, disturbed=14) for seen in watched(1400.0)]
    return record("k", precision="bf16", took=lost, size=4096, repeat=repeat)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (1, "in some repeats: they are left out, the others count"),
        (3, "in most repeats: the time is of the others"),
        (4, "a neighbour took the cores: it is never ranked"),
    ],
)
def test_what_neighbours_took_is_told_apart(tmp_path: Path, lost: int, said: str) -> None:
    repeats = [
        contended(number) if number < lost else timed("k", 500.0, size=4096, repeat=number)
        for number in range(4)
    ]
    found = made(write(tmp_path / "run.jsonl", lines(*repeats, device=DEVICE)))
    assert said in text_of(found)
    assert text_of(found).count("a neighbour took the cores") == 1
    assert "Cases that failed, were not supported, or lost repeats" in found


def commands(page_html: str) -> list[str]:
    every = [html.unescape(one) for one in re.findall(r"<pre>(.*?)</pre>", page_html, re.DOTALL)]
    return every[-1].splitlines()


def test_the_commands_name_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for side in ("base", "a head"):
        Path(side).mkdir()
        for number in range(6):
            write(Path(side) / f"run{number}.jsonl", lines(one(), run_id=f"{side}{number}"))
    write(Path("roofs.jsonl"), [header(probing=True), roof("copy", 3000.0, "GB/s")])
    given = ["base", "a head", "roofs.jsonl"]
    assert commands(page.report(overview(given))) == [
        "gemmbench report base 'a head' roofs.jsonl",
        "gemmbench plot base 'a head' roofs.jsonl --kind ladder",
    ]
    assert commands(page.report(overview(given[:2])))[-1] == (
        "gemmbench plot base 'a head' --kind compare"
    )
    every = [f"base/run{number}.jsonl" for number in range(6)] * 60
    assert commands(page.report(overview(every)))[0] == " ".join(["gemmbench report", *every])


def test_files_of_one_name_are_told_apart_and_no_folder_of_the_machine_is(tmp_path: Path) -> None:
    for side in ("base", "head"):
        (tmp_path / side).mkdir()
        write(tmp_path / side / "run0.jsonl", lines(one(), run_id=side))
    found = page.report(overview([str(tmp_path / "base"), str(tmp_path / "head")]))
    text = text_of(found)
    assert "base/run0.jsonl" in text
    assert "head/run0.jsonl" in text
    assert str(tmp_path) not in found
    assert commands(found)[0] == "gemmbench report base head"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/x/a.jsonl", "/x/b.jsonl"], ["a.jsonl", "b.jsonl"]),
        (["/x/1/a.jsonl", "/y/1/a.jsonl", "b"], ["x/1/a.jsonl", "y/1/a.jsonl", "b"]),
        (["a", "x/a", "a"], ["a", "x/a", "a"]),
        (["x/a", "/x/a"], ["x/a", "/x/a"]),
        ([], []),
    ],
)
def test_the_shortest_end_of_a_path_tells_it_apart(paths: list[str], names: list[str]) -> None:
    assert list(apart([Path(one) for one in paths])) == names


def test_what_all_runs_share_is_said_once(tmp_path: Path) -> None:
    for number in range(3):
        software = {"torch": f"2.{number}"}
        write(tmp_path / f"{number}.jsonl", lines(one(), run_id=str(number), software=software))
    text = text_of(made(*sorted(tmp_path.glob("*.jsonl"))))
    text = text[: text.index("Best of each precision")]
    assert text.count("Synthetic. ") == text.count("Verification1 of 1") == 1
    assert "All 3 runs" in text
    assert text.count("Softwaregemmbench") == 3


def test_a_single_side_is_compared_run_by_run_and_nothing_with_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(2):
        one_run = record("torch", size=512, took=turns(9.0, seed=number))
        write(folder / f"{number}.jsonl", lines(one_run, run_id=str(number)))
    head = header(probing=True, run_id="roofs", synthetic=True)
    roofs = write(tmp_path / "roofs.jsonl", [head, roof("copy", 3000.0, "GB/s")])
    found = page.report(overview([folder, roofs]))
    assert "Run 2 against run 1" in text_of(found)
    alone = page.report(overview([folder / "0.jsonl", roofs]))
    assert "comparison" not in Page(alone).ids()
    assert 'href="#comparison"' not in alone


def test_warnings_of_cases_are_counted_first(tmp_path: Path) -> None:
    odd = [record(name, took=turns(9.0), warnings=("it stalls",)) for name in ("a", "b")]
    found = text_of(made(write(tmp_path / "run.jsonl", lines(*odd, one()))))
    assert "Warnings: 2 cases carry one" in found


def test_no_alarm_where_nothing_is_slower(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.jsonl", lines(one(), run_id=str(number)))
    found = made(*sorted(tmp_path.glob("*.jsonl")))
    assert '<li class=""><strong>0</strong> slower</li>' in found


def test_pictures_are_of_each_side_in_turn(tmp_path: Path) -> None:
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        for number in range(4):
            path = tmp_path / side / f"{number}.jsonl"
            write(path, lines(one(), run_id=f"{side}{number}"))
    assert drawn.pictured(overview([tmp_path / "a", tmp_path / "b"])) == (0, 1, 4)
    assert drawn.pictured(overview(tmp_path / "a")) == (0, 1, 2)


def test_examples_that_read_alike_say_their_precision(tmp_path: Path) -> None:
    odd = [record("k", precision=name, status="failed", reason="ill") for name in ("bf16", "fp32")]
    text = text_of(made(write(tmp_path / "run.jsonl", lines(*odd))))
    assert "k fp32 1024x1024x1024, k bf16 1024x1024x1024" in text


def test_the_method_is_told_in_words(tmp_path: Path) -> None:
    text = text_of(made(write(tmp_path / "run.jsonl", lines(one()))))
    assert "settling before a turn (ms)" in text
    assert not re.search(r"\b(settle_s|turn_s|sample_s|least_rounds|max_time_s)\b", text)


def test_processes_that_cannot_draw_are_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [drawn._Kind(name, f"{name}: it", _two_axes) for name in ("a", "b")]
    monkeypatch.setattr(drawn, "_KINDS", tuple(kinds))
    path = write(tmp_path / "run.jsonl", lines(one()))

    def drawn_by(can: Callable[[], bool]) -> str:
        monkeypatch.setattr(drawn, "_can_fork", can)
        return made(path)

    here, there = drawn_by(lambda: False), drawn_by(lambda: sys.platform == "linux")
    assert here == there
    assert here.count("<svg ") == 2
    monkeypatch.setattr(drawn, "_in_worker", _die)
    assert drawn_by(lambda: sys.platform == "linux") == here


def _two_axes(_: object) -> Figure:
    made_figure = figure(4, 3, caption="c")
    made_figure.subplots(1, 2)
    return made_figure


def _die(*_: object) -> None:
    os._exit(9)


def test_marks_that_lie_on_one_another_are_drawn_once() -> None:
    def marks(count: int) -> int:
        made_figure = figure(4, 3, caption="c")
        axes = made_figure.subplots()
        axes.plot([1, 2] * count, [1, 2] * count, "o")
        axes.vlines([1.0, 2.0] * count, 1, 2)
        return len(themed(made_figure, ident="a", label="l"))

    assert marks(1000) < marks(1) + 200
