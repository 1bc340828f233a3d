"""What is read in machine code, what it means, and compilers that crash, hang or refuse."""

import json
import re
import time
from pathlib import Path

import planted_compiler as planted
import pytest
from click.testing import CliRunner

import gemmkernels
from gemmbench import cli
from gemmbench.inspect import cache, examine
from gemmbench.inspect.cache import Cache
from gemmbench.inspect.instructions import of_amd, of_nvidia, verdict
from gemmbench.inspect.matrix import questions
from gemmbench.inspect.question import Compiled, Question, Report, doubt, together
from gemmbench.inspect.reason import of_death, of_exception
from gemmbench.inspect.targets import TARGETS, USUAL, occupancy, target
from gemmbench.show import inspected
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.ladder import find
from gemmkernels.precision import PRECISIONS
from gemmkernels.problem import Problem

SASS = """
        /*0100*/  HGMMA.64x256x16.F32.BF16 R24, gdesc[UR16], R24 ;
        /*0110*/  HGMMA.64x256x16.F32.BF16 R24, gdesc[UR12], R24, gsb0 ;
        /*0120*/  HFMA2.MMA R3, -RZ, RZ, 0, 0 ;
        /*0130*/  FFMA R3, R1, R2, R3 ;
"""

# (mnemonic, precision whose own instruction it is)
OWN = [
    ("DMMA.884", "fp64"),
    ("HMMA.1688.F32.TF32", "tf32"),
    ("HGMMA.64x128x8.F32.TF32", "tf32"),
    ("UTCHMMA kind::tf32", "tf32"),
    ("HMMA.16816.F32", "fp16"),
    ("HGMMA.64x256x16.F32", "fp16"),
    ("HMMA.16816.F32.BF16", "bf16"),
    ("HGMMA.64x256x16.F32.BF16", "bf16"),
    ("QMMA.16832.F32.E4M3.E4M3", "fp8_e4m3"),
    ("QGMMA.64x128x32.F32.E4M3.E4M3", "fp8_e4m3"),
    ("QGMMA.64x128x32.F32.E5M2.E5M2", "fp8_e5m2"),
    ("IGMMA.64x128x32.S8.S8", "int8"),
    ("IMMA.16832.S8.S8", "int8"),
    ("UTCIMMA kind::i8", "int8"),
    ("UTCQMMA kind::mxf8f6f4", "mxfp8"),
    ("UTCOMMA kind::mxf4", "mxfp4"),
    ("UTCOMMA kind::mxf4nvf4", "nvfp4"),
    ("v_mfma_f64_16x16x4_f64", "fp64"),
    ("v_mfma_f64_16x16x4f64", "fp64"),
    ("v_mfma_f32_32x32x2_f32", "fp32"),
    ("v_mfma_f32_32x32x2f32", "fp32"),
    ("v_mfma_f32_16x16x8_xf32", "tf32"),
    ("v_mfma_f32_16x16x16_f16", "fp16"),
    ("v_mfma_f32_32x32x8f16", "fp16"),
    ("v_mfma_f32_16x16x16_bf16", "bf16"),
    ("v_mfma_f32_16x16x16bf16_1k", "bf16"),
    ("v_wmma_f32_16x16x16_bf16", "bf16"),
    ("v_mfma_f32_16x16x32_fp8_fp8", "fp8_e4m3"),
    ("v_mfma_f32_16x16x32_bf8_bf8", "fp8_e5m2"),
    ("v_mfma_f32_16x16x128_f8f6f4 (e4m3, e4m3)", "fp8_e4m3"),
    ("v_mfma_f32_16x16x128_f8f6f4 (e5m2, e5m2)", "fp8_e5m2"),
    ("v_mfma_i32_32x32x16_i8", "int8"),
    ("v_wmma_i32_16x16x16_iu8", "int8"),
    ("v_mfma_scale_f32_16x16x128_f8f6f4 (e4m3, e4m3)", "mxfp8"),
    ("v_mfma_scale_f32_16x16x128_f8f6f4 (e2m1, e2m1)", "mxfp4"),
]
ARITHMETICS = sorted({row.arithmetic for row in PRECISIONS.values()} - {"bf16x3"})


@pytest.mark.parametrize(("mnemonic", "own"), OWN)
def test_an_instruction_is_one_precisions_own(mnemonic: str, own: str) -> None:
    native = {name for name in ARITHMETICS if verdict({mnemonic: 4}, name) == "matrix cores"}
    also = {
        "UTCOMMA kind::mxf4nvf4": {"mxfp4"},  # it takes the scales of both
        "v_mfma_scale_f32_16x16x128_f8f6f4 (e4m3, e4m3)": {"fp8_e4m3"},  # with scales of 1
    }
    assert native == {own} | also.get(mnemonic, set())


