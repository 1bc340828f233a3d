"""The report: one HTML file that holds all it needs, and asks for nothing over a network."""

import base64
import hashlib
import shlex
import sys
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from gemmbench._version import __version__
from gemmbench.analysis.environment import command_of
from gemmbench.analysis.overview import Overview
from gemmbench.records.reader import without_collector
from gemmbench.show.report.beside import COLUMNS, comparisons, fact_groups, peaks
from gemmbench.show.report.cases import cases_json
from gemmbench.show.report.drawn import drawing
from gemmbench.show.report.sections import apart, by_precision, run_views
from gemmbench.show.report.tones import tone_of
from gemmbench.show.text import printable
from gemmbench.show.whole import unwritable, write_whole
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from jinja2 import Environment

CELL = 2000
"""Longer texts are cut: names come from files that others wrote."""

_MARK = b'<meta name="generator" content="gemmbench'
_HEAD_BYTES = 4096
_STYLES = ("page.css", "cases.css")
_SCRIPTS = ("page.js", "cases.js")


@without_collector()
def report(overview: Overview) -> str:
    """The whole page as HTML text."""
    template = environment_of().get_template("page.html.j2")
    scripts = [file_text(name) for name in _SCRIPTS]
    runs = run_views(overview)
    shared, told = apart(runs)
    with drawing(overview) as drawn:
        cases = cases_json(overview)
        beside = comparisons(overview)
        pictures = drawn()
    return template.render(
        version=__version__,
        policy=policy(scripts),
        styles=Markup("\n".join(map(file_text, _STYLES))),  # noqa: S704 (files of ours)
        page_js=Markup(scripts[0]),  # noqa: S704
        cases_js=Markup(scripts[1]),  # noqa: S704
        runs=runs,
        shared=shared,
        told=told,
        best=by_precision(runs),
        count=sum(len(one.cases) for one in overview.runs),
        lenders=overview.lenders,
        pictures=pictures,
        cases_json=Markup(cases),  # noqa: S704 (it escapes what ends a script)
        comparisons=beside,
        not_compared=overview.not_compared,
        facts=fact_groups(overview),
        columns=COLUMNS,
        peaks=peaks(overview),
        commands=_commands(overview),
        again=_again(overview),
    )


def check_place(path: Path) -> None:
    """Never overwrite what is not ours: a run, say, that was meant to be read.

    Raises GemmbenchError for a folder, and for a file that is no report.
    """
    try:
        if path.is_dir():
            inside = path / "report.html"
            raise GemmbenchError(f"{path} is a folder: name a file in it, such as -o {inside}")
        if not path.exists():
            return
        if not path.is_file():
            raise GemmbenchError(f"{path} is no regular file: choose another one with -o")
        with path.open("rb") as file:
            is_ours = _MARK in file.read(_HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from None
    if not is_ours:
        raise GemmbenchError(
            f"{path} exists and is no report of gemmbench: choose another file with -o, or remove "
            "it first"
        )


def save(text: str, path: Path) -> int:
    """Write a report, whole or not at all; an older report is replaced. Returns its bytes.

    Raises GemmbenchError as `check_place` does, and where the place cannot be written.
    """
    check_place(path)
    data = text.encode("utf-8", "backslashreplace")
    write_whole(data, path)
    return len(data)


@lru_cache(maxsize=1)
def environment_of() -> "Environment":
    """What fills in the templates of this folder: whatever they are given is text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("gemmbench.show.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_inert,
    )
    found.filters |= {"tone": tone_of}
    return found


def _inert(value: object) -> object:
    """Text from anywhere, without control and bidirectional characters; Jinja escapes it then."""
    return printable(value, CELL) if isinstance(value, str) and type(value) is str else value


def file_text(name: str) -> str:
    """A file of this folder."""
    return resources.files("gemmbench.show.report").joinpath(name).read_text("utf-8")


def policy(scripts: list[str]) -> str:
    """The page's content security policy: nothing is loaded, and no script runs but ours."""
    hashes = " ".join(f"'sha256-{_digest(one)}'" for one in scripts)
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src {hashes}; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _commands(overview: Overview) -> tuple[str, ...]:
    """How each run was made; empty where it is not known."""
    return tuple(command_of(one.run.header) for one in overview.runs)


def _again(overview: Overview) -> Markup:
    """The command lines that make this page, and its pictures as files; whole, or they are none."""
    sources = [_quoted(one) for one in overview.sources]
    found = [" ".join(["gemmbench report", *sources])]
    found.append(" ".join(["gemmbench plot", *sources, "--kind ladder"]))
    if len(overview.sides) == len(sources) == 2:
        found.append(" ".join(["gemmbench plot", *sources, "--kind compare"]))
    return Markup("\n").join(printable(one, sys.maxsize) for one in found)


def _quoted(name: str) -> str:
    """One word for a shell, also a name that would be an option."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name)
