"""A fleet on a real Ray cluster: several nodes, on this machine, with CPU workers.

Ray runs in other processes only, so that its warnings are its own.
"""

import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from ray_cluster import RayCluster
from ray_kill_loop import FleetRun, expect

from gemmbench._version import __version__
from gemmbench.records.fleet import Index, member
from gemmbench.records.frame import load
from gemmbench.records.reader import fleet_of, read
from gemmbench.runner.fleet import ray_ground
from gemmbench.runner.fleet.ground import Site
from gemmbench.runner.fleet.messages import Charge, FromAgent, Gone, Refused
from gemmbench.runner.fleet.ray_ground import RayGround
from gemmbench.runner.request import Request
from gemmbench.runner.resume import finished
from gemmkernels.errors import GemmbenchError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]
ONE = ("--shape", "64x64x64", "--precision", "fp32", "--kernel", "torch", "--preset", "quick")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """Two nodes with CPUs for all tests; what a test adds, it takes away."""
    with RayCluster() as cluster:
        cluster.add("n1", cpus=2, labels={"rack": "r1"})
        cluster.add("n2", cpus=2, labels={"rack": "r2"})
        yield cluster


def fleet_run(cluster: RayCluster, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*(sys.executable, "-m", "gemmbench", "fleet", "run"), *options],
        capture_output=True,
        text=True,
        env=cluster.environment,
        timeout=300,
    )


def until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 120
    while not holds():
        expect(time.monotonic() < deadline_s, f"not in time: {what}")
        time.sleep(0.02)


def index_of(run: FleetRun) -> Index:
    path = run.path()
    assert path is not None
    index = fleet_of(path)
    assert index is not None
    return index


def records_of(run: FleetRun) -> int:
    path = run.path()
    return path.read_bytes().count(b'"line":{"type":"record"') if path else 0


# Measuring.


def test_a_full_disk_ends_a_fleet_that_goes_on_later(cluster: RayCluster, tmp_path: Path) -> None:
    """And, once it is whole, what such a run holds."""
    run = FleetRun(cluster, tmp_path / "run")
    run.start()
    until(lambda: records_of(run) > 0, "a first record")
    size = len((run.path() or tmp_path).read_bytes())
    psutil.Process(run.process.pid).rlimit(
        psutil.RLIMIT_FSIZE, (size + 400, resource.RLIM_INFINITY)
    )
    assert run.wait() == 2
    (said,) = (line for line in run.said().splitlines() if "cannot write" in line)
    assert f"cannot write to {run.path()}: File too large" in said
    assert f"go on with: gemmbench fleet run --resume {run.path()}" in said
    assert "Traceback" not in run.said()
    assert 0 < run.check() < 6
    run.start()
    assert run.wait() == 0, run.said()
    assert run.check() == 6
    assert run.complete
    assert f"next: gemmbench fleet report {run.path()}" in run.said()
    noise = [line for line in run.said().lower().splitlines() if "raylet" in line or "ray." in line]
    assert not noise
    path = run.path()
    assert path is not None
    table = load(path)
    assert len(table) == 6
    assert set(zip(table["node"], table["rack"], strict=True)) == {("n1", "r1"), ("n2", "r2")}
    assert set(table["at_once"]) == {2}
    headers = [read(member(path, unit)).header for unit in range(2)]
    assert not [header for header in headers if "OMP_NUM_THREADS" in header.environment]
    assert all("torch" in header.software for header in headers)


def test_what_a_lost_node_shared_is_measured_elsewhere(cluster: RayCluster, tmp_path: Path) -> None:
    run = FleetRun(cluster, tmp_path / "run", "--share", "--m", "16:256:16", "--n", "m", "--k", "m")
    run.start()

    def n2_is_at_work() -> bool:
        return bool(run.path()) and len(index_of(run).spans.get(1, [])) > 3

    until(n2_is_at_work, "records of n2")
    cluster.kill("n2")
    try:
        assert run.wait() == 0, run.said()
        index = index_of(run)
        assert index.fleet.places[1].node == "n2"
        done = {
            unit: {one.case for one in read(member(index_path(run), unit)).records if finished(one)}
            for unit in index.spans
        }
        assert set(done) == {0, 1, 2}
        assert done[1]
        assert done[2]
        cases = [case for some in done.values() for case in some]
        assert len(cases) == len(set(cases)) == 16
        assert "n2" in index.lost[1].reason
        assert (read(member(index_path(run), 2)).header.place or index.place(1)).node == "n1"
    finally:
        cluster.add("n2", cpus=2, labels={"rack": "r2"})
        cluster.wait("n1", "n2")


def index_path(run: FleetRun) -> Path:
    path = run.path()
    assert path is not None
    return path


