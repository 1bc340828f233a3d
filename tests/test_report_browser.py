"""The report in a real browser: its table sorts, filters, opens, and lets nothing hostile run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import browser, visit
from report_runs import DEVICE, HOSTILE, REASON, contended_run, rich_run, timed
from synthetic import MI300X, header, ladder_run, write

from gemmbench.analysis.overview import Overview, overview
from gemmbench.analysis.rows import rows_of
from gemmbench.show.report import drawn
from gemmbench.show.report import page as report_page
from gemmbench.show.report.cases import cases_data
from gemmbench.show.results import is_base
from gemmbench.show.text import digits, duration, half_width, percent, times

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser"]
pytestmark = pytest.mark.xdist_group("browser")

ROWS = "#cases-table tbody tr[id]"
STEP = 100


@dataclass(frozen=True)
class Written:
    """A report on disk, and what it was made of."""

    path: Path
    overview: Overview
    rows: Sequence[Any]


def written(folder: Path, *runs: Path) -> Written:
    """Without the pictures of the runs, which take most of a page's time and are tested apart."""
    found = overview(runs)
    path = folder / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "pictured", lambda _: ())
        report_page.save(report_page.report(found), path)
    return Written(path, found, [row for one in found.runs for row in rows_of(one.rows)])


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """An H100's run with all that a detail can show, and a smaller one beside it."""
    folder = tmp_path_factory.mktemp("rich")
    head = header(MI300X, run_id="other", synthetic=True)
    lines = [timed("naive", 9.0, base=True, tier="naive"), timed("torch", 700.0, tier="library")]
    other = write(folder / "mi300x.jsonl", [head, *lines])
    return written(folder, rich_run(folder / "h100.jsonl"), other)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Sparse and dense rates, integers, several bases, and contended repeats."""
    folder = tmp_path_factory.mktemp("mixed")
    given = (("bf16_sparse", 900.0), ("bf16", 600.0), ("int8", 1200.0), ("bf16_sparse", 1000.0))
    lines = [
        timed(
            f"k{at}", rate, precision=name, size=4096 + 64 * at, warnings=("it stalls",) * (at == 1)
        )
        for at, (name, rate) in enumerate(given)
    ]
    lines += [timed("naive", 7.0, base=True, tier="naive", precision=n) for n in ("fp32", "bf16")]
    lines += [timed("torch", 300.0, precision=name) for name in ("fp32", "bf16", "fp16")]
    head = header(DEVICE, run_id="mixed", synthetic=True)
    path = write(folder / "mixed.jsonl", [head, *lines])
    return written(folder, path, contended_run(folder / "beside.jsonl"))


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """More cases than two windows of the table hold."""
    folder = tmp_path_factory.mktemp("long")
    sizes = range(256, 256 + 8 * 33, 8)
    return written(folder, ladder_run(folder / "long.jsonl", sizes=sizes, synthetic=True))


def numbers(page: "Page") -> list[int]:
    """The cases in the page, in its order."""
    ids: list[str] = page.locator(ROWS).evaluate_all("rows => rows.map(row => row.id)")
    return [int(name.removeprefix("case-")) for name in ids]


def column(page: "Page", name: str) -> list[str]:
    found: list[str] = page.evaluate(
        """([rows, name]) => {
            const place = document.querySelector(`th[data-column="${name}"]`).cellIndex;
            return [...document.querySelectorAll(rows)].map((row) => row.cells[place].innerText);
        }""",
        [ROWS, name],
    )
    return found


def count(page: "Page") -> str:
    return page.locator("#cases-count").inner_text()


def settled(page: "Page", pattern: str) -> None:
    """Wait until the address is as expected: it follows a moment later."""
    page.wait_for_function("pattern => new RegExp(pattern).test(location.hash)", arg=pattern)


# Sorting.

NUMBERS = {
    "time": "time_us",
    "rate": "tflops",
    "peak": "pct_peak",
    "roof": "pct_roof",
    "speedup": "speedup",
}


def ranked(keys: Sequence[Any], *, down: bool) -> list[int]:
    """Numbers of the cases by their keys; None last both ways, equals as they were."""
    known = [place for place, key in enumerate(keys) if key is not None]
    known.sort(key=lambda place: keys[place], reverse=False)
    if down:
        known.sort(key=lambda place: keys[place], reverse=True)
    return [place + 1 for place in [*known, *(p for p, key in enumerate(keys) if key is None)]]


def keys_of(written: Written, name: str) -> list[Any]:
    data = cases_data(written.overview)
    if name in (*NUMBERS, "width"):
        return [getattr(row, name) for row in data.rows]
    if name == "shape":
        return [row.shape_place for row in data.rows]
    if name == "run":
        return [row.run for row in data.rows]
    said = [data.strings[getattr(row, name)] for row in data.rows if name != "verdict"]
    if name == "tier":
        return [data.tiers.index(one) for one in said]
    if name == "precision":
        return [data.precisions.index(one) for one in said]
    if name == "kernel":
        return [one.lower() for one in said]
    words = [row.verdict if row.status == "ok" else row.status for row in written.rows]
    return [word if isinstance(word, str) and word else None for word in words]


def test_every_column_sorts_both_ways_with_missing_values_last(
    browser: "Browser", rich: Written
) -> None:
    with visit(browser, rich.path) as page:
        heads = page.locator("#cases-table thead th")
        names = heads.evaluate_all("heads => heads.map((head) => head.dataset.column)")
        assert set(names) >= {"run", "kernel", "verdict", "width", *NUMBERS}
        for name in names:
            head = page.locator(f'th[data-column="{name}"]')
            keys = keys_of(rich, name)
            for down, said in ((False, "ascending"), (True, "descending")):
                head.get_by_role("button").click()
                assert numbers(page) == ranked(keys, down=down), (name, said)
                assert head.get_attribute("aria-sort") == said
                others = page.locator('th:not([aria-sort="none"])[data-column]')
                assert others.count() == 1
            head.get_by_role("button").click()  # as it was
            assert numbers(page) == list(range(1, len(rich.rows) + 1))
            assert head.get_attribute("aria-sort") == "none"


def test_figures_are_written_as_everywhere_else(browser: "Browser", rich: Written) -> None:
    with visit(browser, rich.path) as page:
        assert column(page, "time") == [duration(row.time_us) for row in rich.rows]
        assert column(page, "width") == [
            half_width(row.time_us, row.time_us_low, row.time_us_high) for row in rich.rows
        ]
        assert column(page, "rate") == [
            f"{rate}\u00a0TFLOP/s" if (rate := digits(row.tflops)) else "" for row in rich.rows
        ]
        assert column(page, "peak") == [percent(row.pct_peak) for row in rich.rows]
        assert column(page, "roof") == [percent(row.pct_roof) for row in rich.rows]
        assert [one.partition("\n")[0] for one in column(page, "speedup")] == [
            "base" if is_base(row) else times(row.speedup) for row in rich.rows
        ]
        assert column(page, "run") == ["1" if row.run_id == "h100" else "2" for row in rich.rows]


def test_sparse_rates_say_so_and_come_after_the_dense_ones(
    browser: "Browser", mixed: Written
) -> None:
    with visit(browser, mixed.path) as page:
        for name in ("rate", "peak"):
            for down in (False, True):
                page.locator(f'th[data-column="{name}"] button').click()
                shown = [one.split("\u00a0") for one in column(page, name) if one]
                words = ["sparse" in one[-1] for one in shown]
                assert words == sorted(words), (name, down)
                assert sum(words) == 2
                for wanted in (False, True):
                    some = [one for one, word in zip(shown, words, strict=True) if word == wanted]
                    found = [float(one[0].strip("%").replace(",", "")) for one in some]
                    assert found == sorted(found, reverse=down), (name, down)
            page.locator(f'th[data-column="{name}"] button').click()
        units = {one.split("\u00a0")[1] for one in column(page, "rate")}
        assert units == {"TFLOP/s", "TOP/s", "sparse TFLOP/s"}


def test_a_speedup_over_another_base_names_it(browser: "Browser", mixed: Written) -> None:
    with visit(browser, mixed.path) as page:
        page.get_by_role("searchbox").fill("torch")
        said = dict(zip(column(page, "precision"), column(page, "speedup"), strict=True))
        assert "over naive in fp32" in said.pop("fp16")
        assert all("over" not in one for one in said.values())
        assert "Speedups are over naive, but" in page.locator("#cases-over").inner_text()


def test_what_has_warnings_is_marked_in_words_and_in_a_sign(
    browser: "Browser", mixed: Written
) -> None:
    with visit(browser, mixed.path) as page:
        marked = page.locator("#cases-table").get_by_role("img", name="has warnings")
        assert marked.count() == 1
        assert marked.inner_text() == "⚠"
        assert marked.evaluate("(one) => one.closest('tr').querySelector('th').innerText") == "k1"


def test_the_table_can_be_scrolled_by_keys(browser: "Browser", rich: Written) -> None:
    with visit(browser, rich.path) as page:
        scroller = page.get_by_role("region", name="All cases", exact=True).last
        assert scroller.get_attribute("tabindex") == "0"


def test_contended_repeats_are_hollow_and_out_of_the_range(
    browser: "Browser", mixed: Written
) -> None:
    number = len(mixed.rows)
    with visit(browser, mixed.path, f"#case-{number}") as page:
        samples, turns = page.locator("#case-detail .case-figure").all()[:2]
        assert samples.locator("text", has_text="→").count() == 2
        assert samples.locator(".case-quartiles").count() == 3
        assert samples.locator("svg .case-soft", has_text="repeat").count() == 2
        assert "contended repeats: not counted" in samples.inner_text()
        every = turns.locator("svg circle")
        shares = turns.locator("svg circle.case-hollow").count() / every.count()
        assert shares == pytest.approx(0.4, abs=0.05)
        assert "not counted" in turns.inner_text()
        said = page.locator("#case-detail").inner_text()
        assert "without 2 contended repeats" in said
        assert "3 of 5 repeats count" in said


# Filters.


def test_each_filter_shows_those_and_counts_them(browser: "Browser", rich: Written) -> None:
    values = {
        "run": ["1" if row.run_id == "h100" else "2" for row in rich.rows],
        "kernel": [row.kernel for row in rich.rows],
        "precision": [row.precision for row in rich.rows],
        "tier": [row.tier for row in rich.rows],
        "status": [row.status for row in rich.rows],
        "verdict": [row.verdict if isinstance(row.verdict, str) else "" for row in rich.rows],
    }
    with visit(browser, rich.path) as page:
        for name, every in values.items():
            select = page.locator(f'#cases-filters select[name="{name}"]')
            texts = select.locator("option").all_inner_texts()
            assert texts[0] == f"all ({len(every)})"
            assert len(texts) == 1 + len(set(every))
            for index, text in enumerate(texts[1:], start=1):
                value, of = re.fullmatch(r"(.*) \((\d+)\)", text, re.DOTALL).groups()  # type: ignore[union-attr]
                value = value.split(":")[0] if name == "run" else value.replace("(none)", "")
                expected = [place for place, one in enumerate(every, start=1) if one == value]
                select.select_option(index=index)
                assert numbers(page) == expected, (name, value)
                assert len(expected) == int(of)
                assert count(page) == f"{of} of {len(every)} cases match."
            select.select_option(index=0)
        # Two at once; the counts of the one are of what the other leaves.
        page.select_option('select[name="precision"]', "bf16")
        left = [row for row in rich.rows if row.precision == "bf16"]
        torch = sum(row.kernel == "torch" for row in left)
        assert f"torch ({torch})" in page.locator('select[name="kernel"]').inner_text()
        page.select_option('select[name="kernel"]', "torch")
        assert len(numbers(page)) == torch
        page.get_by_role("button", name="Clear all").click()
        assert len(numbers(page)) == len(rich.rows)


@pytest.mark.parametrize(
    ("asked", "kernels"),
    [
        ("persistent", {"triton-persistent"}),
        ("LLAMA gate_up", {"triton-persistent"}),  # the label
        ("illegal memory", {"broken"}),  # the reason
        ("sm_100", {"older"}),
        ("stall img", {HOSTILE}),  # the warning
        ("8192x8192 fp8", {"torch"}),
        ("<script>", {HOSTILE}),
        ("torch persistent", set()),
        ("  bf16   timeout ", {"slow"}),
    ],
)
def test_text_is_looked_for_word_by_word(
    browser: "Browser", rich: Written, asked: str, kernels: set[str]
) -> None:
    with visit(browser, rich.path) as page:
        page.get_by_role("searchbox").fill(asked)
        assert set(column(page, "kernel")) == kernels
        assert count(page).startswith("None of" if not kernels else f"{len(numbers(page))} of")


def test_the_address_brings_the_view_back(browser: "Browser", rich: Written) -> None:
    with visit(browser, rich.path) as page:
        page.select_option('select[name="precision"]', "bf16")
        page.get_by_role("searchbox").fill("8192 e")
        for _ in range(2):
            page.locator('th[data-column="rate"] button').click()
        opened = numbers(page)[1]
        page.locator(f"#case-{opened} a").click()
        settled(page, f"^#case-{opened}\\?.*precision=bf16.*q=8192\\+e")
        shown, place = numbers(page), page.evaluate("location.hash")
        assert len(shown) > 2
    with visit(browser, rich.path, place) as page:
        assert numbers(page) == shown
        assert page.locator('select[name="precision"]').input_value() == "bf16"
        assert page.get_by_role("searchbox").input_value() == "8192 e"
        head = page.locator('th[data-column="rate"]')
        assert head.get_attribute("aria-sort") == "descending"
        assert page.locator(f"#case-{opened} + tr #case-detail").is_visible()
        page.keyboard.press("Escape")
        settled(page, "^#cases\\?")
        # What another part of the page is linked by changes nothing here.
        page.locator('nav a[href="#cases"]').click()
        assert numbers(page) == shown


@pytest.mark.parametrize(
    "place", ["#case-0", "#case-999999999", "#cases?sort=bad&kernel=no", "#case-x"]
)
def test_an_address_of_nothing_is_harmless(browser: "Browser", rich: Written, place: str) -> None:
    with visit(browser, rich.path, place) as page:
        assert numbers(page) == list(range(1, len(rich.rows) + 1))
        assert page.locator("#case-detail").count() == 0


# Many rows.


def test_a_window_of_the_rows_is_in_the_page(browser: "Browser", long: Written) -> None:
    every = len(long.rows)
    assert every > 2 * STEP
    with visit(browser, long.path) as page:
        assert numbers(page) == list(range(1, STEP + 1))
        assert page.locator('th[data-column="run"]').count() == 0  # there is one run only
        assert count(page) == f"{every} of {every} cases match; rows 1 to 100 are shown."
        page.locator('th[data-column="time"] button').click()
        page.locator('th[data-column="time"] button').click()
        assert len(numbers(page)) == STEP
        page.get_by_role("searchbox").fill("library")
        assert len(numbers(page)) == every / 4
        page.get_by_role("searchbox").fill("")
        page.get_by_role("button", name="Show 100 more of").click()
        assert len(numbers(page)) == 2 * STEP
        page.get_by_role("button", name=f"Show {every - 2 * STEP} more of").click()
        assert len(numbers(page)) == every
        assert page.evaluate("document.activeElement.closest('tr').rowIndex") == 2 * STEP + 1
    last = every - 5
    with visit(browser, long.path, f"#case-{last}") as page:
        assert numbers(page) == list(range(2 * STEP + 1, every + 1))
        assert page.evaluate("document.activeElement.closest('tr').id") == f"case-{last}"
        box = page.locator(f"#case-{last}").bounding_box()
        assert box is not None
        assert 0 < box["y"] < 300
        page.get_by_role("button", name="Show the 100 before").click()
        assert numbers(page)[0] == STEP + 1


# The detail.


def test_the_detail_of_a_converged_case(browser: "Browser", rich: Written) -> None:
    number = 1 + [row.kernel for row in rich.rows].index("triton-persistent")
    with visit(browser, rich.path, f"#case-{number}") as page:
        detail = page.locator("#case-detail")
        pictures = detail.get_by_role("img")
        assert [one.get_attribute("aria-label") for one in pictures.all()] == [
            "Distribution of the samples",
            "Time, clock, power and temperature turn by turn",
            "From the dense peak to the measured rate",
        ]
        drawn = " ".join(pictures.locator("text").all_text_contents())
        for text in ("time of a launch (ms)", "samples", "clock (MHz)", "power (W)", "TFLOP/s"):
            assert text in drawn
        for text in ("boost clock 1980 MHz", "power limit 700 W", "temperature (°C)", "−23.0%"):
            assert text in drawn
        assert pictures.first.locator(".case-hollow").count() > 0
        said = detail.inner_text()
        for text in (
            "68% of the dense peak; the clock held 1410 of 1830 MHz",
            "wgmma.mma_async × 64",
            "gemmbench run --shape 8192x8192x8192",
            "128×256×64",
            "0.310 of the bound",
            "NVML",
            "disturbed, not counted",
        ):
            assert text in said
        no_text = pictures.evaluate_all(
            "all => all.filter((one) => /NaN|undefined|Infinity/.test(one.outerHTML)).length"
        )
        assert no_text == 0


@pytest.mark.parametrize(
    ("kernel", "text", "pictures"),
    [
        ("broken", REASON, 0),
        ("older", "needs sm_100", 0),
        ("blind", "No sensor told the clock", 3),
        ("blind", "medians of turns (no samples kept)", 3),
        ("beside", "What holds it back is not known", 2),
        ("too-fast", "refuted", 3),
    ],
)
def test_the_detail_of_other_cases(
    browser: "Browser", rich: Written, kernel: str, text: str, pictures: int
) -> None:
    number = 1 + [row.kernel for row in rich.rows].index(kernel)
    with visit(browser, rich.path, f"#case-{number}") as page:
        detail = page.locator("#case-detail")
        assert text in detail.inner_text()
        assert detail.get_by_role("img").count() == pictures
        assert "NaN" not in detail.inner_html()


def test_the_keyboard_alone(browser: "Browser", rich: Written) -> None:
    focused = "document.activeElement"
    with visit(browser, rich.path) as page:
        page.get_by_role("searchbox").focus()
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate(f"{focused}.closest('th')?.dataset.column") == "time":
                break
        page.keyboard.press("Enter")
        assert page.locator('th[data-column="time"]').get_attribute("aria-sort") == "ascending"
        assert page.evaluate(f"{focused}.closest('th').dataset.column") == "time"
        assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") != "none"
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate(f"{focused}.closest('tr')?.id?.startsWith('case-') ?? false"):
                break
        row = page.evaluate(f"{focused}.closest('tr').id")
        assert page.evaluate(f"{focused}.getAttribute('aria-expanded')") == "false"
        page.keyboard.press("Enter")
        assert page.locator(f"#{row} + tr #case-detail").is_visible()
        assert page.evaluate(f"{focused}.getAttribute('aria-expanded')") == "true"
        page.keyboard.press("Tab")  # into the detail
        assert page.evaluate(f"{focused}.textContent") == "Close"
        page.keyboard.press("Escape")
        assert page.locator("#case-detail").count() == 0
        assert page.evaluate(f"{focused}.closest('tr').id") == row
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")  # the same key closes it, too
        assert page.locator("#case-detail").count() == 0


# What it looks like.

READ = {
    "body text": "body",
    "muted text": "#cases-count",
    "headings": "#cases-table thead button",
    "links": "#cases-table tbody a",
    "labels": "#cases-filters label",
    "choices": "#cases-filters select",
    "good": "#cases-table .tag.good",
    "bad": "#cases-table .tag.bad",
    "warn": "#cases-table .tag.warn",
    "plain": "#cases-table .tag.plain",
    "caption": "#case-detail figcaption",
}
COLOURS = """(selectors) => selectors.map((selector) => {
    const first = document.querySelector(selector);
    let behind = first;
    while (behind && /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(behind).backgroundColor)) {
        behind = behind.parentElement;
    }
    return [getComputedStyle(first).color, getComputedStyle(behind).backgroundColor];
})"""


def luminance(colour: str) -> float:
    """Of rgb(r, g, b), by WCAG 2.2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def looked_at(page: "Page") -> dict[str, tuple[str, str]]:
    page.evaluate("document.getAnimations().forEach((one) => one.finish())")
    found = page.evaluate(COLOURS, list(READ.values()))
    return {name: (ink, paper) for name, (ink, paper) in zip(READ, found, strict=True)}


