"""The names of the kernels that a library launched: asked after all timing, at no risk to it."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hostile_inputs import EVIL
from synthetic import CPU, H100, MI300X, header, launched, record, turns, write
from test_cli import call
from test_runner import SMALL, carry_out

from gemmbench.devices.detect import detect
from gemmbench.records.frame import load
from gemmbench.records.reader import Run, read
from gemmbench.runner import launched as launched_module
from gemmbench.runner.launched import MOST, _names
from gemmbench.runner.launched import launched as launched_by
from gemmbench.runner.messages import Case, Profile
from gemmbench.runner.process import WorkerDiedError
from gemmkernels.device import Device
from gemmkernels.kernel import Kernel, Launch
from gemmkernels.ladder import find
from gemmkernels.problem import Problem

PROBLEM = Problem(m=32, n=32, k=32, precision="fp32")
LIBRARIES = """
import os
import time

import torch

from gemmkernels import Kernel, Launch


def kernel(name, fault):
    def bind(operands):
        def run():
            if torch.autograd._profiler_enabled():
                fault()
            torch.mm(operands.a, operands.b, out=operands.out)

        return Launch(run=run)

    return Kernel(
        name=name, tier="library", backend="me", precisions=("fp32",), summary=name, bind=bind
    )


KERNELS = [
    kernel("crashes", os.abort),
    kernel("raises", lambda: 1 / 0),
    kernel("hangs", lambda: time.sleep(1000)),
    kernel("sound", lambda: None),
]
"""


@pytest.fixture
def on_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a CPU's names told something: the same way, with a CPU's events."""
    monkeypatch.setattr(launched_module, "KINDS", ("cpu", "gpu"))


def names(run: Run) -> dict[str, tuple[str, ...]]:
    return {one.case: one.names for one in run.launched}


def test_a_run_names_what_its_libraries_launched(tmp_path: Path, on_cpus: None) -> None:
    request = replace(SMALL, kernels=("numba-naive", "torch"), out=str(tmp_path), repeats=2)
    outcome, run = carry_out(request)
    assert outcome.exit_code == 0
    assert set(names(run)) == {"32x32x32-nn/torch/fp32"}
    assert "aten::mm" in run.launched[0].names
    assert run.footer is not None
    assert not run.warnings
    told = [json.loads(line)["type"] for line in run.path.read_text().splitlines()]
    assert told[-2:] == ["launched", "end"]
    df = load(run.path)
    of_torch = df["kernel"].eq("torch")
    assert (of_torch.sum(), df["repeat"].nunique()) == (2, 2)
    assert df.loc[of_torch, "launched"].str.contains("aten::mm").all()
    assert df.loc[~of_torch, "launched"].eq("").all()


def test_a_cpu_is_not_asked(tmp_path: Path) -> None:
    _, run = carry_out(replace(SMALL, kernels=("torch",), out=str(tmp_path)))
    assert run.launched == ()


def ask(*kernels: str, files: tuple[str, ...] = (), limit_s: float = 120.0) -> dict[str, bool]:
    """Which of these were named."""
    device = detect("cpu")
    cases = tuple(Case(kernel=name, problem=PROBLEM) for name in kernels)
    found = dict.fromkeys(kernels, False)
    tried: list[str] = []
    launched_module.ask(
        Profile(device=device, files=files, cases=cases),
        limit_s=limit_s,
        doing=lambda case: tried.append(case.kernel),
        found=lambda case, names: found.update({case.kernel: "aten::mm" in names}),
    )
    assert set(tried) <= set(kernels)
    return found


def test_a_crash_costs_one_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(LIBRARIES)
    found = ask("torch", "crashes", "raises", "sound", files=(str(path),))
    assert found == {"torch": True, "crashes": False, "raises": False, "sound": True}


def test_a_hang_costs_the_time_that_is_left_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(LIBRARIES)
    assert ask("hangs", "sound", files=(str(path),), limit_s=8.0) == {
        "hangs": False,
        "sound": False,
    }
    assert ask("torch", limit_s=0.0) == {"torch": False}


def test_all_names_together_have_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    waits: list[float] = []

    class Hanging:
        def send(self, message: object) -> None: ...

        def receive(self, timeout_s: float) -> None:
            waits.append(timeout_s)
            now[0] += min(timeout_s, 5.0)
            raise WorkerDiedError("no answer", timed_out=True)

    monkeypatch.setattr(launched_module, "WorkerProcess", Hanging)
    monkeypatch.setattr("gemmbench.runner.launched.time.monotonic", lambda: now[0])
    ask("torch", "numba-naive", "numba-tiled", "python-naive", limit_s=12.0)
    assert waits == [12.0, 7.0, 2.0]


def test_a_process_that_cannot_start_costs_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("no memory")

    monkeypatch.setattr(launched_module, "WorkerProcess", refuse)
    assert ask("torch") == {"torch": False}


