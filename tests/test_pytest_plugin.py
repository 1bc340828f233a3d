"""The fixture `gemm_benchmark`: what pytest-benchmark makes of our samples, and its options.

The sessions run on a clock of ours: what a launch takes is said by an environment variable.
"""

import contextlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from synthetic import CPU, H100, record, turn
from test_gpu_clock import FakeCuda

from gemmbench.analysis.benchmarks import extra_info
from gemmbench.analysis.rows import rows_of
from gemmbench.devices.detect import detect
from gemmbench.records.frame import frame
from gemmbench.records.journal import keep_samples
from gemmbench.runner import turners
from gemmbench.runner.alone import measure_function, measure_kernel
from gemmbench.runner.group import GroupWork
from gemmbench.runner.taking import DeviceLostError
from gemmbench.timing import host
from gemmbench.timing.gpu import GpuClock
from gemmbench.timing.host import HostSubject, HostTiming, take_turn
from gemmbench.timing.method import timing
from gemmkernels import Kernel, Launch, Operands, Problem

CONFTEST = """
import os, time
from gemmbench.timing.contention import LostTime
from gemmbench.timing.host import HostSubject

taken = waited = 0

def batch_ns(self, count):
    global taken, waited
    for call in self.calls(1):
        call()
    time.sleep(0.002)
    with open("timed", "a") as file:
        file.write("x")
    taken += 1
    disturbed = taken % 7 == 0  # every seventh sample waits for a core
    waited += 10**9 * disturbed
    return count * int(os.environ["LAUNCH_NS"]) * (3 if disturbed else 1)

LostTime.waited_ns = lambda self: waited
LostTime.machine_ns = lambda self: None
HostSubject.batch_ns = batch_ns
"""

GOOD = """
import math
import pytest

def test_kernel(gemm_benchmark):
    found = gemm_benchmark("torch", "64x48x32", precision="fp32")
    assert found.verdict == "converged"
    assert found.time_us_low == found.time_us == found.time_us_high
    assert found.tflops == pytest.approx(2 * 64 * 48 * 32 / found.time_us / 1e6)
    assert 0 <= found.error <= 1
    assert math.isnan(found.pct_peak)

@pytest.mark.benchmark(group="mine", min_rounds=3)
def test_function(gemm_benchmark):
    def my_gemm(): ...
    found = gemm_benchmark(my_gemm, m=8, n=4, k=2, batch=3, precision="bf16")
    assert found.tflops == pytest.approx(2 * 3 * 8 * 4 * 2 / found.time_us / 1e6)
    assert math.isnan(found.error)
"""

FAULTS = """
import torch
from gemmkernels import Kernel, Launch

def kernel(name, run):
    def bind(operands):
        return Launch(run=lambda: run(operands))
    return Kernel(name=name, tier="library", backend="user", precisions=("fp32",),
                  summary="planted", bind=bind)

def add_one(operands):
    torch.mm(operands.a, operands.b, out=operands.out)
    operands.out[0, 0] += 1

def raise_error(operands):
    raise RuntimeError("the tile\\nfell off")

def test_unsupported(gemm_benchmark):
    gemm_benchmark("triton-tiled", "64x64x64", precision="fp32")

def test_wrong(gemm_benchmark):
    gemm_benchmark(kernel("adds-one", add_one), "64x64x64", precision="fp32")

def test_raises(gemm_benchmark):
    gemm_benchmark(kernel("raises", raise_error), "64x64x64", precision="fp32")

def test_unknown(gemm_benchmark):
    gemm_benchmark("torhc", "64x64x64", precision="fp32")

def test_no_shape(gemm_benchmark):
    gemm_benchmark("torch", m=64, n=64, precision="fp32")

def test_cold(gemm_benchmark):
    gemm_benchmark("torch", "64x64x64", precision="fp32", preset="cold")

def test_negative(gemm_benchmark):
    gemm_benchmark("torch", "64x64x64", precision="fp32", target=-1)

def test_no_kernel(gemm_benchmark):
    gemm_benchmark(17, "64x64x64", precision="fp32")

def test_data_of_a_function(gemm_benchmark):
    gemm_benchmark(lambda: None, "64x64x64", precision="fp32", data="zeros")

def test_function_raises(gemm_benchmark):
    gemm_benchmark(lambda: raise_error(None), "64x64x64", precision="fp32")

def test_twice(gemm_benchmark):
    gemm_benchmark(lambda: None, "64x64x64", precision="fp32", max_time_s=0.01)
    gemm_benchmark(lambda: None, "64x64x64", precision="fp32", max_time_s=0.01)
"""

