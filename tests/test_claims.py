"""The claims: each decided from planted evidence, both ways."""

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from planted_claims import Case, cube, decide, of, run
from synthetic import CPU, H100, MI300X, method

from gemmbench.analysis.claims import compiler, datasheet
from gemmbench.analysis.claims.claim import about, number, rounds_to
from gemmbench.analysis.claims.compiler import shape_of
from gemmbench.analysis.claims.evidence import Known
from gemmbench.analysis.claims.table import CLAIMS, decided
from gemmbench.cli import app
from gemmbench.records.evidence import Attention, Cast, Emitted, Evidence, attention_flop, kept
from gemmkernels.device import Device


def test_every_row_of_the_list_is_decided_with_figures_that_have_sources() -> None:
    found = decided(Known(kept()))
    assert " ".join(one.id for one in found) == (
        "ops-1024 naive-1024 tensor-1024 speedup-50 tile-4x4 h100-3958 mi300x-5300 mi300x-60-70 "
        "mha-2ms mha-5ms mi300x-fp8-autocast rccl-30 60-percent power-700 rent-2.5 energy-100d "
        "oci-margin"
    )
    for one in found:
        assert one.decision.because
        assert all(figure.source and figure.what for figure in one.decision.figures)
        assert all(math.isfinite(figure.value) for figure in one.decision.figures)
        assert one.decision.needs or one.decision.verdict != "undecided here"


@pytest.mark.parametrize(
    ("name", "verdict", "value"),
    [
        ("ops-1024", "holds", 1024**3),
        ("rent-2.5", "holds", 60e6),
        ("energy-100d", "holds", 16.8),
        ("oci-margin", "holds", 14.0),
        ("h100-3958", "does not hold", 1978.9),
        ("mi300x-5300", "does not hold", 2614.9),
        ("mha-2ms", "impossible", 4_947_802_324_992 / 989.4e9),
        ("mha-5ms", "impossible", 4_947_802_324_992 / 1307.4e9),
    ],
)
def test_what_needs_no_run(name: str, verdict: str, value: float) -> None:
    found = decide(name)
    assert found.verdict == verdict
    assert found.figures[0].value == pytest.approx(value, rel=1e-9)


def test_a_changed_price_or_clock_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "gemmbench.analysis.claims.arithmetic"
    for name, changed, claim in (
        ("RENT", 2.6, "rent-2.5"),
        ("HOURS", 2300, "energy-100d"),
        ("COST", 2.2, "oci-margin"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{name}", changed)
            assert decide(claim).verdict == "does not hold"
        assert decide(claim).verdict == "holds"


def test_printed_peaks_dense_sparse_and_beyond() -> None:
    for claimed, verdict in (
        (1979.0, "holds"),
        (3958.0, "does not hold"),
        (3000.0, "does not hold"),
        (4030.0, "does not hold"),
        (4050.0, "impossible"),
    ):
        found = datasheet._printed("h100-sxm5", "H100", claimed, 1978.9, 3957.8, ("glk",))
        assert found.verdict == verdict, claimed
        assert ("sparse figure" in found.because) == (claimed in (3958.0, 4030.0))
    assert "rounded up by 1.3%" in decide("mi300x-5300").because
    assert "rounded" not in decide("h100-3958").because


def test_a_chip_fast_enough_would_leave_the_module_to_a_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasheet, "floor_ms", lambda *_, **__: 0.5)
    assert decide("mha-2ms").verdict == "undecided here"
    for time_ms, verdict in ((2.2, "holds"), (9.0, "does not hold")):
        asked = Evidence(triton="", torch="", attention=(attention(time_ms),))
        assert decide("mha-2ms", Known(asked)).verdict == verdict
        asked = Evidence(triton="", torch="", attention=(attention(time_ms * 2.5, "mi300x"),))
        assert decide("mha-5ms", Known(asked)).verdict == verdict


def attention(time_ms: float, device_id: str = "h100-sxm5", **changes: Any) -> Attention:
    found = Attention(
        device=f"Synthetic {device_id}",
        device_id=device_id,
        torch="2.13",
        dtype="bfloat16",
        embed=4096,
        heads=32,
        batch=32,
        sequence=1024,
        batch_first=True,
        need_weights=True,
        scale=1,
        time_us=time_ms * 1e3,
        low_us=None,
        high_us=None,
        verdict="converged",
        matmul_tflops=700.0,
    )
    return msgspec.structs.replace(found, **changes)


def test_a_measurement_is_set_against_the_floor_of_its_own_flop() -> None:
    def told(name: str, one: Attention) -> str:
        return decide(name, Known(Evidence(triton="", torch="", attention=(one,)))).because

    read, peak = attention_flop(embed=4096, batch=32, sequence=1024), 989.4e9
    floor = read / peak
    for time_ms in (6.0, 9.0):
        because = told("mha-2ms", attention(time_ms))
        assert f"{time_ms:.2f} ms, {time_ms / floor:.2f} times the {floor:.2f} ms" in because
        assert "4.95 TFLOP at the dense peak" in because
    # Between the two floors at the highest clock: possible for less work, and not for this.
    highest = floor * 1830 / 1980
    assert f"below the {highest:.2f} ms" in told("mha-2ms", attention(4.3))
    assert "it is wrong" in told("mha-2ms", attention(4.3))
    assert "it is wrong" not in told("mha-2ms", attention(4.7))
    rival = read / 1307.4e9
    because = told("mha-5ms", attention(5.0, "mi300x"))
    assert f"5.00 ms, {5.0 / rival:.2f} times the {rival:.2f} ms" in because


def test_a_measurement_that_is_wrong_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasheet, "floor_ms", lambda *_, **__: 2.5)
    asked = Evidence(triton="", torch="", attention=(attention(2.2),))
    assert decide("mha-2ms", Known(asked)).verdict == "undecided here"