def test_a_resumed_run_asks_for_what_is_not_known(
    tmp_path: Path, on_cpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(SMALL, shapes=("32x32x32", "40x40x40"), kernels=("torch",), out=str(tmp_path))
    _, run = carry_out(request)
    assert len(run.launched) == 2
    lines = run.path.read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line)["type"] for line in lines]
    keep = [line for line, kind in zip(lines, kinds, strict=True) if kind != "end"]
    last = max(index for index, kind in enumerate(kinds) if kind == "record")
    del keep[last]  # the second shape's; its name stays, and is not asked for again
    run.path.write_bytes(b"".join(keep))
    asked: list[str] = []
    real = launched_module.ask

    def listen(profile: Profile, **rest: object) -> None:
        asked.extend(case.problem.shape for case in profile.cases)
        real(profile, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(launched_module, "ask", listen)
    _, resumed = carry_out(request, resume=read(run.path))
    assert asked == []
    assert names(resumed) == names(run)
    keep = [
        line for line in resumed.path.read_bytes().splitlines(keepends=True) if b'"end"' not in line
    ]
    keep = [line for line in keep if b'"launched"' not in line]
    del keep[max(i for i, line in enumerate(keep) if b'"record"' in line)]
    run.path.write_bytes(b"".join(keep))
    _, again = carry_out(request, resume=read(run.path))
    assert asked == ["32x32x32", "40x40x40"]
    assert names(again) == names(run)


def event(name: str, kind: str = "CUDA") -> SimpleNamespace:
    return SimpleNamespace(name=name, device_type=SimpleNamespace(name=kind))


def test_of_a_gpu_s_events_the_kernels_count() -> None:
    events = [
        *(event("aten::mm", "CPU"), event("cudaLaunchKernel", "CPU"), event("Memset (Device)")),
        *(event("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT"), event("splitKreduce_kernel")),
        event("Memcpy DtoD (Device -> Device)"),
    ]
    assert list(_names(events, H100)) == [events[3].name, events[4].name]


def test_many_names_are_cut_and_repeated_ones_told_once() -> None:
    def bind(operands: object) -> Launch:
        import torch

        a = torch.ones(4)

        def run() -> None:
            for function in (torch.sin, torch.cos, torch.exp, torch.tan, torch.abs, torch.sqrt):
                function(function(a))
            for function in (torch.sinh, torch.cosh, torch.erf, torch.tanh):
                function(a)

        return Launch(run=run)

    kernel = Kernel(
        name="x", tier="library", backend="x", precisions=("fp32",), summary="x", bind=bind
    )
    found = launched_by(kernel, PROBLEM, detect("cpu"))
    assert found[:2] == ("aten::sin", "aten::cos")
    assert len(found) == len(set(found)) == MOST


def test_a_name_is_that_of_the_precision_asked() -> None:
    device = detect("cpu")
    found: Callable[[str, Device], tuple[str, ...]] = lambda precision, at: launched_by(  # noqa: E731
        find("torch"), replace(PROBLEM, precision=precision), at
    )
    assert "aten::mm" in found("fp64", device)
    assert "aten::_int_mm" in found("int8", device)


def test_show_prints_them_apart(tmp_path: Path) -> None:
    took = turns(9.0, rounds=7)
    found = record("library", tier="library", precision="bf16", took=took)
    plain = record("tiled", took=took)
    path = write(
        tmp_path / "a.jsonl",
        [header(CPU), found, plain, launched(found, names=("nvjet_hsh", "splitKreduce_kernel"))],
    )
    done = call("show", str(path), "--launched")
    assert done.returncode == 0
    assert "nvjet_hsh; splitKreduce_kernel" in done.stdout
    assert "tiled" not in done.stdout
    assert "nvjet" not in call("show", str(path)).stdout
    rows = json.loads(call("show", str(path), "--format", "json").stdout)
    assert [row["launched"] for row in rows] == ["nvjet_hsh; splitKreduce_kernel", ""]
    bare = write(tmp_path / "b.jsonl", [header(CPU), found])
    assert "no names" in call("show", str(bare), "--launched").stdout


def test_no_name_escapes_into_a_terminal(tmp_path: Path) -> None:
    found = record("library", tier="library", took=turns(9.0, rounds=7))
    evil = tuple(text for text in EVIL if len(text) < 10_000)
    path = write(tmp_path / "a.jsonl", [header(CPU), found, launched(found, names=evil)])
    for form in ("table", "markdown"):
        done = call("show", str(path), "--launched", "-f", form)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout
        assert "\\x1b[31mred" in done.stdout


@pytest.mark.parametrize(
    ("device", "order"),
    [
        (H100, ["take", "profile", "take"]),
        # On ROCm the first of all: its tracer sees nothing where the GPU was used before.
        (MI300X, ["profile", "take"]),
    ],
)
def test_no_profiler_waits_for_a_gpu_that_another_run_measures(
    monkeypatch: pytest.MonkeyPatch, device: Device, order: list[str]
) -> None:
    done: list[str] = []

    def profiler(_: Device) -> contextlib.nullcontext[None]:
        done.append("profile")
        return contextlib.nullcontext()

    monkeypatch.setattr(launched_module, "_profiler", profiler)
    monkeypatch.setattr("gemmbench.runner.turners.take", lambda _: done.append("take"))
    monkeypatch.setattr("gemmbench.runner.clean.CleanSlate", lambda **_: None)
    launched_module.tell(Profile(device=device, files=(), cases=()), dict, lambda _: None)
    assert done == order
