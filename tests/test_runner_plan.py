"""Plans of many cases: refused at once where they are too many, ordered in time where not."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from gemmbench.runner import budget
from gemmbench.runner.messages import Case, KernelInfo
from gemmbench.runner.plan import MAX_CASES, Group, _fitting, most_telling, wanted_cases
from gemmbench.runner.request import Request
from gemmbench.runner.worker import _with_entries
from gemmbench.suites.reader import load_suite
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.problem import Problem
from gemmkernels.tuning import Entry

INFOS = tuple(KernelInfo.of(kernel) for kernel in LADDER)
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


def group(name: str, size: int, estimate_s: float = 10.0) -> Group:
    problem = Problem(m=size, n=size, k=size, precision="fp32")
    return Group(name=name, cases=(Case("torch", problem),), estimate_s=estimate_s)


def falling(count: int) -> list[Group]:
    """The largest first, each named by its place."""
    return [group(str(index), 4 * (count - index)) for index in range(count)]


def by_the_widest_gap(count: int) -> list[int]:
    """The order by its definition: looks at all gaps for each."""
    order = [*range(count)] if count < 3 else [0, count - 1]
    while len(order) < count:
        low, high = max(pairwise(sorted(order)), key=lambda pair: (pair[1] - pair[0], -pair[0]))
        order.append((low + high) // 2)
    return order


def test_the_order_of_groups_is_that_of_the_widest_gaps() -> None:
    for count in (*range(70), 333):
        found = [int(one.name) for one in most_telling(falling(count))]
        assert found == by_the_widest_gap(count), count


def test_a_budget_is_filled_in_that_order() -> None:
    groups = falling(40)
    chosen, left_out = _fitting(groups, budget_s=305.0, repeats=5)
    assert [int(one.name) for one in chosen] == by_the_widest_gap(40)[:6]
    assert {one.name for one in chosen} | set(left_out) == {one.name for one in groups}
    assert len(chosen) + len(left_out) == 40
    # What does not fit any more is passed over for a later one that does.
    mixed = [group("a", 9), group("b", 6, 20.0), group("c", 3), group("d", 1)]
    assert [one.name for one in _fitting(mixed, budget_s=30.0, repeats=1)[0]] == ["a", "d", "c"]
    assert _fitting(mixed, budget_s=1.0, repeats=1)[0] == []


def test_too_many_cases_are_refused_before_they_are_all_made() -> None:
    request = Request(m="1:10000:1", n="1", k="1", repeats=1000)
    tracemalloc.start()
    try:
        with pytest.raises(GemmbenchError, match=f"1000 repeats are over {MAX_CASES}: name fewer"):
            wanted_cases(request, (), CPU, INFOS, repeats=1000)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 16 * 2**20  # the shapes themselves; all of the cases are 100 MB
    few = Request(m="1:10:1", n="1", k="1", kernels=("torch",), precisions=("fp32",))
    assert len(wanted_cases(few, (), CPU, INFOS, repeats=1000)) == 10
    assert len(wanted_cases(few, (), CPU, INFOS, repeats=MAX_CASES // 10)) == 10
    with pytest.raises(GemmbenchError, match="at least 10 cases in 50001 repeats"):
        wanted_cases(few, (), CPU, INFOS, repeats=MAX_CASES // 10 + 1)


def test_a_budget_is_over_when_the_next_group_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    problem = Problem(m=64, n=64, k=64, precision="fp32")
    group = Group(name="g", cases=(Case("torch", problem),), estimate_s=10.0)
    ours = budget.Budget(30.0, began_s=100.0)
    ours.expect(20.0)
    assert not ours.is_over(group)
    assert ours.time_left_s() == 20.0
    ours.learn(group, 30.0)  # three times as slow as it was thought: the pace is now 2
    assert ours.time_left_s() == 20.0
    now = 111.0
    assert ours.is_over(group)
    assert ours.time_left_s() == 19.0
    assert not budget.Budget(None, began_s=0.0).is_over(group)


@pytest.mark.parametrize(
    ("shape", "suite"), [("64x64x64", "quick"), ("8*64x64x64", "batched"), ("8@64x64x64", "moe")]
)
def test_a_shape_by_hand_gets_the_kernels_of_its_kind(shape: str, suite: str) -> None:
    """All of the ladder would take minutes for one shape on a GPU."""
    gpu = replace(CPU, kind="gpu", vendor="nvidia", architecture="sm_90", torch_device="cuda")
    for device in (CPU, gpu):
        usual = load_suite(suite).kernels(device.kind)
        found = wanted_cases(Request(shapes=(shape,)), (), device, INFOS)
        assert {case.kernel for _, case in found} <= set(usual)
        assert found
    every = wanted_cases(Request(shapes=(shape,), every_kernel=True), (), gpu, INFOS)
    assert len({case.kernel for _, case in every}) >= len({case.kernel for _, case in found})


def test_a_precision_that_the_usual_kernels_lack_gets_all_that_have_it() -> None:
    gpu = replace(CPU, kind="gpu", vendor="nvidia", architecture="sm_90", torch_device="cuda")
    request = Request(shapes=("64x64x64",), precisions=("fp16_sparse",))
    found = wanted_cases(request, (), gpu, INFOS)
    assert {case.kernel for _, case in found} == {
        kernel.name for kernel in LADDER if "fp16_sparse" in kernel.precisions
    }


def test_a_kernel_by_name_is_never_joined_by_others() -> None:
    request = Request(kernels=("numba-naive",), precisions=("bf16",), shapes=("64x64x64",))
    found = wanted_cases(request, (), CPU, INFOS)
    assert {case.kernel for _, case in found} == {"numba-naive"}  # unsupported, with its reason


def test_other_tuned_entries_are_another_kernel() -> None:
    """A run that is taken up again must not mix settings under one name."""
    info = INFOS[0]
    entry = Entry(
        kernel=info.name,
        architecture="x86-64-v3",
        precision="fp32",
        m=64,
        n=64,
        k=64,
        settings={"BLOCK": 1},
    )
    digests = {
        _with_entries(info, entries).digest
        for entries in ((), (entry,), (msgspec.structs.replace(entry, settings={"BLOCK": 2}),))
    }
    assert len(digests) == 3
    elsewhere = msgspec.structs.replace(entry, kernel="another")
    assert _with_entries(info, (elsewhere,)).digest == info.digest
