"""The site is built without a warning, offline, and no link within it leads nowhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


class Page(HTMLParser):
    """What a page links to, loads, and can be linked to by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if "src" in found or (tag == "link" and found.get("rel") in ("stylesheet", "preload")):
            self.loads.append(found.get("src") or found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            *[sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"],
            *["-d", str(out / "doctrees"), str(ROOT / "docs"), str(out / "html")],
        ],
        env={**os.environ, **NO_NETWORK, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


def pages(site: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path.read_text()) for path in site.rglob("*.html")}


def broken(found: dict[Path, Page]) -> Iterator[str]:
    """Links and files of a page that are not in the site."""
    for path, page in found.items():
        for link in (*page.links, *page.loads):
            if re.match(r"(https?|mailto):", link):
                continue
            where, _, anchor = unquote(link).partition("#")
            target = (path.parent / where.partition("?")[0]).resolve() if where else path
            if not target.exists():
                yield f"{path.name}: {link}"
            elif anchor and target in found and anchor not in found[target].anchors:
                yield f"{path.name}: {link} has no such place"


@pytest.mark.slow
def test_the_site_is_whole(site: Path) -> None:
    found = pages(site)
    assert len(found) > 15
    assert not list(broken(found))
    loaded = {link for page in found.values() for link in page.loads}
    assert not [link for link in loaded if "//" in link], "the site loads from elsewhere"


@pytest.mark.slow
def test_what_the_program_knows_is_in_the_site(site: Path) -> None:
    from gemmbench.cli import app
    from gemmkernels.ladder import LADDER

    commands = (site / "reference" / "commands.html").read_text()
    for name, command in app.commands.items():
        assert f"gemmbench {name}" in commands
        assert all(option in commands for one in command.params for option in one.opts)
    catalogue = (site / "reference" / "catalogue.html").read_text()
    assert all(kernel.name in catalogue for kernel in LADDER)
    python = (site / "reference" / "python.html").read_text()
    assert "gemmbench.load" in python
    assert "median of the turns and its 95%" in python
    lines = (site / "reference" / "file-format.html").read_text()
    assert all(kind in lines for kind in ("Header", "Record", "SelfTest", "Roof", "Footer"))


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text('<a href="#here"></a><a href="#there"></a><i id="here"></i><img src="no.png">')
    assert list(broken(pages(tmp_path))) == [
        "page.html: #there has no such place",
        "page.html: no.png",
    ]
