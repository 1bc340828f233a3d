"""The walls: who imports whom, what an import costs, and that nothing is listed twice."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "gemmkernels": 0,
    "timing": 1,
    "devices": 1,
    "verify": 2,
    "suites": 2,
    "records": 2,
    "doctor": 2,
    "inspect": 2,
    "runner": 3,
    "analysis": 3,
    "show": 4,
    "pytest_plugin": 4,
    "cli": 5,
}
FREE = {"_version", "quantities", "__main__"}
"""Modules of no floor: they import no room but the words."""


def modules() -> list[Path]:
    packages = (ROOT / "bench" / "gemmbench", ROOT / "kernels")
    return sorted(path for package in packages for path in package.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[1] == "gemmkernels":
        return "gemmkernels"
    return parts[2] if len(parts) > 2 else "gemmbench"


def imported(path: Path) -> Iterator[str]:
    """Rooms of ours that a file imports, anywhere but under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gemmkernels":
                yield "gemmkernels"
            elif parts[0] == "gemmbench" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_from_floors_below(path: Path) -> None:
    own = room(path)
    if own in {"gemmbench", "__init__"} | FREE:
        assert path.stem in {"__init__", *FREE} or not set(imported(path)) - {"gemmkernels"}
        return
    for other in set(imported(path)) - {own} - FREE:
        assert other in FLOORS, f"{path} imports {other}, which is no room"
        assert FLOORS[other] < FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {other}"


def test_the_two_source_roots_are_no_packages() -> None:
    assert not (ROOT / "bench" / "__init__.py").exists()
    assert not (ROOT / "kernels" / "__init__.py").exists()


def loaded_by(code: str) -> set[str]:
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(found.stdout.split())


HEAVY = {"torch", "triton", "matplotlib", "numba", "pandas", "scipy"}


@pytest.mark.parametrize(
    "code",
    [
        "import gemmbench",
        "import gemmkernels",
        "import gemmkernels.ladder",
        "import gemmbench.cli",
        "import gemmbench.pytest_plugin",
        "from gemmbench.show.catalogue import catalogue; catalogue('suites'); catalogue('kernels')",
    ],
)
def test_imports_are_light(code: str) -> None:
    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("module", ["runner.supervisor", "runner.tune_request", "devices.sampler"])
def test_what_runs_beside_a_worker_loads_nothing_heavy(module: str) -> None:
    """The supervisor never loads torch; numba alone would make each run begin a second later."""
    assert not loaded_by(f"import gemmbench.{module}") & HEAVY


def test_one_kernel_a_file_of_at_most_150_lines() -> None:
    for folder in ("cpu", "gpu"):
        for path in (ROOT / "kernels" / "gemmkernels" / folder).glob("*.py"):
            text = path.read_text()
            assert "def bind(" not in text or len(text.splitlines()) <= 150, path


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "installs"),
    [("bench", "'.[cpu]'"), ("install", "'.[cpu]'"), ("test", "'.[cpu,dev]'")],
)
def test_only_who_tests_installs_what_tests_need(
    tmp_path: Path, target: str, installs: str
) -> None:
    told = subprocess.run(
        ["make", "-n", target, f"VENV={tmp_path / 'venv'}", "DEVICE=cpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"-e {installs}\n" in told.replace("; \\", "")


def test_the_pin_of_torch_stands_in_the_makefile_alone() -> None:
    pinned = "torch==2.13"
    files = [ROOT / name for name in ("pyproject.toml", "README.md", ".ci/run")]
    assert pinned in (ROOT / "Makefile").read_text()
    assert not [path for path in files if pinned in path.read_text()]
    assert (
        "triton" not in (ROOT / "pyproject.toml").read_text().split("optional")[0].split("= [")[-1]
    )
