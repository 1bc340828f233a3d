"""The documentation does what it says: every example is run, every command parses."""

import re
import subprocess
from pathlib import Path
from typing import get_args

import click
import docs_examples as examples
import pytest
import yaml

from gemmbench.cli import app
from gemmbench.records.frame import COLUMNS, MORE_COLUMNS
from gemmbench.records.schema import Status
from gemmbench.timing.verdict import Verdict

DOCS = examples.ROOT / "docs"
WORKFLOW = DOCS / "ci" / "github-actions.yml"
PAGES = examples.pages()
SLOW = {"tutorial.md", "own-kernel.md", "own-suite.md", "ci.md", "report.md"}


def named(path: Path) -> str:
    return str(path.relative_to(examples.ROOT))


def with_examples() -> list[object]:
    """The pages that have something to run."""
    return [
        pytest.param(page, id=named(page), marks=[pytest.mark.slow] if page.name in SLOW else [])
        for page in PAGES
        if any(
            one.language in examples.COMMANDS and not (one.exempt or one.file)
            for one in examples.blocks(page.read_text())
        )
    ]


@pytest.mark.timeout(900)  # a minute at the most where nobody else is at work
@pytest.mark.parametrize("page", with_examples())
def test_the_examples_of_a_page_run_in_its_order(page: Path, tmp_path: Path) -> None:
    examples.run_page(page.read_text(), tmp_path / "reader")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_example_is_what_it_says(page: Path) -> None:
    examples.check_page(page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_within_sentences_exist(page: Path) -> None:
    for span in re.findall(r"(?<!`)`(gemmbench [^`]+)`(?!`)", page.read_text()):
        command = app.get_command(click.Context(app), span.split()[1])
        assert command or span.split()[1].isupper(), span
        known = {name for one in command.params for name in one.opts} if command else set()
        used = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", span))
        assert used <= known | {"--help"}, span


def test_the_columns_are_all_there_in_their_order() -> None:
    text = (DOCS / "reference" / "columns.md").read_text()
    cells = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == [
        *COLUMNS,
        *MORE_COLUMNS,
    ]


def test_the_statuses_and_verdicts_are_all_there() -> None:
    text = (DOCS / "reference" / "statuses.md").read_text()
    _, statuses, verdicts, *_ = text.split("\n## ")
    assert set(re.findall(r"^\| `(\w+)`", statuses, flags=re.MULTILINE)) == set(get_args(Status))
    assert set(re.findall(r"^\| `(\w+)`", verdicts, flags=re.MULTILINE)) == set(get_args(Verdict))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```sh\ngemmbench nonsense\n```", "nonsense"),
        ("```sh\ngemmbench run --sweet quick\n```", "sweet"),
        ("<!-- not run: why -->\n```sh\nsrun -N 1 gemmbench show --form csv RUN\n```", "form"),
        ("```sh\nfor i in 1 2; do gemmbench compare a; done\n```", "B"),
        ("```python\nif:\n```", "syntax"),
        ("```toml\nshapes = [1,\n```", "Invalid value"),
        ("<!-- not run: why -->\n\nText.\n\n```sh\ntrue\n```", "before no block"),
        ("```fortran\n```", "fortran"),
    ],
)
def test_a_broken_example_is_found(text: str, fault: str) -> None:
    with pytest.raises((click.ClickException, SyntaxError, ValueError, AssertionError)) as found:
        examples.check_page(text)
    shown = found.value
    assert fault in (shown.format_message() if isinstance(shown, click.UsageError) else str(shown))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```sh\ntrue; false; true\n```", "ended with 1"),
        ("```sh\nfalse | cat\n```", "ended with 1"),
        ("```python\nraise SystemExit(3)\n```", "ended with 3"),
        ("```sh\necho one\n```\n\n```text\none two\n```", r"\['two'\] are not in"),
        ("Save this as `a.txt`:\n\n```csv\nx\n```\n\n```sh\ngrep -q y a.txt\n```", "ended with 1"),
    ],
)
def test_an_example_that_fails_is_told_with_its_line(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"(?s)line .*{fault}"):
        examples.run_page(text, tmp_path / "reader")


def steps() -> dict[str, str]:
    """The steps of the workflow that run something."""
    found = yaml.safe_load(WORKFLOW.read_text())["jobs"]["gemmbench"]["steps"]
    return {step["name"]: step["run"] for step in found if "run" in step}


def test_the_workflow_is_one_and_its_commands_exist() -> None:
    found = yaml.safe_load(WORKFLOW.read_text())
    assert set(found) == {"name", True, "permissions", "env", "jobs"}  # YAML 1.1 reads on as true
    (job,) = found["jobs"].values()
    machines = job["strategy"]["matrix"]["include"]
    assert [one["device"] for one in machines] == ["cuda:0", "cpu"]
    known = {*found["env"], *job["env"], "PWD", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "side"}
    commands = []
    for script in steps().values():
        assert "${{" not in script  # what others write never becomes a part of a script
        assert set(re.findall(r"\$(\w+)", script)) <= known
        commands += examples.gemmbench_commands(script)
    for command in commands:
        examples.check_command(command)
    order = ["doctor", "verify", "run", "compare", "compare", "report"]
    assert [one[0] for one in commands] == order


KERNEL = """
import time
from gemmkernels import Kernel, Launch
import torch

def bind(operands):
    a, b, out = operands.a, operands.b, operands.out
    def run():
        for _ in range(TIMES):
            torch.matmul(a, b, out=out)
    return Launch(run=run)

KERNEL = Kernel(name="mine", tier="library", backend="torch", precisions=("fp32",),
                summary="so many times", bind=bind)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_workflows_steps_run_and_its_gate_closes(tmp_path: Path) -> None:
    """Head does the work four times. Beside a busy neighbour nothing can be judged: the gate then
    says so, with exit code 2."""
    for side, count in (("base", "1"), ("head", "4")):
        (tmp_path / side / "kernels").mkdir(parents=True)
        (tmp_path / side / "kernels" / "mine.py").write_text(KERNEL.replace("TIMES", count))
    (tmp_path / "head" / "bench").mkdir()
    (tmp_path / "head" / "bench" / "mine.toml").write_text('shapes = ["160x160x160"]')
    of_file = yaml.safe_load(WORKFLOW.read_text())["env"]
    changed = {"TURNS": "2", "PRESET": "quick", "DEVICE": "cpu"}
    changed["GITHUB_STEP_SUMMARY"] = str(tmp_path / "summary.md")
    ended = {}
    for name, script in steps().items():
        if "Install" not in name:
            done = subprocess.run(
                ["bash", "-e", "-c", script],
                cwd=tmp_path,
                env={**examples.environment(), **of_file, **changed},
                capture_output=True,
                text=True,
                timeout=240,
            )
            ended[name] = done.returncode, done.stdout + done.stderr
    code, told = ended.pop("Is it slower?")
    assert all(found == 0 for found, _ in ended.values()), ended
    assert code in (1, 2), told
    assert ("slower by more than 5%: mine" if code == 1 else "gemmbench: ") in told
    assert code == 1 or any(busy in told for busy in examples.TOO_BUSY), told
    assert (tmp_path / "report.html").exists()