def test_the_module_elsewhere_is_told_beside_and_decides_nothing() -> None:
    small = attention(30.0, "", scale=8, embed=512, heads=4, batch=4, sequence=128)
    found = decide("mha-2ms", Known(Evidence(triton="", torch="", attention=(small,))))
    assert found.verdict == "impossible"
    assert "1/8 of the claim's" in found.here[0]
    floor_ms = attention_flop(embed=512, batch=4, sequence=128) / 700e9
    assert f"{30.0 / floor_ms:.2f} times" in found.here[0]
    lost = msgspec.structs.replace(small, time_us=None)
    (told,) = decide("mha-2ms", Known(Evidence(triton="", torch="", attention=(lost,)))).here
    assert "no figure" in told
    spoilt = msgspec.structs.replace(small, verdict="contended")
    (told,) = decide("mha-2ms", Known(Evidence(triton="", torch="", attention=(spoilt,)))).here
    assert "no ratio is claimed" in told
    assert "times" not in told
    beside = Evidence(triton="", torch="", attention=(attention(9.0, verdict="contended"),))
    assert "Measured" not in decide("mha-2ms", Known(beside)).because
    facts = Known(
        Evidence(triton="", torch="", attention=(small,)), roofs={small.device: (70.0, "roof")}
    )
    assert "at the 70 TFLOPS roof" in decide("mha-2ms", facts).here[0]


def test_the_flop_of_attention_are_those_of_its_products() -> None:
    embed, batch, sequence = 64, 3, 5
    tokens = batch * sequence
    projections = 4 * 2 * tokens * embed * embed
    scores = 2 * 2 * batch * sequence * sequence * embed
    assert attention_flop(embed=embed, batch=batch, sequence=sequence) == projections + scores


@pytest.mark.parametrize(
    ("naive", "matrix", "verdicts"),
    [
        (4.3, 215.0, ("holds", "holds", "holds")),
        (20.0, 215.0, ("does not hold", "holds", "does not hold")),
        (4.3, 600.0, ("holds", "does not hold", "does not hold")),
        (0.5, 30.0, ("does not hold", "does not hold", "holds")),
    ],
)
def test_the_cube_of_1024_on_an_h100(
    tmp_path: Path, naive: float, matrix: float, verdicts: tuple[str, ...]
) -> None:
    facts = of(cube(H100, tmp_path / "a.jsonl", naive=naive, matrix=matrix))
    found = [decide(name, facts) for name in ("naive-1024", "tensor-1024", "speedup-50")]
    assert tuple(one.verdict for one in found) == verdicts
    assert found[0].figures[0].value == pytest.approx(2 * 1024**3 / naive / 1e9, rel=0.01)
    assert found[2].figures[0].value == pytest.approx(matrix / naive, rel=0.01)
    assert found[0].because.startswith("Measured: ")


@pytest.mark.parametrize("device", [CPU, MI300X])
def test_another_device_never_decides_about_an_h100(tmp_path: Path, device: Device) -> None:
    facts = of(cube(device, tmp_path / "a.jsonl", naive=4.3, matrix=215.0))
    for name in ("naive-1024", "tensor-1024", "speedup-50", "power-700"):
        found = decide(name, facts)
        assert found.verdict == "undecided here"
        assert found.needs
        if name != "power-700":
            assert device.name in found.here[0]


def test_a_part_of_an_h100_is_not_one(tmp_path: Path) -> None:
    part = Device(**{**vars(H100), "name": f"{H100.name} MIG 3g.40gb", "units": 60})
    path = cube(part, tmp_path / "a.jsonl", naive=4.3, matrix=215.0)
    assert decide("tensor-1024", of(path)).verdict == "undecided here"


