"""numba-amx without AMX: packing, edges and layouts on emulated tiles; the real ones compiled."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import numba
import numpy as np
import pytest
import torch
from kernel_jobs import CPU, GPUS

from gemmbench.devices.detect import detect
from gemmbench.verify import Verifier
from gemmkernels import GemmbenchError, Problem
from gemmkernels.cpu import needs
from gemmkernels.cpu.amx_share import TILE, share_of
from gemmkernels.cpu.amx_tiles import CONFIGURATION
from gemmkernels.cpu.numba_amx import DEFAULT, arguments
from gemmkernels.cpu.packing import putter
from gemmkernels.cpu.sharing import planned
from gemmkernels.kernel import Settings
from gemmkernels.ladder import find
from gemmkernels.operands import allocate

KERNEL = find("numba-amx")
HERE = detect("cpu")
LAYOUTS = ("nn", "nt", "tn", "tt")
REFUSED = "(the operating system refused AMX: |AMX needs )"
WITH_AMX = dataclasses.replace(CPU, features=("amx_tile", "amx_bf16", "amx_int8"))
SMALL = {"BLOCK_M": 32, "BLOCK_N": 64, "BLOCK_K": 64}
"""Several blocks of each kind in a small shape: sums are loaded back into their tiles."""

# Whole tiles; a rest of each; ones; less than a word; several blocks with a rest.
CASES: tuple[tuple[tuple[int, int, int], Settings], ...] = (
    ((64, 64, 128), DEFAULT),
    ((33, 70, 67), DEFAULT),
    ((1, 1, 1), DEFAULT),
    ((5, 40, 3), DEFAULT),
    ((70, 75, 131), SMALL),
)


class Tiles:
    """The tile instructions as Intel's manual (volume 2A) tells them, on arrays for pointers.

    A configuration that faults there is an error here, and so is an instruction without one.
    """

    def __init__(self) -> None:
        self.tiles: list[np.ndarray[Any, Any]] = []
        self.products = 0

    def moved(self, array: Any, elements: int) -> Any:
        return array[elements:]

    def words(self, array: Any) -> Any:
        return array.view(np.int32)

    def configure(self, array: Any) -> None:
        raw = array.view(np.uint8)[:64]
        assert raw[0] == 1, "palette 1"
        assert not raw[1:16].any() and not raw[32:48].any() and not raw[56:].any(), "reserved"  # noqa: PT018
        row_bytes, rows = raw[16:32].view(np.uint16), raw[48:56]
        assert row_bytes.max() <= 64 and rows.max() <= 16  # noqa: PT018
        assert not self.tiles, "configured twice"
        self.tiles = [
            np.zeros((high, wide), np.uint8) for high, wide in zip(rows, row_bytes, strict=True)
        ]

    def release(self) -> None:
        self.tiles = []

    def zero(self, tile: int) -> None:
        self.tiles[tile][:] = 0

    def _rows(self, tile: int, array: Any, stride: int) -> Any:
        high, wide = self.tiles[tile].shape
        raw = array.view(np.uint8)[: (high - 1) * stride + wide]
        return np.lib.stride_tricks.as_strided(raw, (high, wide), (stride, 1))

    def load(self, tile: int, array: Any, stride: int) -> None:
        self.tiles[tile][:] = self._rows(tile, array, stride)

    def store(self, tile: int, array: Any, stride: int) -> None:
        self._rows(tile, array, stride)[:] = self.tiles[tile]

    def _terms(self, c: int, a: int, b: int, count: int) -> tuple[Any, Any]:
        """A [rows, words, terms] and B [words, columns, terms] of a product that is allowed."""
        left, right, total = self.tiles[a], self.tiles[b], self.tiles[c]
        assert len({a, b, c}) == 3
        assert left.shape[0] == total.shape[0]
        assert right.shape[1] == total.shape[1]
        assert left.shape[1] == 4 * right.shape[0]
        self.products += 1
        shape = (-1, count, 4 // count)
        return left.reshape(len(left), *shape), right.reshape(len(right), *shape)

    def dot_int8(self, c: int, a: int, b: int) -> None:
        left, right = (one.view(np.int8)[..., 0] for one in self._terms(c, a, b, 4))
        total = self.tiles[c].view(np.int32)
        total += np.einsum("mkt,knt->mn", left.astype(np.int32), right.astype(np.int32))

    def dot_bf16(self, c: int, a: int, b: int) -> None:
        left, right = (
            (one.view(np.uint16)[..., 0].astype(np.uint32) << 16).view(np.float32)
            for one in self._terms(c, a, b, 2)
        )
        total = self.tiles[c].view(np.float32)
        for k in range(right.shape[0]):
            for term in range(2):
                total += np.multiply.outer(left[:, k, term], right[k, :, term])


def emulated(problem: Problem, settings: Settings) -> tuple[float, int]:
    """Verify on emulated tiles; the error of the rounding check, and how many products it took."""
    terms = 32 // problem.numerics.bits_in
    (operands,) = allocate(problem, WITH_AMX)
    plan = planned("numba-amx", problem, (TILE, TILE, 16 * terms), settings)
    a, b, c, scratch, jobs = arguments(operands, plan)
    tiles = Tiles()
    share = share_of(tiles, terms, lambda function: function)

    def execute() -> tuple[torch.Tensor]:
        # What nobody wrote must reach no sum: as bfloat16 it is a NaN.
        scratch[:, 16 * terms :] = np.iinfo(scratch.dtype).max
        for own, job in zip(scratch, jobs, strict=True):
            share(a, b, c, own, job)
        assert not tiles.tiles, "not released"
        return (operands.out,)

    verifier = Verifier(operands=operands)
    verifier.exact(execute, salt=1)
    verifier.rounding(execute)
    return verifier.error, tiles.products // 2


@pytest.mark.parametrize("precision", KERNEL.precisions)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_agrees_with_float64_on_emulated_tiles(precision: str, layout: str) -> None:
    for (m, n, k), settings in CASES:
        problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
        error, products = emulated(problem, settings)
        assert error <= 1
        across = 2048 // problem.numerics.bits_in // 4
        assert products == -(-m // TILE) * -(-n // TILE) * 4 * -(-k // across)


@pytest.mark.parametrize("count", [1, 2])
def test_threads_have_tiles_of_their_own(count: int) -> None:
    before = numba.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    try:
        problem = Problem(m=70, n=75, k=40, precision="int8")
        emulated(problem, DEFAULT)
        plan = planned("numba-amx", problem, (TILE, TILE, 64), DEFAULT)
        (operands,) = allocate(problem, WITH_AMX)
        scratch = arguments(operands, plan)[3]
        assert len(scratch) == min(count, numba.config.NUMBA_NUM_THREADS)
        assert all(np.array_equal(own[:64].view(np.uint8), CONFIGURATION) for own in scratch)
    finally:
        numba.set_num_threads(before)


def test_bfloat16_is_rounded_as_torch_does() -> None:
    edges = [0.0, -0.0, 1.0, float("inf"), -float("inf"), 3.4e38, 1e-40, 1 + 2**-8, 1 + 3 * 2**-8]
    values = torch.cat((torch.tensor(edges), torch.randn(1000) * 1e3)).contiguous()
    found = np.zeros(len(values), np.uint16)
    sums = values.numpy().view(np.int32)
    putter(halved=True)(sums, len(values), found, 0, 0, 1, len(values))
    assert np.array_equal(found, values.bfloat16().view(torch.uint16).numpy())
    nan = np.array([0x7F800001, 0x7FFFFFFF], np.uint32).view(np.int32)
    found = np.zeros(2, np.uint16)
    putter(halved=True)(nan, 2, found, 0, 0, 1, 2)
    assert np.isnan((found.astype(np.uint32) << 16).view(np.float32)).all()


COMPILE = """
import json, sys
import numba
from gemmkernels.cpu.numba_amx import machine_code
print(json.dumps({terms: machine_code(terms)._library.get_asm_str() for terms in (2, 4)}))
"""


def test_the_real_tiles_compile_to_amx() -> None:
    """For a CPU that is not here: compiled, never run."""
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
    code = json.loads(done.stdout)
    for terms, dot, other in (("2", "tdpbf16ps", "tdpbssd"), ("4", "tdpbssd", "tdpbf16ps")):
        found = Counter(re.findall(r"^\s+(t\w+|ldtilecfg)\b", code[terms], re.MULTILINE))
        assert found["ldtilecfg"] == found["tilerelease"] == 1
        assert found["tilezero"] == 4
        assert found["tilestored"] == 4
        assert found[dot] % 4 == 0
        assert found[dot] > 0
        assert found["tileloadd"] == found[dot] + 4
        assert found[other] == 0
        # four products into four tiles of C, from two of A and two of B
        quartet = re.findall(rf"{dot}\s+%tmm(\d), %tmm(\d), %tmm(\d)", code[terms])[:4]
        assert quartet == [("6", "4", "0"), ("7", "4", "1"), ("6", "5", "2"), ("7", "5", "3")]


def test_a_cpu_without_amx_is_told() -> None:
    bf16, int8 = (Problem(m=8, n=8, k=8, precision=name) for name in KERNEL.precisions)
    zen = dataclasses.replace(CPU, features=("avx512_bf16", "avx512_vnni", "amx_tile"))
    assert KERNEL.why_not(bf16, zen) == "needs AMX: this CPU has no amx_bf16"
    assert KERNEL.why_not(int8, zen) == "needs AMX: this CPU has no amx_int8"
    none = KERNEL.why_not(bf16, dataclasses.replace(zen, features=("avx512_bf16",)))
    assert none == "needs AMX: this CPU has no amx_tile and no amx_bf16"
    assert KERNEL.why_not(bf16, GPUS["sm_90"]) == "runs on a CPU only"


def test_an_operating_system_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(m=8, n=8, k=8, precision="bf16")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    found = KERNEL.why_not(problem, WITH_AMX)
    assert found is not None
    assert found.startswith("AMX needs Linux on x86-64, this is Darwin")


@pytest.mark.skipif(
    sys.platform != "linux" or "amx_tile" in HERE.features, reason="the request would be granted"
)
def test_a_real_refusal_has_its_reason() -> None:
    """The very request, on a machine that has no tiles to give."""
    assert re.fullmatch(f"{REFUSED}.*", needs.refusal() or "")
    (operands,) = allocate(Problem(m=8, n=8, k=8, precision="bf16"), WITH_AMX)
    with pytest.raises(GemmbenchError, match=f"numba-amx: {REFUSED}"):
        KERNEL.launch(operands)


def test_a_numba_that_compiles_without_amx_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM would end the process at an instruction that its target lacks."""
    monkeypatch.setattr("gemmkernels.cpu.numba_amx.refusal", lambda: None)
    monkeypatch.setattr("gemmkernels.cpu.numba_amx.compiled_for", lambda: frozenset({"amx-tile"}))
    (operands,) = allocate(Problem(m=8, n=8, k=8, precision="bf16"), WITH_AMX)
    with pytest.raises(GemmbenchError, match="compiles without amx-bf16, amx-int8"):
        KERNEL.launch(operands)


@pytest.mark.skipif(
    bool(KERNEL.why_not(Problem(m=1, n=1, k=1, precision="bf16"), HERE)),
    reason=str(KERNEL.why_not(Problem(m=1, n=1, k=1, precision="bf16"), HERE)),
)
@pytest.mark.parametrize("precision", KERNEL.precisions)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_agrees_with_float64_on_real_tiles(precision: str, layout: str) -> None:
    for (m, n, k), settings in CASES:
        problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
        (operands,) = allocate(problem, HERE)
        launch = KERNEL.launch(operands, settings=settings)

        def execute(launch: Any = launch, out: torch.Tensor = operands.out) -> tuple[torch.Tensor]:
            launch.run()
            return (out,)

        verifier = Verifier(operands=operands)
        verifier.exact(execute, salt=1)
        verifier.rounding(execute)


def test_settings_begin_with_the_default() -> None:
    offered = KERNEL.settings(Problem(m=512, n=512, k=512, precision="bf16"), WITH_AMX)
    assert offered[0] == DEFAULT
    assert len({tuple(one.items()) for one in offered}) == len(offered)
