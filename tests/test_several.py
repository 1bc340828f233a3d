"""Runs on several devices of one machine: real agents on two CPUs, and a driver put to the test."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest
from synthetic import H100, footer, header, record, selftest, turns

from gemmbench.devices.place import Place, cpus_of, near, place_of, spelt, visible_index
from gemmbench.records.fleet import member
from gemmbench.records.frame import load
from gemmbench.records.journal import encode
from gemmbench.records.reader import fleet_of, read, read_many
from gemmbench.records.schema import Fleet, Line, Record
from gemmbench.runner.fleet.driver import MOST_STARTS, Driver, Order
from gemmbench.runner.fleet.ground import Site
from gemmbench.runner.fleet.listener import FleetOutcome
from gemmbench.runner.fleet.local import LocalGround, devices_of
from gemmbench.runner.fleet.messages import (
    Charge,
    Ended,
    FromAgent,
    Gone,
    Kept,
    Measured,
    Planned,
    Refused,
)
from gemmbench.runner.header import check_alike, check_same
from gemmbench.runner.messages import KernelInfo
from gemmbench.runner.plan import wanted_cases
from gemmbench.runner.request import Request
from gemmbench.runner.resume import finished
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER

CPUS = sorted(os.sched_getaffinity(0))[:2]
two_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="this process may use one CPU only")
SMALL = (
    *("--preset", "quick", "--kernel", "torch", "--shape", "32x32x32", "--shape", "48x48x48"),
    *("--precision", "fp32", "--precision", "int8", "--max-time", "0.2s", "--target", "90%"),
)
BOTH = tuple(itertools.chain.from_iterable(("--device", f"cpu:{n}") for n in CPUS))
RUN = (sys.executable, "-m", "gemmbench", "run")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*RUN, *arguments], capture_output=True, text=True, timeout=240)


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl")
    return path


# For real.


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("together")
    done = run(*BOTH, *SMALL, "--out", str(out), "--node", "n1", "--rack", "r7")
    assert done.returncode == 0, done.stderr
    assert f"run:  {the_file(out)}" in done.stdout
    assert f"CPU {CPUS[1]}: done" in done.stderr
    return the_file(out)


@two_cpus
def test_each_device_has_a_run_of_its_own(together: Path) -> None:
    runs = read_many(together)
    assert [run.header.place for run in runs] == [
        msgspec.structs.replace(
            Place(node="n1", rack="r7", cores=str(cpu), at_once=2),
            numa_node=run.header.place.numa_node if run.header.place else None,
        )
        for cpu, run in zip(CPUS, runs, strict=True)
    ]
    for one in runs:
        assert one.header.device.units == 1
        assert len(one.records) == 4
        assert not one.warnings
        assert one.footer is not None
    index = fleet_of(together)
    assert index is not None
    assert index.footer is not None
    assert index.footer.statuses == {"ok": 8}
    assert not index.lost


@pytest.mark.gpu
def test_all_gpus_of_the_machine(tmp_path: Path) -> None:
    done = run("--device", "all", *SMALL[:-4], "--target", "90%", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    df = load(the_file(tmp_path))
    assert df["device_index"].notna().all()
    assert df["pci_address"].str.fullmatch(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.0").all()
    assert (df.groupby("unit")["pci_address"].nunique() == 1).all()
    assert df["pci_address"].nunique() == df["unit"].nunique() == df["at_once"].iloc[0]


def windows(path: Path) -> list[tuple[float, float]]:
    found = []
    for one in read_many(path):
        all_turns = [turn for record in one.records for turn in record.turns]
        found.append((min(t.start_s for t in all_turns), max(t.stop_s for t in all_turns)))
    return found


@two_cpus
def test_at_once_and_one_by_one(together: Path, tmp_path: Path) -> None:
    (a, b), (c, d) = windows(together)
    assert max(a, c) < min(b, d)
    done = run(*BOTH, "--one-by-one", *SMALL, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (a, b), (c, _) = windows(the_file(tmp_path))
    assert a < b < c
    assert set(load(the_file(tmp_path))["at_once"]) == {1}


@two_cpus
def test_a_worker_keeps_to_its_cpus(tmp_path: Path) -> None:
    """As the kernel itself sees it, which is what counts."""
    kernel = tmp_path / "where.py"
    kernel.write_text(
        "import os\n"
        "import torch\n"
        "from gemmkernels import Kernel, Launch\n\n\n"
        "def bind(operands):\n"
        f"    with open({str(tmp_path / 'seen')!r}, 'a') as file:\n"
        "        print(*sorted(os.sched_getaffinity(0)), torch.get_num_threads(), file=file)\n"
        "    a, b, out = operands.a, operands.b, operands.out\n"
        "    return Launch(run=lambda: torch.mm(a, b, out=out))\n\n\n"
        "KERNEL = Kernel(name='where', tier='library', backend='torch',\n"
        "    precisions=('fp32',), summary='tells where it is', bind=bind)\n"
    )
    small = ("--preset", "quick", "--shape", "32x32x32", "--max-time", "0.2s", "--target", "90%")
    done = run(*BOTH, *small, "-k", str(kernel), "-p", "fp32", "--out", str(tmp_path / "out"))
    seen = set((tmp_path / "seen").read_text().splitlines()) if done.returncode == 0 else set()
    assert seen == {f"{cpu} 1" for cpu in CPUS}, done.stderr


def test_mistakes_get_one_line(tmp_path: Path, together: Path) -> None:
    out = ("--out", str(tmp_path))
    for arguments, said in (
        (("-d", "cpu:0", "-d", "cpu:0", *SMALL), "device 'cpu:0' is named twice: once is enough"),
        (("-d", "cpu:0", "-d", "cpu:4000", *SMALL), "cpu:4000 lost"),
        (("-d", "cpu:3-1", *SMALL), "3-1 is no range of CPUs: say cpu:0-3"),
        (("-d", "all", *SMALL), "device 'all': no GPU"),
        (("--one-by-one", *SMALL), "--one-by-one is for several devices: say --device all"),
        (("--resume", str(together), "-d", "cpu:0", "-d", "cpu:1"), "leave out --device"),
        (("--resume", str(together)), "is complete: nothing is left to do"),
        (("-d", "cpu:0", "-d", "cpu:1", "-k", "trch"), "unknown kernel 'trch'"),
    ):
        done = run(*arguments, *(() if "--resume" in arguments else out))
        if said != "cpu:4000 lost":
            assert done.returncode == 2, (arguments, done.stderr)
            assert said in done.stderr.splitlines()[-1], (arguments, done.stderr)
        else:  # the other one is measured
            assert done.returncode == 1
            assert "this process may not use CPU 4000" in done.stderr
            index = fleet_of(the_file(tmp_path))
            assert index is not None
            assert index.absent == (1,)
        assert "Traceback" not in done.stderr


TOKEN = "GEMMBENCH_TEST_SEVERAL"


class Victim:
    """A run on two CPUs: killed, and taken up again until it is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = uuid.uuid4().hex
        self.process: subprocess.Popen[bytes] | None = None
        self.seen = b""

    def start(self) -> None:
        files = [*self.folder.glob("*.jsonl")]
        how = ("--resume", str(files[0])) if files else (*BOTH, *SMALL, "--out", str(self.folder))
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [*RUN, "--quiet", *how],
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**os.environ, TOKEN: self.token},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def alive(self, what: str = "") -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{TOKEN}={self.token}".encode() in (folder / "environ").read_bytes() and (
                    what.encode() in (folder / "cmdline").read_bytes()
                ):
                    found.append(int(folder.name))
        return found

    def hit(self, end: str, draw: random.Random) -> None:
        assert self.process is not None
        if self.process.poll() is not None:  # it came to its end: that number may be another's
            return
        if end in ("driver", "SIGINT"):
            os.kill(self.process.pid, signal.SIGINT if end == "SIGINT" else signal.SIGKILL)
            return
        module = {"worker": "runner.worker", "agent": "fleet.agent"}[end]
        if found := self.alive(module):
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(found), signal.SIGKILL)

    def check(self) -> None:
        """All that was whole in the file still is, and nothing finished is there twice."""
        files = [*self.folder.glob("*.jsonl")]
        assert len(files) <= 1
        if not files:
            return
        data = files[0].read_bytes()
        assert data.startswith(self.seen)
        self.seen = data[: data.rfind(b"\n") + 1]
        for one in members(files[0]):
            times = Counter(
                line.case
                for line in lines_of(files[0], one)
                if isinstance(line, Record) and finished(line)
            )
            assert not [case for case, often in times.items() if often > 1]


