"""What a plan says of how long it takes: compiling and verifying are part of it."""

from collections.abc import Sequence

import msgspec
import pytest
from kernel_jobs import CPU

from gemmbench.runner.messages import Case, KernelInfo
from gemmbench.runner.plan import COMPILE_S, MAX_VERIFY_S, VERIFY_S, Plan, make_plan
from gemmbench.timing.method import timing
from gemmkernels.ladder import LADDER
from gemmkernels.problem import Problem

INFOS = tuple(KernelInfo.of(kernel) for kernel in LADDER)
HOW = timing("quick", kind="cpu", vendor="other")
TURNS_S = HOW.min_rounds * (HOW.settle_s + HOW.turn_s)


def plan(*cases: tuple[str, int], repeats: int = 1, layouts: Sequence[str] = ("nn",)) -> Plan:
    asked = [
        (
            f"{size}-{layout}",
            Case(name, Problem(m=size, n=size, k=size, precision="fp32", layout=layout)),
        )
        for name, size in cases
        for layout in layouts
    ]
    return make_plan(
        cases=asked,
        reasons=[None] * len(asked),
        kernels=INFOS,
        device=CPU,
        how=msgspec.structs.replace(HOW, repeats=repeats),
        budget_s=None,
    )


def test_a_kernel_is_compiled_once_for_all_shapes_and_again_for_a_layout_and_a_repeat() -> None:
    compile_s = COMPILE_S["numba"]["tiled"]
    assert compile_s > 1
    one, same = plan(("numba-tiled", 16)).groups[0], ("numba-tiled", 17)
    assert one.estimate_s == pytest.approx(compile_s + VERIFY_S + TURNS_S, rel=0.02)
    first, second = plan(("numba-tiled", 16), same).groups
    assert first.estimate_s - second.estimate_s == pytest.approx(compile_s, rel=0.02)
    first, second = plan(("numba-tiled", 16), layouts=("nn", "nt")).groups
    assert second.estimate_s == pytest.approx(first.estimate_s)
    assert plan(("numba-tiled", 16), repeats=3).estimate_s == pytest.approx(3 * one.estimate_s)


def test_what_nothing_compiles_costs_no_compiling() -> None:
    (one,) = plan(("torch", 16)).groups
    assert one.estimate_s == pytest.approx(VERIFY_S + TURNS_S, rel=0.02)


def test_large_products_take_long_to_verify_up_to_a_limit() -> None:
    small, large, larger = plan(("torch", 16), ("torch", 1024), ("torch", 8192)).groups
    assert large.estimate_s - small.estimate_s > 0.3
    turns_s = HOW.min_rounds * (2 * 8192**3 / 100e9)
    limit_s = VERIFY_S + MAX_VERIFY_S + turns_s + 4 * turns_s / HOW.min_rounds
    assert larger.estimate_s == pytest.approx(limit_s)