def test_wrong_contended_and_impossible_rows_decide_nothing(tmp_path: Path) -> None:
    path = cube(H100, tmp_path / "a.jsonl", naive=4.3, matrix=3000.0)
    assert decide("tensor-1024", of(path)).verdict == "undecided here"


@pytest.mark.parametrize(
    ("power", "preset", "verdict"),
    [
        (690.0, "sustained", "holds"),
        (500.0, "sustained", "does not hold"),
        (690.0, "quick", "undecided here"),
        (None, "sustained", "undecided here"),
    ],
)
def test_power(tmp_path: Path, power: float | None, preset: str, verdict: str) -> None:
    cases: list[Case] = [("torch", "library", "bf16", 4096, 700.0, power)]
    path = run(tmp_path / "a.jsonl", H100, cases, method=method(preset=preset))
    assert decide("power-700", of(path)).verdict == verdict
    told = decide("energy-100d", of(path)).because
    assert ("Measured: " in told) == (power is not None and preset == "sustained")


def test_a_small_product_says_nothing_of_the_power(tmp_path: Path) -> None:
    cases: list[Case] = [("torch", "library", "bf16", 1024, 300.0, 300.0)]
    assert decide("power-700", of(run(tmp_path / "a.jsonl", H100, cases))).verdict == (
        "undecided here"
    )


def test_a_power_limit_that_was_set_decides_nothing(tmp_path: Path) -> None:
    limited = Device(**{**vars(H100), "power_limit_w": 500.0})
    path = run(tmp_path / "a.jsonl", limited, [("torch", "library", "bf16", 4096, 600.0, 498.0)])
    found = decide("power-700", of(path))
    assert found.verdict == "undecided here"
    assert "limited to 500 W" in found.because


def emitted(target: str, name: str, *, precision: str = "bf16", encoding: str = "") -> Emitted:
    return Emitted(
        target=target,
        precision=precision,
        encoding=encoding,
        verdict="matrix cores",
        instructions={name: 4},
    )


def test_a_tensor_core_in_a_clock_by_its_rate_and_its_instruction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = decide("tile-4x4")
    assert found.verdict == "holds"
    assert [one.value for one in found.figures[:3]] == [64, 256, 512]
    assert "64 on v100-sxm2 (4×4×4), 256 on a100-sxm4-80gb (neither), 512" in found.because
    assert "As the tile of an instruction none of NVIDIA's is 4×4 or 8×8" in found.because
    volta = Evidence(triton="x", torch="", emitted=(emitted("sm_70", "HMMA.884.F32"),))
    assert "each of NVIDIA's is 4×4 or 8×8" in decide("tile-4x4", Known(volta)).because
    none = decide("tile-4x4", Known(Evidence(triton="", torch="")))
    assert none.verdict == "holds"
    assert "No compiler was asked" in none.because
    assert none.needs
    assert not found.needs
    for name, count in (("v100-sxm2", 4), ("h100-sxm5", 8)):
        with monkeypatch.context() as patch:
            patch.setitem(compiler.TENSOR_CORES, name, count)
            assert decide("tile-4x4").verdict == "does not hold"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("HMMA.16816.F32.BF16", (16, 8, 16)),
        ("HMMA.1688.F32.TF32", (16, 8, 8)),
        ("IMMA.16832.S8.S8.SAT", (16, 8, 32)),
        ("DMMA.884", (8, 8, 4)),
        ("DMMA.8x8x4", (8, 8, 4)),
        ("HGMMA.64x256x16.F32.BF16", (64, 256, 16)),
        ("v_mfma_f32_32x32x16_fp8_fp8", (32, 32, 16)),
        ("v_mfma_f32_16x16x128_f8f6f4 (e4m3, e4m3)", (16, 16, 128)),
        ("UTCHMMA kind::f16", None),
    ],
)
def test_the_shape_in_a_mnemonic(name: str, shape: tuple[int, int, int] | None) -> None:
    assert shape_of(name) == shape


def test_a_shape_for_every_instruction_that_ships() -> None:
    names = {name for one in kept().emitted for name in one.instructions}
    assert {name for name in names if shape_of(name) is None} == {
        name for name in names if name.startswith("UTC")
    }


def test_autocast_with_and_without_fp8() -> None:
    shipped = decide("mi300x-fp8-autocast")
    assert shipped.verdict == "holds"
    assert "v_mfma_f32_32x32x16_fp8_fp8" in shipped.because
    assert "emulated" in shipped.because
    eight = Cast(device_type="cuda", dtype="float8_e4m3fnuz", accepted=True, made="float8_e4m3fnuz")
    takes = Evidence(triton="", torch="9", casts=(eight,))
    assert decide("mi300x-fp8-autocast", Known(takes)).verdict == "does not hold"
    fails = msgspec.structs.replace(eight, made="", said='"addmm_cuda" not implemented')
    refused = decide("mi300x-fp8-autocast", Known(Evidence(triton="", torch="9", casts=(fails,))))
    assert refused.verdict == "holds"
    assert "addmm_cuda" in refused.because
    assert not refused.needs
    nobody = Evidence(triton="", torch="")
    assert decide("mi300x-fp8-autocast", Known(nobody)).verdict == "undecided here"


