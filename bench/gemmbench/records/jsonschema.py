"""The JSON Schema of a run file's lines, from the types that read and write them."""

import inspect
from typing import Any

import msgspec

from gemmbench.records.schema import FORMAT, FleetLine, Line

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _anything(kind: type) -> dict[str, Any]:
    """A field whose values may be any."""
    if kind is object:
        return {"description": "any value"}
    raise NotImplementedError


def schema() -> dict[str, Any]:
    """One schema for any line; which of them it is says its `type`.

    A reader ignores fields that it does not know, so none is forbidden: fields are only ever added.
    """
    major, minor = FORMAT
    found: dict[str, Any] = {
        "$schema": DIALECT,
        "title": f"A line of a gemmbench run file, format {major}.{minor}",
        "description": "A run file is JSON lines: first a line of type run, the header; then the "
        "others in any order; of type end, where the run came to its end, the last. Readers "
        "skip lines of a type that they do not know. A file with the runs of several devices "
        "begins with a line of type fleet, and holds each run's lines in lines of type of.",
        **msgspec.json.schema(Line | FleetLine, schema_hook=_anything),
    }
    del found["discriminator"]  # OpenAPI's word
    for one in found["$defs"].values():
        if "description" in one:
            one["description"] = inspect.cleandoc(one["description"])
    return found
