"""The probes of this CPU: each does its work, and what did not is told; AMX's on emulated tiles."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_jobs import CPU, GPUS
from test_kernels_cpu_amx import Tiles

from gemmbench.devices.detect import detect
from gemmbench.runner.turners import take
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.probes import matrix_cpu, vector_cpu
from gemmkernels.probes.loop_cpu import difference
from gemmkernels.probes.roofs import Wanted, bind, check_precisions, wanted

HERE = dataclasses.replace(detect("cpu", threads=1), llc_bytes=2**20)
AMX = dataclasses.replace(CPU, features=("avx2", "amx_tile", "amx_fp16", "amx_bf16", "amx_int8"))


def names(found: tuple[Wanted, ...]) -> list[str]:
    return [" ".join(filter(None, (one.name, one.precision))) for one in found if not one.reason]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    take(HERE)


@pytest.mark.parametrize(
    ("name", "precision"),
    [(one.name, one.precision) for one in wanted(HERE) if not one.reason],
)
def test_a_probe_does_what_it_counts(name: str, precision: str) -> None:
    probe = bind(name, precision, HERE)
    assert probe.check(probe.launch.run) == ""
    if name.startswith("launch"):
        assert probe.work == 0
        return
    # One that was optimised away, and one that leaves a part of its work.
    assert "are " in probe.check(lambda: None)


@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16", "int8"])
def test_half_of_the_steps_are_too_few(precision: str) -> None:
    """The bound of a loop's rounding is far below the half."""
    width = 64
    _, whole, allowed = vector_cpu.sums(precision, width, vector_cpu.STEPS)
    _, half, _ = vector_cpu.sums(precision, width, vector_cpu.STEPS // 2)
    word = np.int32 if precision == "int8" else np.float64
    assert difference(whole.astype(word)[None], whole, allowed) == ""
    assert "sums are wrong" in difference(half.astype(word)[None], whole, allowed)
    nan = np.full((1, whole.size), np.nan) if precision != "int8" else half.astype(word)[None]
    assert difference(nan, whole, allowed)


def test_flop_and_bytes_are_exact() -> None:
    probe = bind("vector", "fp32", HERE)
    lanes = int(probe.config["vector_bits"]) // 32
    accumulators = int(probe.config["accumulators"])
    assert probe.work == 2 * lanes * accumulators * vector_cpu.STEPS
    assert vector_cpu.sums("fp32", 64, 1)[1].size == 24 * 16
    copy = bind("cache", "", HERE)
    assert copy.config["bytes"] == copy.work == 2**19
    amx = matrix_cpu.sums("int8", 1)[1]
    assert amx.size == matrix_cpu.PARTS * 4 * 256


def test_a_buffer_is_four_times_the_cache_and_fits_into_memory() -> None:
    probe = bind("copy", "", dataclasses.replace(HERE, llc_bytes=20 * 2**20))
    assert probe.config["bytes"] == 2 * 80 * 2**20
    small = dataclasses.replace(HERE, memory_bytes=2**27)
    with pytest.raises(GemmbenchError, match="two buffers of 64 MiB, 4 times the cache"):
        bind("copy", "", small)


def test_what_a_device_is_asked_for() -> None:
    fixed = ["copy", "read", "launch-loop"]
    zen = dataclasses.replace(CPU, features=("avx2", "avx512_bf16", "avx512_vnni"))
    found = wanted(zen)
    every = [*fixed, *(f"vector {name}" for name in ("fp64", "fp32", "bf16", "int8"))]
    assert names(found) == every
    told = [one for one in found if one.reason]
    assert told == [
        Wanted("cache", "", "GB/s", "the size of the last-level cache is not known"),
    ]
    some = wanted(zen, ("fp8_e4m3_rowwise", "bf16x3", "fp16_sparse"))
    assert names(some) == [*fixed, "vector bf16"]
    assert some[-1].reason == "x86-64 CPUs have no fp8_e4m3 arithmetic"
    assert not any(one.precision for one in wanted(zen, ("fp16_sparse",)))
    avx2 = dataclasses.replace(CPU, features=("avx2",))
    assert names(wanted(avx2)) == [*fixed, "vector fp64", "vector fp32"]


def test_what_a_gpu_is_asked_for() -> None:
    found = names(wanted(GPUS["sm_90"]))
    fixed = ["copy", "read", "launch-stream", "launch-graph", "vector fp64", "vector fp32"]
    assert found[:6] == fixed
    # Triton's fp64 instruction is half of what Hopper's units hold.
    matrix = "tf32 fp16 bf16 fp8_e4m3 fp8_e5m2 int8"
    assert found[6:] == [f"matrix {name}" for name in matrix.split()]
    blackwell = names(wanted(GPUS["sm_100"]))
    assert blackwell[-3:] == ["matrix mxfp8", "matrix mxfp4", "matrix nvfp4"]
    cdna = names(wanted(GPUS["gfx942"], graphs=False))
    assert "launch-graph" not in cdna
    assert {"matrix fp32", "matrix tf32", "matrix fp64"} <= set(cdna)
    assert "matrix fp64" not in names(wanted(GPUS["sm_120"]))


def test_a_sparse_precision_has_no_roof() -> None:
    check_precisions(("bf16", "mxfp4"))
    with pytest.raises(GemmbenchError, match="precision 'bf16_sparse' has no roof"):
        check_precisions(("bf16_sparse",))
    with pytest.raises(GemmbenchError, match="did you mean bf16"):
        check_precisions(("bf61",))


# AMX.


class Counted(Tiles):
    """Emulated tiles, of which fp16 is one more product."""

    def moved(self, array: Any, elements: int) -> Any:
        return array[elements:]

    def dot_fp16(self, c: int, a: int, b: int) -> None:
        left, right = (one.view(np.float16)[..., 0] for one in self._terms(c, a, b, 2))
        total = self.tiles[c].view(np.float32)
        total += np.einsum("mkt,knt->mn", left.astype(np.float32), right.astype(np.float32))


def emulated(precision: str, *, steps: int, leave_out: int = -1) -> str:
    """What the check says of the AMX loop on emulated tiles; `leave_out` skips a product."""
    tiles, done = Counted(), Counter[int]()
    dot: Callable[[int, int, int], None] = getattr(tiles, f"dot_{precision}")

    def counted(c: int, a: int, b: int) -> None:
        done[c] += 1
        if done[c] != leave_out:
            dot(c, a, b)

    share = matrix_cpu.loop_of(tiles, counted, lambda function: function)
    given, expected, allowed = matrix_cpu.sums(precision, steps)
    word = np.int32 if precision == "int8" else np.float32
    out = np.full(expected.size * 4, 0xFF, np.uint8)
    share(np.frombuffer(given, np.uint8), steps, out)
    assert not tiles.tiles, "not released"
    assert set(done.values()) == {matrix_cpu.PARTS * steps}
    return difference(out.view(word)[None], expected, allowed)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_amx_adds_up_on_emulated_tiles(precision: str) -> None:
    assert emulated(precision, steps=3) == ""
    assert "sums are wrong" in emulated(precision, steps=3, leave_out=2)


def test_the_check_of_amx_holds_at_full_length() -> None:
    for precision in ("fp16", "bf16"):
        _, expected, allowed = matrix_cpu.sums(precision, matrix_cpu.STEPS)
        assert (allowed < np.abs(expected).max() / 4).all()


def test_a_numba_without_amx_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_cpu, "compiled_for", lambda: frozenset({"amx-tile"}))
    with pytest.raises(GemmbenchError, match="numba compiles without amx-bf16 here"):
        matrix_cpu.bind(AMX, "bf16")