def test_kind_f16_is_of_both_16_bit_types() -> None:
    native = {n for n in ARITHMETICS if verdict({"UTCHMMA kind::f16": 1}, n) == "matrix cores"}
    assert native == {"fp16", "bf16"}
    assert verdict({"UTCQMMA kind::f8f6f4": 1}, "fp8_e4m3") == "matrix cores"
    assert verdict({"UTCQMMA kind::f8f6f4": 1}, "mxfp8") == "emulated"


def test_one_foreign_instruction_is_emulation() -> None:
    assert verdict({}, "fp16") == "vector"
    both = {"QGMMA.64x128x32.F32.E4M3.E4M3": 4, "HGMMA.64x128x16.F32": 1}
    assert verdict(both, "fp8_e4m3") == "emulated"
    assert verdict({"HGMMA.64x256x16.F32.BF16": 12}, "bf16x3") == "matrix cores"


def test_instructions_of_nvidia() -> None:
    assert of_nvidia(SASS, "") == {"HGMMA.64x256x16.F32.BF16": 2}
    blackwell = of_nvidia("UTCHMMA gdesc[UR4], gdesc[UR6], tmem[UR8] ;", "")
    assert blackwell == {"UTCHMMA": 1}
    ptx = "tcgen05.mma.cta_group::1.kind::f16 [ %r1 + 0 ], %rd1, %rd2;"
    assert of_nvidia("UTCHMMA gdesc[UR4] ;\nUTCHMMA gdesc[UR4] ;", ptx) == {"UTCHMMA kind::f16": 2}


def test_instructions_of_amd() -> None:
    listing = (
        "\tv_mfma_f32_16x16x16_bf16 a[0:3], v[2:3], v[4:5], a[0:3]\n"
        "\tv_mfma_f32_16x16x128_f8f6f4 v[0:3], v[8:15], v[16:23], v[0:3]\n"
        "\tv_mfma_f32_16x16x128_f8f6f4 v[0:3], v[8:15], v[16:23], v[0:3] cbsz:1 blgp:1\n"
        "\tv_mfma_scale_f32_16x16x128_f8f6f4 v[0:3], v[8:11], v[16:19], v[0:3], v1, v2 "
        "op_sel_hi:[0,0,0] cbsz:4 blgp:4\n\tv_fma_f32 v1, v2, v3, v4\n"
        "\tv_mfma_f32_32x32x64_f8f6f4 v[0:15], v[16:23], v[24:31], v[0:15] blgp:1\n"
    )
    assert of_amd(listing) == {
        "v_mfma_f32_16x16x128_f8f6f4 (e4m3, e4m3)": 1,
        "v_mfma_f32_16x16x128_f8f6f4 (e5m2, e5m2)": 1,
        "v_mfma_f32_16x16x16_bf16": 1,
        "v_mfma_f32_32x32x64_f8f6f4 (e4m3, e5m2)": 1,
        "v_mfma_scale_f32_16x16x128_f8f6f4 (e2m1, e2m1)": 1,
    }


def test_a_reduction_does_not_spoil_a_product() -> None:
    product = Compiled(function="a", verdict="matrix cores")
    reduction = Compiled(function="b", verdict="vector")
    emulated = Compiled(function="c", verdict="emulated", instructions={"HGMMA.F32": 1})
    assert together((product, reduction)) == "matrix cores"
    assert together((product, emulated)) == "emulated"
    assert together((reduction,)) == "vector"
    kernel = find("triton-matrix-core")
    assert doubt(kernel, (product, reduction)) == ""
    assert doubt(kernel, ()) == ""
    assert "without matrix instructions" in doubt(kernel, (reduction,))
    assert "HGMMA.F32" in doubt(kernel, (product, emulated))
    assert doubt(find("triton-tiled"), (reduction,)) == ""


