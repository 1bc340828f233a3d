"""The doctor as a whole: its processes, their hangs, the command, and what a run says."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from test_doctor_software import CPU, NVIDIA, device

from gemmbench.doctor import examination
from gemmbench.doctor.child import Child, ChildError
from gemmbench.doctor.examination import Diagnosis, Examination, diagnose, judged
from gemmbench.doctor.facts import Facts, Gpu, Host, Signs, TorchState
from gemmbench.doctor.finding import Finding, Grade, ordered
from gemmbench.doctor.probe import examine
from gemmbench.doctor.torch_probe import ask_torch
from gemmbench.records.schema import Header
from gemmbench.runner.request import Request
from gemmbench.runner.supervisor import Supervisor
from gemmbench.show import diagnosis
from gemmbench.show.progress import Progress, Quiet
from gemmkernels.errors import GemmbenchError

BUSY = Facts(host=Host(cpus=2, others=1.0, window_s=1.0, steal=0.0, steal_ever=0.0))


def call(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gemmbench", "doctor", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=200,
    )


# The processes.


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of a child's, to be written by the test."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "told.py"


def answer(module: Path, code: str, *, timeout_s: float = 20.0) -> Facts:
    module.write_text(code)
    child = Child("told")
    try:
        return child.answer(timeout_s, Facts)
    finally:
        child.stop()


def test_a_child_answers_in_one_line_whatever_libraries_print(module: Path) -> None:
    code = (
        "from gemmbench.doctor.child import answer_with\n"
        "from gemmbench.doctor.facts import Facts, Host\n"
        "def look():\n"
        "    print('noise of a library', flush=True)\n"
        "    return Facts(host=Host(cpus=7), hangs=('amd',))\n"
        "def main(): answer_with(look)\n"
    )
    found = answer(module, code)
    assert (found.host.cpus, found.hangs) == (7, ("amd",))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def main(): print('garbage \\x1b[2J')", "it answered 'garbage"),
        ('def main(): print(\'{"host": {"cpus": "many"}}\')', "it answered"),
        ("def main(): pass", "it ended with exit code 0"),
        ("def main(): raise RuntimeError('no driver')", "code 1: RuntimeError: no driver"),
        ("import os\ndef main(): os.abort()", "killed by SIGABRT"),
        ("def main(): print('x' * (1 << 23))", "would not stop talking"),
        ("def main(): import os; os.write(1, bytes(range(256)))", "it ended|it answered"),
    ],
)
def test_a_child_that_gives_no_answer_is_one_line(module: Path, code: str, reason: str) -> None:
    with pytest.raises(ChildError, match=reason) as caught:
        answer(module, code)
    assert not caught.value.late
    assert "\n" not in str(caught.value)


def test_a_child_that_hangs_is_ended_in_time(module: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ChildError) as caught:
        answer(module, "import time\ndef main(): time.sleep(100)", timeout_s=0.5)
    assert caught.value.late
    assert time.monotonic() - began < 30


def test_the_probe_imports_no_torch() -> None:
    code = "import gemmbench.doctor.probe, gemmbench.doctor.examination, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numba", "pandas", "scipy"} & set(done.stdout.split())


def test_a_driver_that_hangs_is_a_fault_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pynvml.py").write_text("import time\ndef nvmlInit(): time.sleep(100)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    child = Child("gemmbench.doctor.probe", str(os.getpid()), "2")
    try:
        facts = child.answer(30.0, Facts)
    finally:
        child.stop()
    assert facts.hangs == ("nvidia",)
    assert facts.host.window_s >= 1
    found = {f.check: f for f in judged(facts, device(), NVIDIA, {})}
    assert found["driver"].grade == "fault"
    assert "dmesg" in found["driver"].remedy
    assert "driver" not in {f.check for f in judged(facts, device("cpu"), CPU, {})}


def test_the_probe_on_this_machine() -> None:
    facts = examine(family=os.getpid(), patience_s=20.0)
    assert facts.hangs == ()
    assert facts.host.cpus == len(os.sched_getaffinity(0))
    assert facts.host.memory_bytes
    again = msgspec.json.decode(msgspec.json.encode(facts), type=Facts)
    assert again == facts


def test_torch_tells_its_device() -> None:
    found = ask_torch("cpu")
    assert found.imports
    assert found.device is not None
    assert found.device.kind == "cpu"
    assert found.target is not None
    assert msgspec.json.decode(msgspec.json.encode(found), type=TorchState) == found
    assert ask_torch("gpu7").mistaken
    assert not ask_torch("cuda:99").device


# What is made of the facts.


def test_findings_are_in_the_order_of_their_grades() -> None:
    grades: tuple[Grade, ...] = ("ok", "unknown", "fault", "note")
    found = [Finding(check=g, grade=g) for g in grades]
    assert [f.grade for f in ordered(found)] == ["fault", "note", "unknown", "ok"]


def test_a_gpu_run_minds_its_gpu_and_a_cpu_run_its_cores() -> None:
    capped = Gpu(vendor="nvidia", index=0, power_w=500.0, power_default_w=700.0)
    facts = Facts(host=BUSY.host, gpus=(capped,))
    on_gpu = [f.text for f in judged(facts, device(), NVIDIA, {}) if f.grade == "fault"]
    assert on_gpu == ["power limit: 500 W of 700 W by default"]
    on_cpu = [f.text for f in judged(facts, device("cpu"), CPU, {}) if f.grade == "fault"]
    assert on_cpu == ["other processes: 1.00 of 2 cores used over 1.0 s"]


def test_a_gpu_that_the_driver_does_not_list_is_unknown() -> None:
    facts = Facts(host=Host(), signs=Signs(nvml_problem="NVML Shared Library Not Found"))
    found = {f.check: f for f in judged(facts, device(), NVIDIA, {})}
    assert found["GPU state"].grade == "unknown"
    assert "Shared Library Not Found" in found["GPU state"].what


class Told:
    """In place of a child: an answer, or an error."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.stopped = 0

    def answer(self, timeout_s: float, kind: type) -> object:
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self) -> None:
        self.stopped += 1


