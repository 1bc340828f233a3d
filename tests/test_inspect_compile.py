"""What Triton makes of each kernel for an H100 and an MI300X is what the kernel declares.

Reports are kept by the content of the sources: what has not changed is not compiled again.
"""

import importlib.util

import pytest

from gemmbench.inspect.examine import examine, triton_kernels
from gemmbench.inspect.matrix import questions
from gemmbench.inspect.question import Report

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None,
        reason="Triton is not installed: pip install triton",
    ),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

TARGETS = ("sm_90", "gfx942")
HOPPER = {
    "tf32": "HGMMA",
    "fp16": "HGMMA",
    "bf16": "HGMMA",
    "fp8_e4m3": "QGMMA",
    "fp8_e5m2": "QGMMA",
    "int8": "IGMMA",
}
"""wgmma by precision; mma.sync (HMMA, IMMA) would be half as fast."""


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return examine(questions(targets=TARGETS))


def told(report: Report) -> str:
    question = report.question
    return (
        f"{question.kernel} {question.problem.precision} {question.target}: {report.verdict}, "
        f"declared {report.declared}; {report.reason} {[c.instructions for c in report.calls]}"
    )


def of(reports: list[Report], target: str) -> list[Report]:
    """Those of the matrix-core rungs that run on the target."""
    tiers = {kernel.name: kernel.tier for kernel in triton_kernels()}
    return [
        report
        for report in reports
        if report.question.target == target
        and tiers[report.question.kernel] == "matrix-core"
        and report.declared != "unsupported"
    ]


def test_every_kernel_executes_on_what_it_declares(reports: list[Report]) -> None:
    assert [told(report) for report in reports if not report.as_declared] == []
    assert {report.verdict for report in reports} == {"vector", "matrix cores", "unsupported"}


def test_nothing_spills(reports: list[Report]) -> None:
    assert [f"{told(report)}: {report.spills}" for report in reports if report.spills] == []
    assert all(call.spills == 0 for report in reports for call in report.calls)


def test_all_facts_are_read(reports: list[Report]) -> None:
    for report in reports:
        for call in report.calls:
            known = (call.registers, call.code_bytes, call.stack_bytes, call.programs)
            assert None not in known, told(report)
            assert (call.registers or 0) > 8, told(report)
            assert (call.programs or 0) > 0, told(report)


def test_hopper_multiplies_by_wgmma(reports: list[Report]) -> None:
    found = of(reports, "sm_90")
    assert found
    for report in found:
        name = HOPPER.get(report.question.problem.numerics.arithmetic)
        product = report.calls[0]
        if name is not None:
            assert all(one.startswith(name) for one in product.instructions), told(report)


def test_mi300x_multiplies_fp8_as_fp8(reports: list[Report]) -> None:
    found = [r for r in of(reports, "gfx942") if r.question.problem.numerics.is_fp8]
    assert found
    for report in found:
        assert all(one.endswith(("_fp8_fp8", "_bf8_bf8")) for one in report.calls[0].instructions)


def test_the_persistent_rung_uses_tma_and_specialised_warps(reports: list[Report]) -> None:
    found = [r for r in of(reports, "sm_90") if r.question.kernel == "triton-persistent"]
    assert found
    half = [r for r in found if r.question.problem.precision in ("fp16", "bf16")]
    for report in half:
        (call,) = report.calls
        assert (call.tma, call.warp_specialised, call.setmaxnreg) == (True, True, True)
