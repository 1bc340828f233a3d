"""The report on paper: nothing is wider than the page, and its text has one size."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import browser, visit
from report_runs import DEVICE, rich_run, timed
from synthetic import footer, header, write

from gemmbench.analysis.overview import overview
from gemmbench.show.report import page as report_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]
pytestmark = pytest.mark.xdist_group("browser")

A4 = {"width": 690, "height": 1000}
"""What is left of the paper between its margins, in CSS pixels."""

WIDER = """() => [...document.querySelectorAll("main *")]
    .filter((one) => !one.closest(".visually-hidden"))
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => `${one.tagName}.${one.className}`)"""
TOO_LARGE = """() => [...document.querySelectorAll(".scroll .tag, .scroll small, .scroll thead th")]
    .filter((one) => {
        const size = (of) => parseFloat(getComputedStyle(of).fontSize);
        return size(one) > size(one.closest("table")) + 0.01;
    }).length"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a page can show, with its pictures."""
    folder = tmp_path_factory.mktemp("one")
    return saved(folder, [rich_run(folder / "run.jsonl")])


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sides of three runs each."""
    folder = tmp_path_factory.mktemp("several")
    for side, speed in (("base", 1.0), ("head", 1.1)):
        (folder / side).mkdir()
        for number in range(3):
            records = [
                timed("naive", 7.1, base=True, tier="naive", size=4096),
                timed("a-kernel-with-quite-a-long-name", 600.0 * speed + number, size=4096),
            ]
            environment = {"PYTORCH_CUDA_ALLOC_CONF": "x" * 90, "L" * 60: side}
            head = header(DEVICE, run_id=f"{side}{number}", synthetic=True, environment=environment)
            write(folder / side / f"run{number}.jsonl", [head, *records, footer(records)])
    return saved(folder, [folder / "base", folder / "head"])


def saved(folder: Path, sources: list[Path]) -> Path:
    path = folder / "report.html"
    report_page.save(report_page.report(overview(sources)), path)
    return path


@pytest.mark.parametrize("which", ["one", "several"])
def test_nothing_is_wider_than_the_paper(
    browser: "Browser", request: pytest.FixtureRequest, which: str
) -> None:
    with visit(browser, request.getfixturevalue(which), viewport=A4) as page:
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(WIDER) == []
        assert page.evaluate(TOO_LARGE) == 0
        told = page.get_by_text("On paper are only those cases that were shown")
        assert told.is_visible()
        folded = page.locator("details:not([open]) table").all()
        assert len(folded) == (2 if which == "several" else 0)
        assert all(one.is_visible() for one in folded)
        page.emulate_media(media="screen")
        assert not told.is_visible()
        assert not any(one.is_visible() for one in folded)


def test_what_is_folded_is_unfolded_for_paper_and_folded_again(
    browser: "Browser", several: Path
) -> None:
    opened = "() => [...document.querySelectorAll('details')].map((one) => one.open)"
    with visit(browser, several, viewport=A4) as page:
        page.evaluate("document.querySelector('main').append(document.createElement('details'))")
        page.locator("details").last.evaluate("(one) => { one.open = true; }")
        before = page.evaluate(opened)
        assert set(before) == {False, True}
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert set(page.evaluate(opened)) == {True}
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        assert page.evaluate(opened) == before