@pytest.mark.parametrize(
    ("architecture", "warps", "registers", "waves", "shared", "expected"),
    [
        ("sm_90", 8, 168, None, 0, (1, 12.5)),  # 168 · 32 = 5376 a warp: 3 warps a quarter of 16384
        ("sm_90", 8, 128, None, 0, (2, 25.0)),
        ("sm_90", 8, 32, None, 0, (8, 100.0)),
        ("sm_90", 4, 16, None, 0, (16, 100.0)),
        ("sm_90", 8, 128, None, 147456, (1, 12.5)),  # twice 145 KB are over 228 KB
        ("sm_90", 4, 100, None, 0, (4, 25.0)),  # 3200 become 3328: 4 warps a quarter
        ("sm_90", 4, 64, None, 116736, (1, 6.25)),  # twice 114 KB, and 1 KB each for the system
        ("sm_90", 4, 64, None, 232448, (1, 6.25)),
        ("sm_90", 4, 64, None, 232449, (0, 0.0)),
        ("sm_89", 8, 40, None, 0, (6, 100.0)),
        ("gfx942", 8, None, 2, 65536, (1, 25.0)),
        ("gfx942", 8, None, 2, 16384, (1, 25.0)),
        ("gfx942", 4, None, 4, 16384, (4, 50.0)),
        ("gfx950", 8, None, 4, 65536, (2, 50.0)),
        ("sm_90", 8, None, None, 0, (None, None)),
        ("gfx9999", 8, 32, 8, 0, (None, None)),
    ],
)
def test_occupancy(
    architecture: str,
    warps: int,
    registers: int | None,
    waves: int | None,
    shared: int,
    expected: tuple[int | None, float | None],
) -> None:
    found = occupancy(
        architecture, warps=warps, registers=registers, waves=waves, shared_bytes=shared
    )
    assert found == expected


def test_targets() -> None:
    assert set(USUAL) <= set(TARGETS)
    assert target("gfx942").device().shared_bytes == 65536
    assert target("sm_90").device().shared_bytes == 232448
    with pytest.raises(UnknownNameError, match="sm_90"):
        target("sm_9O")


def test_what_was_printed_before_a_death() -> None:
    text = "noise\nx.cpp:3: bool f(): Assertion `a < b' failed.\n#0 stack\n"
    assert of_death(-6, text) == "killed by SIGABRT: x.cpp:3: bool f(): Assertion `a < b' failed."
    assert of_death(-11, "") == "killed by SIGSEGV"
    assert of_death(-99, "") == "killed by signal 99"
    assert of_death(3, "loc: error: no layout\n") == "ended with exit code 3: error: no layout"
    assert of_exception(GemmbenchError("k = 5: take 16"), "x: error: y") == "k = 5: take 16"
    assert of_exception(ValueError("at 3:1:\n  tl.dot(a)\n  ^\nno such type"), "") == (
        "ValueError: no such type"
    )
    assert of_exception(RuntimeError(), "") == "RuntimeError"
    printed = (
        "x.py:3:1: error: Failures have been detected while processing an MLIR pass pipeline\n"
        "x.py:3:1: note: Pipeline failed while executing [`Warps` on 'builtin.module' operation]\n"
    )
    failed = RuntimeError("PassManager::run failed")
    assert of_exception(failed, printed) == "the compiler's pass Warps failed"
    assert of_exception(failed, f"{printed}x.py:4:2: error: no such layout\n") == "no such layout"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def planted_compiler(monkeypatch: pytest.MonkeyPatch, fresh: Path) -> None:
    monkeypatch.setattr(examine, "_COMPILER", (planted.__file__,))
    monkeypatch.setattr(examine, "triton_version", lambda: "0")
    monkeypatch.setattr(examine, "_refused", lambda _question, _version: None)


def ask(m: int, n: int = 64) -> Question:
    return Question("triton-tiled", Problem(m=m, n=n, k=64, precision="fp16"), "sm_90")


@pytest.mark.usefixtures("planted_compiler")
def test_what_befalls_one_compile_befalls_no_other() -> None:
    order = (
        planted.FINE,
        planted.ABORT,
        planted.HANG,
        planted.REFUSE,
        planted.EXIT,
        planted.NO_SPACE,
        planted.PTXAS,
    )
    asked = [ask(m, n) for n in (64, 128) for m in order]
    heard: list[Report] = []
    found = examine.examine(asked, jobs=4, timeout_s=1.0, on_report=heard.append)
    assert [report.question for report in found] == asked
    assert len(heard) == len(asked)
    for place, report in enumerate(found):
        verdict, reason = {
            planted.FINE: ("vector", ""),
            planted.ABORT: ("crashed", "SIGABRT: planted.cc:7: Assertion `sane' failed."),
            planted.HANG: ("crashed", "did not end within 1 s"),
            planted.REFUSE: ("unsupported", "planted: no such layout"),
            planted.EXIT: ("crashed", "exit code 3"),
            planted.NO_SPACE: ("crashed", "No space left"),
            planted.PTXAS: ("unsupported", "ptxas: planted option"),
        }[order[place % len(order)]]
        assert report.verdict == verdict
        assert reason in report.reason
        assert report.as_declared == (verdict == "vector")


