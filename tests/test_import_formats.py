"""Each format's traps: units, transposed shapes, what is wrong, and what is none of ours."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemmbench.records.imports import Asked, read_foreign
from gemmbench.records.reader import Run
from gemmbench.records.schema import Record
from gemmkernels.errors import GemmbenchError

DATA = Path(__file__).parent / "data" / "import"


def runs(name: str, **asked: Any) -> tuple[Run, ...]:
    return read_foreign(DATA / name, Asked(**asked))


def records(name: str, **asked: Any) -> list[Record]:
    return [record for run in runs(name, **asked) for record in run.records]


def time_ns(record: Record) -> float:
    (turn,) = record.turns
    assert turn.median_ns is not None
    return turn.median_ns


def only(found: list[Record], **wanted: object) -> Record:
    (one,) = [r for r in found if all(getattr(r, key) == value for key, value in wanted.items())]
    return one


def changed(tmp_path: Path, name: str, change: Callable[[str], str]) -> Path:
    path = tmp_path / name
    path.write_text(change((DATA / name).read_text()))
    return path


# hipblaslt-bench


def test_hipblaslt_is_column_major_and_its_us_are_microseconds() -> None:
    first = records("hipblaslt.txt")[0]
    assert (first.m, first.n, first.k, first.batch) == (1024, 8192, 4096, 1)
    assert first.layout == "nt"  # T,N: K contiguous in both operands
    assert time_ns(first) == 160_000
    assert first.turns[0].clock_mhz == 1850
    (run,) = runs("hipblaslt.txt")
    assert run.header.method.cache == "rotated"
    assert (run.header.device.architecture, run.header.device.name) == (
        "gfx942",
        "AMD Instinct MI300X",
    )


def test_hipblaslts_gb_are_gib_and_its_rates_agree_with_ours() -> None:
    first = records("hipblaslt.txt")[0]
    least_bytes = 2 * (1024 * 4096 + 4096 * 8192 + 1024 * 8192)
    assert first.config["told_gbps"] == pytest.approx(least_bytes / 160_000, rel=1e-4)
    assert not [
        one for record in records("hipblaslt.txt") for one in record.warnings if "says" in one
    ]


def test_hipblaslts_winner_and_its_solutions() -> None:
    found = records("hipblaslt.txt")
    assert [record.settings for record in found] == [{"solution": "301"}, {"solution": "302"}]
    assert runs("hipblaslt.txt")[0].header.left_out == ("1 as a winner that is printed above, too",)
    assert found[0].config["solution_name"] == "Cijk_Alik_Bljk_BBS_BH_MT256x256x64_MI16x16x1"


def test_solutions_without_an_index_are_no_repeats(tmp_path: Path) -> None:
    def nameless(text: str) -> str:
        return "\n".join(line for line in text.split("\n") if "--Solution" not in line)

    path = changed(tmp_path, "hipblaslt.txt", nameless)
    (run,) = read_foreign(path)
    assert [record.settings for record in run.records] == [None, {"row": 2}]
    assert {record.repeat for record in run.records} == {0}


def test_hipblaslt_with_its_check() -> None:
    found = records("hipblaslt-checked.txt")
    plain = only(found, precision="fp16", modes={})
    assert (plain.batch, plain.layout, plain.status) == (4, "tn", "ok")
    assert plain.check is not None
    assert "not verified by its tool" not in plain.warnings
    short = only(found, precision="fp16", accumulate="float16")
    assert short.modes == {"accumulate": "float16"}  # a mode, and never our fp16
    nan = only(found, precision="fp8_e4m3")
    assert (nan.status, nan.turns, nan.reason) == ("wrong", (), "its check gave nan")
    failed = only(found, precision="fp8_e4m3_rowwise")
    assert (failed.status, failed.encoding) == ("wrong", "float8_e4m3fnuz")
    assert only(found, precision="tf32").encoding == "float32"
    assert only(found, precision="fp32").modes == {"epilogue": "relu", "bias": "yes", "beta": "1"}
    assert len(found) == 6


def test_what_hipblaslt_does_that_none_of_ours_is() -> None:
    hot, flushed = runs("hipblaslt-checked.txt")
    assert (hot.header.method.cache, flushed.header.method.cache) == ("hot", "flushed")
    assert hot.header.method.preset == "hipblaslt-bench-gpu-timer"
    assert set(hot.header.left_out) == {
        "1 of types that no precision here has: f32_r x f32_r, f32_f16_r",
        "1 of types that no precision here has: bf8_r x f8_r, f32_r",
        "1 as a grouped product, whose FLOPs it sums over groups of unknown shapes",
        "1 as unsupported: no solution found",
    }


@pytest.mark.parametrize(
    ("target", "encoding"),
    [("gfx942", "float8_e4m3fnuz"), ("gfx950", "float8_e4m3fn"), (None, "")],
)
def test_f8_is_what_the_device_takes(tmp_path: Path, target: str | None, encoding: str) -> None:
    def change(text: str) -> str:
        text = text.replace("bf16_r,bf16_r,bf16_r,bf16_r", "f8_r,f8_r,bf16_r,bf16_r")
        return text.replace("gfx942", target) if target else text.replace("Device ID", "")

    (run,) = read_foreign(changed(tmp_path, "hipblaslt.txt", change))
    assert {(r.precision, r.encoding) for r in run.records} == {("fp8_e4m3", encoding)}


def test_the_oldest_form_must_be_told_its_type(tmp_path: Path) -> None:
    with pytest.raises(GemmbenchError, match="say --precision, such as --precision bf16"):
        runs("hipblaslt-oldest.txt")
    (record,) = records("hipblaslt-oldest.txt", precision="fp32")
    assert (record.m, record.n, record.k, record.precision) == (384, 256, 512, "fp32")
    assert time_ns(record) == 10_000
    command = "./hipblaslt-bench --precision f32_r -m 256\n"
    (run,) = read_foreign(changed(tmp_path, "hipblaslt-oldest.txt", lambda text: command + text))
    assert run.records[0].precision == "fp32"


@pytest.mark.parametrize("mark", ["    ", "+     ", "> ", "| "])
def test_rows_and_headers_of_pasted_logs(tmp_path: Path, mark: str) -> None:
    def change(text: str) -> str:
        return "".join(f"{mark}{line}\n\n" for line in text.replace("[0]:", "[0]").split("\n"))

    (run,) = read_foreign(changed(tmp_path, "hipblaslt.txt", change))
    assert [time_ns(record) for record in run.records] == [160_000, 140_000]


# rocblas-bench


def test_rocblas_takes_its_type_from_the_command() -> None:
    half, double = records("rocblas.txt")
    assert (half.m, half.n, half.k, half.layout) == (256, 1024, 512, "nt")
    assert (half.precision, half.modes) == ("fp16", {"accumulate": "float16"})
    assert half.config["told_gbps"] == 92.2  # by 10⁹ here
    assert (double.precision, double.layout, time_ns(double)) == ("fp64", "tn", 100_000)
    assert double.config["hot_iters"] == 10
    assert half.check is double.check is None
    assert runs("rocblas.txt")[0].header.left_out == ("1 of a type that no precision here has: c",)


def test_rocblas_without_a_command_must_be_told(tmp_path: Path) -> None:
    path = changed(
        tmp_path,
        "rocblas.txt",
        lambda text: "\n".join(one for one in text.split("\n") if "./" not in one),
    )
    with pytest.raises(GemmbenchError, match=r"rocblas\.txt: its output does not tell the type"):
        read_foreign(path)
    (run,) = read_foreign(path, Asked(precision="fp32"))
    assert {record.precision for record in run.records} == {"fp32"}


def test_a_rate_that_shape_and_time_do_not_make_is_told(tmp_path: Path) -> None:
    path = changed(tmp_path, "rocblas.txt", lambda text: text.replace("2684.35", "1.5e+06"))
    (run,) = read_foreign(path)
    assert "its tool says 1500 TFLOP/s, shape and time make 2.684" in run.records[1].warnings


# CUTLASS


def test_cutlass_is_ms_and_c_by_columns_is_the_transposed_product() -> None:
    found = records("cutlass.csv")
    by_columns, by_rows = (r for r in found if r.precision == "fp16" and r.k == 4096)
    assert time_ns(by_columns) == 25_000
    assert (by_columns.m, by_columns.n, by_columns.layout) == (2048, 1024, "nt")
    assert by_columns.tile == (256, 128, 64)
    assert (by_rows.m, by_rows.n, by_rows.layout) == (1024, 2048, "nt")
    assert by_rows.tile == (128, 256, 64)
    assert by_columns.config["told_gbps"] == pytest.approx(29360128 / 25_000, rel=1e-5)


def test_only_what_passed_is_verified() -> None:
    found = records("cutlass.csv")
    passed, unknown = (r for r in found if r.precision == "fp16" and r.k == 4096)
    assert passed.check is not None
    assert not passed.warnings
    assert unknown.check is None
    assert unknown.warnings == ("not verified by its tool",)
    wrong = only(found, status="wrong")
    assert (wrong.turns, wrong.check) == ((), None)
    assert only(found, status="failed").reason == "error_internal"
    assert only(found, status="unsupported").reason == "not supported"
    assert "1 not run" in runs("cutlass.csv")[0].header.left_out


def test_what_cutlass_multiplies_with_stands_in_its_name() -> None:
    found = records("cutlass.csv")
    square = [record for record in found if (record.m, record.n, record.k) == (512, 512, 512)]
    assert {record.precision for record in square} == {"fp32", "tf32", "bf16"}
    assert only(square, precision="fp32").tier == "tiled"
    assert only(square, precision="bf16").tier == "library"
    assert only(square, precision="bf16").backend == "cublas"
    # through bf16, and emulated: neither is fp32 nor tf32
    assert "2 of types that no precision here has: f32 x f32, f32" in (
        runs("cutlass.csv")[0].header.left_out
    )
    short = [record for record in found if record.accumulate == "float16"]
    assert [record.modes for record in short] == [{"accumulate": "float16"}] * 2
    fp8 = only(found, precision="fp8_e4m3")
    assert (fp8.modes, fp8.encoding, fp8.out_dtype) == (
        {"accumulate": "fast"},
        "float8_e4m3fn",
        "bfloat16",
    )
    assert only(found, precision="fp16_sparse").k == 1024
    assert "1 with an interleaved layout" in runs("cutlass.csv")[0].header.left_out


def test_a_console_and_its_csv_are_one() -> None:
    (run,) = runs("cutlass-console.txt")
    (record,) = run.records
    assert run.header.left_out == ("1 printed twice",)
    assert time_ns(record) == pytest.approx(12_345.6)
    assert (record.m, record.n, record.k, record.layout) == (1024, 512, 2048, "nt")
    assert (record.splits, record.settings) == (4, {"split_k": 4})
    assert record.check is None


def test_two_measurements_of_one_kernel_are_two_repeats(tmp_path: Path) -> None:
    path = changed(
        tmp_path, "cutlass-console.txt", lambda text: text + text.replace("0.0123456", "0.0133333")
    )
    (run,) = read_foreign(path)
    assert [record.repeat for record in run.records] == [0, 1]
    assert [time_ns(record) for record in run.records] == pytest.approx([12_345.6, 13_333.3])
    assert run.records[0].turns[0].round != run.records[1].turns[0].round


# mamf-finder


def test_the_first_mamf_finder_called_the_reduction_n() -> None:
    (run,) = runs("mamf-v1.txt")
    (record,) = run.records
    assert (record.m, record.n, record.k, record.layout) == (11264, 8192, 4096, "nn")
    assert time_ns(record) == pytest.approx(2 * 11264 * 4096 * 8192 / 821.0e12 * 1e9)
    assert run.header.method.preset == "mamf-finder-v1"
    assert record.label == "best of 15 shapes"
    assert (run.header.device_id, run.header.device.units) == ("h100-sxm5", 132)


def test_every_shape_of_a_log_with_carriage_returns_and_no_best_twice() -> None:
    (run,) = runs("mamf-v2.txt")
    first, second = run.records
    assert (first.m, first.n, first.k, first.layout) == (4096, 4096, 2048, "nt")
    flop = 2 * 8192 * 4096 * 2048
    assert time_ns(second) == pytest.approx(flop / 904.4e12 * 1e9)  # the median
    assert second.config["fastest_tflops"] == 940.6
    assert {record.encoding for record in run.records} == {"float8_e4m3fnuz"}
    assert {record.label for record in run.records} == {""}
    assert run.header.device_id == "mi300x"
    assert run.header.software == {"torch": "2.9.0+rocm6.4", "hip": "6.4.43482-0f2d60242"}
    assert run.header.method.cache == "flushed"


def test_a_console_that_holds_the_best_only() -> None:
    (run,) = runs("mamf-block.txt")
    median, mean = run.records
    assert (median.m, median.n, median.k) == (2048, 8192, 4096)  # it says MxKxN
    assert (median.label, median.config["statistic"]) == ("best of 79 shapes", "median")
    assert (mean.m, mean.config["statistic"]) == (4096, "mean")
    assert run.header.left_out == (
        "1 as a mean over all shapes",
        "1 as a maximum, which is one iteration",
    )


def test_a_log_that_ends_early_still_has_its_shapes(tmp_path: Path) -> None:
    path = changed(tmp_path, "mamf-v2.txt", lambda text: text.partition("Tried")[0])
    (run,) = read_foreign(path)
    assert len(run.records) == 2


def test_burst_and_sustained_are_two_methods() -> None:
    burst, sustained = runs("mamf-v4.txt")
    assert burst.header.method.preset == "mamf-finder-v4-boost"
    assert sustained.header.method.preset == "mamf-finder-v4-sustained"
    (turn,) = sustained.records[0].turns
    assert (turn.clock_mhz, turn.power_w) == (1545, 699)
    assert burst.header.device_id == "h200-sxm"
    assert "1 as a scouting row, of a few iterations" in burst.header.left_out


# NVBench


def test_nvbench_is_seconds_and_its_two_ways_are_two_runs() -> None:
    cold, batch, other = runs("nvbench.json")
    assert (cold.header.method.preset, cold.header.method.cache) == ("nvbench-cold", "flushed")
    assert (batch.header.method.preset, batch.header.method.cache) == ("nvbench-batch", "hot")
    assert (cold.header.device_id, other.header.device_id) == ("h100-sxm5", None)
    assert other.header.device.architecture == "sm_100"
    first, second, failed, skipped = cold.records
    assert (first.kernel, first.precision, first.n_samples) == ("my-gemm", "bf16", 812)
    assert time_ns(first) == 400_000  # the median where there is one
    assert time_ns(second) == 410_000  # else the mean
    assert first.turns[0].clock_mhz == 1695
    assert first.config["stdev_us"] == pytest.approx(1.1)
    assert first.config["stdev_percent"] == 1.25
    assert (first.config["q1_us"], first.config["max_us"]) == (399, 440)
    assert (first.settings, second.settings) == ({"Stages": "4"}, {"Stages": "3"})
    assert (failed.status, failed.turns) == ("failed", ())
    assert (skipped.status, skipped.reason) == ("unsupported", "Deadlock: no such tile")
    assert time_ns(batch.records[0]) == pytest.approx(390_000)
    assert cold.header.left_out == ("1 without a shape",)


def test_nvbench_asks_for_what_no_field_tells(tmp_path: Path) -> None:
    def rename(text: str) -> str:
        return text.replace('"name": "M"', '"name": "Rows"').replace('"name": "T"', '"name": "X"')

    path = changed(tmp_path, "nvbench.json", rename)
    with pytest.raises(GemmbenchError, match=r"its axes are X, Rows, N, K, Stages; say which"):
        read_foreign(path)
    with pytest.raises(GemmbenchError, match="no axis of it tells the type"):
        read_foreign(path, Asked(map=(("m", "Rows"),)))
    asked = Asked(map=(("m", "Rows"), ("k", "1024"), ("precision", "X"), ("layout", "nt")))
    cold = read_foreign(path, asked)[0]
    assert (cold.records[0].m, cold.records[0].k) == (4096, 1024)
    assert cold.records[0].precision == "bf16"
    assert "Rows" not in (cold.records[0].settings or {})


def test_nvbenchs_own_samples(tmp_path: Path) -> None:
    document = json.loads((DATA / "nvbench.json").read_text())
    state = document["benchmarks"][0]["states"][0]
    name = "nvbench.json-bin/0.bin"
    state["summaries"].append(
        {
            "tag": "nv/json/bin:nv/cold/sample_times",
            "data": [
                {"name": "filename", "type": "string", "value": name},
                {"name": "size", "type": "int64", "value": "300"},
            ],
        }
    )
    path = tmp_path / "nvbench.json"
    path.write_text(json.dumps(document))
    (tmp_path / "nvbench.json-bin").mkdir()
    samples = [4e-4 + 1e-7 * (index - 150) for index in range(301)]
    (tmp_path / name).write_bytes(struct.pack("<301f", *samples))
    (turn,) = read_foreign(path)[0].records[0].turns
    assert turn.median_ns == pytest.approx(400_000, rel=1e-6)
    assert len(turn.samples_ns or ()) == 200
    assert turn.n_samples == 301
    (tmp_path / name).write_bytes(struct.pack("<2f", 1e-4, float("nan")))
    run = read_foreign(path)[0]
    assert "1 whose file of samples is damaged" in run.header.left_out
    assert time_ns(run.records[0]) == 400_000


@pytest.mark.parametrize("name", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "link"])
def test_no_file_elsewhere_is_opened(tmp_path: Path, name: str) -> None:
    document = json.loads((DATA / "nvbench.json").read_text())
    document["benchmarks"][0]["states"][0]["summaries"].append(
        {
            "tag": "nv/json/bin:nv/cold/sample_times",
            "data": [{"name": "filename", "type": "string", "value": name}],
        }
    )
    (tmp_path / "secret.bin").write_bytes(struct.pack("<4f", *[1e-3] * 4))
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a").mkdir()
    (inside / "link").symlink_to(tmp_path / "secret.bin")
    path = inside / "nvbench.json"
    path.write_text(json.dumps(document))
    run = read_foreign(path)[0]
    assert time_ns(run.records[0]) == 400_000
    assert "1 whose file of samples is not beside it" in run.header.left_out


# pytest-benchmark


def test_a_foreign_pytest_benchmark() -> None:
    (run,) = runs("pytest-benchmark.json")
    matmul, linear = run.records
    assert (matmul.m, matmul.n, matmul.k, matmul.precision) == (128, 256, 512, "fp64")
    assert (linear.m, linear.n, linear.k, linear.precision) == (64, 128, 256, "bf16")
    (turn,) = matmul.turns
    assert turn.median_ns == pytest.approx(210_000)
    assert turn.samples_ns == pytest.approx((210_000, 200_000, 220_000, 205_000, 240_000))
    assert matmul.n_samples == 5
    assert (matmul.settings, linear.settings) == (None, {"threads": "8"})
    assert run.header.started == "2026-03-04T05:06:07.123456+00:00"
    assert run.header.device.name == "unknown (pytest-benchmark)"
    assert run.header.left_out == ("1 without a shape",)
    assert "somehost" not in repr(run.header)


def test_the_oldest_pytest_benchmark_lacks_most_keys(tmp_path: Path) -> None:
    stats = {"median": 2.2e-7, "rounds": 9987, "min": 2e-7, "max": 1e-5}
    document = {"benchmarks": [{"name": "test_x[0]", "stats": stats}], "machine_info": {}}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document))
    with pytest.raises(GemmbenchError, match="they have no parameters"):
        read_foreign(path)
    (run,) = read_foreign(path, Asked(precision="fp32", map=(("m", "8"), ("n", "8"), ("k", "8"))))
    assert time_ns(run.records[0]) == pytest.approx(220)


# The files of the projects themselves, where they are.

SAMPLES = os.environ.get("GEMMBENCH_SAMPLES", "")


@pytest.mark.skipif(not SAMPLES, reason="GEMMBENCH_SAMPLES names no folder of others' files")
def test_the_projects_own_files(tmp_path: Path) -> None:
    paths = sorted(Path(SAMPLES).glob("*.txt")) + sorted(Path(SAMPLES).glob("*.json"))
    assert paths
    asked = Asked(map=(("m", "64"), ("n", "64"), ("k", "64")), precision="fp32")
    read = 0
    for path in paths:
        kept = Path(shutil.copy(path, tmp_path))
        try:
            found = read_foreign(kept, asked if path.suffix == ".json" else None)
        except GemmbenchError as error:
            needs = ("--precision", "nothing to import", "leave it out")
            assert any(word in str(error) for word in needs), error
            continue
        assert all(run.records for run in found), path.name
        read += 1
    assert read >= len(paths) // 2
