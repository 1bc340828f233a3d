"""`show` of some cases of a run: the figures that they have among all of them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic import ladder_run

from gemmbench.cli import app


def show(path: Path, *arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["show", str(path), *arguments])
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ladder_run(tmp_path_factory.mktemp("show") / "run.jsonl")


def test_only_what_is_named_is_shown_with_its_speedup(run: Path) -> None:
    whole = show(run)[1].splitlines()
    shape = "512x512x512"
    code, told, _ = show(run, "-k", "library", "-p", "bf16", "--problem", shape)
    assert code == 0
    lines = [line for line in told.splitlines() if " bf16 " in line or " fp" in line]
    (row,) = (line.split() for line in lines if line.startswith("library"))
    (same,) = (
        line.split()
        for line in whole
        if line.startswith("library") and f" bf16       {shape}" in line
    )
    assert row == same  # over a base that is not shown
    assert any(cell.endswith("×") for cell in row)
    assert len([line for line in lines if shape in line]) == 1


@pytest.mark.parametrize("form", ["json", "csv", "markdown"])
def test_every_form_holds_the_same_cases(run: Path, form: str) -> None:
    code, told, _ = show(run, "--format", form, "-k", "library", "-k", "tiled", "-p", "bf16")
    assert code == 0
    assert "library" in told
    assert "tiled" in told
    assert "naive" not in told.replace("speedup over naive", "")
    assert "bf16" in told
    if form == "json":
        assert {row["precision"] for row in json.loads(told)} == {"bf16"}


def test_a_name_that_the_run_lacks_is_one_line(run: Path) -> None:
    code, told, error = show(run, "-k", "librar")
    assert (code, told) == (2, "")
    assert "did you mean library" in error
    assert len(error.splitlines()) == 1