@pytest.mark.usefixtures("planted_compiler")
def test_a_killed_server_costs_what_it_had_not_said() -> None:
    asked = [ask(planted.FINE), ask(planted.KILL_SERVER), ask(planted.FINE, 128)]
    found = examine.examine(asked, jobs=1, timeout_s=5.0)
    assert [report.verdict for report in found] == ["vector", "crashed", "crashed"]
    assert "the compiling process killed by SIGKILL" in found[2].reason


@pytest.mark.usefixtures("planted_compiler")
def test_what_is_known_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [ask(planted.FINE), ask(planted.REFUSE), ask(planted.EXIT)]
    first = examine.examine(asked, jobs=2)
    monkeypatch.setattr(examine, "_COMPILER", ("nothing-of-this-name.py",))
    again = examine.examine(asked)
    assert again[:2] == first[:2]
    assert again[2].reason != first[2].reason  # a crash is tried again


def test_a_damaged_report_counts_as_missing(fresh: Path) -> None:
    kept = Cache(version="0")
    report = Report(question=ask(1), verdict="vector", declared="vector", triton="0")
    assert kept.get(ask(1)) is None
    kept.put(report)
    assert kept.get(ask(1)) == report
    assert kept.get(ask(2)) is None
    assert Cache(version="1").get(ask(1)) is None
    (path,) = fresh.rglob("*.json")
    data = path.read_bytes()
    for damaged in (b"", data[:-1], data.replace(b"vector", b"matrix"), b"\xff" * 9, data + b" "):
        path.write_bytes(damaged)
        assert kept.get(ask(1)) is None
    path.write_bytes(data)
    assert kept.get(ask(1)) == report