@pytest.mark.parametrize(
    ("told", "faults"),
    [
        (BUSY, ["other processes"]),
        (Facts(host=Host()), []),
        (ChildError("x", late=True), []),
        (ChildError("it answered 'x'"), []),
    ],
)
def test_an_examination_of_a_run_never_raises_and_always_ends(
    monkeypatch: pytest.MonkeyPatch, told: object, faults: list[str]
) -> None:
    child = Told(told)
    monkeypatch.setattr(examination, "_probe", lambda **_: child)
    found = Examination()
    found.start()
    seen = found.faults(1.0, device=device("cpu"), target=None)
    assert [f.check for f in seen] == faults
    assert child.stopped == 1
    assert found.faults(1.0, device=device("cpu"), target=None) == ()
    found.stop()


def test_an_examination_that_cannot_start_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> Child:
        raise OSError("no more processes")

    monkeypatch.setattr(examination, "_probe", refuse)
    found = Examination()
    found.start()
    assert found.faults(1.0, device=device("cpu"), target=CPU) == ()


def diagnosed(
    monkeypatch: pytest.MonkeyPatch, torch: object, facts: object, name: str = "auto"
) -> Diagnosis:
    children = {"torch_probe": Told(torch), "probe": Told(facts)}
    monkeypatch.setattr(
        examination, "Child", lambda module, *_: children[module.rpartition(".")[2]]
    )
    try:
        return diagnose(name, environment={})
    finally:
        assert [child.stopped for child in children.values()] == [1, 1]


def test_a_diagnosis_where_the_gpu_cannot_be_used_is_of_that_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = TorchState(version="2.13.0", cuda="13.0", problem="torch sees none")
    capped = Gpu(vendor="nvidia", index=0, power_w=500.0, power_default_w=700.0)
    signs = Signs(files=("/dev/nvidia0",), cuda="12.2", nvidia_driver="535")
    found = diagnosed(monkeypatch, torch, Facts(host=BUSY.host, gpus=(capped,), signs=signs))
    assert found.device is None
    assert [f.check for f in found.findings if f.grade == "fault"] == ["GPU", "power limit"]


def test_a_diagnosis_where_a_process_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    found = diagnosed(monkeypatch, ChildError("it was killed by SIGSEGV"), Facts(host=Host()))
    faults = {f.check: f.what for f in found.findings if f.grade == "fault"}
    assert faults["torch"] == "cannot be imported: it was killed by SIGSEGV"
    state = TorchState(version="2", device=device("cpu"))
    found = diagnosed(monkeypatch, state, ChildError("it ended with exit code 3"))
    assert [(f.grade, "exit code 3" in f.what) for f in found.findings] == [("fault", True)]


