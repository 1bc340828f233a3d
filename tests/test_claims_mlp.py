"""A Llama MLP block: verified, measured beside its products, told beside the attention layer."""

import tomllib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from planted_claims import decide

from gemmbench.analysis.claims.blocks import told_of_mlp
from gemmbench.analysis.claims.evidence import Known
from gemmbench.devices.detect import detect
from gemmbench.records.evidence import Attention, Evidence, Mlp, kept
from gemmbench.runner import evidence, mlp
from gemmbench.runner.apart import DiedError, run_apart
from gemmbench.runner.mlp import error_of, measure_mlp, measured
from gemmkernels.device import Device
from gemmkernels.probes.mlp import BLOCKS, Block, Tensors, forward, products, tensors
from gemmkernels.probes.mlp import mlp as block_of

SMALL = Block(model="Llama-3-8B", hidden=53, ffn=80, tokens=5)


def test_the_blocks_are_those_of_the_suite() -> None:
    text = (files("gemmbench.suites") / "llm.toml").read_text(encoding="utf-8")
    shapes = {one["label"]: (one["n"], one["k"]) for one in tomllib.loads(text)["gpu"]["shapes"]}
    for block in BLOCKS:
        model = block.model.lower()
        assert shapes[f"{model} gate_up"] == (2 * block.ffn, block.hidden)
        assert shapes[f"{model} down"] == (block.hidden, block.ffn)
    flop = sum(2 * SMALL.tokens * n * k for n, k in ((80, 53), (80, 53), (53, 80)))
    assert SMALL.flop == flop
    small = BLOCKS[1].scaled(8)
    assert (small.hidden, small.ffn, small.tokens) == (512, 1792, 256)
    assert BLOCKS[0].scaled(32).tokens == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [SMALL, BLOCKS[1].scaled(32), BLOCKS[2].scaled(32)])
def test_the_block_is_right_and_a_fault_of_it_is_seen(shape: Block, dtype: str) -> None:
    import torch

    of = tensors(shape, device="cpu", dtype=getattr(torch, dtype))
    assert 0 < error_of(forward(of, compiled=False)(), of) <= 1
    linear, silu = torch.nn.functional.linear, torch.nn.functional.silu
    faults = {
        "gate and up exchanged": block_of(of.x, of.up, of.gate, of.down),
        "no SiLU": linear(linear(of.x, of.gate) * linear(of.x, of.up), of.down),
        "a sum, not a product": linear(silu(linear(of.x, of.gate)) + linear(of.x, of.up), of.down),
        "not finite": torch.full_like(of.x, float("nan")),
    }
    if dtype == "float32" and shape is SMALL:
        last = of.down.clone()
        last[0, 0] = 0
        faults["one weight lost"] = block_of(of.x, of.gate, of.up, last)
    for name, out in faults.items():
        assert error_of(out, of) > 1, name


def test_the_products_alone_are_the_blocks() -> None:
    import torch

    of = tensors(SMALL, device="cpu", dtype=torch.float32)
    found: Any = products(of)()
    gate, up, down = found
    assert torch.equal(gate, of.x @ of.gate.T)
    assert torch.equal(up, of.x @ of.up.T)
    assert torch.allclose(down, up @ of.down.T, rtol=1e-5, atol=1e-5)


def test_a_block_is_measured_small_on_a_cpu() -> None:
    eager, compiled = measured(
        detect("cpu"), blocks=BLOCKS[1:2], compiling=False, scale=32, max_time_s=0.3
    )
    assert (eager.how, compiled.how) == ("eager", "compiled")
    assert (eager.hidden, eager.ffn, eager.tokens, eager.scale) == (128, 448, 64, 32)
    assert not eager.reason
    assert eager.verdict
    # On a busy machine there may be no figure, but never one that is not a number.
    assert eager.time_us is None or eager.time_us > 0
    assert eager.ratio is None or 0 < eager.ratio < 100
    assert compiled.reason == "not compiled"
    assert compiled.time_us is None


def planted(change: str) -> Callable[..., Callable[[], Any]]:
    def make(of: Tensors, *, compiled: bool) -> Callable[[], Any]:
        run = forward(of, compiled=False)

        def fault() -> Any:
            if change == "raises":
                raise ValueError("no compiler\nfound")
            return run() * 1.5

        return fault if compiled else run

    return make


@pytest.mark.parametrize(
    ("change", "told"), [("raises", "ValueError: no compiler found"), ("wrong", "wrong: its error")]
)
def test_a_block_that_fails_or_is_wrong_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, change: str, told: str
) -> None:
    monkeypatch.setattr(mlp, "forward", planted(change))
    eager, compiled = measured(detect("cpu"), blocks=BLOCKS[:1], scale=32, max_time_s=0.2)
    assert not eager.reason
    assert compiled.reason.startswith(told)
    assert compiled.time_us is None
    assert compiled.verdict == ""


def test_too_little_memory_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> Tensors:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(mlp, "tensors", none)
    found = measured(detect("cpu"), blocks=BLOCKS[:1], scale=32)
    assert [one.reason for one in found] == ["out of memory"] * 2


