"""Roofs through worker and supervisor: what a probe's fault costs, and what a run keeps."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from click.testing import CliRunner

from gemmbench.cli import app
from gemmbench.devices.detect import detect
from gemmbench.devices.telemetry import Telemetry
from gemmbench.records.reader import read
from gemmbench.records.schema import Roof
from gemmbench.runner.crew import Crew, DeviceGoneError
from gemmbench.runner.messages import (
    Afresh,
    Doing,
    Done,
    Ended,
    FromWorker,
    Probing,
    Ready,
    Took,
)
from gemmbench.runner.process import UnkillableError, WorkerDiedError
from gemmbench.runner.request import Request
from gemmbench.runner.roofs import Roofs, how_of_roofs
from gemmbench.runner.roofs_work import RoofWork
from gemmbench.runner.supervisor import Supervisor
from gemmbench.runner.turners import take
from gemmbench.show.progress import Quiet
from gemmbench.timing.method import timing
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Launch
from gemmkernels.probes.roofs import BoundProbe, Wanted

HERE = detect("cpu", threads=1)
SHORT = msgspec.structs.replace(
    timing("quick", kind="cpu", vendor="other"), settle_s=0.001, turn_s=0.002, sample_s=0.0005
)
QUICK = Request(device="cpu", threads=1, preset="quick", precisions=("fp32",), roofs=True)
ENVIRONMENT = {**os.environ, "GEMMBENCH_TUNED": ""}


# In the worker.


def probe(fault: str = "") -> BoundProbe:
    """One that writes what its check wants to see, but for its fault."""
    state = {"value": 0, "checks": 0, "checking": 0}

    def run() -> None:
        if fault == "raises in turn" and state["checks"] and not state["checking"]:
            raise RuntimeError("the loop fell off")
        if fault != "folded away":
            state["value"] = 42

    def check(launched: Any) -> str:
        state["value"], state["checking"] = 0, 1
        launched()
        state["checks"], state["checking"] = state["checks"] + 1, 0
        if fault == "wrong at the end" and state["checks"] == 2:
            return "41 where its loop must give 42"
        return "" if state["value"] == 42 else f"{state['value']} where its loop must give 42"

    return BoundProbe(launch=Launch(run=run), work=1000.0, check=check, config={"steps": 3})


def worked(faults: Sequence[str]) -> list[FromWorker]:
    take(HERE)
    probes = tuple(Wanted("vector", str(number), "TFLOP/s") for number in range(len(faults)))
    said: list[FromWorker] = []

    def bind(_name: str, precision: str, _device: Device) -> BoundProbe:
        fault = faults[int(precision)]
        if fault == "raises in bind":
            raise ValueError("no such\nregister")
        return probe(fault)

    RoofWork(Probing(probes=probes, timing=SHORT, seed=0), HERE, said.append, bind=bind).run()
    return said


def ends(said: Sequence[FromWorker]) -> dict[int, tuple[str, str]]:
    return {
        one.case: (one.status, one.reason.partition(" test_roofs_run.py")[0])
        for one in said
        if isinstance(one, Ended)
    }


def test_a_probe_that_is_folded_away_is_wrong_and_the_others_go_on() -> None:
    said = worked(["", "folded away", "raises in bind", "raises in turn", "wrong at the end"])
    assert ends(said) == {
        0: ("ok", ""),
        1: ("wrong", "0 where its loop must give 42"),
        2: ("failed", "ValueError: no such register at"),
        3: ("failed", "RuntimeError: the loop fell off at"),
        4: ("wrong", "41 where its loop must give 42"),
    }
    (afresh,) = [number for number, one in enumerate(said) if isinstance(one, Afresh)]
    turns = [one.case for one in said[afresh:] if isinstance(one, Took)]
    assert sorted(turns) == sorted([0, 4] * 10)
    ready = next(one for one in said if isinstance(one, Ready))
    assert (ready.work, ready.config) == (1000.0, {"steps": 3, "launch": "loop"})


def test_turns_are_those_of_kernels_shuffled_in_rounds() -> None:
    said = worked(["", "", ""])
    turns = [one for one in said if isinstance(one, Took)]
    assert [one.turn.round for one in turns] == [number // 3 for number in range(30)]
    orders = {tuple(one.case for one in turns[at : at + 3]) for at in range(0, 30, 3)}
    assert len(orders) > 1


# In the supervisor.


TURN = Turn(
    round=0,
    start_s=1.0,
    stop_s=2.0,
    settle_s=0.1,
    launches=1,
    n_samples=1,
    disturbed=0,
    median_ns=500.0,
    samples_ns=(500.0,),
)


class Scripted:
    """A worker that says what is in its script; what is an error is raised."""

    def __init__(self, script: Sequence[FromWorker | Exception]) -> None:
        self.script = list(script)
        self.asked: Probing | None = None

    def send(self, message: Probing) -> None:
        self.asked = message

    def receive(self, _timeout_s: float) -> FromWorker:
        one = self.script.pop(0)
        if isinstance(one, Exception):
            raise one
        return one


class ScriptedCrew:
    def __init__(self, *scripts: Sequence[FromWorker | Exception]) -> None:
        self.workers = [Scripted(script) for script in scripts]
        self.used: list[Scripted] = []
        self.worker: Scripted | None = None

    def present(self) -> Scripted:
        if self.worker is None:
            self.worker = self.workers.pop(0)
            self.used.append(self.worker)
        return self.worker

    def died(self) -> None:
        self.worker = None

    stop = died


def supervised(
    *scripts: Sequence[FromWorker | Exception],
) -> tuple[Roofs, ScriptedCrew, list[Roof]]:
    crew, kept = ScriptedCrew(*scripts), list[Roof]()
    roofs = Roofs(
        cast(Crew, crew), Quiet(), QUICK, telemetry=Telemetry(), keep=lambda new: kept.extend(new)
    )
    plain = replace(HERE, features=("avx2",), llc_bytes=None)
    roofs.plan(plain, SHORT)
    return roofs, crew, kept


def ready(case: int) -> Ready:
    return Ready(case=case, setup_s=0.1, work=8.0, config={"bytes": 64})


def statuses(kept: Sequence[Roof]) -> dict[str, str]:
    return {one.name: one.status for one in kept}


FIRST_DIES = (
    Doing(case=0, phase="bind"),
    WorkerDiedError("killed by SIGSEGV"),
)
REST = (
    Doing(case=0, phase="bind"),
    ready(0),
    Doing(case=1, phase="bind"),
    ready(1),
    Doing(case=2, phase="turn"),
    ready(2),
    Took(case=1, turn=TURN),
    Afresh(),
    Took(case=1, turn=TURN),
    Took(case=2, turn=TURN),
    Took(case=0, turn=TURN),
    Ended(case=0, status="ok"),
    Ended(case=1, status="ok"),
    Ended(case=2, status="wrong", reason="41"),
    Done(),
)


def test_a_death_costs_one_probe_and_a_fresh_worker_takes_up_the_rest() -> None:
    roofs, crew, kept = supervised(FIRST_DIES, REST)
    roofs.measure(0)
    assert statuses(kept) == {
        "copy": "failed",
        "read": "ok",
        "cache": "unsupported",
        "launch-loop": "ok",
        "vector": "wrong",
    }
    found = {one.name: one for one in kept}
    assert found["copy"].reason == "in bind: killed by SIGSEGV"
    assert found["cache"].reason == "the size of the last-level cache is not known"
    assert found["launch-loop"].turns == (TURN,)
    assert (found["launch-loop"].work, found["launch-loop"].config) == (8.0, {"bytes": 64})
    assert found["vector"].turns == ()
    assert [[p.name for p in one.asked.probes] for one in crew.used if one.asked] == [
        ["copy", "read", "launch-loop", "vector"],
        ["read", "launch-loop", "vector"],
    ]
    assert roofs.missing(0) == ()
    assert len(roofs.missing(1)) == 5


def test_silence_is_a_timeout() -> None:
    silent = (Doing(case=0, phase="turn"), WorkerDiedError("no answer", timed_out=True))
    roofs, _, kept = supervised(silent, REST)
    roofs.measure(0)
    assert statuses(kept)["copy"] == "timeout"


def test_a_worker_that_cannot_be_killed_ends_the_run_and_each_roof_has_a_status() -> None:
    stuck = (Doing(case=1, phase="turn"), UnkillableError("a worker outlives SIGKILL by 30 s"))
    roofs, _, kept = supervised(stuck)
    with pytest.raises(DeviceGoneError, match="outlives"):
        roofs.measure(0)
    assert statuses(kept) == {"cache": "unsupported", "read": "timeout"}
    roofs.abandon(1, "failed", "device lost: stuck")
    assert statuses(kept)["copy"] == statuses(kept)["vector"] == "failed"
    assert len(kept) == 5


def test_what_an_earlier_sitting_found_stands() -> None:
    roofs, _, _ = supervised()
    done = Roof(repeat=0, name="copy", unit="GB/s")
    cut = Roof(repeat=0, name="launch-loop", unit="us", status="interrupted")
    roofs.take_up([done, cut])
    assert [one.name for one in roofs.missing(0)] == ["read", "cache", "launch-loop", "vector"]


def test_a_cold_run_measures_its_roofs_sustained() -> None:
    cold = timing("cold", kind="gpu", vendor="nvidia")
    how = how_of_roofs(msgspec.structs.replace(cold, repeats=3), replace(HERE, kind="gpu"))
    assert (how.launch, how.preset, how.repeats) == ("stream", "sustained", 3)
    assert how_of_roofs(SHORT, HERE) is SHORT


# Whole runs.


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gemmbench", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=200,
        env=ENVIRONMENT,
    )


def test_roofs_of_this_cpu_end_to_end(tmp_path: Path) -> None:
    done = call(
        *["roofs", "--device", "cpu", "--threads", "1", "--preset", "quick"],
        *["-p", "fp32", "-p", "fp8_e4m3", "--out", "mine", "--format", "json"],
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "roofs, preset quick; about" in done.stderr
    assert "roof: vector" in done.stderr
    assert "x86-64 CPUs have no fp8_e4m3 arithmetic" in done.stderr
    (told,) = json.loads(done.stdout)
    rows = {row["name"]: row for row in told["rows"]}
    assert {"copy", "launch-loop", "vector", "matrix"} <= rows.keys()
    assert rows["matrix"]["verdict"] == "unsupported"
    (path,) = (tmp_path / "mine").glob("*.jsonl")
    run = read(path)
    assert run.header.probing
    assert run.records == ()
    assert not run.warnings
    assert run.footer is not None
    assert set(run.footer.statuses) == {"ok", "unsupported"}
    kinds = {(one.name, one.precision, one.status) for one in run.roofs}
    assert {("copy", "", "ok"), ("launch-loop", "", "ok"), ("vector", "fp32", "ok")} <= kinds
    assert ("matrix", "fp8_e4m3", "unsupported") in kinds
    assert {one.repeat for one in run.roofs} == {0}
    assert [one.repeat for one in run.selftests] == [0]
    for one in run.roofs:
        if one.status == "ok":
            assert [turn.round for turn in one.turns] == list(range(10))
            assert 0 < sum(len(turn.samples_ns or ()) for turn in one.turns) <= 200
    with pytest.raises(GemmbenchError, match="holds roofs only: measure them anew"):
        Supervisor(QUICK, Quiet(), resume=run).run()
    runner = CliRunner()
    shown = runner.invoke(app, ["roofs", str(path)])
    assert shown.exit_code == 0
    assert "Measured roofs: " in shown.output
    assert "launch-loop" in shown.output
    assert runner.invoke(app, ["show", str(path)]).output == shown.output
    assert "| roof |" in runner.invoke(app, ["roofs", str(path), "-f", "markdown"]).output


def test_a_run_measures_its_own_roofs_first(tmp_path: Path) -> None:
    request = replace(QUICK, shapes=("64x64x64",), kernels=("torch",), out=str(tmp_path))
    outcome = Supervisor(request, Quiet()).run()
    assert outcome.path is not None
    run = read(outcome.path)
    assert [one.status for one in run.records] == ["ok"]
    assert {one.name for one in run.roofs} >= {"copy", "launch-loop", "vector"}
    assert not run.header.probing
    assert run.footer is not None
    assert sum(run.footer.statuses.values()) == len(run.records) + len(run.roofs)
    first = min(turn.start_s for turn in run.records[0].turns)
    assert all(turn.stop_s <= first for one in run.roofs for turn in one.turns)
    verified = Supervisor(replace(request, out=str(tmp_path / "v")), Quiet(), verify_only=True)
    assert verified.run().statuses == {"ok": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "cold"], "unknown preset of roofs 'cold'"),
        (["-p", "fp16_sparse"], "precision 'fp16_sparse' has no roof"),
        (["-p", "nonsense"], "unknown precision 'nonsense'"),
        (["nowhere.jsonl"], "cannot read 'nowhere.jsonl'"),
        (["nowhere.jsonl", "--preset", "quick"], "--preset is for measuring"),
        (["--format", "csv"], "unknown format 'csv'"),
        (["--repeat", "0"], "--repeat 0 must lie in 1 … 1000"),
        (["--threads", "99999"], "this process may use"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", None)  # set back after the command has set its own
    device = [] if "nowhere.jsonl" in arguments else ["--device", "cpu"]
    done = CliRunner().invoke(app, ["roofs", *device, *arguments])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_ctrl_c_gives_each_roof_a_status(tmp_path: Path) -> None:
    command = [
        *[sys.executable, "-m", "gemmbench", "roofs", "--device", "cpu", "--threads", "1"],
        *["--preset", "sustained", "--out", str(tmp_path), "-p", "fp32"],
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        lines = [path.read_text() for path in tmp_path.glob("*.jsonl")]
        if any('"type":"roof"' in line for line in lines):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    (path,) = tmp_path.glob("*.jsonl")
    run = read(path)
    assert run.footer is not None
    assert run.footer.interrupted
    found = {one.status for one in run.roofs}
    assert found <= {"ok", "interrupted", "unsupported"}
    assert "interrupted" in found
    assert len({(one.repeat, one.name, one.precision) for one in run.roofs}) % 5 == 0