def test_the_cache_knows_what_a_report_depends_on(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(question=ask(1), verdict="vector", declared="vector")
    Cache(version="0").put(report)
    settings = fresh / "tuned.toml"
    monkeypatch.setenv("GEMMBENCH_TUNED", str(settings))
    assert Cache(version="0").get(ask(1)) == report
    settings.write_text("# other settings\n")
    assert Cache(version="0").get(ask(1)) is None
    settings.unlink()
    monkeypatch.setenv("TRITON_DISABLE_LINE_INFO", "1")
    assert Cache(version="0").get(ask(1)) is None
    monkeypatch.delenv("TRITON_DISABLE_LINE_INFO")
    monkeypatch.setattr(cache, "sources", lambda: "others")
    assert Cache(version="0").get(ask(1)) is None


def test_old_reports_are_forgotten_and_a_full_disk_is_borne(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(cache.KEPT + 3):
        Cache(version=str(number)).put(Report(question=ask(1), verdict="vector", declared="vector"))
        time.sleep(0.01)
    assert len(list((fresh / "gemmbench" / "inspect").iterdir())) == cache.KEPT
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    kept = Cache(version="0")
    kept.put(Report(question=ask(1), verdict="vector", declared="vector"))
    assert kept.get(ask(1)) is None


def test_sources_change_with_a_kernel_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gpu/kernel.py", "cpu/kernel.py", "tuned/sm_90.toml", "operands.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a = 1\n")
    monkeypatch.setattr(gemmkernels, "__file__", str(tmp_path / "__init__.py"))
    before = cache.sources()
    (tmp_path / "cpu" / "kernel.py").write_text("a = 2\n")
    assert cache.sources() == before
    for name in ("gpu/kernel.py", "tuned/sm_90.toml", "operands.py"):
        (tmp_path / name).write_text("a = 2\n")
        assert cache.sources() != before
        before = cache.sources()


def test_questions() -> None:
    every = questions()
    assert {q.target for q in every} == set(USUAL)
    assert {q.kernel for q in every} == {kernel.name for kernel in examine.triton_kernels()}
    assert len(every) == len({(q.kernel, q.problem.precision, q.target) for q in every})
    (one,) = questions(
        ["triton-tiled", "triton-tiled"], targets=["gfx90a"], precisions=["int8"], layout="tn"
    )
    assert (one.target, one.problem.layout, one.problem.precision) == ("gfx90a", "tn", "int8")
    some = questions(targets=["sm_100"], precisions=["mxfp8"])
    assert all("mxfp8" in find(q.kernel).precisions for q in some)
    assert len(questions(["triton-naive"], targets=["sm_100"], precisions=["mxfp8"])) == 1
    sized = Problem(m=8, n=16, k=32, batch=4, precision="fp32")
    (one,) = questions(["triton-tiled"], targets=["sm_80"], precisions=["bf16"], shape=sized)
    assert (one.problem.shape, one.problem.precision) == ("4*8x16x32", "bf16")


def test_what_a_kernel_refuses_is_compiled_by_nobody(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "_COMPILER", ("nothing-of-this-name.py",))
    (found,) = examine.examine(
        questions(["triton-matrix-core"], targets=["sm_80"], precisions=["fp8_e4m3"])
    )
    assert (found.verdict, found.as_declared) == ("unsupported", True)
    assert "sm_89" in found.reason


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["triton-tilde"], "did you mean triton-tiled"),
        (["torch"], "torch is no Triton kernel: inspect reads what Triton compiles, triton-naive"),
        (["--target", "sm_9O"], "did you mean sm_90"),
        (["-p", "bf61"], "did you mean bf16"),
        (["--layout", "xy"], "unknown layout 'xy'"),
        (["--shape", "4x"], "is not MxNxK"),
        (["--format", "xml"], "unknown format"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(cli.app, ["inspect", *arguments])
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.count("\n") == 1


def test_without_triton_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "triton_version", lambda: None)
    with pytest.raises(GemmbenchError, match="pip install triton"):
        examine.examine(questions(["triton-tiled"], targets=["sm_90"]))


def reports() -> list[Report]:
    wide = ask(4096)
    call = Compiled(
        function="matmul_kernel",
        verdict="matrix cores",
        instructions={"HGMMA.64x256x16.F32": 4},
        registers=168,
        agprs=0,
        spills=0,
        shared_bytes=147456,
        shared_limit=232448,
        programs=1,
        occupancy=12.5,
        code_bytes=15104,
        num_warps=8,
        num_stages=3,
        tma=True,
    )
    over = Compiled(function="k", verdict="matrix cores", shared_bytes=99, shared_limit=64)
    refused = Report(
        question=Question("triton-tiled", wide.problem, "gfx942"),
        verdict="unsupported",
        declared="unsupported",
        reason="is not for it",
    )
    return [
        Report(question=wide, verdict="matrix cores", declared="matrix cores", calls=(call, call)),
        Report(
            question=Question("triton-naive", wide.problem, "sm_90"),
            verdict="matrix cores",
            declared="matrix cores",
            calls=(over,),
            reason="k needs 99 B",
        ),
        refused,
        Report(
            question=Question("triton-naive", wide.problem, "gfx942"),
            verdict="crashed",
            declared="vector",
            reason="killed by SIGSEGV",
        ),
    ]


def test_tables_say_what_is_not_as_declared() -> None:
    sm_90, gfx942, short = inspected.tables(reports())
    assert len(sm_90.rows) == 3
    assert "HGMMA.64x256x16.F32 × 4" in sm_90.rows[0]
    assert "144 of 227 KiB" in sm_90.rows[0]
    assert sm_90.rows[1][0] == "… matmul_kernel"
    assert sm_90.rows[2][-1] == "matrix cores, over the limit (!): k needs 99 B"
    assert gfx942.rows[0][-1] == "crashed (!): killed by SIGSEGV"
    assert gfx942.notes == ("unsupported: triton-tiled: is not for it",)
    assert short.rows[0] == ("triton-tiled", "fp16", "matrix cores", inspected.NOTHING)
    text = inspected.page(reports(), content="0123")
    assert "## In short" in text
    assert re.search(r"^Triton \S+, sources 0123\.$", text, re.MULTILINE)


def test_json_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspected, "examine", lambda _asked, **_: reports())
    done = CliRunner().invoke(cli.app, ["inspect", "--format", "json"])
    assert done.exit_code == 1
    assert [one.as_declared for one in reports()] == [True, False, True, False]
    found = json.loads(done.output)
    assert found["reports"][0]["calls"][0]["registers"] == 168
    assert found["reports"][3]["verdict"] == "crashed"
    assert found["sources"] == cache.sources()


def test_the_page_in_docs_is_current() -> None:
    version = cache.triton_version()
    page = Path(__file__).parents[1] / "docs" / "instructions.md"
    found = re.search(r"^Triton (\S+), sources (\w+)\.$", page.read_text(), re.MULTILINE)
    assert found, "no line says of what the page was made"
    if found.group(1) != version:
        pytest.skip(f"the page was made with Triton {found.group(1)}, and this is {version}")
    assert found.group(2) == cache.sources(), "the kernels have changed: make instructions"