def test_the_rates_of_money_are_the_runs_where_there_is_one(tmp_path: Path) -> None:
    cases: list[Case] = [
        ("torch", "library", "bf16", 4096, 600.0, None),
        ("faster", "library", "bf16", 2048, 800.0, None),
    ]
    facts = of(run(tmp_path / "a.jsonl", H100, cases))
    found = decide("oci-margin", facts)
    margin = {one.what: one for one in found.figures}
    measured = margin["rent of 10¹⁸ FLOP at the measured rate"]
    assert measured.value == pytest.approx(2.5 * 1e18 / 600e12 / 3600, rel=0.01)
    assert "a.jsonl" in measured.source
    assert "rent of 10¹⁸ FLOP at a published rate" in margin
    for name in ("oci-margin", "rent-2.5"):
        because = decide(name, facts).because
        assert re.search(r"the measured rate \([\d.]+ TFLOPS, torch, 4096x4096x4096\)", because)
        assert "a published rate (720 TFLOPS" in because
    assert not found.needs


@pytest.mark.parametrize(("size", "preset"), [(2048, "sustained"), (4096, "quick")])
def test_a_small_or_hasty_product_is_no_rate_to_reckon_with(
    tmp_path: Path, size: int, preset: str
) -> None:
    cases: list[Case] = [("torch", "library", "bf16", size, 600.0, None)]
    path = run(tmp_path / "a.jsonl", H100, cases, method=method(preset=preset))
    for name in ("oci-margin", "rent-2.5"):
        found = decide(name, of(path))
        assert "the measured rate" not in found.because
        assert found.needs


def test_about_and_rounding() -> None:
    assert about(0.5, 0.5)
    assert about(0.74, 0.5)
    assert not about(0.76, 0.5)
    assert not about(0.33, 0.5)
    assert not about(math.nan, 0.5)
    assert rounds_to(1.074e9, 1e9, 1)
    assert not rounds_to(1.6e9, 1e9, 1)
    assert [number(value) for value in (0.0001234, 4.0, 12345.6, 1e9)] == [
        *("0.0001234", "4", "12,350", "1,000,000,000"),
    ]


def invoke(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["claims", *arguments])
    return found.exit_code, found.stdout, found.stderr


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
def test_every_form_tells_all(tmp_path: Path, form: str) -> None:
    path = cube(H100, tmp_path / "a.jsonl", naive=4.3, matrix=215.0)
    code, out, err = invoke(str(path), "--format", form)
    assert code == 0
    assert err.startswith("gemmbench: a.jsonl decides no claim (a synthetic run never does)")
    assert "figures of it stand beside naive-1024, tensor-1024" in err
    for claim in CLAIMS:
        assert claim.id in out
    assert "v_mfma_f32_32x32x16_fp8_fp8" in out  # the end of the longest text: nothing is cut
    if form == "json":
        rows = json.loads(out)
        assert {row["verdict"] for row in rows} == {
            *("holds", "does not hold", "impossible", "undecided here"),
        }
        assert all(figure["source"] for row in rows for figure in row["figures"])
    else:
        assert "would decide it" in out
        assert re.search(r"17 claims: \d+ hold, \d+ do not hold", out)


def test_a_name_in_a_file_cannot_drive_the_terminal(tmp_path: Path) -> None:
    evil = Device(**{**vars(CPU), "name": "bad\x1b[31m\nname"})
    path = cube(evil, tmp_path / "a.jsonl", naive=4.3, matrix=215.0)
    for form in ("table", "markdown"):
        _, out, _ = invoke(str(path), "--format", form)
        assert "\x1b[31m" not in out
        assert "bad" in out


def test_mistakes_are_one_line() -> None:
    for arguments, said in (
        (("nowhere.jsonl",), "nowhere.jsonl"),
        (("--format", "csv"), "unknown format"),
        (("--device", "cpu"), "--measure"),
        (("--measure", "--device", "tpu"), "unknown device"),
    ):
        code, out, err = invoke(*arguments)
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_ids_are_told_once() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert all(a.says != b.says for a, b in itertools.combinations(CLAIMS, 2))


def test_what_a_run_decides_is_not_said_to_be_nothing(tmp_path: Path) -> None:
    path = cube(H100, tmp_path / "a.jsonl", naive=4.3, matrix=215.0)
    path.write_bytes(path.read_bytes().replace(b'"synthetic":true', b'"synthetic":false'))
    assert invoke(str(path))[2] == ""
    assert invoke()[2] == ""