ONCE = """
import math
calls = []

def test_function(gemm_benchmark):
    found = gemm_benchmark(lambda: calls.append(1), "8x8x8", precision="fp32")
    assert len(calls) == 1
    assert found.verdict is None
    assert math.isnan(found.time_us)
    assert math.isnan(found.tflops)

def test_kernel(gemm_benchmark):
    found = gemm_benchmark("torch", "16x16x16", precision="fp32")
    assert 0 <= found.error <= 1

def test_other(): ...
"""


class Session:
    """What a pytest of its own said."""

    def __init__(self, folder: Path, *options: str, launch_ns: int = 1_000_000) -> None:
        # A worker of xdist's would hand it down, and pytest-benchmark switches itself off by it.
        ours = {name: text for name, text in os.environ.items() if "XDIST" not in name}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:timeout"]
        done = subprocess.run(
            [*command, "-rA", "--gemm-device", "cpu", *options],
            cwd=folder,
            env={**ours, "LAUNCH_NS": str(launch_ns), "PYTEST_ADDOPTS": "", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=280,
        )
        self.code = done.returncode
        self.text = done.stdout + done.stderr

    def says(self, *parts: str) -> None:
        for part in parts:
            assert part in self.text, self.text


def folder_with(folder: Path, tests: str) -> Path:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(tests)
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Session]:
    """A folder with one session autosaved in it, and that session."""
    page = (Path(__file__).parents[1] / "docs" / "howto" / "ci.md").read_text()
    (block,) = [text for text in page.split("```") if "gemm_benchmark(" in text]
    folder = folder_with(tmp_path_factory.mktemp("measured"), GOOD)
    (folder / "test_page.py").write_text(block.removeprefix("python\n"))
    options = ("-p", "no:xdist", "-W", "error", "--benchmark-autosave")
    return folder, Session(folder, *options, "--benchmark-json=first.json")


def test_table_and_verdicts(measured: tuple[Path, Session]) -> None:
    _, session = measured
    assert session.code == 0, session.text
    session.says("4 passed", "Name (time in ms)", "benchmark 'mine': 1 tests")
    session.says("gemm_benchmark: 4 converged")


def test_json_holds_our_samples_and_what_they_mean(measured: tuple[Path, Session]) -> None:
    folder, session = measured
    assert session.code == 0, session.text
    kernel, function, *_ = json.loads((folder / "first.json").read_text())["benchmarks"]
    for one in (kernel, function):
        assert one["stats"]["rounds"] == len(one["stats"]["data"]) >= 10  # one a turn, or more
        assert one["stats"]["iterations"] == 2  # launches of 1 ms in a sample of 2 ms
        assert set(one["stats"]["data"]) == {1e-3}
        assert one["stats"]["stddev"] == 0
        assert one["options"]["timer"] == "perf_counter_ns"
    assert function["options"]["min_rounds"] == 3
    info = kernel["extra_info"]
    wanted = {
        "kernel": "torch",
        "shape": "64x48x32",
        "precision": "fp32",
        "encoding": "float32",
        "layout": "nn",
        "verdict": "converged",
        "clock": "perf_counter_ns",
        "preset": "quick",
        "cache": "rotated",
        "launch": "loop",
        "data": "normal",
        "time_us": 1000,
    }
    assert {name: info[name] for name in wanted} == wanted
    assert info["tflops"] == info["tflops_low"] == pytest.approx(2 * 64 * 48 * 32 / 1e9)
    assert 0 <= info["error"] <= 1
    assert "pct_peak" not in info  # a CPU has no datasheet
    info = function["extra_info"]
    assert (info["kernel"], info["shape"], info["cache"]) == ("my_gemm", "3*8x4x2", "hot")
    assert not {"error", "data", "tier"} & info.keys()


