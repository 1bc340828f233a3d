"""The report page without a browser: what it says, that it is whole, and that names are inert."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from matplotlib.figure import Figure
from report_runs import DEVICE, rich_run, timed
from synthetic import footer, header, ladder_run, method, record, roof, turns, write

from gemmbench.analysis.overview import overview
from gemmbench.cli import app
from gemmbench.records.schema import Line, Record
from gemmbench.show import style
from gemmbench.show.report import drawn, page
from gemmbench.show.report.vector import themed
from gemmkernels.errors import GemmbenchError

EVIL = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=alert(1)>',
    "]]>--><!--",
    "{{7*7}}{% raw %}",
    "\x1b[2J\x9b31m\x00",
    "\u202egnp.exe\u2066",
    "'onmouseover='alert(1)",
    "</style></svg></table>",
)
EVERY = " ".join(EVIL)
SECTIONS = ("measured", "best", "pictures", "cases", "ends", "environment", "method")
VOID = {"meta", "link", "br", "input", "img", "path", "use", "rect", "image", "hr"}


class Page(HTMLParser):
    """The elements of a page, its text, and what stands in its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif not self._open or self._open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.elements if name == tag]

    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.elements if "id" in attrs]


def made(*runs: Path) -> str:
    return page.report(overview(list(runs)))


def evil_run(path: Path) -> Path:
    """Names that mean harm wherever a run has names."""
    device = replace(DEVICE, name=f"H100 {EVERY}", partition=None, architecture=f"sm_90 {EVERY}")
    cases = [
        timed(f"{name} kernel", 300.0 + 20 * place, size=size, label=EVERY, warnings=(EVERY,))
        for place, name in enumerate(EVIL)
        for size in (2048, 4096)
    ]
    cases += [
        record(f"bad {EVERY}", precision="bf16", status="failed", reason=EVERY, tier=EVERY),
        record("long", precision="bf16", status="failed", reason="x" * 100_000, label="y" * 50_000),
        record(EVERY, precision=f"bf16 {EVERY}", status="unsupported", reason="none"),
    ]
    head = header(
        device,
        run_id=f"evil {EVERY}",
        synthetic=True,
        started=f"2026-01-01 {EVERY}",
        method=method(launch="graph", preset=f"sustained {EVERY}", data=EVERY),
        software={"torch": EVERY, EVERY: "1"},
        host={EVERY: EVERY},
        environment={EVERY: EVERY},
        command=("run", EVERY),
        doctor=(EVERY,),
        left_out=(EVERY,),
        suites=(EVERY,),
        kernels={EVERY: EVERY},
    )
    return write(path, [head, roof("copy", 3000.0, "GB/s"), *cases, footer(cases)])


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("evil")
    return made(evil_run(folder / 'a"><img src=x onerror=alert(1)>{{7*7}}\x1b[2J.jsonl'))


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(rich_run(tmp_path_factory.mktemp("rich") / "run.jsonl"))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("several")
    runs = [
        ladder_run(
            folder / f"{name}.jsonl",
            run_id=name,
            device=DEVICE,
            repeats=3,
            synthetic=True,
            speed=lambda *case, by=by: by if case[1] == "bf16" else 1.0,
            software={"torch": f"2.1{place}.0", "cuda": "13.0"},
            method=method(preset="quick" if name == "other" else "sustained"),
        )
        for place, (name, by) in enumerate((("old", 1.0), ("new", 1.25), ("other", 1.0)))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "_KINDS", drawn._KINDS[:1])
        return made(*runs)


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "_KINDS", ())


def test_the_sections_are_there_and_what_they_link_to(rich: str) -> None:
    found = Page(rich)
    ids = found.ids()
    assert [one for one in ids if one in SECTIONS] == list(SECTIONS)
    assert len(ids) == len(set(ids))
    anchors = [one["href"][1:] for one in found.all("a") if one["href"].startswith("#")]
    assert {one for one in anchors if not one.startswith("case-")} <= set(ids)
    for one in found.all("section"):
        assert one["aria-labelledby"] in ids
    for one in found.all("svg"):
        assert one["role"] == "img"
        assert one["aria-label"]
    assert len(found.all("h1")) == len(found.all("main")) == 1


def test_the_headline_says_the_rate_its_share_and_where_the_rest_went(rich: str) -> None:
    text = " ".join(Page(rich).text.split())
    best = text[text.index("Best of each precision") : text.index("Ladder: ")]
    assert "triton-persistent" in best
    assert re.search(r"67\d\.\d TFLOP/s 95% interval [\d.]+ to [\d.]+", best)
    assert "of the dense peak (tensor core)" in best
    assert "the clock held 1410 of 1830 MHz at the 700 W limit (−23%)" in best
    assert "as fast as naive" in best


