"""What a rank decides of itself and of what the others said: no launcher, and no other rank."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import synthetic
from click.testing import CliRunner
from parallel_runs import TINY, run_of, said

from gemmbench.cli import app
from gemmbench.devices.place import share
from gemmbench.devices.target import TelemetryTarget
from gemmbench.records.reader import read
from gemmbench.records.schema import Place
from gemmbench.runner.parallel import ranks as meeting
from gemmbench.runner.parallel.devices import _take as take_one
from gemmbench.runner.parallel.devices import each_has_its_own, gpu_address, own_cpus
from gemmbench.runner.parallel.guard import Guard, is_of_another
from gemmbench.runner.parallel.kept import Kept, open_file
from gemmbench.runner.parallel.launcher import launcher
from gemmbench.runner.parallel.plan import make_timing
from gemmbench.runner.parallel.possible import sets_of
from gemmbench.runner.parallel.ranks import Ranks
from gemmbench.runner.parallel.request import ParallelRequest
from gemmbench.runner.parallel.resume import of_run
from gemmbench.runner.parallel.turns import DeviceClock, Subject
from gemmbench.show.parallel import Quiet
from gemmbench.timing.gpu import AHEAD
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Launch
from gemmkernels.parallel.task import Task
from gemmkernels.problem import Problem

PATIENCE_S = 120


class Told(Ranks):
    """Rank 0 of two, of which the other one says what it is made to."""

    def __init__(self, other: Any) -> None:
        super().__init__(rank=0, ranks=2, guard=Guard(0, print))
        self._other = other

    def every(self, value: Any) -> list[Any]:
        return [value, self._other]


def test_two_ranks_of_one_gpu_are_refused_but_partitions_share_an_address() -> None:
    whole = TelemetryTarget(kind="gpu", vendor="amd", pci="0000:18:00.0")
    part = msgspec.structs.replace(whole, partition=True)
    each_has_its_own([(0, gpu_address(part)), (0, gpu_address(part))])
    each_has_its_own([(0, gpu_address(whole)), (1, gpu_address(whole))])
    with pytest.raises(GemmbenchError, match="ranks 0 and 2 have the same GPU"):
        each_has_its_own([(0, gpu_address(whole)), (0, None), (0, gpu_address(whole))])


@pytest.mark.parametrize(("seen", "local_rank", "taken"), [(4, 3, "cuda:3"), (1, 3, "cuda:0")])
def test_a_rank_takes_the_gpu_of_its_local_rank_or_the_only_one(
    monkeypatch: pytest.MonkeyPatch, seen: int, local_rank: int, taken: str
) -> None:
    import torch

    class TakenError(Exception):
        pass

    def detect(name: str) -> Device:
        raise TakenError(name)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    monkeypatch.setattr("gemmbench.devices.detect.detect", detect)
    ranks = Told(None)
    ranks.local_rank = local_rank
    with pytest.raises(TakenError, match=f"^{taken}$"):
        take_one(ranks, "gpu", ())
    ranks.local_rank = 5
    if seen > 1:
        with pytest.raises(GemmbenchError, match="LOCAL_RANK is 5, and torch sees 4 GPUs"):
            take_one(ranks, "gpu", ())


def test_a_rank_is_what_its_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rank of one, that is the fourth of its node for its launcher."""
    import torch.distributed as dist

    known = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "3", "MASTER_ADDR": "localhost"}
    for name, value in {**known, "MASTER_PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)
    ranks = meeting.meet(launcher(), Guard(0, print), timeout_s=30)
    try:
        assert (ranks.local_rank, ranks.node, ranks.on_node) == (3, 0, 1)
        assert ranks.guard.peers == []
    finally:
        dist.destroy_process_group()


def smt(root: Path, *cores: Sequence[int]) -> Path:
    """A machine with those threads of each core."""
    for core in cores:
        for cpu in core:
            path = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
            path.mkdir(parents=True)
            (path / "thread_siblings_list").write_text(",".join(map(str, core)))
    return root


def test_cores_are_shared_without_overlap_where_there_are_enough(tmp_path: Path) -> None:
    shares = [share(range(10), rank, 3, tmp_path) for rank in range(3)]
    assert sum(map(len, shares)) == len({cpu for one in shares for cpu in one}) == 9
    assert [share((4, 5), rank, 4, tmp_path) for rank in range(4)] == [(4,), (5,), (4,), (5,)]


def test_threads_of_a_core_stay_on_one_rank_while_there_are_cores_enough(tmp_path: Path) -> None:
    machine = smt(tmp_path, (0, 4), (1, 5), (2, 6), (3, 7))
    places = [(0, tuple(range(8)))] * 2
    assert own_cpus(places, 0, machine) == (0, 1, 4, 5)
    assert own_cpus(places, 1, machine) == (2, 3, 6, 7)
    crowd = [(0, tuple(range(8)))] * 8
    assert [own_cpus(crowd, rank, machine) for rank in range(8)] == [(cpu,) for cpu in range(8)]


def test_ranks_that_the_launcher_has_bound_keep_all_of_their_cpus(tmp_path: Path) -> None:
    places = [(0, (0, 1)), (0, (2, 3)), (1, (0, 1)), (1, (0, 1))]
    found = [own_cpus(places, rank, tmp_path) for rank in range(4)]
    assert found == [(0, 1), (2, 3), (0,), (1,)]


def test_all_ranks_rotate_through_as_many_sets_as_the_one_with_the_least() -> None:
    layer = Task(
        problem=Problem(m=16, n=32, k=64, precision="fp32", layout="nt"), split="row", ranks=2
    )
    message = Task(problem=Problem(m=2, n=64, k=1, precision="fp32"), split="", ranks=2)
    how = make_timing(ParallelRequest(), synthetic.CPU)
    ranks = Told([3, 1])
    ranks.device = synthetic.CPU
    assert sets_of([layer, message], ranks, how) == {layer: 3, message: 1}
    ranks = Told([10**9, 1])
    ranks.device = synthetic.CPU
    assert 3 < sets_of([layer, message], ranks, how)[layer] < 10**9


def test_a_rank_with_another_version_is_named() -> None:
    with pytest.raises(GemmbenchError, match=r"^rank 1 has gemmbench 0\.0\.1, rank 0 has 1\.2"):
        meeting._alike(Told("0.0.1"), "gemmbench", "1.2")


def test_a_node_is_known_by_its_kernel_and_not_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = meeting._machine()
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    assert meeting._machine() == before != "localhost"
    assert meeting._processes().startswith("pid:[")


class Store:
    """As much of torch's store as the guard uses."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def append(self, key: str, text: str) -> None:
        self.kept[key] = self.kept.get(key, b"") + text.encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self.kept for key in keys)

    def get(self, key: str) -> bytes:
        return self.kept[key]


def test_the_last_word_of_any_rank_counts_however_many_there_are() -> None:
    store = Store()
    guards = {rank: Guard(rank, print) for rank in (0, 1, 2, 500)}
    for guard in guards.values():
        guard.store = store
    leader = guards[0]
    assert leader._culprit() == ""
    guards[1].note("fault out of memory: planted")
    guards[1].note("")  # it went on
    guards[2].note("fault Connection closed by peer")
    assert leader._culprit().startswith("rank 2 has lost another rank")
    guards[500].note("fault out of memory:\n16 GiB")
    assert leader._culprit() == "rank 500: out of memory:\n16 GiB"


def test_what_another_rank_s_end_looks_like() -> None:
    assert is_of_another("RuntimeError: [gloo] Connection closed by peer [127.0.0.1]:4")
    assert not is_of_another("out of memory: CUDA tried to allocate 2 GiB")


def test_samples_of_a_gpu_stand_between_its_own_events_behind_a_collective(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch.distributed as dist

    log: list[str] = []
    now = itertools.count(1)

    class Event:
        """Of a stream on which each call takes a millisecond more than the last one."""

        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            self.at_ms = -1
            self.waited = False

        def record(self) -> None:
            self.at_ms = next(now)
            log.append("event")

        def synchronize(self) -> None:
            self.waited = True

        def elapsed_time(self, stop: "Event") -> float:
            assert stop.waited, "a time is read after its event"
            return float(stop.at_ms - self.at_ms)

    class Cuda:
        def __init__(self) -> None:
            self.Event = Event

    def all_reduce(tensor: Any, *, group: object) -> None:
        assert tensor.numel() == 1
        assert group is ranks.group
        log.append("barrier")

    def launch() -> None:
        next(now)
        log.append("launch")

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    ranks = Told(None)
    ranks.device, ranks.group = synthetic.CPU, object()  # type: ignore[assignment]
    clock = DeviceClock(ranks, cuda=Cuda())
    count = AHEAD + 7
    found = clock.samples(Subject(launches=[Launch(run=launch)], per_sample=3), count)
    assert log == ["barrier", "event", "launch", "launch", "launch", "event"] * count
    assert found.taken_ns == (4e6,) * count


def test_a_run_goes_on_with_as_many_ranks_on_a_node_as_it_had(tmp_path: Path) -> None:
    path = run_of(tmp_path / "a.jsonl")
    whole = read(path)
    kept = Kept(guard=Guard(0, print), listener=Quiet())
    spread = msgspec.structs.replace(whole.header, place=Place(at_once=4))
    with pytest.raises(GemmbenchError, match="had 8 ranks on a node, and here are 4"):
        open_file(kept, spread, ParallelRequest(), whole, 8)


def with_suites(path: Path, *suites: str) -> Path:
    whole = read(run_of(path))
    request = {"ranks": 8, "suites": list(suites)}
    header = msgspec.structs.replace(whole.header, request=request)
    return synthetic.write(path, [header, *whole.records])


def test_a_suite_of_one_s_own_is_given_again_and_never_read_from_the_run(tmp_path: Path) -> None:
    def again(path: Path, *given: str) -> tuple[str, ...]:
        return of_run(read(path), ParallelRequest(suites=given)).suites

    path = with_suites(tmp_path / "a.jsonl", "collectives", "mysuite", "other.toml")
    given = ("./mysuite", "/somewhere/other.toml")
    assert again(path, *given) == ("collectives", *given)
    with pytest.raises(GemmbenchError, match=r"used the file mysuite: give it again"):
        again(path, "x/other.toml")
    with pytest.raises(GemmbenchError, match=r"third\.toml was not in that run"):
        again(path, *given, "third.toml")
    with pytest.raises(GemmbenchError, match="give it again"):
        again(with_suites(tmp_path / "b.jsonl", "/etc/passwd"))


def test_a_run_of_unsupported_cases_alone_says_why(tmp_path: Path) -> None:
    whole = read(run_of(tmp_path / "a.jsonl"))
    records = [
        msgspec.structs.replace(
            record, status="unsupported", reason="M = 16 is below 18", turns=(), check=None
        )
        for record in whole.records[-2:]
    ]
    path = synthetic.write(tmp_path / "a.jsonl", [whole.header, *records])
    found = CliRunner().invoke(app, ["show", str(path)])
    assert found.exit_code == 0
    assert found.stdout.count("unsupported: M = 16 is below 18") == 2


def alone(folder: Path, *, rank: int, port: int, timeout: str) -> "subprocess.Popen[str]":
    """One of two ranks, as srun starts it."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "gemmbench", "parallel", "--device", "cpu"),
            *("--suite", "tiny.toml", "--timeout", timeout),
        ],
        cwd=folder,
        env={
            **environment,
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(port),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_a_rank_that_waits_alone_ends_with_a_line(tmp_path: Path) -> None:
    """Rank 1 by its timeout; rank 0 by SIGTERM, as scancel sends it, which no thread of numpy's or
    torch's may take."""
    (tmp_path / "tiny.toml").write_text(TINY)
    lost = alone(tmp_path, rank=1, port=free_port(), timeout="1")
    port = free_port()
    leader = alone(tmp_path, rank=0, port=port, timeout="100")
    try:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and leader.poll() is None:
            with socket.socket() as knock:
                if knock.connect_ex(("localhost", port)) == 0:
                    break
            time.sleep(0.2)
        leader.send_signal(signal.SIGTERM)
        _, err = leader.communicate(timeout=PATIENCE_S)
        assert leader.returncode == 130, err
        assert said(err) == ["gemmbench: stopped by the user"]
        _, err = lost.communicate(timeout=PATIENCE_S)
        assert lost.returncode == 2, err
        (line,) = said(err)
        assert line.startswith("gemmbench: not all 2 ranks met at localhost:")
        assert "GLOO_SOCKET_IFNAME" in line
    finally:
        for process in (lost, leader):
            process.kill()
            process.wait()