def test_the_same_again_passes_and_twice_the_time_fails(measured: tuple[Path, Session]) -> None:
    folder, _ = measured
    options = ("-p", "no:xdist", "--benchmark-compare", "--benchmark-compare-fail=mean:5%")
    same = Session(folder, *options, "--gemm-preset=sustained", "--benchmark-json=second.json")
    assert same.code == 0, same.text
    same.says("test_kernel (NOW)", "test_kernel (0001_")
    one, *_ = json.loads((folder / "second.json").read_text())["benchmarks"]
    assert one["extra_info"]["preset"] == "sustained"
    slower = Session(folder, *options, launch_ns=2_000_000)
    assert slower.code == 1, slower.text
    slower.says("Performance has regressed")
    regressed = "Field 'mean' has failed PercentageRegressionCheck: 100.000000000 > 5.000000000"
    assert slower.text.count(regressed) == 4


def test_histogram(measured: tuple[Path, Session]) -> None:
    if importlib.util.find_spec("pygal") is None:
        pytest.skip("pygal is not installed: pip install 'pytest-benchmark[histogram]'")
    folder, _ = measured
    session = Session(folder, "-p", "no:xdist", "--benchmark-histogram=drawn/it")
    assert session.code == 0, session.text
    assert list((folder / "drawn").glob("it*.svg"))


def test_faults_are_one_line(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, FAULTS)
    session = Session(folder, "-p", "no:xdist", "-W", "error", "--benchmark-json=it.json")
    assert session.code == 1, session.text
    session.says("10 failed, 1 skipped")
    line = FAULTS[: FAULTS.index('"triton-tiled"')].count("\n") + 1
    session.says(f"SKIPPED [1] test_it.py:{line}: triton-tiled: runs on a GPU only")
    session.says("FAILED test_it.py::test_wrong - Failed: adds-one 64x64x64-nn: wrong: ")
    for test, text in (
        ("raises", "raises 64x64x64-nn: failed: RuntimeError: the tile fell off"),
        ("unknown", "unknown kernel 'torhc': did you mean torch?"),
        ("no_shape", 'the shape is "4096x4096x4096", or all of m, n and k: got shape = None'),
        ("cold", "preset cold needs a GPU"),
        ("negative", "target = -1 must be positive"),
        ("no_kernel", "17 is neither a kernel's name, nor a Kernel, nor a function"),
        ("data_of_a_function", "data = 'zeros' is for kernels"),
        ("twice", "gemm_benchmark is for once in a test"),
    ):
        session.says(f"FAILED test_it.py::test_{test} - Failed: {text}")
    session.says("FAILED test_it.py::test_function_raises - RuntimeError: the tile")
    assert "was not used" not in session.text
    assert "pytest_plugin.py" not in session.text.split("test_function_raises ___")[0]
    kept = json.loads((tmp_path / "it.json").read_text())["benchmarks"]
    assert [one["name"] for one in kept] == ["test_twice"]


def test_disabled_runs_and_verifies_once_without_timing(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ONCE + FAULTS.split("def test_raises")[0])
    options = ("-p", "no:xdist", "-W", "error", "--benchmark-disable")
    session = Session(folder, *options, "-k", "not test_kernel")
    session.says("FAILED test_it.py::test_wrong - Failed: adds-one", "2 passed", "1 failed, ")
    # A kernel is calibrated, so that its timed launch is verified
    session = Session(folder, *options, "-k", "test_kernel or test_function")
    session.says("2 passed")
    timed = len((tmp_path / "timed").read_text())
    session = Session(folder, "-p", "no:xdist", "--benchmark-enable", "-k", "test_kernel")
    assert timed < 10 <= len((tmp_path / "timed").read_text()) - timed


