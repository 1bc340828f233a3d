"""The examples of the documentation: read from the pages, and run as a reader would.

A `sh` or `python` block is run, in the order of its page, in one new folder a page that has a copy
of `results/`. A block after "Save … as `NAME`:" is written to that file. A `text` block after a
command is its output: every fixed word of it must be there, and of a command that only reads the
kept runs, its whole lines without a gap. Other blocks must parse. An HTML
comment right before a block exempts it, with its reason: `not run` for commands, which must parse
all the same, and `from another run` for an output. What an example measures more than twice, each
time in a new process, is measured twice here: it shows the same.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import yaml
from markdown_it import MarkdownIt

from gemmbench.cli import app

ROOT = Path(__file__).parents[1]
SAVE = re.compile(r"[Ss]ave [^`]*`([\w./-]+)`[^`]*:$")
COMMENT = re.compile(r"<!-- (not run|from another run): (.+) -->")
COMMANDS = ("sh", "python")
REPEATS = re.compile(r"--repeat (?:[3-9]|[1-9][0-9]+)\b")
WORD = re.compile(r"[^\W\d_][\w-]*[^\W\d_]")
_VARIES = """
converged noisy drifting contended throttled unsettled unsure faster slower same ms µs
AMD EPYC Intel Xeon x86-64-v3 x86-64-v4 amx
"""
VARIES = frozenset(_VARIES.split())
"""Words that another machine, or the same an hour later, says otherwise."""
TOO_BUSY = ("no row has a time on both sides", "no row can fail", "not judged: ")
"""What `compare` says, with exit code 2, where neighbours took the cores from all that was run."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page. `file` is where its reader saves it; `exempt` is why not run."""

    language: str
    text: str
    line: int
    file: str = ""
    exempt: str = ""


def pages() -> list[Path]:
    """Every page with examples; the table of instructions and the changelog have none."""
    docs = [path for path in (ROOT / "docs").rglob("*.md") if path.name != "instructions.md"]
    return [ROOT / "README.md", *sorted(docs)]


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page in order; raises AssertionError for an exemption of nothing."""
    said, saved = "", ""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "inline":
            saved = "".join(SAVE.findall(token.content.replace("\n", " ")))
        elif token.type == "html_block":
            assert not said, f"line {line}: {said!r} stands before no block"
            said = "".join(": ".join(found) for found in COMMENT.findall(token.content))
        elif token.type == "fence":
            yield Block(
                language=token.info.strip(),
                text=token.content,
                line=line,
                file=saved,
                exempt=said,
            )
            said = saved = ""
        elif not token.type.endswith("_close"):
            assert not said or token.type == "inline", f"line {line}: {said!r} is before no block"


def run_page(text: str, folder: Path) -> None:
    """Do all that a page says, in `folder`. Raises AssertionError that names the line."""
    shutil.copytree(ROOT / "results", folder / "results", ignore=lambda *_: ["local", "tuning"])
    output, kept = "", False
    for block in blocks(text):
        where = f"line {block.line}:\n{block.text}"
        if block.file:
            target = folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        elif block.language in COMMANDS:
            output = "" if block.exempt else _run(block, folder, where)
            kept = "results/" in block.text and "gemmbench run" not in block.text
        elif block.language == "text" and output and not block.exempt:
            missing = [word for word in fixed_words(block.text) if word not in output]
            assert not missing, f"{where}\n{missing} are not in\n{output}"
            assert not kept or _lines(block.text) in _lines(output), f"{where}\nis not of\n{output}"


def _lines(text: str) -> str:
    """Less the rule below a table's head, which a page leaves out."""
    lines = [line.rstrip() for line in text.strip().splitlines() if set(line) - set("─ ")]
    return "\n".join(["", *lines, ""])


def _run(block: Block, folder: Path, where: str) -> str:
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable]
    done = subprocess.run(
        [
            *command,
            *([] if block.language == "sh" else ["-c"]),
            REPEATS.sub("--repeat 2", block.text),
        ],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    busy = done.returncode == 2 and any(told in done.stdout for told in TOO_BUSY)
    assert done.returncode == 0 or busy, f"{where}\nended with {done.returncode}:\n{done.stdout}"
    return "" if busy else done.stdout


def environment() -> dict[str, str]:
    """This process's, with `gemmbench` and `python` of its own interpreter first."""
    bin_ = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}


def fixed_words(text: str) -> list[str]:
    """Those of an output that are the same on every machine, each once."""
    found = (word for word in WORD.findall(text) if word not in VARIES)
    return list(dict.fromkeys(found))


def check_page(text: str) -> None:
    """Raise where a block is not what its language says, or uses a command that is not there."""
    for block in blocks(text):
        _check(block)


def _check(block: Block) -> None:
    if block.language == "sh":
        for command in gemmbench_commands(block.text):
            check_command(command)
    elif block.language == "python":
        compile(block.text, f"line {block.line}", "exec")
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml":
        yaml.safe_load(block.text)
    else:
        known = ("text", "csv")
        assert block.language in known or block.language.startswith("{"), block


def gemmbench_commands(script: str) -> list[list[str]]:
    """The arguments of every call of gemmbench in a shell script."""
    found: list[list[str]] = []
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        words.whitespace_split = True
        arguments: list[str] | None = None
        before = ""
        for word in words:
            if set(word) <= set("();<>|&"):
                arguments = None
            elif arguments is not None:
                arguments.append(word)
            elif (word == "gemmbench" and before != "-C") or word.endswith("/bin/gemmbench"):
                found.append(arguments := [])
            inner = word if before == "-c" else "".join(re.findall(r"-c,(.+?)\]", word))
            found += gemmbench_commands(inner)  # of bash -c '…', or as JSON has it
            before = word
    return found


def check_command(arguments: list[str]) -> None:
    """Raise click's error unless gemmbench has this command with these options."""
    if not arguments or arguments[0].startswith("-"):
        return
    _check_within(app, "gemmbench", arguments)


def _check_within(group: click.Group, name: str, arguments: list[str]) -> None:
    one, *rest = arguments
    with group.make_context(name, [one]) as context:
        command = group.get_command(context, one)
        if command is None:
            raise click.UsageError(f"no command {one!r}")
        if {"--help", "-h"} & set(rest):
            return
        if isinstance(command, click.Group) and rest:
            _check_within(command, one, rest)
        else:
            command.make_context(one, rest, parent=context)
