"""The probes of GPUs: compiled for some that are not there, interpreted, and on a real one."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import roof_jobs
from kernel_jobs import job

from gemmbench.analysis.roofs import roofs_of_runs
from gemmbench.records.reader import read
from gemmbench.runner.request import Request
from gemmbench.runner.supervisor import Supervisor
from gemmbench.show.progress import Quiet

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed: pip install triton",
)
SCRIPT = roof_jobs.__file__

OF_MEMORY = ("LDG", "STG", "LD.E", "ST.E", "LDL", "STL", "global_", "buffer_", "scratch_", "flat_")
BETWEEN = ("LDTM", "STTM", "LDS", "STS", "ds_")
"""What would move sums between tensor memory, shared memory and registers."""

PRODUCTS = {
    "sm_90 matrix bf16": "HGMMA",
    "sm_90 matrix fp8_e4m3": "QGMMA",
    "sm_90 vector fp32": "FFMA",
    "sm_100 matrix tf32": "UTCHMMA",
    "sm_100 matrix nvfp4": "UTCOMMA",
    "gfx942 matrix fp8_e4m3": "v_mfma_f32_16x16x32_fp8_fp8",
    "gfx942 matrix fp64": "v_mfma_f64_16x16x4_f64",
    "gfx942 vector fp32": "v_pk_fma_f32",
    "gfx950 matrix bf16": "v_mfma_f32_16x16x32_bf16",
    "gfx950 matrix mxfp4": "v_mfma_scale_f32_16x16x128_f8f6f4",
}


@pytest.fixture(scope="module")
def compiled() -> dict[str, dict[str, Any]]:
    return {str(one["case"]): one for one in job("compile", script=SCRIPT)}


def loops_with(told: dict[str, Any], instruction: str) -> list[list[str]]:
    return [
        one
        for one in told["loops"]
        if any(
            line.split(" ", 1)[-1].startswith(instruction) or instruction in line for line in one
        )
    ]


@needs_triton
@pytest.mark.parametrize("case", PRODUCTS)
def test_a_loop_is_native_products_without_loads(
    compiled: dict[str, dict[str, Any]], case: str
) -> None:
    told = compiled[case]
    assert told["verdict"] == ("vector" if "vector" in case else "matrix cores")
    assert told["spills"] == 0
    assert told["shared"] <= told["limit"]
    found = loops_with(told, PRODUCTS[case])
    assert found, told["loops"]
    for lines in found:
        code = [line for line in lines if not line.startswith((";", "."))]
        moved = [line for line in code if any(one in line for one in (*OF_MEMORY, *BETWEEN))]
        assert moved == []


@needs_triton
def test_each_precision_of_the_matrix_units_is_one_instruction(
    compiled: dict[str, dict[str, Any]],
) -> None:
    assert compiled.keys() >= PRODUCTS.keys()
    for case, told in compiled.items():
        if " matrix " in case:
            assert len(told["instructions"]) == 1
    assert compiled["sm_100 matrix nvfp4"]["instructions"] == ["UTCOMMA.4X kind::mxf4nvf4"]


@needs_triton
@pytest.mark.parametrize("case", ["sm_80 matrix fp16", "sm_120 matrix int8"])
def test_where_warps_multiply_alone_two_programs_share_a_unit(
    compiled: dict[str, dict[str, Any]], case: str
) -> None:
    told = compiled[case]
    assert told["spills"] == 0
    assert 2 * told["registers"] * told["threads"] <= 65536
    assert 2 * told["shared"] <= told["limit"]
    found = loops_with(told, "MMA")
    assert found
    assert not [line for lines in found for line in lines for one in OF_MEMORY if one in line]


@needs_triton
def test_the_cache_is_read_past_l1_in_whole_lines(compiled: dict[str, dict[str, Any]]) -> None:
    (lines,) = loops_with(compiled["sm_90 cache"], "LDG")
    loads = [line for line in lines if "LDG" in line]
    assert len(loads) == 8
    assert all("128" in line and "STRONG.GPU" in line for line in loads), loads


@needs_triton
def test_the_loops_add_up_in_the_interpreter() -> None:
    found = job("interpret", script=SCRIPT, TRITON_INTERPRET="1")
    assert len(found) == len(roof_jobs.INTERPRETED)
    for one in found:
        assert one["right"] == "", one
        assert "are " in one["nothing"], one
        if "matrix fp" in one["case"]:  # not the sums of the run before
            assert "one is nan where" in one["nothing"]
    work = {one["case"]: one["work"] for one in found}
    assert work["sm_90 matrix fp16"] == 8 * 2 * 128 * 256 * 64
    assert work["sm_90 vector fp32"] == 8 * 2 * 128 * 16
    assert work["sm_90 cache"] == 3 * 2**17


@pytest.mark.gpu
def test_roofs_of_a_real_gpu(tmp_path: Path) -> None:
    request = Request(preset="quick", max_time_s=20.0, roofs=True, out=str(tmp_path))
    outcome = Supervisor(request, Quiet(), probing=True).run()
    assert outcome.path is not None
    (found,) = roofs_of_runs([read(outcome.path)])
    assert outcome.exit_code == 0, [(row.name, row.precision, row.reason) for row in found.rows]
    rows = {(row.name, row.precision): row for row in found.rows}
    assert rows["cache", ""].value > rows["copy", ""].value
    assert rows["matrix", "fp16"].value > 3 * rows["vector", "fp32"].value
    assert 0.1 < rows["launch-stream", ""].value < 1000
    if ("launch-graph", "") in rows:
        assert rows["launch-graph", ""].value < rows["launch-stream", ""].value
    for row in found.rows:
        assert not row.impossible, row
        if found.spec_id and row.spec > 0:
            assert 40 < row.pct_spec < 115, row
