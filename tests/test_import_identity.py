"""What makes two rows of one file two cases, and not repeats of one: arguments, devices, types."""

import json
import re
from pathlib import Path

import pytest

from gemmbench.analysis.pool import pooled
from gemmbench.records.frame import frame, load
from gemmbench.records.imports import keep, read_foreign
from gemmbench.records.schema import Record
from gemmbench.show.imported import imported

DATA = Path(__file__).parent / "data" / "import"
_HEAD, _, _ROW = (DATA / "cutlass.csv").read_text().splitlines()[:3]
_AFTER_BATCH = ("use_pdl", "swizzle_size", "runtime_input_datatype_a", "runtime_input_datatype_b")
_NEW = "cutlass3x_sm100_tensorop_gemm_f16_f16_f32_void_f32_128x128x64_0x0x1_0_tnt_align8_2sm"


def cutlass(tmp_path: Path, *changes: dict[str, str]) -> tuple[Record, ...]:
    """The records of rows that differ from one of the sample in these cells, and in their time."""
    columns = [*_HEAD.split(","), *_AFTER_BATCH, *(f"cluster_{axis}_fallback" for axis in "mnk")]
    cells = dict(zip(columns, _ROW.split(","), strict=False))
    cells |= {"raster_order": "heuristic", "use_pdl": "false", "swizzle_size": "1"}
    rows = [cells | change | {"Runtime": f"0.03{index}"} for index, change in enumerate(changes)]
    lines = [",".join(columns), *(",".join(row.get(one, "") for one in columns) for row in rows)]
    path = tmp_path / "sweep.csv"
    path.write_text("\n".join(lines))
    (run,) = read_foreign(path)
    return run.records


def settings(records: tuple[Record, ...]) -> list[object]:
    return [one.settings for one in records]


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("raster_order", ("heuristic", "along_n", "along_m"), (None, "along_n", "along_m")),
        ("swizzle_size", ("1", "2", "8"), (None, 2, 8)),
        ("split_k_mode", ("serial", "parallel"), (None, "parallel")),
        ("split_k_slices", ("1", "4"), (None, 4)),
        ("use_pdl", ("false", "true"), (None, "true")),
        ("alpha", ("1", "0.5"), (None, "0.5")),
    ],
)
def test_a_sweep_of_arguments_is_no_repeats(
    tmp_path: Path, name: str, values: tuple[str, ...], told: tuple[object, ...]
) -> None:
    records = cutlass(tmp_path, *({name: value} for value in values))
    ours = name.removesuffix("_slices")
    assert settings(records) == [None if one is None else {ours: one} for one in told]
    assert {one.repeat for one in records} == {0}
    assert len({one.case for one in records}) == len(values)


def test_the_same_arguments_are_repeats(tmp_path: Path) -> None:
    records = cutlass(tmp_path, {"swizzle_size": "2"}, {"swizzle_size": "2"})
    assert [one.repeat for one in records] == [0, 1]


def test_a_cluster_is_an_argument_where_the_kernels_name_leaves_it_open(tmp_path: Path) -> None:
    """Without a cluster in the name it is 2x1x1 for a pair of SMs, and its fallback 2x1x1."""

    def row(cluster: str, fallback: str = "2,1,1") -> dict[str, str]:
        sizes = zip("mnk", cluster.split(","), fallback.split(","), strict=True)
        found = {"Operation": _NEW}
        for axis, size, second in sizes:
            found |= {f"cluster_{axis}": size, f"cluster_{axis}_fallback": second}
        return found

    records = cutlass(
        tmp_path, row("2,1,1"), row("4,2,1"), row("4,2,1", "2,2,1"), row("2,1,1", "1,1,1")
    )
    assert settings(records) == [
        None,
        {"cluster": "4x2x1"},
        {"cluster": "4x2x1", "cluster_fallback": "2x2x1"},
        {"cluster_fallback": "1x1x1"},
    ]
    in_its_name = {"cluster_m_fallback": "2", "cluster_n_fallback": "1", "cluster_k_fallback": "1"}
    assert settings(cutlass(tmp_path, in_its_name)) == [None]


def test_a_kernel_of_any_8_bit_type_has_the_one_it_was_run_with(tmp_path: Path) -> None:
    def row(told: str) -> dict[str, str]:
        both = {f"runtime_input_datatype_{side}": told for side in "ab"}
        return {"A": "f8:row", "B": "f8:column", **both}

    records = cutlass(tmp_path, row("e4m3"), row("e5m2"), row("e2m1"), row("invalid"))
    assert [(one.precision, one.encoding) for one in records] == [
        ("fp8_e4m3", "float8_e4m3fn"),
        ("fp8_e5m2", "float8_e5m2"),
    ]


