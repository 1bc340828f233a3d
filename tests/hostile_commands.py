"""Every command that takes a run file, called as a user would, and what it must never do."""

import contextlib
import csv
import io
import json
import sys
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hostile

from gemmbench.cli.app import app, main
from gemmbench.show.pictures import KINDS

MADE = "made"
"""The folder where commands are asked to write: nothing may be written elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    code: int
    out: str
    err: str


def read_by() -> dict[str, tuple[str, ...]]:
    """What to call with a.jsonl and b.jsonl, by what it is. Each form of each command."""
    found: dict[str, tuple[str, ...]] = {}

    def add(*arguments: str, form: str = "") -> None:
        found[" ".join(one for one in (*arguments, *(("-f", form) * bool(form))))] = (
            *arguments,
            *(("-f", form) if form else ()),
        )

    for form in ("table", "markdown", "csv", "json"):
        add("show", "a.jsonl", "--unsupported", form=form)
        add("compare", "a.jsonl", "b.jsonl", form=form)
        add("cost", "a.jsonl", "--usd-per-hour", "2", form=form)
    for form in ("table", "markdown", "json"):
        add("explain", "a.jsonl", "--roofs", "b.jsonl", form=form)
        add("roofs", "a.jsonl", form=form)
        add("claims", "a.jsonl", form=form)
    add("show", "a.jsonl", "--launched")
    add("compare", "a.jsonl", "b.jsonl", "--by", "tier")
    add("compare", "a.jsonl", "published")
    add("export", "a.jsonl")
    for kind in KINDS:
        runs = ("a.jsonl", "b.jsonl") if kind == "compare" else ("a.jsonl",)
        add("plot", *runs, "--kind", kind, "--out", f"{MADE}/{kind}")
    if "report" in app.commands:
        add("report", "a.jsonl", "b.jsonl", "-o", f"{MADE}/report.html")
    if "history" in app.commands:
        for form in ("table", "markdown", "csv", "json"):
            add("history", "a.jsonl", "b.jsonl", form=form)
        add("history", "a.jsonl", "b.jsonl", "--plot", f"{MADE}/history")
    return found


def call(*arguments: str, cwd: Path) -> Outcome:
    """Run the command in this process: what is not an exit is raised, as a traceback would be."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code: Any = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(cwd))
        stack.enter_context(patch.object(sys, "argv", ["gemmbench", *arguments]))
        stack.enter_context(patch.object(sys, "stdout", out))
        stack.enter_context(patch.object(sys, "stderr", err))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
        warnings.simplefilter("always", UserWarning)  # ours are shown to the user
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
    told, complained = (one.buffer.getvalue().decode() for one in (out, err))
    return Outcome(code=code, out=told, err=complained)


def check(arguments: Sequence[str], done: Outcome) -> None:
    """An exit code of ours, lines that a terminal can show, and a document that is what it says."""
    assert done.code in (0, 2), (done.code, done.err[-2000:])
    hostile.check_text(done.out + done.err)
    for line in done.err.splitlines():
        assert line.startswith("gemmbench: "), line[:300]
        assert len(line) <= hostile.LONGEST_LINE + 40, line[:300]
    if done.code:
        assert done.err
        return
    match arguments[-1] if arguments else "":
        case "json":
            json.loads(done.out, parse_constant=_no_number)
        case "csv":
            check_csv(done.out)
        case "markdown":
            check_markdown(done.out)
    if arguments and arguments[0] == "export":
        json.loads(done.out, parse_constant=_no_number)


def _no_number(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


def check_csv(text: str) -> None:
    """As many cells in each row, and none that a spreadsheet takes for a formula."""
    rows = list(csv.reader(io.StringIO(text), strict=True))
    assert len({len(row) for row in rows}) == 1
    for cell in {cell for row in rows for cell in row if cell[:1] in tuple("=+-@＝＋－＠\t\r")}:
        float(cell)  # a number is none


def check_markdown(text: str) -> None:
    """As many cells in each row of a table, and nothing but text in them."""
    for table in text.split("\n\n"):
        rows = [line for line in table.split("\n") if line.startswith("|")]
        plain = [row.replace("\\\\", "").replace("\\|", "") for row in rows]
        assert len({row.count("|") for row in plain}) <= 1, rows[:3]
    assert "<" not in text
    assert "](" not in text


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


ACTIVE = ("script", "style", "iframe", "object", "embed", "link", "base", "meta", "form", "img")


def check_html(text: str) -> Counter[str]:
    """No element and no handler that a text has brought; how many elements can act or load."""
    parser = _Elements()
    parser.feed(text)
    parser.close()
    assert parser.found
    for tag, attributes in parser.found:
        assert "evil" not in tag, tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name, value)
            if name in ("href", "src", "xlink:href", "action", "formaction", "srcdoc", "data"):
                assert "evil" not in (value or ""), (tag, name, value)
    return Counter(tag for tag, _ in parser.found if tag in ACTIVE)


def check_svg(data: bytes) -> None:
    """Well-formed XML, of which nothing acts."""
    for element in ET.fromstring(data).iter():
        assert "evil" not in element.tag, element.tag
        assert element.tag.rpartition("}")[2] not in ("script", "foreignObject"), element.tag
        assert not any(name.startswith("on") for name in element.attrib)


def check_made(folder: Path) -> Counter[str]:
    """What was written is text, a picture or a page, and sound."""
    counts: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        match path.suffix:
            case ".svg":
                check_svg(data)
            case ".png":
                assert data.startswith(b"\x89PNG")
            case ".html":
                counts += check_html(data.decode())
            case _:
                raise AssertionError(f"nobody asked for {path.name!r}")
    return counts


def state(root: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of all files under `root` but those in a folder named `MADE`."""
    return {
        path: (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in root.rglob("*")
        if not path.is_dir() and path.parent.name != MADE
    }
