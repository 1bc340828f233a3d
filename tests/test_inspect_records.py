"""The facts of the machine code in records: how they get there, and what is told of them."""

import math
from pathlib import Path
from typing import Any

import pytest
from synthetic import H100, footer, header, record, turns, write

from gemmbench.analysis.speedup import ladder
from gemmbench.devices.detect import detect
from gemmbench.inspect.examine import examine
from gemmbench.inspect.question import Compiled, Question
from gemmbench.inspect.targets import TARGETS
from gemmbench.records.code import code_of
from gemmbench.records.frame import load
from gemmbench.records.schema import Record
from gemmbench.runner import group
from gemmbench.runner.one import measure_one
from gemmbench.show.results import results
from gemmkernels.kernel import Kernel, Launch
from gemmkernels.operands import Operands
from gemmkernels.problem import Problem

PRODUCT = Compiled(
    function="product",
    verdict="matrix cores",
    instructions={"HGMMA.64x256x16.F32.BF16": 4},
    registers=168,
    spills=0,
)
SUM = Compiled(function="sum", verdict="vector", registers=32, spills=2)


def bind(operands: Operands) -> Launch:
    import torch

    return Launch(
        run=lambda: torch.matmul(operands.a, operands.b, out=operands.out), calls=(object(),)
    )


def kernel(tier: Any = "matrix-core") -> Kernel:
    return Kernel(
        name="mine",
        tier=tier,
        backend="torch",
        precisions=("fp32",),
        summary="torch.matmul",
        bind=bind,
    )


def measured(what: Kernel | str, *, device: str = "cpu", precision: str = "fp32") -> Record:
    return measure_one(
        what,
        "64x64x64" if device == "cpu" else "4096x4096x4096",
        sizes=(None, None, None),
        batch=1,
        precision=precision,
        layout="nn",
        data=None,
        device=device,
        preset="quick",
        target=None,
        max_time_s=None,
        timed=False,
    ).record


def planted(
    monkeypatch: pytest.MonkeyPatch, *calls: Compiled, fault: Exception | None = None
) -> None:
    def facts_of(_launch: Launch, _problem: Problem, _device: object) -> tuple[Compiled, ...]:
        if fault is not None:
            raise fault
        return calls

    monkeypatch.setattr(group, "facts_of", facts_of)


def test_a_record_has_the_facts_of_all_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, PRODUCT, SUM)
    found = measured(kernel())
    assert found.status == "ok"
    assert found.ran_on == "matrix cores"
    assert [call["function"] for call in found.compiled] == ["product", "sum"]
    assert found.compiled[0]["instructions"] == {"HGMMA.64x256x16.F32.BF16": 4}
    assert found.warnings == ()


def test_a_rung_that_fell_off_the_matrix_cores_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, SUM)
    found = measured(kernel())
    assert (found.status, found.ran_on) == ("ok", "vector")
    assert found.warnings == ("ran without matrix instructions",)
    assert measured(kernel("tiled")).warnings == ()


def test_facts_that_cannot_be_read_fail_no_case(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(kernel()).compiled == ()  # what it calls is no launch of Triton's
    planted(monkeypatch, fault=FileNotFoundError("cuobjdump"))
    found = measured(kernel())
    assert (found.status, found.ran_on, found.compiled) == ("ok", "", ())
    assert found.warnings == ()


def test_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, PRODUCT, SUM)
    whole = measured(kernel())
    old = record("old", took=turns(10.0), tier="matrix-core")
    new = record(
        "new",
        took=turns(5.0),
        tier="matrix-core",
        ran_on=whole.ran_on,
        compiled=whole.compiled,
        warnings=("ran without matrix instructions",),
    )
    path = write(tmp_path / "run.jsonl", [header(H100), old, new, footer([old, new])])
    table = load(path).set_index("kernel")
    row = table.loc["new"]
    assert row["ran_on"] == "matrix cores"
    assert row["instructions"] == "HGMMA.64x256x16.F32.BF16 × 4"
    assert (row["registers"], row["spills"]) == (168.0, 2.0)
    assert (table.loc["old", "ran_on"], table.loc["old", "instructions"]) == ("", "")
    assert table["registers"].isna().to_dict() == {"old": True, "new": False}
    (shown,) = results(ladder(load(path)))
    assert any("ran without matrix instructions" in note for note in shown.notes)


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"instructions": None, "registers": "many", "spills": -1},
        {"instructions": [1, 2], "registers": True, "spills": 2**80},
        {"instructions": {"HMMA": "4", "\x1b[31m": {}}, "registers": 1.5, "spills": []},
    ],
)
def test_facts_of_another_type_are_left_out(call: dict[str, object]) -> None:
    code = code_of(record(compiled=(call,)))
    assert math.isnan(code.registers)
    assert math.isnan(code.spills)
    assert not any(mark in code.instructions for mark in ("4", "many"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["triton-tiled", "triton-matrix-core"])
def test_on_a_gpu_the_code_that_ran_is_the_code_that_inspect_shows(name: str) -> None:
    device = detect("auto")
    found = measured(name, device=device.torch_device, precision="fp16")
    assert found.status == "ok", found.reason
    assert found.ran_on == {"triton-tiled": "vector"}.get(name, "matrix cores")
    target = TARGETS.get(device.architecture)
    if target is None or target.units != device.units:
        pytest.skip(f"no target {device.architecture} of {device.units} units to compare with")
    problem = Problem(m=4096, n=4096, k=4096, precision="fp16")
    (report,) = examine([Question(name, problem, target.name)])
    assert report.calls[0].instructions == found.compiled[0]["instructions"]
    assert report.calls[0].registers == found.compiled[0]["registers"]