@pytest.mark.parametrize(
    ("operand", "through", "precision"),
    [
        ("f32", "s64x128x8tf32gemm", "tf32"),
        ("f32", "tf32gemm", "tf32"),  # as CUTLASS 4 shortens it
        ("tf32", "s64x128x8tf32gemm", "tf32"),
        ("f16", "s64x128x16f16gemm", "fp16"),
        ("bf16", "s64x128x16bf16gemm", "bf16"),
        ("f32", "s64x128x16bf16gemm", None),
        ("f32", "s64x128x16f16gemm", None),
        ("f32", "bf16gemm", None),
        ("s8", "s64x128x16bf16gemm", None),
        ("s8", "f16gemm", None),
        ("f32", "s64x128x8gemm", None),
        ("f32", "gemm", None),
        ("f16", "gemm", "fp16"),
    ],
)
def test_what_a_kernel_of_sm_90_multiplies(
    tmp_path: Path, operand: str, through: str, precision: str | None
) -> None:
    name = f"cutlass3x_sm90_tensorop_{through}_f32_f32_f32_f32_f32_128x128x32_2x1x1_0_tnn_align4"
    row = {"Operation": name, "A": f"{operand}:row", "B": f"{operand}:column"}
    _, *records = cutlass(tmp_path, {}, row)
    assert [one.precision for one in records] == ([precision] if precision else [])


def two_gpus(tmp_path: Path, *, known: bool = True) -> Path:
    """A state of one benchmark on each of two GPUs of one name, of the same time."""
    document = json.loads((DATA / "nvbench.json").read_text())
    first = document["devices"][0]
    document["devices"] = [first, first | {"id": 1}] if known else []
    (benchmark, *_) = document["benchmarks"]
    state = benchmark["states"][0]
    benchmark["states"] = [state, state | {"device": 1}]
    document["benchmarks"] = [benchmark]
    path = tmp_path / "two.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("known", [True, False])
def test_two_gpus_of_one_name_are_two_devices(tmp_path: Path, known: bool) -> None:
    runs = read_foreign(two_gpus(tmp_path, known=known))
    cold = [run for run in runs if run.header.method.preset == "nvbench-cold"]
    assert len(cold) == 2
    assert [len(run.records) for run in runs] == [1] * len(runs)
    assert len({run.header.run_id for run in runs}) == len(runs)
    assert not any("printed twice" in one for run in runs for one in run.header.left_out)
    paths = keep(runs, tmp_path / "kept")
    assert set(pooled(load(paths))["n_repeats"]) == {1}
    said = "\n".join(imported(runs, paths))
    assert re.findall(r"\(nvbench-cold\) on .*, device ([01]):", said) == ["0", "1"]


def fp8(tmp_path: Path, *words: str, target: str = "gfx942") -> tuple[Record, ...]:
    """A hipBLASLt log of the same product and solution, its operands in these types."""
    lines = (DATA / "hipblaslt.txt").read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if "transA" in line)
    rows = [
        line.replace("bf16_r,bf16_r,bf16_r,bf16_r", f"{word},{word},bf16_r,bf16_r")
        for word in words
        for line in (lines[at], lines[at + 1], "    --Solution index: 301")
    ]
    log = "\n".join((*lines[:at], *rows))
    log = log.replace("gfx942", target) if target else log.replace("Device ID", "")
    path = tmp_path / "fp8.txt"
    path.write_text(log)
    (run,) = read_foreign(path)
    assert set(pooled(frame([run]))["n_repeats"]) == {1}
    return run.records


@pytest.mark.parametrize(
    ("target", "ocp", "fnuz"),
    [
        ("gfx942", {"encoding": "float8_e4m3fn"}, {}),
        ("gfx950", {}, {"encoding": "float8_e4m3fnuz"}),
        ("", {"encoding": "float8_e4m3fn"}, {"encoding": "float8_e4m3fnuz"}),
    ],
)
def test_two_encodings_of_one_log_are_two_cases(
    tmp_path: Path, target: str, ocp: dict[str, str], fnuz: dict[str, str]
) -> None:
    """A release that tells them apart means OCP's by `f8_r`, on gfx942 too."""
    records = fp8(tmp_path, "f8_r", "f8_fnuz_r", target=target)
    assert [one.encoding for one in records] == ["float8_e4m3fn", "float8_e4m3fnuz"]
    assert settings(records) == [{"solution": "301"} | ocp, {"solution": "301"} | fnuz]
    assert {one.repeat for one in records} == {0}
    assert len({one.case for one in records}) == 2


def test_the_devices_own_encoding_needs_no_word(tmp_path: Path) -> None:
    (record,) = fp8(tmp_path, "f8_r")
    assert (record.encoding, record.settings) == ("float8_e4m3fnuz", {"solution": "301"})
    (record,) = fp8(tmp_path, "bf8_fnuz_r")
    assert (record.encoding, record.settings) == ("float8_e5m2fnuz", {"solution": "301"})
    (record,) = fp8(tmp_path, "f8_r", target="")
    assert (record.encoding, record.settings) == ("", {"solution": "301"})
