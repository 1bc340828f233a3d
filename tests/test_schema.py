"""The JSON Schema of run files: current, and true of every line that is written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from synthetic import footer, header, launched, record, roof, selftest, turns, write

from gemmbench.records.journal import encode
from gemmbench.records.jsonschema import schema
from gemmbench.records.schema import Fleet, FleetLine, Line, Lost, Of, Place

ROOT = Path(__file__).parents[1]
KEPT = sorted((ROOT / "results").glob("*/*.jsonl"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    found = schema()
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def every_type(path: Path) -> Path:
    one = record("library", took=turns(100.0, samples=5), settings={"block": 64, "fast": True})
    return write(
        path,
        [
            header(synthetic=True, request={"device": "cpu", "shapes": [[1, 2, 3]]}),
            selftest(),
            one,
            record(status="failed", reason="out of memory"),
            roof("copy", 20.0, "GB/s"),
            launched(one),
            footer([one]),
        ],
    )


def test_the_file_in_docs_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gemmbench", "schema"], capture_output=True, text=True, check=True
    )
    kept = (ROOT / "docs" / "run.schema.json").read_text()
    assert done.stdout == kept, "run: gemmbench schema > docs/run.schema.json"
    assert json.loads(kept)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_kept_run_is_valid(validator: Draft202012Validator) -> None:
    assert KEPT
    for line in [one for path in KEPT for one in lines_of(path)][::4]:
        validator.validate(line)


def test_the_oldest_format_is_valid(validator: Draft202012Validator) -> None:
    for line in lines_of(ROOT / "tests" / "data" / "format-1.0.jsonl"):
        validator.validate(line)


def test_a_line_of_every_type_is_valid(validator: Draft202012Validator, tmp_path: Path) -> None:
    lines = lines_of(every_type(tmp_path / "run.jsonl"))
    place = Place(node="n1", index=0)
    fleet = Fleet(run_id="a", started="", version="1", places=(place,))
    several = (fleet, Of(unit=0, line=record()), Lost(unit=0, reason="gone", place=place))
    lines += [json.loads(encode(one)) for one in several]
    types = {one.__struct_config__.tag for one in (Line | FleetLine).__args__}
    assert {line["type"] for line in lines} == types
    for line in lines:
        validator.validate(line)
        validator.validate({**line, "from_a_newer_version": 1})  # fields are only ever added


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (0, {"run_id": 7}),
        (0, {"device": {}}),
        (1, {"less": [{"round": 0}]}),
        (2, {"type": "recrod"}),
        (2, {"m": 0}),
        (2, {"status": "fine"}),
        (2, {"turns": [None]}),
        (2, {"kernel": None}),
        (4, {"unit": "MB/s"}),
        (5, {"names": "one"}),
        (6, {"statuses": {"ok": "1"}}),
    ],
)
def test_a_fault_in_a_line_is_refused(
    validator: Draft202012Validator, tmp_path: Path, index: int, change: dict[str, Any]
) -> None:
    line = lines_of(every_type(tmp_path / "run.jsonl"))[index]
    assert validator.is_valid(line)
    assert not validator.is_valid({**line, **change})


def test_every_type_says_what_it_is() -> None:
    definitions = schema()["$defs"]
    assert {"Header", "Record", "Turn", "Footer"} <= definitions.keys()
    for one in definitions.values():
        assert one["title"]
        assert len(one["description"]) > 20
        assert "\n    " not in one["description"]