COMPILE = """
import json
from gemmkernels.probes import matrix_cpu, vector_cpu
found = {name: matrix_cpu.loop(name) for name in ("bf16", "int8")}
found |= {f"vector {name}": vector_cpu.loop(name, 64) for name in ("fp32", "bf16", "int8")}
found["vex int8"] = vector_cpu.loop("int8", 32)
print(json.dumps({name: one._library.get_asm_str() for name, one in found.items()}))
"""


@pytest.fixture(scope="module")
def code() -> dict[str, str]:
    """Machine code for a CPU that is not here: compiled, never run."""
    environment = {
        "NUMBA_CPU_NAME": "sapphirerapids",
        "NUMBA_CPU_FEATURES": "",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def is_a(line: str, instruction: str) -> bool:
    return line.removeprefix("{vex}").strip().startswith(instruction)


def loop_with(text: str, instruction: str) -> list[str]:
    """The lines of the innermost loop that holds the instruction."""
    lines = [line.strip() for line in text.splitlines()]
    at = next(i for i, line in enumerate(lines) if is_a(line, instruction))
    top = max(i for i, line in enumerate(lines[:at]) if re.match(r"\.LBB\d+_\d+:", line))
    label = lines[top].partition(":")[0]
    end = next(i for i, line in enumerate(lines) if i > at and re.match(rf"j\w+\s+{label}$", line))
    return lines[top : end + 1]


@pytest.mark.parametrize(
    ("name", "instruction", "products"),
    [
        ("bf16", "tdpbf16ps", 4),
        ("int8", "tdpbssd", 4),
        ("vector fp32", "vfmadd231ps", 24),
        ("vector bf16", "vdpbf16ps", 24),
        ("vector int8", "vpdpbusd", 24),
        ("vex int8", "vpdpbusd", 12),
    ],
)
def test_a_loop_is_products_in_registers(
    code: dict[str, str], name: str, instruction: str, products: int
) -> None:
    lines = loop_with(code[name], instruction)
    found = [line for line in lines if is_a(line, instruction)]
    assert len(found) % products == 0
    targets = {line.rpartition("%")[2] for line in found}
    assert len(targets) == products  # none waits for the one before
    assert not [line for line in lines if "(%" in line], "no memory"


def test_a_vector_is_as_wide_as_device_and_compiler_have_it() -> None:
    plain = dataclasses.replace(HERE, features=("avx2", "fma"))
    assert bind("vector", "fp32", plain).config["vector_bits"] == 256
    wide: Device = HERE
    if "avx512f" in wide.features:
        assert bind("vector", "fp32", wide).config["vector_bits"] == 512


def test_the_cache_of_an_amd_partition_is_not_asked_for() -> None:
    whole = dataclasses.replace(GPUS["gfx942"], llc_bytes=2**28)
    part = dataclasses.replace(whole, partition="CPX", units=38)
    told = {one.name: one.reason for one in wanted(part)}
    assert told["cache"] == "how much of the Infinity Cache a partition has is not known"
    assert {one.name: one.reason for one in wanted(whole)}["cache"] == ""


def test_what_is_read_is_added_up() -> None:
    probe = bind("read", "", dataclasses.replace(HERE, llc_bytes=2**20))
    assert probe.config["bytes"] == probe.work == 64 * 2**20
    assert probe.check(probe.launch.run) == ""
    assert "are not those of the source" in probe.check(lambda: None)
