"""A fleet on Ray, where no cluster is needed: addresses, nodes, versions, what an agent says."""

import os
import queue
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from gemmbench._version import __version__
from gemmbench.cli import app
from gemmbench.records.journal import encode
from gemmbench.records.schema import Fleet, Place
from gemmbench.runner.fleet import ray_agent, ray_bridge, ray_devices, ray_ground, ray_taking
from gemmbench.runner.fleet.messages import Charge, Ended, FromAgent, Warned
from gemmbench.runner.fleet.ray_agent import MOST_BYTES, RayAgent
from gemmbench.runner.fleet.ray_bridge import FROZEN_S, Bridge
from gemmbench.runner.fleet.ray_cluster import (
    Node,
    Software,
    check_address,
    check_kind,
    check_software,
    how_it_died,
    nodes,
    unreachable,
)
from gemmbench.runner.fleet.ray_devices import RayDevice, devices_of
from gemmbench.runner.fleet.ray_ground import RayGround
from gemmbench.runner.fleet.ray_messages import (
    LAST,
    Connect,
    Fell,
    FromBridge,
    Note,
    Said,
    Start,
)
from gemmbench.runner.fleet.ray_taking import Events
from gemmbench.runner.process import WorkerDiedError
from gemmbench.runner.request import Request
from gemmkernels.errors import GemmbenchError

# Where the cluster is.


@pytest.mark.parametrize(
    "address", ["", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "http://a:1", "local", "a b:1"]
)
def test_what_is_no_address_is_said_so(address: str) -> None:
    with pytest.raises(GemmbenchError, match="none of Ray's: say auto, HOST:6379"):
        check_address(address)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_one_line(scheme: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(GemmbenchError, match=r"nothing answers at .*: Connection refused; "):
        check_address(f"{scheme}127.0.0.1:9")
    assert time.monotonic() - began_s < 10  # Ray itself would try for minutes


def test_auto_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert check_address("auto") == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(GemmbenchError, match=r"127\.0\.0\.1:9"):
        check_address("auto")


def test_where_ray_is_not_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_ground, "find_spec", lambda name: None)
    with pytest.raises(GemmbenchError, match=r"pip install 'gemmbench\[cluster\]'"):
        RayGround().sites()


VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.9.3
    Python: 3.10.2
This process on node 10.0.0.2 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (VERSIONS, "runs Ray 2.9.3 on Python 3.10.2, and here are Ray "),
        ("Could not find any running Ray instance. Please", "ray start --head"),
        ("Ray Client requires pip package `ray[client]`. If", "pip install 'ray[client]'"),
        ("some\nother\n  thing", "cannot connect to the Ray cluster at h:1: some other thing"),
    ],
)
def test_what_ray_says_becomes_one_line(said: str, told: str) -> None:
    if "Version" in said:
        pytest.importorskip("ray")
    text = unreachable("h:1", RuntimeError(said))
    assert told in text
    assert "\n" not in text


# Its nodes.


def listed(name: str, address: str = "10.0.0.1", **more: Any) -> dict[str, Any]:
    """A node as `ray.nodes()` tells it."""
    return {
        "NodeID": f"id-{name}-{more.get('NodeManagerPort', 1)}",
        "Alive": True,
        "NodeManagerAddress": address,
        "NodeManagerHostname": "host",
        "NodeManagerPort": 1,
        "NodeName": name,
        "Resources": {"CPU": 8.0},
        "Labels": {},
        **more,
    }


def test_nodes_go_by_rays_name_or_their_host_in_natural_order() -> None:
    found = nodes(
        [
            listed("n10"),
            listed("n9", Labels={"rack": "r1"}, Resources={"CPU": 4.0, "GPU": 2.0}),
            listed("10.0.0.7", "10.0.0.7", NodeManagerHostname="n1"),
            listed("n2", Alive=False),
        ]
    )
    assert [node.name for node in found] == ["n1", "n9", "n10"]
    assert (found[1].rack, found[1].gpus, found[1].cpus) == ("r1", 2, 4)


def test_nodes_of_one_name_are_told_apart() -> None:
    twins = [listed("n1", NodeManagerPort=port) for port in (7001, 7002)]
    assert [node.name for node in nodes(twins)] == ["n1:7001", "n1:7002"]


def node(name: str, gpus: int = 0, cpus: int = 4) -> Node:
    return Node(id=name, name=name, rack="", gpus=gpus, cpus=cpus)


