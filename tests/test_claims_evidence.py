"""The evidence for the claims: what ships is what the compiler and torch say, and attention is
measured."""

import subprocess
import sys
from typing import Any

import pytest

from gemmbench.devices.detect import detect
from gemmbench.inspect.cache import triton_version
from gemmbench.records.evidence import Cast, attention_flop, kept
from gemmbench.runner import evidence
from gemmbench.runner.attention import measure_attention
from gemmbench.runner.encodings import emitted
from gemmbench.runner.evidence import casts, gather
from gemmkernels.errors import GemmbenchError
from gemmkernels.probes.attention import CLAIMED, DEFAULT, forward, projection, projection_flop

HAS_TRITON = pytest.mark.skipif(
    triton_version() != kept().triton, reason=f"the evidence is of Triton {kept().triton}"
)


@HAS_TRITON
def test_the_encodings_that_ship_are_what_the_compiler_makes_today() -> None:
    shipped = [one for one in kept().emitted if one.encoding]
    assert evidence._encodings() == tuple(shipped)
    by_name = {(one.target, one.encoding): one.verdict for one in shipped}
    assert by_name["gfx942", "float8_e4m3fnuz"] == "matrix cores"
    assert by_name["gfx942", "float8_e4m3fn"] == "emulated"


@HAS_TRITON
def test_the_instructions_that_ship_are_what_the_compiler_makes_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evidence, "TARGETS", ("sm_90", "gfx942"))
    monkeypatch.setattr(evidence, "PRECISIONS", ("bf16",))
    today = evidence._instructions()
    shipped = {(one.target, one.precision): one for one in kept().emitted if not one.encoding}
    assert len(today) == 2
    assert all(shipped[one.target, one.precision] == one for one in today)


def test_a_compiler_that_dies_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.CompletedProcess(args=[], returncode=-11, stdout=b"", stderr=b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: dead)
    assert evidence._encodings() == ()


def test_without_a_compiler_what_ships_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "triton_version", lambda: None)
    found = gather(None)
    assert found.emitted == kept().emitted
    assert found.triton == kept().triton


def test_autocast_on_a_cpu_takes_16_bits_and_no_fp8() -> None:
    found = {one.dtype: one for one in casts("cpu")}
    assert found["bfloat16"] == Cast(
        device_type="cpu", dtype="bfloat16", accepted=True, made="bfloat16"
    )
    assert not found["float8_e4m3fn"].accepted
    assert "float16" in found["float8_e4m3fn"].said
    assert tuple(found.values()) == kept().casts


@pytest.mark.gpu
def test_autocast_on_a_gpu_makes_no_fp8() -> None:
    found = {one.dtype: one for one in casts("cuda")}
    assert found["bfloat16"].made == "bfloat16"
    assert not found["float8_e4m3fn"].made.startswith("float8")


def test_attention_is_measured_small_on_a_cpu() -> None:
    device = detect("cpu")
    found = measure_attention(device, scale=32, max_time_s=0.5)
    assert [(one.batch_first, one.need_weights) for one in found] == [
        *((True, True), (True, False), (False, True)),
    ]
    for one in found:
        assert one.scale == 32
        assert one.embed == 128
        assert one.device_id == ""
        # On a busy machine there may be no figure, but never one that is not a number.
        assert one.time_us is None or one.time_us > 0
    assert found[0].flop == attention_flop(embed=128, batch=1, sequence=32)


@pytest.mark.gpu
def test_attention_is_measured_whole_on_a_gpu() -> None:
    found = measure_attention(detect("cuda:0"), max_time_s=3.0)
    assert all(one.time_us for one in found)
    # No forward is faster than its products at torch's own rate by more than shapes explain.
    assert all(
        one.time_us > 0.5 * one.flop / one.matmul_tflops / 1e6
        for one in found
        if one.time_us and one.matmul_tflops
    )


def test_the_two_readings_of_the_input_are_one_shape() -> None:
    import torch

    for shape, weights in ((CLAIMED, True), (DEFAULT, True), (CLAIMED, False)):
        small = shape.scaled(32)
        run = forward(small, need_weights=weights, device="cpu", dtype=torch.bfloat16)
        found: Any = run()
        out, attn = found
        assert tuple(out.shape) == (1, 32, 128)
        assert out.dtype == torch.bfloat16
        assert (attn is not None) == weights
        if attn is not None:
            assert tuple(attn.shape) == (small.batch, small.sequence, small.sequence)
    assert CLAIMED.batch * CLAIMED.sequence == DEFAULT.batch * DEFAULT.sequence


def test_the_product_beside_it_is_the_in_projection() -> None:
    import torch

    small = CLAIMED.scaled(32)
    out = projection(small, device="cpu", dtype=torch.float32)()
    assert isinstance(out, torch.Tensor)
    assert tuple(out.shape) == (32, 384)
    assert projection_flop(small) == 2 * 32 * 384 * 128


def test_an_unknown_encoding_is_refused() -> None:
    pytest.importorskip("triton")
    from gemmkernels.probes.encodings import assembly_on_amd

    with pytest.raises(GemmbenchError, match="float8_e4m3fnuz"):
        assembly_on_amd("float8_e5m2", "gfx942")
    assert callable(emitted)


def test_claims_without_measuring_import_no_torch() -> None:
    code = (
        "import sys; from gemmbench.show.claims import show_claims\n"
        "show_claims((), device=None, form='json')\n"
        "assert not {'torch', 'triton', 'matplotlib', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