def test_only_and_skip(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ONCE.replace("is None", "is not None").replace("== 1", "> 1"))
    options = ("-p", "no:xdist", "-k", "not test_kernel")
    skipped = Session(folder, *options, "--benchmark-skip")
    skipped.says("1 passed, 1 skipped", "Skipping benchmark (--benchmark-skip active).")
    assert not (tmp_path / "timed").exists()
    only = Session(folder, *options, "--benchmark-only")
    only.says("Skipping non-benchmark (--benchmark-only active).", "1 failed, 1 skipped")
    only.says("built-in function isnan>(1000.0)")  # it was timed, and failed only there


def test_in_a_worker_of_xdist_nothing_is_timed(tmp_path: Path) -> None:
    session = Session(folder_with(tmp_path, ONCE), "-n", "1", "-W", "error", "-k", "test_function")
    assert session.code == 0, session.text
    session.says("1 passed")
    assert not (tmp_path / "timed").exists()


def test_without_pytest_benchmark(tmp_path: Path) -> None:
    session = Session(folder_with(tmp_path, ONCE), "-p", "no:benchmark", "-W", "error")
    assert session.code == 1, session.text
    session.says("1 passed, 2 errors")
    said = "gemm_benchmark needs pytest-benchmark: pip install 'gemmbench[pytest]'"
    session.says(f"ERROR test_it.py::test_function - Failed: {said}")


def test_a_session_that_does_not_use_it_pays_nothing() -> None:
    code = "import sys, gemmbench.pytest_plugin; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    assert "gemmbench.pytest_plugin" in loaded
    assert not loaded & {"pytest_benchmark", "torch", "numpy", "msgspec", "pandas", "click"}


# In this process, below pytest.


def planted(run: Callable[[Operands], object]) -> Kernel:
    def bind(operands: Operands) -> Launch:
        return Launch(run=lambda: run(operands))

    return Kernel(
        name="planted",
        tier="library",
        backend="user",
        precisions=("fp32",),
        summary="planted",
        bind=bind,
    )


PROBLEM = Problem(m=32, n=32, k=32, precision="fp32")
QUICK = timing("quick", kind="cpu", vendor="other")


def verify(run: Callable[[Operands], object]) -> Any:
    device = detect("cpu", threads=1)
    return measure_kernel(
        planted(run), PROBLEM, device, timing=QUICK, data="normal", timed=False
    ).record


def test_what_a_kernel_changed_is_put_back() -> None:
    import torch

    matmul = torch.backends.cuda.matmul
    before = torch.get_num_threads(), matmul.allow_bf16_reduced_precision_reduction

    def run(operands: Operands) -> None:
        torch.set_num_threads(3 if before[0] != 3 else 2)
        matmul.allow_bf16_reduced_precision_reduction = not before[1]
        torch.mm(operands.a, operands.b, out=operands.out)

    assert verify(run).status == "ok"
    assert (torch.get_num_threads(), matmul.allow_bf16_reduced_precision_reduction) == before


def test_ctrl_c_is_no_fault_of_a_kernel() -> None:
    def run(operands: Operands) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(run)


def test_a_lost_device_is_a_failure_and_no_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: GroupWork, index: int) -> None:
        raise DeviceLostError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(GroupWork, "_try", lose)
    found = verify(lambda operands: None)
    assert found.status == "failed"
    assert found.reason == "device lost: CUDA error: unspecified launch failure"


def test_too_large_for_the_device_is_unsupported() -> None:
    problem = Problem(m=2**20, n=2**20, k=2**20, precision="fp32")
    found = measure_kernel(
        planted(lambda operands: None), problem, CPU, timing=QUICK, data="normal", timed=True
    ).record
    assert found.status == "unsupported"
    assert "GiB to measure and verify" in found.reason