def test_a_name_of_no_device_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    state = TorchState(version="2", problem="unknown device 'x': did you mean cpu?", mistaken=True)
    with pytest.raises(GemmbenchError, match="did you mean cpu"):
        diagnosed(monkeypatch, state, Facts(host=Host()), "x")


# The command.


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
def test_the_command_on_this_machine(form: str) -> None:
    done = call("--device", "cpu", "--format", form)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    if form == "json":
        found = json.loads(done.stdout)
        assert found["fit"] == (done.returncode == 0)
        grades = {f["check"]: f["grade"] for f in found["findings"]}
        assert grades["torch"] == "ok"
        assert found["fit"] == ("fault" not in grades.values())
        return
    fit = done.stdout.splitlines()[-1] == "fit to publish"
    assert fit == (done.returncode == 0)
    assert "checked and fine: torch" in done.stdout


def test_the_command_says_what_a_variable_spoils() -> None:
    done = call("--device", "cpu", ONEDNN_MAX_CPU_ISA="AVX2")
    assert done.returncode == 1
    assert "ONEDNN_MAX_CPU_ISA=AVX2: limits instructions" in done.stdout
    assert "→ unset ONEDNN_MAX_CPU_ISA" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("not fit to publish: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "gpu"), "unknown device 'gpu'"),
        (("--noise", "--time", "soon"), "--time 'soon' is no time"),
        (("--format", "csv"), "unknown format 'csv'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not done.stdout


def test_noise_is_measured_end_to_end() -> None:
    done = call("--device", "cpu", "--noise", "--time", "5s")
    assert done.returncode in (0, 1), done.stderr
    assert "measurements contended" in done.stdout
    assert "noise: constant loop" in done.stdout
    assert done.stderr.splitlines() == ["noise: the planted pair is measured for 5 s"]


def test_remedies_stand_below_in_a_table_and_beside_in_markdown() -> None:
    found = [
        Finding(check="power", grade="fault", what="50 \x1b W", remedy="run | this"),
        Finding(check="heat", grade="ok", what="fine"),
    ]
    folded = diagnosis.diagnosis(found, folded=True)
    assert folded.rows == (("fault", "power", "50 \\x1b W"), ("", "", "→ run | this"))
    assert folded.notes == ("checked and fine: heat", "not fit to publish: 1 fault")
    assert diagnosis.diagnosis(found).rows[0][3] == "run | this"
    assert diagnosis.verdict(found[1:]) == "fit to publish"


# A run.


def test_a_run_keeps_and_says_its_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[object] = []

    class Stub(Examination):
        def start(self) -> None:
            told.append("start")

        def faults(self, timeout_s: float, **of: object) -> tuple[Finding, ...]:
            if not told:
                return ()
            told.append(of["target"])
            return (Finding(check="power limit", grade="fault", what="500 W", remedy="secret"),)

    monkeypatch.setattr("gemmbench.runner.supervisor.Examination", Stub)
    request = Request(
        shapes=("16x16x16",),
        kernels=("torch",),
        precisions=("fp32",),
        device="cpu",
        preset="quick",
        out=str(tmp_path),
    )
    outcome = Supervisor(request, Quiet()).run()
    assert outcome.path is not None
    with outcome.path.open("rb") as file:
        header = msgspec.json.decode(file.readline(), type=Header)
    assert header.doctor == ("power limit: 500 W",)
    assert told[0] == "start"
    assert len(told) == 2
    said = capsys.readouterr().err
    line = "not fit to publish: power limit: 500 W (gemmbench doctor says how to mend it)"
    assert said == f"gemmbench: {line}\n"
    told.clear()
    Supervisor(request, Progress(), verify_only=True).run()
    assert told == []


def test_a_header_without_faults_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"run_id": "1", "started": "", "version": "1", "device": device("cpu")}
    assert Header(**fields, method=None).doctor == ()  # type: ignore[arg-type]
    Quiet().planned(Header(**fields, method=None), None, None)  # type: ignore[arg-type]
    assert not capsys.readouterr().err