def members(path: Path) -> list[int]:
    index = fleet_of(path)
    return sorted(index.spans) if index else []


def lines_of(path: Path, unit: int) -> list[Line]:
    index = fleet_of(path)
    assert index is not None
    data = path.read_bytes()
    return [
        msgspec.json.decode(data[start : start + size], type=Line)
        for _, start, size in index.spans[unit]
    ]


@two_cpus
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """Random moments, random processes; GEMMBENCH_KILLS says how often."""
    seed = time.time_ns()
    draw = random.Random(seed)
    kills, victim = int(os.environ.get("GEMMBENCH_KILLS", "5")), Victim(tmp_path)
    for number in range(kills):
        victim.start()
        assert victim.process is not None
        end = draw.choice(("driver", "agent", "worker", "SIGINT"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            victim.process.wait(draw.uniform(1.0, 9.0))
        victim.hit(end, draw)
        if end in ("driver", "SIGINT"):
            victim.process.wait(90)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                victim.process.wait(draw.uniform(0.0, 5.0))
            victim.hit("driver", draw)
            victim.process.wait(90)
        deadline_s = time.monotonic() + 60
        while left := victim.alive():
            assert time.monotonic() < deadline_s, [psutil.Process(p).cmdline() for p in left]
            time.sleep(0.05)
        victim.check()
        assert "Traceback" not in (tmp_path / "said").read_text(), (seed, number, end)
        if is_whole(tmp_path):
            break
    if not is_whole(tmp_path):
        victim.start()
        assert victim.process is not None
        victim.process.wait(200)
        victim.check()
    assert is_whole(tmp_path), (seed, (tmp_path / "said").read_text())


def is_whole(folder: Path) -> bool:
    """Has every planned case of both devices its one record?"""
    files = [*folder.glob("*.jsonl")]
    if not files or len(members(files[0])) != 2:
        return False
    runs = [read(member(files[0], unit)) for unit in members(files[0])]
    return all(
        {record.case for record in run.records if finished(record)} == set(run.header.plan)
        for run in runs
    )


# The driver alone.


class Fake:
    """A ground whose agents say what a test has them say; each start consumes one script."""

    def __init__(self, sites: int, scripts: dict[int, list[list[FromAgent | Gone]]]) -> None:
        self.scripts = scripts
        self.charges: list[tuple[int, Site, Charge]] = []
        self.said: deque[tuple[int, FromAgent | Gone]] = deque()
        self.count = sites
        self.most_at_once = 0

    def sites(self) -> Sequence[Site]:
        return [Site(place=Place(node=f"n{i}"), device="cpu") for i in range(self.count)]

    def start(self, unit: int, site: Site, charge: Charge) -> None:
        self.charges.append((unit, site, charge))
        script = self.scripts[unit].pop(0) if self.scripts.get(unit) else whole(unit)
        self.said.extend((unit, message) for message in script)
        units = {number for number, _ in self.said}
        self.most_at_once = max(self.most_at_once, len(units))

    def receive(self, timeout_s: float) -> Sequence[tuple[int, FromAgent | Gone]]:
        return [self.said.popleft()] if self.said else []

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class Silent:
    def __init__(self) -> None:
        self.losses: list[tuple[int, str, bool]] = []
        self.warnings: list[str] = []

    def begins(self, sites: Sequence[Site]) -> None: ...

    def planned(self, unit: int, site: Site, plan: Planned) -> None: ...

    def measured(self, unit: int, site: Site, case: Measured) -> None: ...

    def warned(self, unit: int, site: Site, text: str) -> None:
        self.warnings.append(text)

    def ended(self, unit: int, site: Site) -> None: ...

    def lost(self, unit: int, site: Site, reason: str, *, again: bool) -> None:
        self.losses.append((unit, reason, again))

    def finished(self, outcome: FleetOutcome) -> None: ...


A, B = record("a", took=turns(10.0)), record("b", took=turns(10.0))
PLAN = (A.case, B.case)


def kept(*lines: Line) -> Kept:
    return Kept(lines=tuple(msgspec.Raw(encode(line).rstrip()) for line in lines))


def begun(unit: int, plan: tuple[str, ...] = PLAN, part: int | None = None) -> Line:
    request: dict[str, object] = {} if part is None else {"part": [part, 2]}
    return header(run_id=f"u{unit}", synthetic=True, plan=plan, request=request)


ENDED = Ended(exit_code=0, interrupted=False, timed_s=1.0, setup_s=1.0)


def whole(unit: int) -> list[FromAgent | Gone]:
    return [kept(begun(unit)), kept(A, B), kept(footer([A, B])), ENDED]


def drive(
    tmp_path: Path,
    ground: Fake,
    *,
    order: Order = "together",
    resume: Path | None = None,
) -> tuple[FleetOutcome, Silent]:
    silent = Silent()
    request = Request(out=str(tmp_path))
    return Driver(request, ground, silent, order=order, resume=resume).run(), silent


def cases(path: Path) -> dict[int, list[str]]:
    return {unit: [r.kernel for r in read(member(path, unit)).records] for unit in members(path)}


def test_an_agent_that_dies_is_started_again_with_what_it_had(tmp_path: Path) -> None:
    died: list[FromAgent | Gone] = [kept(begun(0)), kept(A), Gone(reason="killed")]
    rest: list[FromAgent | Gone] = [kept(B), kept(footer([A, B])), ENDED]
    ground = Fake(2, {0: [died, rest]})
    outcome, silent = drive(tmp_path, ground)
    assert outcome.exit_code == 0
    assert outcome.path is not None
    assert cases(outcome.path) == {0: ["a", "b"], 1: ["a", "b"]}
    assert silent.losses == [(0, "killed", True)]
    (again,) = [charge for unit, _, charge in ground.charges[1:] if unit == 0]
    assert [bytes(line) for line in again.before] == [
        encode(line).rstrip() for line in (begun(0), A)
    ]


def test_one_that_dies_again_and_again_is_lost_and_the_others_go_on(tmp_path: Path) -> None:
    died: list[FromAgent | Gone] = [Gone(reason="killed")]
    ground = Fake(2, {1: [died] * 9})
    outcome, _ = drive(tmp_path, ground)
    assert outcome.exit_code == 1
    assert outcome.lost == {1: "killed"}
    assert sum(unit == 1 for unit, _, _ in ground.charges) == MOST_STARTS
    assert outcome.path is not None
    index = fleet_of(outcome.path)
    assert index is not None
    assert index.absent == (1,)
    assert index.lost[1].reason == "killed"


def test_progress_earns_a_device_more_starts(tmp_path: Path) -> None:
    more = [record(f"k{i}", took=turns(10.0)) for i in range(6)]
    plan = tuple(one.case for one in more)
    scripts: list[list[FromAgent | Gone]] = [[kept(begun(0, plan)), Gone(reason="x")]]
    scripts += [[kept(one), Gone(reason="x")] for one in more[:-1]]
    scripts += [[kept(more[-1]), kept(footer(more)), ENDED]]
    outcome, _ = drive(tmp_path, Fake(1, {0: scripts}))
    assert outcome.exit_code == 0
    assert not outcome.lost


def test_a_self_test_is_no_progress(tmp_path: Path) -> None:
    again: list[FromAgent | Gone] = [kept(selftest()), Gone(reason="out of memory")]
    scripts = [[kept(begun(0)), *again], *[again] * 20]
    outcome, _ = drive(tmp_path, ground := Fake(1, {0: scripts}))
    assert outcome.lost == {0: "out of memory"}
    assert len(ground.charges) == MOST_STARTS


def test_only_the_last_word_is_missing(tmp_path: Path) -> None:
    ground = Fake(1, {0: [[*whole(0)[:-1], Gone(reason="killed")]]})
    outcome, silent = drive(tmp_path, ground)
    assert outcome.exit_code == 0
    assert len(ground.charges) == 1
    assert not silent.losses


def test_one_by_one_is_one_at_a_time(tmp_path: Path) -> None:
    ground = Fake(3, {})
    outcome, _ = drive(tmp_path, ground, order="one-by-one")
    assert outcome.exit_code == 0
    assert ground.most_at_once == 1
    assert {charge.place.at_once for _, _, charge in ground.charges} == {1}
    assert {charge.place.at_once for _, _, charge in together_of(tmp_path / "x")} == {3}


def together_of(folder: Path) -> list[tuple[int, Site, Charge]]:
    ground = Fake(3, {})
    drive(folder, ground)
    assert ground.most_at_once == 3
    return ground.charges


def test_where_all_refuse_it_is_the_users_mistake_and_no_file_is_left(tmp_path: Path) -> None:
    no: list[FromAgent | Gone] = [Refused(error="unknown kernel 'x'")]
    with pytest.raises(GemmbenchError, match="unknown kernel 'x'"):
        drive(tmp_path, Fake(2, {0: [no], 1: [no]}))
    assert not [*tmp_path.glob("*.jsonl")]
    one: list[FromAgent | Gone] = [Refused(error="no GPU")]
    outcome, _ = drive(tmp_path, Fake(2, {0: [one]}))
    assert (outcome.exit_code, outcome.lost) == (1, {0: "no GPU"})


def test_shared_work_moves_to_another_device(tmp_path: Path) -> None:
    died: list[FromAgent | Gone] = [
        kept(begun(0, part=0)),
        kept(A),
        Gone(reason="node n0 died", returns=False),
    ]
    plan = (B.case,)
    rest: list[FromAgent | Gone] = [kept(begun(2, plan, 0)), kept(B), kept(footer([B])), ENDED]
    ground = Fake(2, {0: [died], 2: [rest]})
    outcome, _ = drive(tmp_path, ground, order="shared")
    assert outcome.exit_code == 0
    assert outcome.path is not None
    assert cases(outcome.path) == {0: ["a"], 1: ["a", "b"], 2: ["b"]}
    unit, site, charge = ground.charges[-1]
    assert (unit, site.place.node, charge.done, charge.request.part) == (2, "n1", (A.case,), (0, 2))
    assert "node n0 died" in read(member(outcome.path, 0)).warnings[-1]


def test_shared_work_that_no_device_is_left_for(tmp_path: Path) -> None:
    gone: list[FromAgent | Gone] = [Gone(reason="node died", returns=False)]
    begins: list[FromAgent | Gone] = [kept(begun(1, part=1)), *gone]
    outcome, _ = drive(tmp_path, Fake(2, {0: [gone], 1: [begins]}), order="shared")
    assert outcome.exit_code == 1
    assert set(outcome.lost) == {0, 1, 2, 3}


def test_a_file_is_taken_up_where_it_was_left(tmp_path: Path) -> None:
    gone: list[FromAgent | Gone] = [kept(begun(1)), kept(A), Gone(reason="x", returns=False)]
    outcome, _ = drive(tmp_path, Fake(3, {1: [gone], 2: [[Gone(reason="y", returns=False)]]}))
    assert outcome.path is not None
    assert set(outcome.lost) == {1, 2}
    rest: list[FromAgent | Gone] = [kept(B), kept(footer([A, B])), ENDED]
    again = Fake(3, {1: [rest]})
    resumed, _ = drive(tmp_path, again, resume=outcome.path)
    assert resumed.exit_code == 0
    assert [(unit, len(charge.before)) for unit, _, charge in again.charges] == [(1, 2), (2, 0)]
    assert cases(outcome.path) == {unit: ["a", "b"] for unit in range(3)}
    assert load(outcome.path)["unit"].tolist() == [0, 0, 1, 1, 2, 2]
    data = outcome.path.read_bytes()
    with pytest.raises(GemmbenchError, match="is complete: nothing is left to do"):
        drive(tmp_path, Fake(3, {}), resume=outcome.path)
    assert outcome.path.read_bytes() == data


def test_a_resume_that_all_refuse_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    gone: list[FromAgent | Gone] = [kept(begun(0)), kept(A), Gone(reason="x", returns=False)]
    outcome, _ = drive(tmp_path, Fake(1, {0: [gone]}))
    assert outcome.path is not None
    data = outcome.path.read_bytes()
    no: list[FromAgent | Gone] = [Refused(error="cannot resume run u0: its torch was 1, now is 2")]
    with pytest.raises(GemmbenchError, match="its torch was 1, now is 2"):
        drive(tmp_path, Fake(1, {0: [no]}), resume=outcome.path)
    assert outcome.path.read_bytes() == data


def test_a_resumed_run_counts_what_was_done_before(tmp_path: Path) -> None:
    wrong = record("b", status="wrong")
    bad: list[FromAgent | Gone] = [kept(begun(0)), kept(A, wrong), kept(footer([A])), ENDED]
    gone: list[FromAgent | Gone] = [Gone(reason="x", returns=False)]
    outcome, _ = drive(tmp_path, Fake(2, {0: [bad], 1: [gone]}))
    resumed, _ = drive(tmp_path, Fake(2, {}), resume=outcome.path)
    assert resumed.statuses == {"ok": 3, "wrong": 1}
    assert resumed.exit_code == 1
    assert not resumed.lost


def test_it_is_told_where_fewer_are_measured_at_once(tmp_path: Path) -> None:
    gone: list[FromAgent | Gone] = [Gone(reason="x", returns=False)]
    outcome, _ = drive(tmp_path, Fake(3, {1: [gone]}))
    _, silent = drive(tmp_path, Fake(3, {}), resume=outcome.path)
    assert [text.partition(":")[0] for text in silent.warnings] == [
        "1 of 3 devices are left to measure"
    ]


def test_a_device_that_is_not_there_any_more_is_told(tmp_path: Path) -> None:
    gone: list[FromAgent | Gone] = [Gone(reason="x", returns=False)]
    outcome, _ = drive(tmp_path, Fake(3, {1: [gone], 2: [gone]}))
    resumed, silent = drive(tmp_path, Fake(2, {}), resume=outcome.path)
    assert resumed.lost == {2: "n2 device 2 is not there now"}
    assert (2, "n2 device 2 is not there now", False) in silent.losses
    assert resumed.exit_code == 1


def test_shares_are_of_the_request_alone() -> None:
    """Whatever a device lacks or holds, each shape is in one part; and no part is a mistake."""
    request = Request(shapes=("64x64x64", "32x32x32", "16x16x16"), kernels=("torch",))
    known = [KernelInfo.of(kernel) for kernel in LADDER]
    parts = []
    for part in range(5):
        device = DEVICE if part % 2 else replace(DEVICE, features=("avx512_bf16",))
        asked = replace(request, part=(part, 5))
        found = wanted_cases(asked, (), device, known, repeats=1)
        parts.append({case.problem.m for _, case in found})
    assert parts == [{64}, {32}, {16}, set(), set()]


def test_shared_work_is_taken_up_with_the_same_software(tmp_path: Path) -> None:
    gone: list[FromAgent | Gone] = [
        kept(begun(0, part=0)),
        kept(A),
        Gone(reason="x", returns=False),
    ]
    outcome, _ = drive(tmp_path, Fake(1, {0: [gone]}), order="shared")
    rest: list[FromAgent | Gone] = [kept(begun(9, (B.case,), 0)), kept(B), kept(footer([B])), ENDED]
    ground = Fake(1, {2: [rest]})
    drive(tmp_path, ground, resume=outcome.path)
    ((_, _, charge),) = ground.charges
    assert charge.alike is not None
    assert bytes(charge.alike) == encode(begun(0, part=0)).rstrip()
    old = header(software={"torch": "1"})
    check_alike(old, header(software={"torch": "1"}, device=H100))
    with pytest.raises(GemmbenchError, match="its torch was 1, now is 2"):
        check_alike(old, header(software={"torch": "2"}))


def test_a_gpu_that_took_another_ones_number_is_not_it() -> None:
    old, new = (header(place=Place(index=3, pci_address=f"0000:{n}:00.0")) for n in (18, 19))
    with pytest.raises(GemmbenchError, match="its PCI address was 0000:18"):
        check_same(old, new)
    check_same(old, header(place=Place(index=3)))


@pytest.mark.slow
def test_a_run_with_a_budget_is_taken_up(tmp_path: Path) -> None:
    """Its worker takes another while to start each time; what it chose to measure stands."""
    shapes = ("--shape", "32x32x32", "--shape", "48x48x48", "--shape", "64x64x64")
    asked = ("--device", "cpu", "-k", "torch", "-p", "fp32", "--preset", "quick", *shapes)
    done = run(*asked, "--budget", "40s", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    path = the_file(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    records = [at for at, line in enumerate(lines) if line.startswith(b'{"type":"record"')]
    path.write_bytes(b"".join(lines[: records[-1]]))
    done = run("--resume", str(path))
    assert done.returncode == 0, done.stderr
    assert not read(path).warnings


# Places.


def test_cpus_by_name() -> None:
    assert cpus_of("cpu:0") == (0,)
    assert cpus_of("cpu:0-2,8") == (0, 1, 2, 8)
    assert cpus_of("cpu") is cpus_of("cuda:0") is cpus_of("cpu:") is cpus_of("cpu:x") is None
    assert spelt((8, 0, 1, 2)) == "0-2,8"
    with pytest.raises(GemmbenchError, match="3-1 is no range"):
        cpus_of("cpu:3-1")


def test_the_number_of_a_gpu_behind_masks() -> None:
    assert visible_index("cuda:1", "nvidia", {}) == 1
    assert visible_index("cuda:1", "nvidia", {"CUDA_VISIBLE_DEVICES": "4, 6"}) == 6
    assert visible_index("cuda:0", "nvidia", {"CUDA_VISIBLE_DEVICES": "GPU-aa"}) is None
    assert visible_index("cuda:2", "nvidia", {"CUDA_VISIBLE_DEVICES": "4,6"}) is None
    below = {"HIP_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "5,7"}
    assert visible_index("cuda:0", "amd", below) == 7
    assert visible_index("cuda:0", "nvidia", below) == 0
    both = {"HIP_VISIBLE_DEVICES": "3", "CUDA_VISIBLE_DEVICES": "1"}
    assert visible_index("cuda:0", "amd", both) == 3
    assert visible_index("cuda:0", "amd", {"CUDA_VISIBLE_DEVICES": "1"}) == 1


@pytest.mark.parametrize("called", ["python", "ray::Agent"])
def test_who_was_started_beside_it_is_no_neighbour(called: str) -> None:
    """Of an agent that is the driver's family; of a Ray actor's the family of all on its node."""
    asked = "from gemmbench.runner.family import family; print(family())"
    started = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {asked!r}])"
    command = ["bash", "-c", 'exec -a "$0" "$1" -c "$2"', called, sys.executable, started]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        said = parent.communicate(timeout=60)[0]
    assert int(said) == (os.getpid() if called.startswith("ray") else parent.pid)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight CPUs on two NUMA nodes, two threads a core; two GPUs at the first node, one at the
    other."""
    monkeypatch.setattr("gemmbench.devices.place.allowed_cpus", lambda: tuple(range(8)))
    for cpu in range(8):
        topology = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
        (topology.parent / f"node{cpu % 4 // 2}").mkdir()
    for address, cpus, numa in (
        ("0000:18:00.0", "0-1,4-5", 0),
        ("0000:2a:00.0", "0-1,4-5", 0),
        ("0000:3a:00.0", "2-3,6-7", 1),
    ):
        folder = tmp_path / "sys/bus/pci/devices" / address
        folder.mkdir(parents=True)
        (folder / "class").write_text("0x030200\n")
        (folder / "vendor").write_text("0x10de\n")
        (folder / "local_cpulist").write_text(f"{cpus}\n")
        (folder / "numa_node").write_text(f"{numa}\n")
    return tmp_path


def test_gpus_share_the_cores_of_their_numa_node(node: Path) -> None:
    assert near("0000:18:00.0", node) == (0, 4)
    assert near("0000:2a:00.0", node) == (1, 5)
    assert near("0000:3a:00.0", node) == (2, 3, 6, 7)
    assert near("0000:99:00.0", node) == near(None, node) == ()


def test_the_place_of_a_device(node: Path) -> None:
    gpu = replace(DEVICE, kind="gpu", torch_device="cuda:1")
    place = place_of(gpu, "0000:2a:00.0", bound=False, root=node)
    assert place == Place(index=1, pci_address="0000:2a:00.0", numa_node=0)
    assert place_of(DEVICE, None, bound=False, root=node) == Place()
    bound = place_of(DEVICE, None, bound=True, root=node)
    assert bound == Place(cores="0-7")  # of both NUMA nodes: of none


DEVICE = Device(
    kind="cpu",
    vendor="other",
    name="x",
    architecture="x",
    torch_device="cpu",
    slug="x",
    units=1,
    memory_bytes=1,
)


def test_what_to_ask_for_again() -> None:
    def fleet(*places: Place) -> Fleet:
        return Fleet(run_id="f", started="", version="1", places=places)

    assert devices_of(fleet(Place(cores="0"), Place(cores="2-3"))) == ("cpu:0", "cpu:2-3")
    assert devices_of(fleet(Place(index=0), Place(index=1))) == ("all",)
    assert LocalGround(("cpu:0", "cpu:1")).sites()[1].place == Place(cores="1")
