"""The command line as a user meets it: real processes, their output and their exit codes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gemmbench

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def call(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gemmbench", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=200,
    )


def code_block(language: str, page: str) -> str:
    """The first one of a page of the documentation."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)[0]  # type: ignore[no-any-return]


def test_the_documented_kernel_and_suite_run_and_are_shown(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(code_block("python", "howto/own-kernel.md"))
    suite = code_block("toml", "howto/own-suite.md").replace("256", "64").replace("688", "48")
    (tmp_path / "mine.toml").write_text(suite)
    done = call(
        *["run", "--kernel", "./mine.py", "--kernel", "torch", "--kernel", "numba-naive"],
        *["--suite", "./mine.toml", "--precision", "fp32", "--device", "cpu"],
        *["--preset", "quick", "--out", "out"],
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Best of each precision" in done.stdout
    assert "imports and compiling apart, was timed launches" in done.stdout
    (run,) = (tmp_path / "out").glob("*.jsonl")
    assert f"run:  out/{run.name}" in done.stdout
    drawn = {".png", ".svg"} if "plot: none" not in done.stdout else set()  # all contended
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".jsonl"} | drawn
    assert "mine" in done.stderr  # plain lines of progress
    assert "\x1b" not in done.stderr + done.stdout

    df = gemmbench.load(run)
    assert set(df["kernel"]) == {"mine", "torch", "numba-naive"}
    assert set(df["status"]) == {"ok"}
    assert "down_proj, 16 tokens" in set(df["label"])

    shown = call("show", str(run))
    assert shown.returncode == 0
    assert "mine" in shown.stdout
    rows = json.loads(call("show", str(run), "--format", "json").stdout)
    assert len(rows) == len(df) == 9
    assert call("show", str(run), "--format", "csv").stdout.startswith("run_id,")
    assert "|" in call("show", str(run), "--format", "markdown").stdout
    sweep = call("plot", str(run), "--kind", "sweep")
    assert sweep.returncode == 0, sweep.stderr
    assert all(Path(line).stat().st_size > 1000 for line in sweep.stdout.split())
    both = call("compare", str(run), str(run))
    assert both.returncode == 0, both.stderr
    assert "What differs" not in both.stdout
    assert not re.search(r"faster:|slower:", both.stdout)


BAD_KERNEL = "from gemmkernels import Kernel\nKERNEL = Kernel(name='x', tier='fast', backend='b',"
BAD_KERNEL += " precisions=('fp32',), summary='', bind=print)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--suite", "quik"), "did you mean quick"),
        (("run", "--suite", "./none.toml"), "none.toml"),
        (("run", "--suite", "./broken.toml"), "broken.toml"),
        (("run", "--kernel", "tritn-naive"), "did you mean triton-naive"),
        (("run", "--kernel", "./none.py", "--device", "cpu"), "no such file"),
        (("run", "--kernel", "./broken.py", "--device", "cpu"), "SyntaxError"),
        (("run", "--kernel", "./odd.py", "--device", "cpu"), "unknown tier 'fast'"),
        (("run", "--precision", "fp23"), "did you mean"),
        (("run", "--device", "cuda:9"), "cuda:9"),
        (("run", "--device", "gpu0"), "unknown device 'gpu0'"),
        (("run", "--shape", "0x4x4"), "m = 0"),
        (("run", "--shape", "-1x4x4"), "MxNxK"),
        (("run", "--shape", "axbxc"), "MxNxK"),
        (("run", "--shape", "9999999x9999999x9999999", "--device", "cpu"), "GiB"),
        (("run", "--shape", "99999999999x1x1"), "MxNxK"),
        (("run", "--preset", "cold", "--device", "cpu"), "preset cold needs a GPU"),
        (("run", "--budget", "soon"), "--budget 'soon' is no time"),
        (("run", "--target", "200%"), "--target '200%'"),
        (("run", "--repeat", "0"), "--repeat 0"),
        (("run", "--threads", "0", "--device", "cpu"), "threads = 0"),
        (("run", "--layout", "nm"), "unknown layout 'nm'"),
        (("run", "--data", "gauss"), "unknown data distribution"),
        (("run", "--resume", "./notours.jsonl"), "notours.jsonl"),
        (("run", "--nonsense"), "No such option"),
        (("show", "./notours.jsonl"), "notours.jsonl"),
        (("show", "./none.jsonl"), "none.jsonl"),
        (("show", "./notours.jsonl", "--format", "xml"), "unknown format 'xml'"),
        (("plot", "./none.jsonl", "--kind", "pie"), "unknown kind of plot 'pie'"),
        (("compare", "./none.jsonl", "./none.jsonl"), "none.jsonl"),
        (("list", "kernel"), "did you mean kernels"),
        (("history", ""), "'PATTERN…': it is empty"),
        (("compare", "./none.jsonl", ""), "'B': it is empty"),
        (("show", "./none.jsonl", "--format", "csv", "--out", ""), "it is empty"),
        (("run", "--out", "", "--device", "cpu"), "'--out': it is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "broken.toml").write_text("shapes = [1,\n")
    (tmp_path / "broken.py").write_text("def bind(:\n")
    (tmp_path / "odd.py").write_text(BAD_KERNEL)
    (tmp_path / "notours.jsonl").write_text('{"hello": 1}\n')
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("gemmbench: ")
    assert len(line) < 500
    assert not done.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["run", "verify", "list", "show", "plot", "compare", "doctor"])
def test_every_commands_help_has_an_example(command: str) -> None:
    done = call(command, "--help")
    assert done.returncode == 0
    assert f"Example: gemmbench {command}" in done.stdout


def test_verify_tells_right_from_wrong(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"  # of the faults the one that is wrong
    only = "KERNELS = tuple(k for k in KERNELS if k.name in ('healthy', 'wrong'))"
    planted.write_text(f"{(ROOT / 'tests' / 'planted.py').read_text()}\n{only}\n")
    right = call("verify", "--device", "cpu", "--kernel", "torch", "--shape", "33x65x17")
    assert right.returncode == 0, right.stderr
    assert "verified" in right.stderr
    wrong = call(
        *["verify", "--device", "cpu", "--kernel", str(planted), "--kernel", "torch"],
        *["--shape", "16x16x16", "--precision", "fp32"],
    )
    assert wrong.returncode == 1
    assert "wrong: exact: element (0, 0)" in wrong.stderr
    assert set(wrong.stdout.strip().split(", ")) == {"2 verified", "1 wrong"}


def test_lists_name_everything() -> None:
    from gemmkernels.ladder import LADDER

    listed = call("list", "kernels").stdout
    assert all(kernel.name in listed for kernel in LADDER)
    assert "h200-sxm" in call("list", "devices", "--format", "markdown").stdout
    assert "square" in call("list", "suites").stdout
    assert "fp8_e4m3" in call("list", "precisions").stdout


def test_the_readmes_results_are_current(tmp_path: Path) -> None:
    from gemmbench.show.readme import section, updated

    assert updated(README, section(ROOT / "results", root=ROOT)) == README
    with pytest.raises(gemmbench.GemmbenchError, match="no lines"):
        updated("no markers", "")


@pytest.fixture(scope="module")
def kept_run() -> Path:
    return min((ROOT / "results" / "amd-epyc").glob("*.jsonl"))


def shell(command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    gemmbench_ = f"{sys.executable} -m gemmbench"
    return subprocess.run(
        ["/bin/sh", "-c", command.replace("gemmbench", gemmbench_, 1)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("gemmbench show RUN >&-", 0),
        ("gemmbench show RUN | head -1", 0),
        ("gemmbench show RUN > /dev/full", 2),
        ("gemmbench run --help > /dev/full", 2),
        ("PYTHONIOENCODING=ascii; export PYTHONIOENCODING; gemmbench show RUN", 0),
    ],
)
def test_no_output_stream_ends_in_a_traceback(command: str, code: int, kept_run: Path) -> None:
    done = shell(command.replace("RUN", str(kept_run)))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if code else 0), done.stderr


def test_a_cut_file_is_shown_with_warnings_of_one_line_each(tmp_path: Path, kept_run: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(kept_run.read_bytes()[:50_000])
    done = call("show", str(cut))
    assert done.returncode == 0
    cut_line, missing = done.stderr.splitlines()
    assert cut_line.startswith("gemmbench: warning: ")
    assert "bytes were not loaded" in cut_line
    assert "planned cases have no record" in missing


def test_a_run_compared_with_itself_is_pointed_out(kept_run: Path) -> None:
    done = call("compare", str(kept_run), str(kept_run))
    assert "is on both sides" in done.stderr


def test_a_complete_run_is_not_resumed(tmp_path: Path) -> None:
    done = call(
        *["run", "--shape", "16x16x16", "--kernel", "torch", "--precision", "fp32", "--quiet"],
        *["--device", "cpu", "--preset", "quick", "--out", str(tmp_path)],
    )
    assert done.returncode == 0, done.stderr
    # Quiet is without progress; that the machine is busy is said all the same.
    assert all("not fit to publish" in line for line in done.stderr.splitlines())
    (path,) = tmp_path.glob("*.jsonl")
    again = call("run", "--resume", str(path))
    assert again.returncode == 2
    assert "is complete: nothing is left to do" in again.stderr
    refused = call("run", "--resume", str(path), "--precision", "bf16")
    assert "leave out --precision" in refused.stderr


@pytest.mark.skipif(shutil.which("script") is None, reason="script(1) makes the terminal")
def test_tables_of_a_narrow_terminal_keep_their_names(kept_run: Path) -> None:
    done = shell(f'COLUMNS=60 script -qc "gemmbench show {kept_run}" /dev/null')
    assert "python-naive" in done.stdout
    assert "…" not in done.stdout.split("kernel")[1].split("\n")[2]
