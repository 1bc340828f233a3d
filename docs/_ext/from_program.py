"""Directives whose content the program writes, so that no page can fall behind it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def _told(*arguments: str) -> str:
    """What `gemmbench …` writes."""
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "gemmbench", *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


class FromProgram(SphinxDirective):
    """A table that a command writes: its arguments, such as `list kernels`."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The table."""
        return self.parse_text_to_nodes(
            _told(*self.arguments[0].split(), "--format", "markdown"), allow_section_headings=False
        )


class LinesOfAFile(SphinxDirective):
    """The kinds of lines of a run file with their fields, from the schema that the types make."""

    def run(self) -> list[nodes.Node]:
        """A table for each kind of line, and for each record in one."""
        return self.parse_text_to_nodes(
            "\n".join(_described(json.loads(_told("schema")))), allow_section_headings=False
        )


def _described(schema: dict[str, Any]) -> Iterator[str]:
    known = schema["$defs"]
    kinds = [one["$ref"].rpartition("/")[2] for one in schema["anyOf"]]
    for name in (*kinds, *(name for name in known if name not in kinds)):
        if "properties" not in known[name]:
            continue
        tag = known[name]["properties"].get("type", {}).get("enum", [""])[0]
        yield from ("", f"**{name}**" + (f', `"type": "{tag}"`' if tag else ""), "")
        yield from (known[name].get("description", "").split("\n\n")[0].replace("\n", " "), "")
        yield from ("| field | holds | |", "| --- | --- | --- |")
        needed = known[name].get("required", [])
        for field, rule in known[name]["properties"].items():
            if field != "type":
                yield f"| `{field}` | {_holds(rule)} | {'always' if field in needed else ''} |"


def _holds(rule: dict[str, Any]) -> str:
    """A rule of a JSON Schema in a few words."""
    if "$ref" in rule:
        return str(rule["$ref"].rpartition("/")[2])
    if "anyOf" in rule:
        return " or ".join(_holds(one) for one in rule["anyOf"])
    if "enum" in rule:
        return ", ".join(f"`{json.dumps(one)}`" for one in rule["enum"])
    kind = rule.get("type", "anything")
    if kind == "array" and "prefixItems" in rule:
        return "[" + ", ".join(_holds(one) for one in rule["prefixItems"]) + "]"
    if kind == "array":
        return f"list of {_holds(rule.get('items') or {})}"
    if kind == "object" and isinstance(rule.get("additionalProperties"), dict):
        return f"object of {_holds(rule['additionalProperties'])}"
    return str(kind)


def _plain(_app: Sphinx, _context: object, lines: list[str]) -> None:
    """Help texts are no reStructuredText: a star in one is a star."""
    lines[:] = [
        line if line.lstrip().startswith("..") else re.sub(r"(?<!\*)([*|])(?!\*)", r"\\\1", line)
        for line in lines
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("from-program", FromProgram)
    app.add_directive("lines-of-a-file", LinesOfAFile)
    for part in ("options", "description", "epilog"):
        app.connect(f"sphinx-click-process-{part}", _plain)
    return {"parallel_read_safe": True}
