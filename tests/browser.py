"""A real browser for the tests of pages: the system's Chromium, driven by playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_TELL_CSP = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"""


def _program() -> str | None:
    named = os.environ.get("GEMMBENCH_BROWSER")
    if named:
        found = shutil.which(named)
        assert found, f"GEMMBENCH_BROWSER is {named!r}, which is no program"
        return found
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One for a module. It must be imported where it is used: most tests need none."""
    program = _program()
    if program is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)}, and no $GEMMBENCH_BROWSER")
    pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=list(SWITCHES))
        yield started
        started.close()


@contextmanager
def visit(browser: "Browser", path: Path, place: str = "", **context: Any) -> Iterator["Page"]:
    """A page of its own, at `place` of a file. Whatever it complains of or asks for is a fault."""
    faults: list[str] = []
    url = path.as_uri()

    def asked(request: "Request") -> None:
        if not request.url.startswith("data:") and request.url.partition("#")[0] != url:
            faults.append(f"request: {request.url}")

    def opened(dialog: "Dialog") -> None:
        faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    with browser.new_context(**context) as inside:
        page = inside.new_page()
        page.add_init_script(_TELL_CSP)
        page.on("console", lambda said: faults.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", opened)
        page.on("request", asked)
        page.goto(url + place)
        yield page
    assert not faults, faults
