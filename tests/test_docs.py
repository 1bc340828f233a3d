"""The documentation does what it says: every example is run, every command parses."""

import re
import subprocess
from pathlib import Path
from typing import Any, get_args

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
SLOW = {"tutorial.md", "own-kernel.md", "own-suite.md", "ci.md", "report.md", "fleet.md"}


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
        command: click.Command | None = app
        for word in span.split()[1:]:
            if isinstance(command, click.Group):
                command = command.get_command(click.Context(command), word)
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


def workflow() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text())
    return found


def steps() -> dict[str, str]:
    """The steps of the workflow that run something."""
    found = workflow()["jobs"]["gemmbench"]["steps"]
    return {step["name"]: step["run"] for step in found if "run" in step}


def test_the_workflow_is_one_and_its_commands_exist() -> None:
    found = workflow()
    # YAML 1.1 reads on as true.
    assert set(found) == {"name", True, "concurrency", "permissions", "env", "jobs"}
    assert found["concurrency"]["cancel-in-progress"]
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
    for step in job["steps"]:
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
        if "upload" in step.get("uses", "") or step["name"] == "Write the report":
            assert "hashFiles('runs/**/*.jsonl') != ''" in step["if"]  # also where a step failed
    filtered = found[True]["pull_request"]["paths"]
    for name in ("KERNEL", "SUITE"):
        assert any(found["env"][name].startswith(one.removesuffix("**")) for one in filtered)


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


def pull_request(folder: Path, *, before: str, after: str) -> None:
    """What `actions/checkout` leaves: `head`, a merge commit and its two parents. The base has
    moved on since the pull request began, and `before` is empty where it has no kernel."""
    origin = folder / "origin"

    def git(*arguments: str) -> None:
        named = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *named, "-C", origin, *arguments], check=True, capture_output=True)

    def commit(name: str, text: str) -> None:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_text(text)
        git("add", "-A")
        git("commit", "-m", name)

    origin.mkdir()
    git("init", "-b", "main")
    commit("bench/mine.toml", 'shapes = ["160x160x160"]')
    git("checkout", "-b", "change")
    commit("kernels/mine.py", after)
    git("checkout", "main")
    commit("moved.txt", "on")
    if before:
        commit("kernels/mine.py", before)
        git("merge", "--no-ff", "-X", "theirs", "change")
    else:
        git("merge", "--no-ff", "change")
    clone = ["git", "clone", "--depth", "2", origin.as_uri(), str(folder / "head")]
    subprocess.run(clone, check=True, capture_output=True)


def act(folder: Path, **changed: str) -> dict[str, tuple[int, str]]:
    """How each step of the workflow ended but the installing one, and what it said."""
    of_file = {name: str(value) for name, value in workflow()["env"].items()}
    summary = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "DEVICE": "cpu"}
    ended = {}
    for name, script in steps().items():
        if "Install" not in name:
            done = subprocess.run(
                ["bash", "-e", "-c", script],
                cwd=folder,
                env={**examples.environment(), **of_file, **summary, **changed},
                capture_output=True,
                text=True,
                timeout=240,
            )
            ended[name] = done.returncode, done.stdout + done.stderr
    return ended


def said_by_a_stand_in(folder: Path) -> tuple[dict[str, tuple[int, str]], list[str]]:
    """How the steps ended where `gemmbench` only notes how it was called; and those notes."""
    stand_in = folder / "bin" / "gemmbench"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls.txt\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{examples.environment()['PATH']}"
    calls = folder / "calls.txt"
    calls.write_text("")
    return act(folder, PATH=path, TURNS="1"), calls.read_text().splitlines()


def test_a_kernel_that_is_new_is_verified_and_not_gated(tmp_path: Path) -> None:
    pull_request(tmp_path, before="", after="new")
    ended, calls = said_by_a_stand_in(tmp_path)
    assert all(code == 0 for code, _ in ended.values()), ended
    assert [call.split()[0] for call in calls] == ["doctor", "verify", "run", "report"]
    assert "./head/kernels/mine.py" in calls[2]
    assert "No gate: kernels/mine.py is new" in ended["Is it slower?"][1]
    assert "No gate: kernels/mine.py is new" in (tmp_path / "summary.md").read_text()


def test_base_is_what_the_merge_is_into_and_nothing_old_is_left(tmp_path: Path) -> None:
    pull_request(tmp_path, before="before", after="after")
    for name in ("runs/base/old.jsonl", "report.html", "base/kernels/mine.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("of another pull request")
    for _ in range(2):  # a runner of one's own keeps its folders
        ended, calls = said_by_a_stand_in(tmp_path)
        assert all(code == 0 for code, _ in ended.values()), ended
        assert (tmp_path / "base" / "kernels" / "mine.py").read_text() == "before"
        assert (tmp_path / "head" / "kernels" / "mine.py").read_text() == "after"
        assert (tmp_path / "base" / "moved.txt").exists()
        assert not (tmp_path / "runs").exists()
        assert not (tmp_path / "report.html").exists()
        names = ["doctor", "verify", "run", "run", "compare", "compare", "report"]
        assert [call.split()[0] for call in calls] == names


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_workflows_steps_run_and_its_gate_closes(tmp_path: Path) -> None:
    """Head does the work four times. Beside a busy neighbour nothing can be judged: the gate then
    says so, with exit code 2."""
    once, often = (KERNEL.replace("TIMES", count) for count in ("1", "4"))
    pull_request(tmp_path, before=once, after=often)
    ended = act(tmp_path, TURNS="2", PRESET="quick")
    code, told = ended.pop("Is it slower?")
    assert all(found == 0 for found, _ in ended.values()), ended
    assert code in (1, 2), told
    assert ("slower by more than 5%: mine" if code == 1 else "gemmbench: ") in told
    assert code == 1 or any(busy in told for busy in examples.TOO_BUSY), told
    assert (tmp_path / "report.html").exists()
