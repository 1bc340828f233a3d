"""What measuring leaves behind in its process: no open files, and switches as they were."""

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import gemmbench
from gemmbench.devices.cpu import cpu_device
from gemmbench.runner.alone import _left_as_found, measure_function
from gemmbench.runner.clean import CleanSlate, of_products
from gemmbench.runner.turners import make_bench, make_turners_of_pair
from gemmbench.timing.method import timing
from gemmkernels.library.switches import set_switches
from gemmkernels.problem import Problem

CPU = cpu_device()
SHORT = timing("quick", kind="cpu", vendor="other")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def bench() -> None:
    make_bench(CPU, SHORT).close()


def pair() -> None:
    turners, close = make_turners_of_pair(CPU, SHORT)
    assert turners["less"](0).n_samples > 0
    close()


def function() -> None:
    problem = Problem(m=8, n=8, k=8, precision="fp32")
    how = timing("quick", kind="cpu", vendor="other")
    short = {"min_rounds": 1, "max_rounds": 1, "least_rounds": 1, "max_time_s": 0.01}
    how = type(how)(**{name: getattr(how, name) for name in how.__struct_fields__} | short)
    found = measure_function("f", lambda: sum(range(99)), problem, CPU, timing=how, timed=True)
    assert found.turns


def raising() -> None:
    with pytest.raises(ZeroDivisionError):
        gemmbench.measure({"fine": lambda: 1, "raises": lambda: 1 // 0}, max_time_s=0.1)


@pytest.mark.parametrize(("once", "times"), [(bench, 20), (pair, 3), (function, 20), (raising, 20)])
def test_no_descriptors_are_left(once: Callable[[], None], times: int) -> None:
    once()  # what is opened for good the first time
    before = descriptors()
    for _ in range(times):
        once()
    assert descriptors() == before


@pytest.fixture
def tf32() -> Iterator[Any]:
    """torch's switches of TF32, put back to what a new process has."""
    matmul = torch.backends.cuda.matmul
    yield matmul
    matmul.allow_tf32 = False
    matmul.fp32_precision = "none"


def by_new_name(matmul: Any) -> None:
    matmul.fp32_precision = "tf32"


def by_old_name(matmul: Any) -> None:
    matmul.allow_tf32 = True


def untouched(matmul: Any) -> None:
    """What a new process has: "none" follows torch.backends.fp32_precision, "ieee" does not."""


@pytest.mark.parametrize(
    ("choose", "by_new", "by_old"),
    [(by_new_name, "tf32", None), (by_old_name, "tf32", True), (untouched, "none", False)],
)
def test_tf32_is_left_as_the_session_chose_it(
    tf32: Any, choose: Callable[[Any], None], by_new: str, by_old: bool | None
) -> None:
    choose(tf32)
    with _left_as_found(CPU):
        set_switches(tf32=False)  # as a kernel of a GPU does before its turns
        assert tf32.fp32_precision == "ieee"
    assert tf32.fp32_precision == by_new
    if by_old is None:
        with pytest.raises(RuntimeError, match="mix of the legacy and new"):
            _ = tf32.allow_tf32
    else:
        assert tf32.allow_tf32 is by_old


class Tunable:
    def __init__(self) -> None:
        self.on, self.tunes = False, True

    def is_enabled(self) -> bool:
        return self.on

    def enable(self, on: bool) -> None:
        self.on = on

    def tuning_is_enabled(self) -> bool:
        return self.tunes

    def tuning_enable(self, on: bool) -> None:
        self.tunes = on


class Blas:
    """`torch.backends.cuda`'s part."""

    def __init__(self) -> None:
        self.matmul = SimpleNamespace(allow_fp16_accumulation=False)
        self.library = "cublas"

    def preferred_blas_library(self, library: str | None = None) -> str:
        self.library = library or self.library
        return self.library


def of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> tuple[Blas, Tunable]:
    blas, tunable = Blas(), Tunable()
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "tunable", tunable)
    monkeypatch.setattr(torch.backends, "cuda", blas)
    return blas, tunable


def test_what_chooses_a_gpu_s_products_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    blas, tunable = of_a_gpu(monkeypatch)
    slate = CleanSlate(gpu=True)
    assert slate.restore() == ()
    blas.matmul.allow_fp16_accumulation = True
    blas.preferred_blas_library("cublaslt")
    tunable.enable(True)
    tunable.tuning_enable(False)
    assert slate.restore() == (
        "torch's fp16 accumulation",
        "torch's choice of a BLAS library",
        "TunableOp",
        "TunableOp's tuning",
    )
    assert (blas.matmul.allow_fp16_accumulation, blas.library) == (False, "cublas")
    assert (tunable.on, tunable.tunes) == (False, True)
    assert slate.restore() == ()


def test_a_torch_without_these_switches_has_none_to_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_a_gpu(monkeypatch)
    monkeypatch.setattr(torch.cuda, "tunable", SimpleNamespace())
    monkeypatch.setattr(torch.backends, "cuda", SimpleNamespace(matmul=SimpleNamespace()))
    assert CleanSlate(gpu=True).restore() == ()


def test_torch_has_these_switches() -> None:
    """By the names that we use: TunableOp's cannot be read in a build for CPUs."""
    for switch in of_products()[:2]:
        value = switch.get()
        switch.put(value)
        assert switch.get() == value
    for name in ("is_enabled", "enable", "tuning_is_enabled", "tuning_enable"):
        assert callable(getattr(torch.cuda.tunable, name))