@pytest.mark.parametrize("capture_fails", [False, True])
def test_a_function_is_timed_by_the_clock_of_the_device(
    monkeypatch: pytest.MonkeyPatch, capture_fails: bool
) -> None:
    """The host takes 50 µs a launch, the device 3: in a graph the host's is not in it."""
    import torch

    cuda = FakeCuda(host_s=50e-6, capture_fails=capture_fails)
    monkeypatch.setattr(turners, "clock_for", lambda timing, _: GpuClock(timing, cuda=cuda))
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    problem = Problem(m=512, n=512, k=512, precision="bf16")
    found = measure_function(
        "mine",
        cuda.launch(3e-6).run,
        problem,
        H100,
        timing=timing("quick", kind="gpu", vendor="nvidia"),
        timed=True,
    )
    (row,) = rows_of(frame([found.run]))
    info = extra_info(row)
    assert info["clock"] == "cuda events"
    assert info["launch"] == ("stream" if capture_fails else "graph")
    assert bool(found.record.warnings) == capture_fails
    time_us = 50 if capture_fails else 3
    assert info["time_us"] == pytest.approx(time_us)
    samples = [one for turn in found.turns for one in turn.clean_ns]
    assert samples == pytest.approx([time_us * 1e3] * len(samples))
    tflops = 2 * 512**3 / time_us / 1e6
    assert info["pct_peak"] == pytest.approx(100 * tflops / 989.4, rel=1e-3)
    assert info["peak_unit"] == "tensor core"


def test_disturbed_samples_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([0, 0, 400_000, 400_000, 400_000, 400_000, 400_000])  # before, and after each
    lost = SimpleNamespace(
        refresh=lambda: None, machine_ns=lambda: None, waited_ns=lambda: next(waits)
    )
    took = iter([1_000_000, 5_000_000, 1_000_001, 1_000_002, 1_000_003])
    monkeypatch.setattr(HostSubject, "batch_ns", lambda self, count: next(took))
    monkeypatch.setattr(host, "LONGEST_TURN", math.inf)
    subject = HostSubject([lambda: None])
    subject.launch_s = 1.0  # it settles within itself
    found = take_turn(
        subject,
        number=0,
        timing=HostTiming(0.0, 0.0, 0.0),
        lost=lost,  # type: ignore[arg-type]
    )
    assert found.disturbed == 1
    assert found.disturbed_at == (1,)
    assert found.clean_ns == (1e6, 1_000_001, 1_000_002, 1_000_003)


def test_thinned_samples_keep_their_disturbed_ones() -> None:
    from dataclasses import replace

    many = replace(turn(0, 5.0, samples=range(1000)), disturbed_at=tuple(range(0, 1000, 3)))
    few = replace(turn(1, 5.0, samples=range(10)), disturbed_at=(1,))
    kept = keep_samples(record(took=[many])).turns[0]
    assert kept.samples_ns is not None
    assert len(kept.samples_ns) == 200
    assert all(one % 3 for one in kept.clean_ns)
    assert set(kept.samples_ns) - set(kept.clean_ns) == {s for s in kept.samples_ns if s % 3 == 0}
    assert keep_samples(record(took=[few])).turns == (few,)
    both = keep_samples(record(took=[many, few, many])).turns
    assert [len(one.samples_ns or ()) + len(one.disturbed_at) for one in both].count(0) == 2


@pytest.mark.gpu
def test_a_tiny_product_takes_less_than_its_launch() -> None:
    """On a real GPU: 64³ runs in a few µs; its launch from Python takes longer."""
    import torch

    device = detect("cuda")
    a = torch.randn(64, 64, device="cuda", dtype=torch.float16)
    out = torch.empty_like(a)

    def product() -> None:
        torch.mm(a, a, out=out)

    problem = Problem(m=64, n=64, k=64, precision="fp16")
    how = timing("quick", kind="gpu", vendor=device.vendor)
    found = measure_function("mine", product, problem, device, timing=how, timed=True)
    (row,) = rows_of(frame([found.run]))
    product()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(1000):
        product()
        torch.cuda.synchronize()
    host_us = (time.perf_counter() - began) * 1e3
    assert math.isfinite(row.time_us)
    assert row.time_us < host_us / 2