def test_the_pictures_that_can_be_drawn_are(rich: str) -> None:
    labels = [one["aria-label"].partition(":")[0] for one in Page(rich).all("svg")]
    assert set(labels) >= {"Ladder", "Sweep", "Roofline", "Waterfall", "Telemetry"}
    assert "No heatmap: " in Page(rich).text


def test_what_failed_is_grouped_by_its_reason_and_linked(rich: str) -> None:
    found = Page(rich)
    text = " ".join(found.text.split())
    ends = text[text.rindex("What failed, and why") :]
    ends = ends[: ends.index("Environment")]
    places = [
        ends.index(f"{word} 1")
        for word in ("wrong", "failed", "timeout", "interrupted", "contended", "unsupported")
    ]
    assert places == sorted(places)
    assert "an illegal memory access" in ends


def test_a_link_to_a_case_is_to_that_case(tmp_path: Path, without_pictures: None) -> None:
    path = write(
        tmp_path / "run.jsonl",
        lines(
            *(record(f"k{number}", took=turns(9.0)) for number in range(3)),
            record("sick", status="failed", reason="ill", tier="library"),
        ),
    )
    text = made(path)
    whole = overview([path]).runs[0].rows["kernel"].tolist()
    (number,) = re.findall(r'<a href="#case-(\d+)">sick', text)
    assert whole[int(number) - 1] == "sick"


def test_names_are_inert_everywhere(evil: str) -> None:
    found = Page(evil)
    assert not {tag for tag, _ in found.elements} & {"img", "iframe", "object", "embed"}
    assert len(found.all("script")) == 3
    for _, attrs in found.elements:
        assert not [name for name in attrs if name.startswith("on")]
    assert not [one for one in evil if not one.isprintable() and one != "\n"]
    assert "<script>window.pwned=1</script> kernel" in found.text
    assert "{{7*7}}{% raw %} kernel" in found.text
    assert ">49<" not in evil
    assert "\\x1b[2J" in found.text
    assert "\\u202egnp.exe" in found.text
    assert len(evil) < 3_000_000


def test_pictures_hold_evil_names_as_text(evil: str) -> None:
    pictures = re.findall(r"<svg .*?</svg>", evil, re.DOTALL)
    assert len(pictures) >= 4
    for text in pictures:
        tree = ElementTree.fromstring(text)
        assert not {one.tag for one in tree.iter()} & {"script", "foreignObject", "a", "style"}
    names = "".join("".join(ElementTree.fromstring(text).itertext()) for text in pictures)
    assert '"><img src=x onerror=alert(1)> kernel' in names


def test_nothing_is_fetched_and_only_our_scripts_run(rich: str, evil: str) -> None:
    for html in (rich, evil):
        found = Page(html)
        for tag, attrs in found.elements:
            assert not {"src", "srcset", "action", "poster", "background"} & attrs.keys()
            href = attrs.get("href", "")
            if href.startswith(("http:", "https:")):
                assert tag == "a"
                assert "noreferrer" in attrs["rel"]
            else:
                assert href.startswith(("#", "data:image/")) or not href, href
        css = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
        assert len(css) == 1
        assert "@import" not in css[0]
        assert "url(" not in css[0]
        (policy,) = (one["content"] for one in found.all("meta") if one.get("http-equiv", ""))
        data = [one.get("type") == "application/json" for one in found.all("script")]
        assert data.count(True) == 1
        for text, is_data in zip(found.scripts, data, strict=True):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert is_data or f"'sha256-{digest}'" in policy
        assert policy.startswith("default-src 'none'; ")
        assert "script-src 'sha256-" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_several_runs_stand_side_by_side(several: str) -> None:
    found = Page(several)
    text = " ".join(found.text.split())
    assert "comparison" in found.ids()
    assert "Run 2 against run 1" in text
    assert "8 faster 0 slower 8 same 0 unsure" in text
    assert "other.jsonl: these were measured in different ways, preset sustained and quick" in text
    assert [one for one in found.all("svg") if one["aria-label"].startswith("Comparison")]
    differing = re.findall(r'<tr class="differs"><th scope="row">([^<]+)<', several)
    assert "torch" in differing
    assert "preset" in differing
    assert "cuda" not in differing
    ids = found.ids()
    assert len(ids) == len(set(ids))


