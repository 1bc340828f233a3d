"""The process at a device: that it listens to whoever stops it, and is missed where it hangs."""

import contextlib
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from synthetic import record

from gemmbench._version import __version__
from gemmbench.records.schema import Place
from gemmbench.runner.fleet import agent as agents
from gemmbench.runner.fleet.agent import MISSING, AgentProcess, Wire
from gemmbench.runner.fleet.ground import Site
from gemmbench.runner.fleet.local import LocalGround
from gemmbench.runner.fleet.messages import (
    Alive,
    Charge,
    Ended,
    FromAgent,
    Gone,
    Kept,
    Measured,
    Warned,
)
from gemmbench.runner.request import Request

CPU = min(os.sched_getaffinity(0))
SITE = Site(place=Place(cores=str(CPU)), device=f"cpu:{CPU}")


def charge(*, beat_s: float = 10.0, version: str = __version__) -> Charge:
    """What takes longer than any test waits."""
    request = Request(
        device=SITE.device,
        shapes=tuple(f"32x32x{k}" for k in range(16, 640, 16)),
        kernels=("torch",),
        precisions=("fp32",),
        preset="quick",
    )
    return Charge(version=version, request=request, place=SITE.place, beat_s=beat_s)


@pytest.fixture
def ignored() -> Iterator[None]:
    """SIGINT, as in a script's background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def blocked() -> Iterator[None]:
    """And SIGTERM, as under Ray."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def deaf_to(process: psutil.Process) -> int:
    """The signals that it blocks or ignores, of those that stop a run."""
    masks = dict(
        line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
    )
    stops = sum(1 << (number - 1) for number in (signal.SIGINT, signal.SIGTERM))
    return (int(masks["SigBlk"], 16) | int(masks["SigIgn"], 16)) & stops


@pytest.mark.usefixtures("ignored", "blocked")
def test_an_agent_hears_who_stops_it_whatever_it_inherits() -> None:
    agent = AgentProcess()
    try:
        agent.charge(charge())
        while not isinstance(agent.hear(), Measured):
            pass
        family = psutil.Process(agent.pid).children(recursive=True)
        assert family
        assert [deaf_to(one) for one in (psutil.Process(agent.pid), *family)] == [0] * (
            1 + len(family)
        )
        agent.interrupt()
        said = [agent.hear()]
        while not isinstance(said[-1], Ended):
            said.append(agent.hear())
        assert said[-1].interrupted
        lines = [bytes(line) for one in said if isinstance(one, Kept) for line in one.lines]
        assert any(b'"status":"interrupted"' in line for line in lines)
        assert lines[-1].startswith(b'{"type":"end"')
    finally:
        agent.kill()


@pytest.mark.usefixtures("ignored")
def test_an_agent_that_is_stopped_as_it_starts_ends() -> None:
    ground = LocalGround([SITE.device])
    ground.start(0, SITE, charge())
    ground.interrupt()  # long before it has imported anything
    try:
        (last,) = said(ground, Ended | Gone)
        assert isinstance(last, Ended | Gone)
    finally:
        ground.close()


def said(ground: LocalGround, last: object) -> list[FromAgent | Gone]:
    deadline_s = time.monotonic() + 60
    found: list[FromAgent | Gone] = []
    while not found or not isinstance(found[-1], last):  # type: ignore[arg-type]
        assert time.monotonic() < deadline_s, found
        found += [message for _, message in ground.receive(1.0)]
    return found


def test_an_agent_that_hangs_is_missed_and_one_that_lives_is_not() -> None:
    ground = LocalGround([SITE.device])
    ground.start(0, SITE, charge(beat_s=0.2))
    try:
        agent = ground._agents[0]
        while not agent._began:
            time.sleep(0.01)
        time.sleep(MISSING * 0.2 + 0.5)
        assert not [one for _, one in ground.receive(0.0) if isinstance(one, Gone)]
        os.kill(agent.pid, signal.SIGSTOP)
        assert said(ground, Gone)[-1] == Gone(reason="no sign of life for 2.4 s")
    finally:
        ground.close()


def test_signs_of_life_are_heard_by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may take minutes: the agent is silent then, but for these."""
    told: Iterator[FromAgent | Alive] = iter(
        [Alive(), Alive(), Warned(text="a"), Alive(), Warned(text="b")]
    )
    limits: list[float] = []

    def receive(_: AgentProcess, timeout_s: float) -> FromAgent | Alive:
        limits.append(timeout_s)
        return next(told)

    monkeypatch.setattr(AgentProcess, "receive", receive)
    agent = AgentProcess()
    try:
        agent.charge(charge(beat_s=0.5, version="0"))
        assert [agent.hear(), agent.hear()] == [Warned(text="a"), Warned(text="b")]
        assert limits == [agents.START_S, 6, 6, 6, 6]
    finally:
        agent.kill()


def test_signs_of_life_come_between_messages_and_never_within(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)  # where nobody listens, only the thread ends
    read, write = os.pipe()
    wire = Wire(write)
    big = Warned(text="x" * 300_000)

    def beat() -> None:
        with contextlib.suppress(SystemExit):
            wire.beat(0.0)

    beats = threading.Thread(target=beat, daemon=True)
    sends = threading.Thread(target=wire.send, args=(big,), daemon=True)
    stream = os.fdopen(read, "rb")
    beats.start()
    decoder: msgspec.json.Decoder[FromAgent | Alive] = msgspec.json.Decoder(FromAgent | Alive)
    found = [decoder.decode(stream.readline())]
    sends.start()
    while found[-1] != big:
        found.append(decoder.decode(stream.readline()))
    stream.close()
    for one in (beats, sends):
        one.join(10)
        assert not one.is_alive()
    os.close(write)
    assert set(found) == {Alive(), big}


def test_no_message_is_larger_than_the_driver_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "MOST_BYTES", 5_000)
    sent: list[Kept] = []
    monkeypatch.setattr(Wire, "send", lambda _, message: sent.append(message))
    lines = [record(f"k{at}") for at in range(100)]
    lines[50] = msgspec.structs.replace(lines[50], reason="x" * 20_000)
    Wire(-1).append(*lines)
    sizes = [sum(map(len, map(bytes, message.lines))) for message in sent]
    assert len(sent) > 3
    assert sorted(sizes)[-2] <= 5_000 < 20_000 < max(sizes)
    assert sum(len(message.lines) for message in sent) == 100


def test_what_was_said_is_handed_over_together() -> None:
    ground = LocalGround([])
    everything = [(0, Warned(text=str(at))) for at in range(1500)]
    waiting: queue.SimpleQueue[tuple[int, FromAgent | Gone]] = ground._said
    for one in everything:
        waiting.put(one)
    first, second = ground.receive(0.0), ground.receive(0.0)
    assert [*first, *second] == everything
    assert len(first) == 1000
    assert ground.receive(0.0) == []


def test_one_that_was_stopped_itself_hears_first_what_came_meanwhile() -> None:
    """After Ctrl-Z for minutes the limit has passed, and the signs of life are there."""
    agent = AgentProcess()
    try:
        assert select.select([agent._read_fd], [], [], 60)[0]
        assert agent.receive(0.0) == Alive()
    finally:
        agent.kill()