def test_a_cluster_without_gpus_says_what_it_has() -> None:
    with pytest.raises(GemmbenchError, match=r"no GPU: it has 2 nodes with 8 CPUs;.*--device cpu"):
        check_kind([node("a"), node("b")], "gpu", "h:1")
    assert check_kind([node("a"), node("b", gpus=1)], "gpu", "h:1") == [node("b", gpus=1)]
    with pytest.raises(GemmbenchError, match="offer Ray no CPU"):
        check_kind([node("a", cpus=0)], "cpu", "h:1")


def has(gemmbench: str = __version__, torch: str = "2.13", cpus: int = 4) -> Software:
    return Software(gemmbench=gemmbench, torch=torch, cpus=tuple(range(cpus)))


def test_another_gemmbench_is_told_with_its_nodes() -> None:
    names = [f"n{at}" for at in range(9)]
    found = [*map(node, names), node("old"), node("none"), node("right")]
    other = {**{name: has("0.0.1") for name in names}, "old": has("0.0.2"), "none": has("")}
    with pytest.raises(GemmbenchError) as seen:
        check_software(found, {**other, "right": has()}, __version__)
    told = str(seen.value)
    assert f"must have gemmbench {__version__}" in told
    assert "gemmbench 0.0.1 on n0, n1, n2, n3 and 5 more" in told
    assert "gemmbench 0.0.2 on old; no gemmbench on none" in told
    assert "right" not in told


def test_another_torch_and_a_silent_node_are_notes() -> None:
    found = [node("a"), node("b"), node("c")]
    assert check_software(found, {"a": has(), "b": has(), "c": has()}, __version__) == []
    notes = check_software(found, {"a": has(), "b": has(torch="2.9")}, __version__)
    assert notes == [
        "no answer from c: nothing is measured there",
        "the nodes have different versions of torch: 2.13 on a; 2.9 on b",
    ]


def test_devices_are_gpus_or_workers_of_cpus() -> None:
    found = [node("a", gpus=2), node("b", gpus=1, cpus=5)]
    software = {"a": has(cpus=4), "b": has(cpus=5)}
    gpus = devices_of(found, software, kind="gpu", threads=None)
    assert [(one.node, one.index, one.spot.device) for one in gpus] == [
        ("a", 0, "cuda:0"),
        ("a", 1, "cuda:0"),
        ("b", 0, "cuda:0"),
    ]
    whole = devices_of(found, software, kind="cpu", threads=None)
    assert [(one.bundle, one.spot.device) for one in whole] == [
        ({"CPU": 4}, "cpu"),
        ({"CPU": 5}, "cpu"),
    ]
    parts = devices_of(found, software, kind="cpu", threads=2)
    assert [one.spot.device for one in parts] == ["cpu:0-1", "cpu:2-3"] * 2
    few = devices_of(found, {"a": has(cpus=2), "b": has(cpus=1)}, kind="cpu", threads=2)
    assert [one.spot.device for one in few] == ["cpu:0-1"]


def test_how_an_actor_died_is_told_in_plain_words() -> None:
    raised = (
        "The actor died because of an error raised in its creation task, x\n  File\nKeyError: 'a'"
    )
    assert how_it_died(raised) == ("could not start: KeyError: 'a'", False)
    assert how_it_died("The actor died unexpectedly") == ("died", True)
    assert how_it_died("OutOfMemoryError: Task was killed") == ("ran out of memory", True)


# An agent at its actor.


class Talker:
    """Stands for an agent's process: it says so much, and then ends."""

    said = 0
    alive = True

    def __init__(self) -> None:
        type(self).said = 0

    def charge(self, charge: Charge) -> None:
        assert charge.request.shapes == ("1x1x1",)

    def hear(self) -> FromAgent:
        if self.said == 100:
            if not self.alive:
                raise WorkerDiedError("killed by SIGKILL")
            return Ended(exit_code=0, interrupted=False, timed_s=0, setup_s=0)
        type(self).said += 1
        return Warned(text="x" * 10_000)

    def close(self) -> None: ...


CHARGE = msgspec.json.encode(
    Charge(version="1", request=Request(shapes=("1x1x1",)), place=Place(node="n1"))
)


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> RayAgent:
    monkeypatch.setattr(ray_agent, "AgentProcess", Talker)
    monkeypatch.setattr(Talker, "alive", True)
    actor = RayAgent()
    actor.start(CHARGE)
    return actor