def test_a_compiler_that_dies_leaves_the_eager_block(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def dying(_: str, how: str, *__: object, **___: object) -> tuple[Mlp, ...]:
        asked.append(how)
        if how == "compiled" or len(asked) > 2:
            raise DiedError("no answer in 300 s")
        return (one_of(), one_of(how="compiled", time_us=None, reason="not compiled"))

    monkeypatch.setattr(mlp, "run_apart", dying)
    eager, compiled = measure_mlp(detect("cpu"))
    assert asked == ["compiled", "eager"]
    assert eager == one_of()
    assert compiled.reason == "torch.compile: no answer in 300 s"
    gone = measure_mlp(detect("cpu"))  # both processes have died
    assert [(one.model, one.how) for one in gone] == [
        (block.model, how) for block in BLOCKS for how in ("eager", "compiled")
    ]
    assert gone[0].reason == "no answer in 300 s"
    assert gone[1].reason == "torch.compile: no answer in 300 s"
    assert "no figure, no answer in 300 s" in told_of_mlp(gone[0])


def test_a_process_that_hangs_or_babbles_has_died() -> None:
    with pytest.raises(DiedError, match="no answer in 0 s"):
        run_apart("this", "", tuple[Mlp, ...], told=b"", timeout_s=1e-3)
    with pytest.raises(DiedError, match="ended with code 0"):
        run_apart("this", "", tuple[Mlp, ...], told=b"", timeout_s=60)


@pytest.mark.slow
def test_the_compiled_block_is_right_and_measured(tmp_path: Any, monkeypatch: Any) -> None:
    import shutil

    import torch

    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs g++ on a CPU")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    try:
        _, compiled = measured(detect("cpu"), blocks=BLOCKS[:1], scale=32, max_time_s=0.3)
    finally:
        torch.compiler.reset()
    assert compiled.reason == ""
    assert compiled.verdict


@pytest.mark.gpu
def test_a_block_is_measured_whole_on_a_gpu() -> None:
    found = measured(detect("cuda:0"), blocks=BLOCKS[1:2], compiling=False, max_time_s=2.0)
    assert found[0].ratio is not None
    assert found[0].ratio > 0.98  # it does its products and more


def test_what_ships_is_measured_and_autocast_a_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "triton_version", lambda: None)
    order: list[str] = []
    lost = one_of(ratio=None, verdict="contended")

    def layers(_: Device) -> tuple[Attention, ...]:
        order.append("here")
        return ()

    def blocks(_: Device) -> tuple[Mlp, ...]:
        order.append("apart")
        return one_of(), lost

    monkeypatch.setattr(evidence, "measure_attention", layers)
    monkeypatch.setattr(evidence, "measure_mlp", blocks)
    found = evidence.shipped(detect("cpu"))
    assert order == ["apart", "here"], "what is measured apart finds the device's memory free"
    assert found.mlp == (one_of(),), "what has no ratio says nothing elsewhere"
    assert found.casts == kept().casts


def one_of(**changes: Any) -> Mlp:
    found = Mlp(
        device="Synthetic",
        device_id="",
        torch="2.13",
        dtype="bfloat16",
        model="Llama-3-8B",
        hidden=4096,
        ffn=14336,
        tokens=2048,
        scale=1,
        how="eager",
        time_us=1200.0,
        low_us=1190.0,
        high_us=1210.0,
        verdict="converged",
        products_us=1000.0,
        ratio=1.25,
        ratio_low=1.24,
        ratio_high=1.26,
    )
    return msgspec.structs.replace(found, **changes)


def test_a_block_is_told_against_its_products_and_its_floor() -> None:
    told = told_of_mlp(one_of())
    assert "MLP block of Llama-3-8B, 2048 tokens, 4096 → 14336 → 4096, bfloat16, eager" in told
    assert "1.2 ms (1.19 … 1.21) for 722 GFLOP" in told
    assert "1.250 times (1.240 … 1.260) that of its three products alone (721.6 TFLOPS)" in told
    assert "20.0% of its time is SiLU, memory traffic and launches" in told
    floor = one_of().flop / 800e9
    assert f"{1.2 / floor:.2f} times the 0.9019 ms" in told_of_mlp(one_of(), (800.0, "roof"))
    assert "1/8 of the model's" in told_of_mlp(one_of(scale=8))
    unsure = told_of_mlp(one_of(ratio=1.01, ratio_low=0.99, ratio_high=1.03))
    assert "not to be told from them" in unsure
    spoilt = told_of_mlp(one_of(ratio=None, ratio_low=None, ratio_high=None, verdict="contended"))
    assert spoilt.endswith("1.2 ms, contended: no ratio is claimed")
    assert told_of_mlp(one_of(time_us=None)).endswith("as neighbours took the cores")
    assert told_of_mlp(one_of(time_us=None, reason="no g++")).endswith("no figure, no g++")


def test_it_stands_beside_the_attention_layer_and_what_trains() -> None:
    def known(*some: Mlp, old: bool = False) -> Known:
        return Known(Evidence(triton="", torch="", mlp=some, kept=old))

    (told,) = decide("mha-2ms", known(one_of())).here
    assert told == told_of_mlp(one_of())
    (told,) = decide("mha-2ms", known(one_of(), old=True)).here
    assert told.startswith("measured for this version on Synthetic: MLP block")
    spoilt = one_of(ratio=None)
    assert len(decide("mha-2ms", known(spoilt)).here) == 1
    assert decide("mha-2ms", known(spoilt, old=True)).here == ()
    on_h100 = one_of(device_id="h100-sxm5")
    assert "no GEMM: 20.0% (Llama-3-8B" in decide("rent-2.5", known(on_h100)).because
    for other in (
        one_of(),
        one_of(device_id="h100-sxm5", scale=2),
        one_of(device_id="h100-sxm5", ratio_low=0.99),
    ):
        assert "no GEMM" not in decide("rent-2.5", known(other)).because
