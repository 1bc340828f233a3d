"""Real ranks under torchrun, with gloo on CPUs: they measure, verify, and end as they should."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from parallel_runs import TINY, said, started

from gemmbench.records.reader import Run, read

pytestmark = pytest.mark.slow
FAST = ("--suite", "tiny.toml", "--max-time", "0.1", "--out", "runs")
PATIENCE_S = 240
_ENTRY = """
import os, sys
{planted}
from gemmbench.cli import main
sys.argv[0] = "gemmbench"
main()
"""


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)


def planted(folder: Path, code: str) -> Path:
    """A program that is gemmbench with a fault in it."""
    path = folder / "planted.py"
    path.write_text(_ENTRY.format(planted=code))
    return path


def run_in(folder: Path) -> Run:
    (path,) = (folder / "runs").glob("*.jsonl")
    return read(path)


@contextlib.contextmanager
def underway(
    folder: Path, *arguments: str, after: str = "all-reduce "
) -> Iterator["subprocess.Popen[str]"]:
    """A run that has ended some case; whatever becomes of the test, nothing of it is left."""
    process = started(*arguments, cwd=folder)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if after in line:
                break
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def rank_pid(process: "subprocess.Popen[str]", rank: int) -> int:
    """The process of a rank: a child of the launcher's."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((path / "stat").read_text().rpartition(") ")[2].split()[1])
            told = (path / "environ").read_bytes().split(b"\0")
            if parent == process.pid and f"RANK={rank}".encode() in told:
                return int(path.name)
    raise AssertionError(f"no rank {rank}")


def test_all_kernels_are_right_on_real_ranks(tmp_path: Path) -> None:
    ranks = 4
    process = started(*FAST, ranks=ranks, cwd=tmp_path)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    run = run_in(tmp_path)
    assert {record.status for record in run.records} == {"ok"}
    assert len(run.records) == 11
    assert {record.case for record in run.records} == set(run.header.plan)
    assert all(record.check and record.check.checks == 3 for record in run.records)
    assert {record.ranks for record in run.records} == {ranks}
    assert run.header.place is not None
    assert run.header.place.at_once == ranks
    assert run.header.software["gloo"].startswith("of torch ")
    sizes = {record.kernel: record.message_bytes for record in run.records}
    assert sizes["all-reduce"] == sizes["reduce-scatter"] == 4096
    assert sizes["column-parallel"] == 16 * 64 * 4
    assert sizes["row-parallel"] == 16 * 64 * 4
    assert sizes["local-products-row"] is None
    assert "busbw GB/s" in out
    assert run.footer is not None


def test_a_rank_s_fault_costs_its_cases_only(tmp_path: Path) -> None:
    """Rank 1 adds nothing in all-reduce, has no memory for the tensors of one layer, and none to
    compare one result of the other."""
    code = """
import gemmkernels.parallel.exchange as exchange
import gemmkernels.parallel.shards as shards
from gemmbench.runner.parallel.checks import ExactCheck
if os.environ["RANK"] == "1":
    whole, allocate, compare = exchange.all_reduce, shards.allocate_shards, ExactCheck.compare
    def nothing(tensor, **options):
        tensor.zero_()
        return whole(tensor, **options)
    def short(task, *rest, **options):
        if task.split == "column":
            raise MemoryError("planted")
        return allocate(task, *rest, **options)
    def shorter(self, found, kernel, *rest):
        if kernel.name == "row-parallel-scatter":
            raise MemoryError("planted")
        compare(self, found, kernel, *rest)
    exchange.all_reduce, shards.allocate_shards, ExactCheck.compare = nothing, short, shorter
"""
    process = started(*FAST, script=planted(tmp_path, code), cwd=tmp_path)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, err
    found = {}
    for record in run_in(tmp_path).records:
        wrong = record.collective == "all-reduce"
        short = "-column-" in record.group or record.kernel == "row-parallel-scatter"
        assert record.status == ("wrong" if wrong else "failed" if short else "ok"), record.case
        assert not wrong or re.match(r"rank \d: exact: element", record.reason)
        assert not short or record.reason == "rank 1: out of memory: planted"
        assert bool(record.turns) == (record.status == "ok")
        found[record.case] = record.status
    assert len(found) == 11
    # What follows a traceback here is the launcher's own.
    assert not re.search(r'File ".*/gemmbench/(cli|runner)/', err)


def test_a_rank_that_is_killed_costs_no_record_and_the_run_goes_on(tmp_path: Path) -> None:
    with underway(tmp_path, *FAST) as process:
        os.kill(rank_pid(process, 1), signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    (line,) = said(err)[-1:]
    assert line.startswith("gemmbench: rank 1 has ended without a word")
    assert "--resume runs/" in line
    run = run_in(tmp_path)
    before = [record for record in run.records if record.status == "ok"]
    assert "all-reduce" in {record.kernel for record in before}
    assert {record.status for record in run.records} == {"ok", "interrupted"}
    assert {record.case for record in run.records} == set(run.header.plan)

    resumed = started(
        *("--resume", str(run.path), "--suite", "tiny.toml"), cwd=tmp_path, usual=False
    )
    _, err = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0, err
    after = run_in(tmp_path)
    ok = [record.case for record in after.records if record.status == "ok"]
    assert len(ok) == len(set(ok)) == 11


def test_a_rank_that_hangs_ends_the_run_with_one_line(tmp_path: Path) -> None:
    with underway(tmp_path, *FAST, "--timeout", "6") as process:
        pid = rank_pid(process, 1)
        os.kill(pid, signal.SIGSTOP)
        try:
            _, err = _until_said(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert "rank 1 is stopped, and answers no more" in err
    assert any(record.status == "ok" for record in run_in(tmp_path).records)


def _until_said(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """The launcher waits long for a process that is stopped: hear what rank 0 says."""
    assert process.stderr is not None
    end = time.monotonic() + PATIENCE_S
    for line in process.stderr:
        if "--resume" in line:
            return "", line
        assert time.monotonic() < end
    raise AssertionError("nothing was said")


def test_ctrl_c_keeps_what_had_ended(tmp_path: Path) -> None:
    with underway(tmp_path, *FAST) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert [line for line in said(err) if "stopped by the user" in line], err
    run = run_in(tmp_path)
    assert run.footer is not None
    assert run.footer.interrupted
    assert {record.case for record in run.records} == set(run.header.plan)


def test_a_mistake_is_said_once_by_rank_0(tmp_path: Path) -> None:
    process = started("--suite", "nosuch", cwd=tmp_path)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert len(said(err)) == 1
    assert "unknown suite of several ranks 'nosuch'" in err
    assert out == ""


@pytest.mark.gpu
def test_one_gpu_alone(tmp_path: Path) -> None:
    """One rank exchanges with nobody: this tries streams, events and that NCCL can be called."""
    suite = "\n".join(line.replace("[cpu]", "[gpu]") for line in TINY.splitlines())
    (tmp_path / "tiny.toml").write_text(suite.replace("fp32", "bf16"))
    environment = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "29511",
    }
    found = subprocess.run(
        [sys.executable, "-m", "gemmbench", "parallel", "--preset", "quick", *FAST],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert found.returncode == 0, found.stderr
    run = run_in(tmp_path)
    assert {record.status for record in run.records} == {"ok"}
    assert {"nccl", "rccl"} & set(run.header.software)