def test_an_agent_that_nobody_hears_is_held_back_and_loses_nothing(actor: RayAgent) -> None:
    most = MOST_BYTES // 10_000 + 2
    deadline_s = time.monotonic() + 20
    while Talker.said < most - 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    time.sleep(0.1)
    assert most - 2 <= Talker.said <= most
    batches: list[tuple[bytes, ...]] = []
    while not batches or not isinstance(LAST.decode(batches[-1][-1]), Ended):
        batches.append(actor.hear(len(batches)))
    assert sum(map(len, batches)) == 101
    assert len(batches) > 10


def test_an_answer_that_was_lost_on_its_way_is_given_again(actor: RayAgent) -> None:
    first = actor.hear(0)
    assert actor.hear(0) == first
    second = actor.hear(1)
    assert actor.hear(1) == second
    heard = len(first) + len(second)
    number = 2
    while heard < 101:
        heard += len(actor.hear(number))
        number += 1
    assert heard == 101


def test_an_answer_that_is_asked_for_again_while_it_is_waited_for_is_not_lost() -> None:
    actor = RayAgent()
    with ThreadPoolExecutor(2) as callers:
        lost, asked = callers.submit(actor.hear, 0), callers.submit(actor.hear, 0)
        while len(actor._changed._waiters) < 2:  # type: ignore[attr-defined]
            time.sleep(0.001)
        for text in ("first", "second"):
            actor._put(Warned(text=text))
            time.sleep(0.05)
        assert lost.result(5) == asked.result(5)
    (line,) = asked.result()
    assert LAST.decode(line) == Warned(text="first")
    assert LAST.decode(*actor.hear(1)) == Warned(text="second")


def test_an_actor_whose_agent_is_silent_answers_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_agent, "HEAR_S", 0.01)
    assert RayAgent().hear(0) == ()


def test_an_agent_that_is_stopped_before_it_has_begun_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_agent, "AgentProcess", Talker)
    monkeypatch.setattr(Talker, "said", 0)
    actor = RayAgent()
    actor.interrupt()
    actor.start(CHARGE)
    assert LAST.decode(*actor.hear(0)) == Fell(reason="stopped by the user", returns=False)
    assert Talker.said == 0


def test_an_agent_that_dies_or_cannot_begin_says_so(
    actor: RayAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Talker, "alive", False)
    number = 0
    while not isinstance(last := LAST.decode(actor.hear(number)[-1]), Fell):
        number += 1
    assert (last.reason, last.returns) == ("killed by SIGKILL", True)
    actor.start(b"{}")
    (line,) = actor.hear(number + 1)
    told = LAST.decode(line)
    assert isinstance(told, Fell)
    assert "missing required field" in told.reason
    assert not told.returns


# A node that has come back, with its GPUs dealt out in another order.


class Call:
    """An actor's method, whose answers are as given."""

    def __init__(self, answers: "queue.SimpleQueue[Future[Any]]") -> None:
        self.answers = answers
        self.told: list[object] = []

    def remote(self, *arguments: object) -> "Call":
        self.told += arguments
        return self

    def future(self) -> "Future[Any]":
        made: Future[Any] = Future()
        self.answers.put(made)
        return made


class Actor:
    def __init__(self) -> None:
        never: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.start, self.hear, self.where = Call(never), Call(never), Call(never)


def answered(*ids: str) -> "Future[tuple[str, ...]]":
    future: Future[tuple[str, ...]] = Future()
    future.set_result(ids)
    return future


def said_by(read: int) -> list[FromBridge]:
    lines = os.read(read, 1 << 16).splitlines()
    return [msgspec.json.decode(line, type=FromBridge) for line in lines]