@pytest.mark.usefixtures("without_pictures")
def test_what_is_given_apart_is_compared_as_a_whole(tmp_path: Path) -> None:
    for side, time_us in (("base", 100.0), ("head", 50.0)):
        (tmp_path / side).mkdir()
        for number in range(3):
            one = record("torch", size=512, took=turns(time_us, seed=number))
            path = tmp_path / side / f"{number}.jsonl"
            write(path, lines(one, run_id=f"{side}{number}"))
    sides = [str(tmp_path / side) for side in ("base", "head")]
    text = " ".join(Page(page.report(overview(sides))).text.split())
    assert "Runs 4–6 (head) against runs 1–3 (base)" in text
    assert str(tmp_path) not in text
    assert "1 faster 0 slower 0 same 0 unsure" in text
    text = " ".join(Page(page.report(overview(sides[0]))).text.split())
    assert "Run 2 against run 1" in text
    assert "Run 3 against run 1" in text


def notices(html: str) -> list[str]:
    found = re.findall(r'<li class="(?:bad|warn)"><strong>([^<]+)</strong> ([^<]*)', html)
    return [" ".join(one) for one in found]


def lines(*records: Record, **of_header: Any) -> list[Line]:
    given: dict[str, Any] = {"synthetic": True, **of_header}
    return [header(**given), *records, footer(records)]


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"synthetic": True}, "Synthetic. These figures were never measured."),
        ({"tool": "nvbench"}, "Imported. nvbench measured this; gemmbench neither timed"),
        ({"doctor": ("swap is in use",)}, "Not fit to publish: swap is in use"),
        ({"method": method(unsettled=True)}, "Unsettled."),
        ({"plan": ("0/a/b/c", "0/a/b/d")}, "Not all was loaded: 2 of 2 planned cases"),
    ],
)
def test_what_a_reader_must_know_first_is_said(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    one = record(took=turns(9.0))
    given: dict[str, Any] = {"synthetic": False, **changes}
    html = made(write(tmp_path / "run.jsonl", lines(one, **given)))
    assert [one for one in notices(html) if one.startswith(said)]
    assert len(notices(html)) == 1


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_was_cut_short_and_damaged_says_so(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, [header(), record(took=turns(9.0)), record("cut", status="interrupted")])
    path.write_bytes(path.read_bytes() + b'{"type":"record","group":"1x\n{"type":"rec')
    said = notices(made(path))
    assert [one.partition(" ")[0] for one in said] == ["Cut", "Not", "Not"]


def test_one_case_without_a_peak(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", lines(record("only", took=turns(9.0))))
    text = " ".join(Page(made(path)).text.split())
    assert "1 case, preset sustained" in text
    assert "No ladder: no kernel has another beside it" in text
    assert "No roofline: " in text
    assert "No spec sheet is known for this device" in text
    assert "Nothing: every planned case has a verified figure." in text


@pytest.mark.usefixtures("without_pictures")
def test_no_case_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", lines(record("bad", status="wrong", reason="1 of 4")))
    assert "No case has a figure that counts." in Page(made(path)).text


@pytest.mark.usefixtures("without_pictures")
def test_roofs_of_another_file_are_lent_and_alone_they_are_no_report(tmp_path: Path) -> None:
    run = write(tmp_path / "run.jsonl", lines(timed("torch", 600.0), device=DEVICE))
    head = header(DEVICE, run_id="roofs", probing=True, synthetic=True)
    roofs = write(
        tmp_path / "roofs.jsonl", [head, roof("matrix", 700.0, "TFLOP/s", precision="bf16")]
    )
    text = Page(made(run, roofs)).text
    assert "Only roofs are in: roofs.jsonl" in text
    assert "from roofs.jsonl" in text
    with pytest.raises(GemmbenchError, match="no case was measured"):
        overview([roofs])


@pytest.mark.usefixtures("without_pictures")
def test_sparse_is_the_best_of_its_own(tmp_path: Path) -> None:
    took = turns(2 * 8192**3 / 1200.0 / 1e6)
    one = record("torch", precision="bf16_sparse", size=8192, took=took)
    path = write(tmp_path / "run.jsonl", lines(one, device=DEVICE))
    text = " ".join(Page(made(path)).text.split())
    assert re.search(r"bf16_sparse ?converged 1,\d{3} sparse TFLOP/s 95% interval 1,\d{3} to", text)
    assert "of the sparse peak" in text


def test_a_thousand_records_of_a_gpu_are_below_2_mb(tmp_path: Path) -> None:
    kernels = [("naive", "naive", 7.0), *((f"k{n}", "matrix-core", 300.0 + n) for n in range(9))]
    records = [
        timed(name, rate, size=size, precision=precision, tier=tier, base=name == "naive")
        for size in range(256, 256 * 21, 256)
        for precision in ("bf16", "fp16", "fp8_e4m3", "int8", "tf32")
        for name, tier, rate in kernels
    ]
    roofs = [roof("copy", 3000.0, "GB/s"), roof("matrix", 760.0, "TFLOP/s", precision="bf16")]
    head = header(DEVICE, synthetic=True, method=method(launch="graph"))
    path = write(tmp_path / "run.jsonl", [head, *roofs, *records, footer(records)])
    assert len(records) == 1000
    assert len(made(path).encode()) < 2_000_000


def picture(name: str) -> Figure:
    made = style.figure(4, 3, caption="caption")
    axes = made.subplots()
    axes.plot([1, 2], [1, 2], color="#000000", marker="o", label=name)
    axes.plot([1, 2], [2, 1], color=style.COLOURS[0])
    axes.bar([1], [1], color="#000000", hatch="....", edgecolor="white")
    axes.text(1, 1, "on data", color="white")
    style.dress(axes, x=name, y="y")
    return made


def test_a_picture_follows_the_page_and_its_ids_are_its_own() -> None:
    one, two = (themed(picture("x"), ident=ident, label="l") for ident in ("a", "b"))
    for text in (one, two):
        tree = ElementTree.fromstring(text)
        assert tree.attrib["role"] == "img"
        ids = {node.attrib["id"] for node in tree.iter() if "id" in node.attrib}
        wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert wanted == ids
        assert style.COLOURS[0].lower() in text
        assert not re.search(r"#(000000|dddddd|666666)", text)
        white = [node for node in tree.iter() if "#ffffff" in node.attrib.get("style", "")]
        assert [node.text for node in white] == ["on data"]
    assert not set(re.findall(r' id="([^"]+)"', one)) & set(re.findall(r' id="([^"]+)"', two))
    assert str(themed(picture("x"), ident="a", label="l")) == str(one)


def test_dots_of_a_hatch_stay_small() -> None:
    assert len(themed(picture("x"), ident="a", label="l")) < 40_000


def invoke(arguments: Sequence[str | Path]) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.mark.usefixtures("without_pictures")
def test_the_command_writes_tells_and_writes_again(tmp_path: Path) -> None:
    run = write(tmp_path / "run.jsonl", lines(record(took=turns(9.0))))
    place = tmp_path / "new" / "r.html"
    for _ in range(2):
        done = invoke([run, "-o", place])
        assert done.exit_code == 0, done.output
        assert done.output == f"report: {place}, {place.stat().st_size / 1e6:.2f} MB\n"
    assert [one.name for one in place.parent.iterdir()] == ["r.html"]


@pytest.mark.usefixtures("without_pictures")
def test_the_command_never_overwrites_what_is_not_its_own(tmp_path: Path) -> None:
    run = write(tmp_path / "run.jsonl", lines(record(took=turns(9.0))))
    other = tmp_path / "mine.html"
    other.write_text("<!doctype html><p>mine")
    link = tmp_path / "link.html"
    link.symlink_to(run)
    before = run.read_bytes()
    for place, said in (
        (run, "is no report of gemmbench"),
        (link, "is no report of gemmbench"),
        (other, "is no report of gemmbench"),
        (tmp_path, "is a folder: name a file in it"),
        (run / "x.html", "cannot write"),
        ("/dev/null", "is no regular file"),
        (tmp_path / ("n" * 300), "cannot write"),
    ):
        done = invoke([run, "-o", place])
        assert done.exit_code == 2, done.output
        assert said in done.output
        assert done.output.count("\n") == 1
        assert "Traceback" not in done.output
    assert run.read_bytes() == before
    assert other.read_text() == "<!doctype html><p>mine"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.html", "mine.html", "run.jsonl"]


def test_a_report_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "r.html"
    old = '<meta name="generator" content="gemmbench 0">'
    place.write_text(old)

    def full(self: Path, target: Path) -> Path:
        assert self.read_text() == "new"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(GemmbenchError, match="No space left on device; name another file"):
        page.save("new", place)
    assert place.read_text() == old
    assert [one.name for one in tmp_path.iterdir()] == ["r.html"]


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    for arguments in ([tmp_path / "none.jsonl"], [empty]):
        done = invoke([*arguments, "-o", tmp_path / "r.html"])
        assert done.exit_code == 2
        assert done.output.count("\n") == 1
    assert not (tmp_path / "r.html").exists()