def test_ctrl_c_and_the_drivers_death_end_all_agents(cluster: RayCluster, tmp_path: Path) -> None:
    run = FleetRun(cluster, tmp_path / "run", "--m", "16:400:16", "--n", "m", "--k", "m")
    run.start()
    until(lambda: records_of(run) > 0, "a first record")
    assert run.stop() == 130  # and each has told of what it leaves
    assert run.check() > 0
    path = index_path(run)
    assert b'"status":"interrupted"' in path.read_bytes()
    told = records_of(run)
    run.start()
    until(lambda: records_of(run) > told, "a record more")
    run.process.kill()
    assert run.wait() == -signal.SIGKILL  # and nothing is left on any node
    assert run.check() > 0


# Devices that Ray gives, and does not.


def heard(ground: RayGround, units: Sequence[int]) -> dict[int, FromAgent | Gone]:
    """The last word of each unit's agent."""
    found: dict[int, FromAgent | Gone] = {}

    def all_ended() -> bool:
        found.update(ground.receive(0.5))
        last = [unit for unit, message in found.items() if isinstance(message, Gone | Refused)]
        return set(units) <= set(last)

    until(all_ended, "the last words")
    return found


def charge(site: Site) -> Charge:
    request = Request(device=site.device, shapes=("64x64x64",), kernels=("torch",))
    return Charge(version=__version__, request=request, place=site.place)


def test_gpus_that_another_job_holds_are_lost_and_the_others_taken(cluster: RayCluster) -> None:
    cluster.add("g1", gpus=2, labels={"rack": "r9"})
    cluster.hold("g1", 1)
    ground = RayGround(cluster.address, wait_s=2.0)
    try:
        sites = ground.sites()
        assert [(one.place.node, one.place.rack, one.device) for one in sites] == [
            ("g1", "r9", "cuda:0"),
        ] * 2
        assert {one.place.index for one in sites} == {0, 1}
        for unit, site in enumerate(sites):
            ground.start(unit, site, charge(site))
        ended = heard(ground, (0, 1))
        (gone,) = [one for one in ended.values() if isinstance(one, Gone)]
        assert gone == Gone(
            reason="other Ray jobs hold it: it was not free within 2 s", returns=False
        )
        # The other has begun, where torch has no GPU.
        assert [one for one in ended.values() if isinstance(one, Refused)]
    finally:
        ground.close()
        cluster.kill("g1")
        cluster.wait("n1", "n2")


# What is wrong with a cluster.


def test_a_cluster_without_gpus_is_one_line(cluster: RayCluster, tmp_path: Path) -> None:
    found = fleet_run(cluster, *ONE, "--out", str(tmp_path))  # auto: it is the one of this machine
    assert found.returncode == 2
    assert found.stdout == ""
    (said,) = found.stderr.splitlines()
    assert said == (
        f"gemmbench: the cluster at {cluster.address} has no GPU: it has 3 nodes with 4 CPUs; "
        "start Ray where GPUs are, or measure its CPUs with --device cpu"
    )
    assert not list(tmp_path.iterdir())


def test_other_gemmbenches_are_named_with_their_nodes(cluster: RayCluster, tmp_path: Path) -> None:
    for name, text in (("old", "__version__ = '0.0.1'"), ("none", "raise ImportError")):
        folder = tmp_path / name / "gemmbench"
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "_version.py").write_text(text)
        cluster.add(name, cpus=1, environment={"PYTHONPATH": str(folder.parent)})
    try:
        found = fleet_run(cluster, *ONE, "--device", "cpu", "--address", cluster.address)
        assert found.returncode == 2
        (said,) = found.stderr.splitlines()
        assert f"must have gemmbench {__version__}, as this machine" in said
        assert "gemmbench 0.0.1 on old; no gemmbench on none" in said
    finally:
        cluster.kill("old")
        cluster.kill("none")
        cluster.wait("n1", "n2")


def test_another_ray_or_python_is_one_line(cluster: RayCluster) -> None:
    own = cluster.get("CLUSTER_METADATA")
    cluster.put("CLUSTER_METADATA", own.replace('"python_version": "3', '"python_version": "2'))
    try:
        with pytest.raises(GemmbenchError, match=r"runs Ray \S+ on Python 2\.\S+ and here are Ray"):
            sites_of(cluster.address)
    finally:
        cluster.put("CLUSTER_METADATA", own)


def test_what_listens_and_is_no_cluster_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_ground, "CONNECT_S", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(GemmbenchError, match="did not answer in time: is it one, and this"):
            sites_of(f"127.0.0.1:{port}")


def sites_of(address: str) -> Sequence[Site]:
    ground = RayGround(address, kind="cpu")
    try:
        return ground.sites()
    finally:
        ground.close()