def test_units_get_the_gpus_that_they_had(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    bridge = Bridge(write)
    devices = tuple(
        RayDevice(
            node="n1",
            node_id="new",
            rack="",
            bundle={"GPU": 1},
            index=at,
            actor=Actor(),
            unit=10 + at,
            charge=b"unit %d" % at,
        )
        for at in range(3)
    )
    bridge._devices = devices
    actors = [one.actor for one in devices]
    bridge._is_there(devices[0], answered("1"))  # 0's actor holds GPU 1: it is 1's now
    assert devices[1].actor is actors[0]
    assert devices[0].actor is actors[1]
    assert devices[1].ready
    assert not devices[0].ready
    assert actors[0].start.told == [b"unit 1"]
    bridge._is_there(devices[0], answered("0"))
    assert actors[1].start.told == [b"unit 0"]
    bridge._is_there(devices[2], answered("7"))  # one that the node did not have
    (said,) = said_by(read)
    assert isinstance(said, Said)
    assert said.unit == 12
    assert b"Ray gave GPU 7 of n1 in its place" in bytes(said.message)
    assert devices[2].unit is None
    os.close(read)
    os.close(write)


def test_an_actor_that_owes_an_answer_for_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    read, write = os.pipe()
    bridge = Bridge(write)
    ended: list[object] = []
    monkeypatch.setattr(ray, "kill", ended.append)
    monkeypatch.setattr(ray_bridge, "TICK_S", 0.001)
    devices = tuple(
        RayDevice(node="n1", node_id="n1", rack="", bundle={}, actor=Actor(), unit=at, ready=True)
        for at in range(2)
    )
    bridge._devices = devices
    for one in devices:
        bridge._launch(one)
    frozen = devices[1].actor
    devices[1].asked_s -= FROZEN_S + 1
    bridge._next()
    (said,) = said_by(read)
    assert isinstance(said, Said)
    assert LAST.decode(said.message) == Fell(reason="no sign of life for 120 s", returns=True)
    assert (said.unit, ended) == (1, [frozen])
    assert devices[1].asked_s == 0  # the next one at it owes nothing yet
    assert (devices[0].unit, devices[1].unit) == (0, None)
    nothing: Future[tuple[bytes, ...]] = Future()
    nothing.set_result(())
    devices[0].asked_s = 0.0
    bridge._heard(devices[0], nothing)  # it is silent, and alive: it is asked again
    assert devices[0].asked_s > 0
    assert devices[0].heard == 0
    os.close(read)
    os.close(write)


def test_a_unit_whose_node_is_lost_is_told_how_long_it_waits() -> None:
    read, write = os.pipe()
    bridge = Bridge(write)
    bridge._wants = Connect(
        version="1", address="", kind="cpu", threads=None, wait_s=1.0, comes_back_s=60.0
    )
    bridge._devices = (RayDevice(node="n1", node_id="", rack="", bundle={}),)
    bridge._start(Start(unit=7, device=0, charge=msgspec.Raw(b"{}")))
    (said,) = said_by(read)
    assert isinstance(said, Said)
    assert LAST.decode(said.message) == Warned(text="waiting up to 60 s for its node to be back")
    os.close(read)
    os.close(write)


def test_of_many_devices_each_tells_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for thousands takes longer than the driver waits for a word."""
    answers: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    monkeypatch.setattr(RayDevice, "take", lambda one: Call(answers))
    monkeypatch.setattr(ray_taking, "TICK_S", 0.0)
    devices = devices_of([node("a", gpus=50)], {}, kind="gpu", threads=None)
    events: Events = queue.SimpleQueue()
    sent: list[FromBridge] = []
    taking = ray_taking._Taking(devices, events, sent.append, 1.0)
    monkeypatch.setattr(ray_taking._Taking, "_is_there", lambda *_: None)
    for one in devices:
        one.ready = True
    taking.carry_out()
    assert sent == [Note(text="")] * 50


def test_ray_is_sent_one_class_for_all_devices() -> None:
    ray = pytest.importorskip("ray")
    made = ray_devices._actor_class()
    assert isinstance(made, ray.actor.ActorClass)
    assert ray_devices._actor_class() is made


# The command.


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--device", "cuda:0"), "'cuda:0' is not one of 'gpu', 'cpu'"),
        (("--address", "nowhere"), "address 'nowhere' is none of Ray's"),
        (("--wait", "long"), "--wait"),
        (("--resume", "missing.jsonl"), "missing.jsonl"),
        (("--resume", "x.jsonl", "--share"), "leave out --share"),
        (("--resume", "x.jsonl", "--device", "cpu"), "leave out --device"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    given: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["fleet", "run", "--out", str(tmp_path), *given])
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output


def test_the_users_files_go_by_their_whole_paths() -> None:
    request = ray_ground._absolute(
        Request(
            kernels=("torch", "mine.py"),
            suites=("quick", "a/b.toml"),
            shape_files=("s.csv",),
            spec="d.toml",
        )
    )
    here = Path.cwd()
    assert request.kernels == ("torch", str(here / "mine.py"))
    assert request.suites == ("quick", str(here / "a/b.toml"))
    assert request.shape_files == (str(here / "s.csv"),)
    assert request.spec == str(here / "d.toml")


def test_each_command_names_the_other_where_a_file_is_the_others(tmp_path: Path) -> None:
    path = tmp_path / "fleet.jsonl"
    first = Fleet(run_id="1", started="", version=__version__, places=(Place(),), by="processes")
    path.write_bytes(encode(first))
    result = CliRunner().invoke(app, ["fleet", "run", "--resume", str(path)])
    assert result.exit_code == 2
    assert f"{path} is of one machine's devices: gemmbench run --resume" in result.output