def hold_contrast(found: dict[str, tuple[str, str]]) -> None:
    for name, (ink, paper) in found.items():
        light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ink, paper)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_both_be_read(browser: "Browser", rich: Written, scheme: str) -> None:
    number = 1 + [row.kernel for row in rich.rows].index("triton-persistent")
    with visit(browser, rich.path, f"#case-{number}", color_scheme=scheme) as page:
        before = looked_at(page)
        hold_contrast(before)
        assert (luminance(before["body text"][1]) > 0.5) == (scheme == "light")
        page.locator("#theme").click()
        after = looked_at(page)
        hold_contrast(after)
        assert all(before[name] != after[name] for name in READ)
        assert (luminance(after["body text"][1]) > 0.5) == (scheme == "dark")
        bar = page.locator("#case-detail svg rect.case-bar").first
        assert bar.evaluate("(one) => getComputedStyle(one).fill") == after["links"][0]


def test_a_hostile_name_is_text_and_nothing_runs(browser: "Browser", rich: Written) -> None:
    number = 1 + [row.kernel for row in rich.rows].index(HOSTILE)
    with visit(browser, rich.path, f"#case-{number}") as page:
        assert page.locator(f"#case-{number} a").inner_text() == HOSTILE
        assert HOSTILE in page.locator("#case-detail h3").inner_text()
        page.select_option('select[name="kernel"]', HOSTILE)
        assert column(page, "kernel") == [HOSTILE]
        settled(page, "kernel=")
        assert page.evaluate("window.pwned") is None
        assert page.locator("#cases img").count() == 0


def test_print_shows_the_rows_and_no_controls(browser: "Browser", rich: Written) -> None:
    with visit(browser, rich.path, "#case-1") as page:
        page.emulate_media(media="print")
        for name in ("#cases-filters", "#cases-more", ".case-close", "#theme"):
            assert not page.locator(name).is_visible(), name
        assert page.locator(ROWS).first.is_visible()
        assert page.locator("#case-detail").is_visible()
        assert page.pdf().startswith(b"%PDF")


def test_a_phone_scrolls_the_table_not_the_page(browser: "Browser", rich: Written) -> None:
    number = 1 + [row.kernel for row in rich.rows].index("triton-persistent")
    phone = {"width": 360, "height": 740}
    with visit(browser, rich.path, f"#case-{number}", viewport=phone) as page:
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360
        box = page.locator("#case-detail").bounding_box()
        assert box is not None
        assert box["width"] <= 360


def test_without_scripts_a_line_says_what_is_missing(browser: "Browser", rich: Written) -> None:
    with visit(browser, rich.path, java_script_enabled=False) as page:
        assert "scripts are off" in page.locator("#cases").inner_text()
        assert not page.locator("#cases-app").is_visible()
