"""A run end to end on this CPU: planned, measured, recorded; and what faults do to it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gemmbench.records.reader import Run, read
from gemmbench.records.schema import Record
from gemmbench.runner.listener import Outcome
from gemmbench.runner.messages import Case, KernelInfo
from gemmbench.runner.plan import (
    Group,
    check_request,
    chosen_suites,
    make_plan,
    most_telling,
    too_large,
    wanted_cases,
)
from gemmbench.runner.request import Request
from gemmbench.runner.resume import command_of, of_run, options_of
from gemmbench.runner.supervisor import Supervisor
from gemmbench.show.progress import Quiet
from gemmbench.timing.method import timing
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.problem import Problem

PLANTED = str(Path(__file__).with_name("planted.py"))
CPU = Device(
    kind="cpu",
    vendor="other",
    name="test",
    architecture="x86-64-v3",
    torch_device="cpu",
    slug="test",
    units=2,
    memory_bytes=2**34,
)
SMALL = Request(device="cpu", preset="quick", shapes=("32x32x32",), precisions=("fp32",))


def carry_out(request: Request, **options: object) -> tuple[Outcome, Run]:
    outcome = Supervisor(request, Quiet(), **options).run()  # type: ignore[arg-type]
    assert outcome.path is not None
    return outcome, read(outcome.path)


def by_kernel(run: Run) -> dict[str, Record]:
    return {record.kernel: record for record in run.records}


def test_a_run_is_whole(tmp_path: Path) -> None:
    request = replace(
        SMALL,
        shapes=("32x48x64", "40x40x40"),
        precisions=("fp32", "int8", "tf32"),
        kernels=("numba-naive", "numba-tiled", "python-naive"),
        out=str(tmp_path),
        command=("run", "--out", str(tmp_path)),
    )
    outcome, run = carry_out(request)
    assert outcome.exit_code == 0
    assert run.footer is not None
    assert run.footer.statuses == outcome.statuses == {"ok": 12, "unsupported": 6}
    assert 0.2 < outcome.timed_share < 1
    header = run.header
    assert sorted(header.plan) == sorted(r.case for r in run.records if r.status == "ok")
    assert str(tmp_path) not in (tmp_path / Path(run.path).name).read_text()
    assert header.method.launch == "loop"
    assert header.software["torch"]
    assert header.kernels["numba-naive"]
    for record in run.records:
        if record.status == "unsupported":
            assert "tf32" in record.reason
            continue
        assert [turn.round for turn in record.turns] == list(range(10))
        assert record.check is not None
        assert record.check.error is not None
        assert record.check.error <= 1
        assert record.check.checks >= 4
        assert record.sets is not None
        assert record.sets > 2  # they rotate through memory
        assert 0 < sum(len(turn.samples_ns or ()) for turn in record.turns) <= 200
    groups = {record.group for record in run.records}
    assert groups == {"32x48x64-nn", "40x40x40-nn"}
    assert len(run.selftests) == 1
    assert len(run.selftests[0].less) == len(run.selftests[0].more) == 10


def test_a_kernel_can_be_verified_without_timing(tmp_path: Path) -> None:
    request = replace(SMALL, kernels=("torch", "numba-naive"), out=str(tmp_path))
    outcome = Supervisor(request, Quiet(), verify_only=True).run()
    assert outcome.statuses == {"ok": 2}
    assert outcome.path is None
    assert not list(tmp_path.iterdir())


def test_repeats_come_from_fresh_processes_and_the_same_plan(tmp_path: Path) -> None:
    request = replace(SMALL, kernels=("torch",), repeats=2, out=str(tmp_path))
    _, run = carry_out(request)
    assert [record.repeat for record in run.records] == [0, 1]
    assert [test.repeat for test in run.selftests] == [0, 1]


def test_ctrl_c_leaves_a_whole_file_that_can_be_resumed(tmp_path: Path) -> None:
    command = [
        *[sys.executable, "-m", "gemmbench", "run", "--device", "cpu", "--preset", "quick"],
        *["--shape", "32x32x32", "--shape", "300x300x300", "--kernel", "torch"],
        *["--kernel", "numba-tiled", "--precision", "fp32", "--out", str(tmp_path)],
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("  "):  # the first finished case
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    (path,) = tmp_path.glob("*.jsonl")
    first = read(path)
    assert first.footer is not None
    assert first.footer.interrupted
    assert {r.case for r in first.records} == set(first.header.plan)
    statuses = [r.status for r in first.records]
    assert "interrupted" in statuses
    assert "ok" in statuses
    kept = {r.case: r for r in first.records if r.status == "ok"}

    request, previous = of_run(path, Request())
    outcome, second = carry_out(request, resume=previous)
    assert outcome.exit_code == 0
    assert outcome.path == path
    final = {r.case: r for r in second.records}
    assert set(final) == set(first.header.plan)
    assert all(r.status == "ok" for r in final.values())
    for case, record in kept.items():
        assert final[case] == record  # not measured again
    assert any(r.sitting == 1 for r in final.values())


def test_a_run_is_not_resumed_on_other_kernels(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    text = Path(PLANTED).read_text().split("IN_TURNS")[0] + "KERNEL = kernel('mine', healthy)\n"
    mine.write_text(text)
    out = tmp_path / "out"
    _, run = carry_out(replace(SMALL, kernels=(str(mine), "torch"), out=str(out)))
    with pytest.raises(GemmbenchError, match=r"used the file mine\.py: give it again"):
        of_run(Path(run.path), Request())
    with pytest.raises(GemmbenchError, match="leave out --preset"):
        of_run(Path(run.path), Request(preset="quick"))
    mine.write_text(text + "# changed\n")
    run.path.write_bytes(b"".join(run.path.read_bytes().splitlines(keepends=True)[:-1]))
    request, previous = of_run(Path(run.path), Request(kernels=(str(mine),)))
    with pytest.raises(GemmbenchError, match="kernel mine was"):
        Supervisor(request, Quiet(), resume=previous).run()


@pytest.mark.parametrize(
    ("end", "hangs"),
    [("SIGKILL", False), ("SIGKILL", True), ("SIGTERM", False), ("SIGHUP", False)],
)
def test_a_killed_supervisor_leaves_no_worker(tmp_path: Path, end: str, hangs: bool) -> None:
    command = [sys.executable, "-m", "gemmbench", "run", "--device", "cpu", "--quiet"]
    command += ["--shape", "600x600x600", "--kernel", "numba-tiled", "--out", str(tmp_path)]
    if hangs:
        mine = tmp_path / "mine.py"
        text = Path(PLANTED).read_text().split("IN_TURNS")[0]
        mine.write_text(text + "KERNEL = kernel('hangs', nth_call(1, hang))\n")
        command += ["--kernel", str(mine), "--precision", "fp32"]
        command[command.index("numba-tiled")] = "torch"  # quick to bind: the hanging one is next
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.1)
        children = _children(process.pid)
        assert children
    finally:
        if hangs:
            time.sleep(3)  # it is in the kernel by then, and will never write to us again
        process.send_signal(signal.Signals[end])
        process.wait(60)
    deadline = time.monotonic() + 30
    while any(_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(_alive(child) for child in children)
    (path,) = tmp_path.glob("*.jsonl")
    run = read(path)
    assert run.header.plan
    if end != "SIGKILL":  # it had the time to say how every case ended
        assert run.footer is not None
        assert {record.case for record in run.records} >= set(run.header.plan)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")  # noqa: PTH110


def test_what_the_budget_leaves_out_is_no_failure() -> None:
    def ended(beyond: int, **statuses: int) -> Outcome:
        return Outcome(
            path=None,
            statuses=statuses,
            wall_s=1.0,
            timed_s=0.5,
            setup_s=0.0,
            interrupted=False,
            beyond_budget=beyond,
        )

    assert ended(2, ok=1, interrupted=2).exit_code == 0
    assert ended(1, ok=1, interrupted=2).exit_code == 1
    assert ended(2, ok=1, interrupted=2, wrong=1).exit_code == 1
    assert ended(0, ok=1, unsupported=1).exit_code == 0


# Plans.


def infos() -> tuple[KernelInfo, ...]:
    return tuple(KernelInfo.of(kernel) for kernel in LADDER)


GPU = replace(CPU, kind="gpu", vendor="nvidia", architecture="sm_90", torch_device="cuda:0")


def cases(request: Request, device: Device = CPU) -> list[tuple[str, Case]]:
    return wanted_cases(request, chosen_suites(request), device, infos())


def test_what_nobody_named_is_only_asked_of_what_could_do_it() -> None:
    asked = cases(Request(shapes=("64x64x64",)))
    assert {case.problem.precision for _, case in asked} == {"fp64", "fp32"}
    assert all("triton" not in case.kernel for _, case in asked)
    named = cases(Request(shapes=("64x64x64",), kernels=("triton-naive",), precisions=("tf32",)))
    assert [case.kernel for _, case in named] == ["triton-naive"]


def test_fp8_is_laid_out_as_the_libraries_take_it() -> None:
    asked = cases(Request(shapes=("64x64x64",)), GPU)
    layouts = {(case.problem.precision, case.problem.layout) for _, case in asked}
    assert ("fp8_e4m3", "nt") in layouts
    assert ("int8", "nt") in layouts
    assert ("bf16", "nn") in layouts
    asked = cases(Request(shapes=("64x64x64",), layout="tn"), GPU)
    assert {case.problem.layout for _, case in asked} == {"tn"}


def test_each_case_is_planned_once() -> None:
    asked = cases(Request(suites=("quick", "quick"), shapes=("512x512x512",)))
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(suites=("quik",)), "did you mean quick"),
        (Request(kernels=("torhc",)), "did you mean torch"),
        (Request(precisions=("fp23",)), "unknown precision 'fp23': did you mean"),
        (Request(shapes=("0x1x1",)), "m = 0 must lie in"),
        (Request(shapes=("-4x4x4",)), "is not MxNxK"),
        (Request(shapes=("axbxc",)), "is not MxNxK"),
        (Request(shapes=("4x4",)), "is not MxNxK"),
        (Request(shapes=("nanx4x4",)), "is not MxNxK"),
        (Request(data="random"), "unknown data distribution"),
        (Request(layout="nx"), "unknown layout"),
    ],
)
def test_mistakes_are_found_before_a_worker_starts(request_: Request, message: str) -> None:
    with pytest.raises(GemmbenchError, match=message):
        check_request(request_, chosen_suites(request_), [kernel.name for kernel in LADDER])


def test_a_shape_beyond_memory_is_a_mistake(tmp_path: Path) -> None:
    request = replace(
        SMALL, shapes=("2000000x2000000x2000000",), kernels=("torch",), out=str(tmp_path)
    )
    with pytest.raises(GemmbenchError, match="GiB: take a smaller shape"):
        Supervisor(request, Quiet()).run()
    assert not list(tmp_path.iterdir())
    assert too_large(Problem(m=64, n=64, k=64, precision="fp32"), CPU) is None


@pytest.mark.parametrize("device", ["cuda:7", "gpu", "cup"])
def test_a_device_that_is_not_there_is_a_mistake(device: str) -> None:
    with pytest.raises(GemmbenchError) as caught:
        Supervisor(replace(SMALL, device=device), Quiet()).run()
    assert "\n" not in str(caught.value)


def group(name: str, size: int, estimate_s: float = 10.0) -> Group:
    problem = Problem(m=size, n=size, k=size, precision="fp32")
    return Group(name=name, cases=(Case("torch", problem),), estimate_s=estimate_s)


def test_the_most_telling_groups_come_first() -> None:
    groups = [group(str(size), size) for size in (64, 128, 256, 512, 1024)]
    assert [g.name for g in most_telling(groups)] == ["1024", "64", "256", "512", "128"]


def test_a_budget_leaves_out_what_does_not_fit() -> None:
    how = timing("quick", kind="cpu", vendor="other")
    asked = cases(Request(suites=("square",), kernels=("torch",), precisions=("fp32",)))
    options = {"cases": asked, "reasons": [None] * len(asked), "kernels": infos(), "device": CPU}
    whole = make_plan(**options, how=how, budget_s=None)  # type: ignore[arg-type]
    assert not whole.left_out
    fitted = make_plan(**options, how=how, budget_s=12)  # type: ignore[arg-type]
    assert fitted.left_out
    assert 6 < fitted.estimate_s <= 12
    with pytest.raises(GemmbenchError, match=r"--budget 0.5s holds no group .* say") as no:
        make_plan(**options, how=how, budget_s=0.5)  # type: ignore[arg-type]
    enough = float(str(no.value).split("say --budget ")[1].split("s")[0])
    assert make_plan(**options, how=how, budget_s=enough).groups  # type: ignore[arg-type]
    assert {g.name for g in fitted.groups} | set(fitted.left_out) == {g.name for g in whole.groups}
    # What goes before the groups is forecast, and taken from the budget.
    how = msgspec.structs.replace(how, repeats=3)
    rest = make_plan(**options, how=how, budget_s=None).estimate_s  # type: ignore[arg-type]
    before: Any = {**options, "how": how, "start_s": 2.0, "probes_s": 5.0}
    assert make_plan(**before, budget_s=None).estimate_s == pytest.approx(rest + 3 * 2.0 + 5.0)
    assert make_plan(**before, budget_s=30.0).estimate_s <= 30.0
    with pytest.raises(GemmbenchError, match="of which 11 s before the first in 3 repeats"):
        make_plan(**before, budget_s=11.0)


def test_the_options_of_a_run_are_kept_without_paths() -> None:
    request = Request(kernels=("/home/me/mine.py", "torch"), suites=("/x/own.toml",), budget_s=9.0)
    kept = options_of(request)
    assert kept["kernels"] == ("mine.py", "torch")
    assert kept["suites"] == ("own.toml",)
    assert command_of(("run", "--kernel", "/home/me/mine.py")) == ("run", "--kernel", "mine.py")
