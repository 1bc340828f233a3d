"""Tuning by the numbers: simulated kernels of known speed, noise and faults, and no process."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from synthetic import CPU, H100, turn

from gemmbench.inspect.question import Compiled, Question, Report, Verdict
from gemmbench.records.schema import Record
from gemmbench.runner.exchange import SpentError
from gemmbench.runner.ledger import Ledger
from gemmbench.runner.messages import Case, Ended, Hello, KernelInfo, Settings, Space
from gemmbench.runner.recording import Progress
from gemmbench.runner.stopping import Stop
from gemmbench.runner.tune_finding import Finding, TuneOutcome
from gemmbench.runner.tune_problem import TuneProblem
from gemmbench.runner.tune_prune import ruled_out
from gemmbench.runner.tune_search import Search
from gemmbench.runner.tune_stages import Clock, Stages
from gemmbench.runner.tune_trials import Trials
from gemmbench.show.tables import to_markdown
from gemmbench.show.tuning import QuietTuning, as_json, table
from gemmbench.timing.method import Timing, timing
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import settings_text
from gemmkernels.problem import Problem

PROBLEM = Problem(m=512, n=512, k=512, precision="fp32")
CASE = Case("planted", PROBLEM)
INFO = KernelInfo(
    name="planted", tier="tiled", backend="user", kinds=("cpu",), precisions=("fp32",), base=False
)
STAGES = Stages.of(
    timing("quick", kind="cpu", vendor="other"), timing("sustained", kind="cpu", vendor="other")
)


@dataclass(kw_only=True)
class Machine:
    """In place of crew and workers: turns by `time_us(settings)`, with noise within and between
    processes. `fate` may give a case another end; after `groups` of them the time is up.
    """

    time_us: Callable[[Settings], float]
    seed: int = 0
    noise: float = 0.03
    between: float = 0.02
    fate: Callable[[Settings], str] = lambda settings: "ok"
    lost: Callable[[str], bool] = lambda stage: False
    groups: float = math.inf
    measured: list[tuple[int, list[str]]] = field(default_factory=list)
    stopped: int = 0
    _speed: dict[str, float] = field(default_factory=dict)

    def stop(self) -> None:
        self.stopped += 1
        self._speed.clear()

    def carry_out(self, group: Sequence[Progress], how: Timing, *, until_s: float) -> None:
        if len(self.measured) >= self.groups:
            raise SpentError
        names = [settings_text(progress.case.settings or {}) for progress in group]
        self.measured.append((how.min_rounds, names))
        draw = random.Random(f"{self.seed} {len(self.measured)}")
        for progress, name in zip(group, names, strict=True):
            settings = progress.case.settings or {}
            ending = self.fate(settings)
            if ending != "ok":
                progress.end(ending, "as planted")  # type: ignore[arg-type]
                continue
            self._speed.setdefault(name, math.exp(draw.gauss(0, self.between)))
            middle = self.time_us(settings) * 1e3 * self._speed[name]
            for number in range(how.min_rounds):
                value = middle * math.exp(draw.gauss(0, self.noise))
                gone = self.lost(f"{self.stopped}") and number % 2  # four turns are too few
                progress.turns.append(turn(number, value, disturbed=10 if gone else 0))
            progress.ended = Ended(case=0, status="ok")
            progress.end("ok", "")


HELLO = Hello(
    device=CPU, target=None, kernels=(INFO,), software={}, host={}, environment={}, setup_s=0.0
)


def trials_of(machine: Machine, records: Sequence[Record] = ()) -> tuple[Trials, list[Record]]:
    class Listener(QuietTuning):
        def ended(self, record: Record) -> None:
            kept.append(record)

    kept: list[Record] = []
    ledger = Ledger(Stop(), Listener())
    trials = Trials(machine, machine, ledger, HELLO, sitting=0)  # type: ignore[arg-type]
    trials.take_up(records)
    return trials, kept


def tuned(
    machine: Machine,
    space: Sequence[dict[str, int | str | bool]],
    *,
    entry: dict[str, int | str | bool] | None = None,
    records: Sequence[Record] = (),
    seconds: float = 600.0,
    triton: bool = False,
) -> tuple[Finding, list[Record]]:
    trials, kept = trials_of(machine, records)
    now = time.monotonic()
    one = TuneProblem(
        CASE,
        Space(settings=tuple(space), tuned=entry),
        trials=trials,
        stages=STAGES,
        clock=Clock(share_s=now + seconds, end_s=now + seconds, start_s=0.0),
        device=CPU,
        triton=triton,
        listener=QuietTuning(),
        seed=machine.seed,
    )
    return one.tune(), kept


def blocks(*values: int) -> list[dict[str, int | str | bool]]:
    return [{"BLOCK": value} for value in values]


def valley(settings: Settings) -> float:
    """The fastest is 96."""
    return 100.0 + abs(int(settings["BLOCK"]) - 96)


# What wins.


def test_the_best_is_found_and_its_evidence_is_of_fresh_processes() -> None:
    machine = Machine(time_us=valley)
    found, records = tuned(machine, blocks(16, *range(32, 257, 8)))
    assert found.word == "faster"
    assert found.best is not None
    assert abs(int(found.best["BLOCK"]) - 96) <= 8
    assert found.tried == found.space == 30
    assert (found.default, found.incumbent) == ({"BLOCK": 16}, {"BLOCK": 16})
    assert found.ratio.low < 180 / valley(found.best) < found.ratio.high
    assert found.ratio == found.over
    assert found.ratio.n == machine.stopped == 5
    confirmed = [one for one in records if " confirm " in one.group]
    assert {one.repeat for one in confirmed} == {0, 1, 2, 3, 4}
    times = [one.value for one in (found.best_us, found.default_us)]
    assert times == pytest.approx([valley(found.best), 180], rel=0.05)


def test_of_settings_that_are_alike_none_wins() -> None:
    """By the first figures nearly always one would: the best of 24 draws."""
    wins = looked_better = 0
    for seed in range(100):
        machine = Machine(time_us=lambda _: 100.0, seed=seed)
        found, records = tuned(machine, blocks(*range(25)))
        wins += found.word == "faster"
        looked_better += any(" confirm " in one.group for one in records)
    assert looked_better > 60
    assert wins <= 5


def test_a_gain_that_is_real_is_found_nearly_always() -> None:
    wins = 0
    for seed in range(40):
        machine = Machine(time_us=lambda s: 100.0 - 10 * (s["BLOCK"] == 7), seed=seed)
        found, _ = tuned(machine, blocks(*range(25)))
        wins += found.best == {"BLOCK": 7}
    assert wins >= 38


def test_lucky_first_figures_are_no_evidence() -> None:
    """One is fast until it is measured afresh."""
    machine = Machine(time_us=lambda s: 100.0)
    machine.time_us = lambda s: 50.0 if s["BLOCK"] == 3 and not machine.stopped else 100.0
    found, _ = tuned(machine, blocks(*range(9)))
    assert found.word == "kept"
    assert "BLOCK=3" in found.reason
    assert found.best == {"BLOCK": 0}
    assert 2 <= machine.stopped <= 5


def test_what_was_tuned_before_is_what_must_be_beaten() -> None:
    space = blocks(16, 64, 80, 96, 112)
    found, records = tuned(Machine(time_us=valley), space, entry={"BLOCK": 80})
    assert found.word == "faster"
    assert (found.incumbent, found.best) == ({"BLOCK": 80}, {"BLOCK": 96})
    assert found.over.low < 1.16 < found.over.high
    assert found.ratio.low < 1.80 < found.ratio.high
    assert all(
        "BLOCK=80" in {settings_text(one.settings or {}) for one in records if one.group == group}
        for group in {one.group for one in records}
    )
    found, _ = tuned(Machine(time_us=valley), space, entry={"BLOCK": 96})
    assert (found.word, found.best) == ("kept", {"BLOCK": 96})
    elsewhere, _ = tuned(Machine(time_us=valley), space, entry={"BLOCK": 97})
    assert (elsewhere.word, elsewhere.best) == ("kept", {"BLOCK": 97})


def test_where_the_default_is_the_best_it_stays() -> None:
    found, _ = tuned(Machine(time_us=valley), blocks(96, 16, 256, 128))
    assert (found.word, found.best, found.reason) == (
        "kept",
        {"BLOCK": 96},
        "nothing that was tried was faster",
    )
    assert math.isnan(found.ratio.value)
    alone, _ = tuned(Machine(time_us=valley), blocks(96))
    assert (alone.word, alone.tried) == ("kept", 1)


# What falls.


def test_who_fails_costs_only_itself() -> None:
    ends = {3: "failed", 96: "wrong", 4: "timeout", 5: "failed"}
    machine = Machine(time_us=valley, fate=lambda s: ends.get(int(s["BLOCK"]), "ok"))
    found, records = tuned(machine, blocks(16, 3, 4, 5, 96, 64))
    assert (found.word, found.best) == ("faster", {"BLOCK": 64})
    assert (found.fallen, found.tried) == (4, 6)
    assert sum(one.status != "ok" for one in records) == 4


def test_a_default_that_fails_is_no_measure() -> None:
    machine = Machine(time_us=valley, fate=lambda s: "failed" if s["BLOCK"] == 16 else "ok")
    found, _ = tuned(machine, blocks(16, 64, 96))
    assert found.word == "failed"
    assert "its default settings: failed: as planted" in found.reason
    found, _ = tuned(machine, blocks(16, 64, 96), entry={"BLOCK": 64})
    assert (found.word, found.best) == ("faster", {"BLOCK": 96})
    stale, _ = tuned(machine, blocks(64, 96), entry={"BLOCK": 16})
    assert (stale.incumbent, stale.best) == ({"BLOCK": 64}, {"BLOCK": 96})


def test_a_winner_that_falls_when_measured_afresh_is_none() -> None:
    machine = Machine(time_us=valley)
    machine.fate = lambda s: "wrong" if machine.stopped and s["BLOCK"] == 96 else "ok"
    found, _ = tuned(machine, blocks(16, 64, 96))
    assert (found.word, found.best) == ("kept", {"BLOCK": 16})
    assert found.reason == "BLOCK=96 is wrong: as planted"


def test_a_process_beside_a_neighbour_does_not_count() -> None:
    machine = Machine(time_us=valley, lost=lambda process: process in ("2", "3"))
    found, _ = tuned(machine, blocks(16, 96))
    assert (found.word, found.ratio.n, machine.stopped) == ("faster", 5, 7)
    machine = Machine(time_us=valley, lost=lambda process: process != "0")
    found, _ = tuned(machine, blocks(16, 96))
    assert (found.word, machine.stopped) == ("kept", 15)
    assert found.reason.startswith("contended")


# The budget, and going on.


def test_a_budget_that_ends_keeps_all_that_was_measured() -> None:
    """At each point of the way, and gone on from there it ends as if it had not been cut."""
    space = blocks(16, *range(32, 257, 8))
    whole = Machine(time_us=valley)
    expected, _ = tuned(whole, space)
    for groups in range(len(whole.measured)):
        machine = Machine(time_us=valley, groups=groups)
        cut, kept = tuned(machine, space)
        if cut.word == "faster":  # more than half of the processes are enough
            assert 3 <= cut.ratio.n < 5
            continue
        assert cut.word == "unfinished"
        assert cut.best is None
        kept = [one for one in kept if one.status != "interrupted"]
        rest = Machine(time_us=valley)
        found, _ = tuned(rest, space, records=kept)
        assert found.word == expected.word == "faster"
        assert found.tried >= cut.tried
        assert len(rest.measured) < len(whole.measured) + (groups == 0)
        before = {(rounds, *sorted(names)) for rounds, names in machine.measured if rounds != 8}
        again = {(rounds, *sorted(names)) for rounds, names in rest.measured if rounds != 8}
        assert not before & again


def test_what_is_decided_is_not_measured_again() -> None:
    space = blocks(16, 64, 96)
    first, records = tuned(Machine(time_us=valley), space)
    machine = Machine(time_us=valley)
    # By now the entry that was found is there.
    again, _ = tuned(machine, space, records=records, entry={"BLOCK": 96})
    assert machine.measured == []
    assert again.ratio == first.ratio
    assert (again.word, again.best, again.incumbent) == ("faster", first.best, first.incumbent)
    assert (again.tried, again.space) == (first.tried, first.space) == (3, 3)


def test_what_is_decided_stands_though_not_all_was_tried() -> None:
    space = blocks(16, *range(32, 257, 8))
    first, records = tuned(Machine(time_us=valley), space, seconds=5.0)
    assert (first.word, first.tried) == ("faster", 9)
    machine = Machine(time_us=valley)
    again, _ = tuned(machine, space, records=records)
    assert machine.measured == []
    assert (again.best, again.ratio) == (first.best, first.ratio)


def test_who_fell_in_a_group_that_was_cut_is_not_tried_again() -> None:
    machine = Machine(time_us=valley, fate=lambda s: "timeout" if s["BLOCK"] == 64 else "ok")
    trials, records = trials_of(machine)
    trials.measure(CASE, "search", blocks(16, 64, 96), STAGES.screen)
    cut = [_interrupted(one) if one.settings == {"BLOCK": 16} else one for one in records]
    machine = Machine(time_us=valley)
    found, _ = tuned(machine, blocks(16, 64, 96), records=cut)
    assert found.fallen == 1
    assert found.best == {"BLOCK": 96}
    assert not any("BLOCK=64" in names for _, names in machine.measured)


def _interrupted(record: Record) -> Record:
    return msgspec.structs.replace(record, status="interrupted", turns=())


def test_without_time_nothing_is_tried_twice() -> None:
    """The time that finals take ends the search: here after one batch."""
    machine = Machine(time_us=valley)
    found, _ = tuned(machine, blocks(16, *range(32, 257, 8)), seconds=5.0)
    searched = [names for rounds, names in machine.measured if rounds == 3]
    assert len(searched) == 2
    assert found.tried == 9
    assert found.word == "faster"


# Where it looks.


def test_a_search_tries_each_once_and_ends() -> None:
    search = Search(blocks(*range(100)), seed=1)
    seen: list[str] = []
    while batch := search.batch(8):
        assert len(batch) == min(8, search.left)
        for one in batch:
            seen.append(settings_text(one))
            search.learn(one, None if one["BLOCK"] == 5 else 1.0)
    assert sorted(seen) == sorted(settings_text(one) for one in blocks(*range(100)))
    assert search.left == 0
    assert {"BLOCK": 5} not in search.best(100)


def test_a_search_begins_with_the_first_and_goes_on_near_the_best() -> None:
    space: list[dict[str, int | str | bool]] = [
        {"BLOCK": 2**i, "warps": 2**j, "order": word}
        for i in range(4, 10)
        for j in range(4)
        for word in ("rows", "columns")
    ]
    search = Search(space, seed=0)
    batch = search.batch(8)
    assert list(batch[:4]) == space[:4]
    best: dict[str, int | str | bool] = {"BLOCK": 128, "warps": 4, "order": "rows"}
    for one in batch:
        search.learn(one, 1.0)
    search.learn(best, 2.0)
    for parent in search.best(3)[1:]:
        search.learn(parent, None)
    search._gains = {settings_text(best): 2.0}
    near = search.batch(8)[:4]
    apart = [
        abs(int(one["BLOCK"]).bit_length() - 8)
        + abs(int(one["warps"]).bit_length() - 3)
        + (one["order"] != "rows")
        for one in near
    ]
    assert apart == sorted(apart)
    assert sum(apart) <= 5


def test_a_search_finds_the_valley_in_a_few_of_many() -> None:
    space: list[dict[str, int | str | bool]] = [
        {"m": m, "n": n, "k": k} for m in range(12) for n in range(12) for k in range(12)
    ]
    search = Search(space, seed=3)
    for _ in range(25):
        for one in search.batch(8):
            away = sum((int(one[name]) - at) ** 2 for name, at in (("m", 9), ("n", 2), ("k", 6)))
            search.learn(one, 1 / (1 + away))
    assert search.best(1) == ({"m": 9, "n": 2, "k": 6},)


# How it is told.


def test_the_table_and_the_json_say_what_became_of_each() -> None:
    faster, _ = tuned(Machine(time_us=valley), blocks(16, 96))
    kept, _ = tuned(Machine(time_us=valley), blocks(96, 16))
    entry, _ = tuned(Machine(time_us=valley), blocks(16, 64), entry={"BLOCK": 96})
    failed = Finding(kernel="x", problem=PROBLEM, word="failed", reason="no | such\x1b tile")
    text = to_markdown(table([faster, kept, entry, failed]))
    lines = text.split("\n")[2:]
    assert "BLOCK=96 | faster |" in lines[0]
    assert f"{faster.ratio.value:.3f}× | ±" in lines[0]
    assert "| the default | kept: nothing that was tried was faster |" in lines[1]
    assert "| the tuned entry | kept" in lines[2]
    assert "failed: no \\| such\\\\x1b tile" in lines[3]
    found = as_json([faster, failed])
    assert '"ratio": null' in found
    assert '"settings": {\n      "BLOCK": 96\n    }' in found
    assert "NaN" not in found


def test_the_exit_code_says_how_it_ended() -> None:
    def code(*words: str, **changes: Any) -> int:
        findings = tuple(
            Finding(kernel="x", problem=PROBLEM, word=word, reason="")  # type: ignore[arg-type]
            for word in words
        )
        kinds: dict[str, Any] = {"interrupted": False, "path": Path("x"), "written": None}
        return TuneOutcome(findings=findings, **{**kinds, **changes}).exit_code

    assert code("faster", "kept", "unfinished", "unsupported") == 0
    assert code("kept", "failed") == 1
    assert code("kept", ended_by="device lost") == 1
    assert code("faster", interrupted=True) == 130


# What the compiler rules out.


def test_the_compilers_report_rules_out_what_is_worse_than_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports = {
        0: compiled(),
        1: compiled(shared_bytes=300_000),
        2: compiled("vector"),
        3: compiled(spills=4),
        4: compiled("crashed"),
        5: compiled(),
    }
    asked: list[Question] = []

    def examine(questions: Sequence[Question], **_: object) -> list[Report]:
        asked.extend(questions)
        return [reports[int((one.settings or {})["BLOCK"])] for one in questions]

    monkeypatch.setattr("gemmbench.runner.tune_prune.examine", examine)
    told = ruled_out(CASE, {"BLOCK": 0}, blocks(1, 2, 3, 4, 5), H100, timeout_s=9.0)
    assert told == (
        "takes 300000 bytes of shared memory, 232448 at most",
        "compiles to vector, the default to matrix cores: as planted",
        "spills registers (4, the default 0)",
        "",  # a compile that had no time says nothing, and would be ruled out for ever
        "",
    )
    assert {one.target for one in asked} == {"sm_90"}
    reports[0] = reports[1]  # of a default that is over itself nothing better is known
    assert ruled_out(CASE, {"BLOCK": 0}, blocks(1), H100, timeout_s=9.0) == ("",)


def test_a_share_that_is_spent_before_the_search_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pruning may use it up."""
    clock = time.monotonic

    def slow(case: Case, *_: Any, **__: Any) -> tuple[str, ...]:
        monkeypatch.setattr("time.monotonic", lambda: clock() + 1e6)
        return ("",) * 8

    monkeypatch.setattr("gemmbench.runner.tune_problem.ruled_out", slow)
    found, records = tuned(Machine(time_us=valley), blocks(*range(8, 200, 8)), triton=True)
    assert found.word == "unfinished"
    assert records


def test_without_a_report_all_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(_questions: Sequence[Question], **_: object) -> list[Report]:
        raise GemmbenchError("unknown target 'gfx000'")

    monkeypatch.setattr("gemmbench.runner.tune_prune.examine", examine)
    assert ruled_out(CASE, {"BLOCK": 0}, blocks(1, 2), H100, timeout_s=9.0) == ("", "")


def test_what_is_ruled_out_is_kept_and_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def out(_case: Case, _default: Settings, batch: Sequence[Settings], *_: object, **__: object):  # type: ignore[no-untyped-def]
        return tuple("spills" if one["BLOCK"] == 96 else "" for one in batch)

    monkeypatch.setattr("gemmbench.runner.tune_problem.ruled_out", out)
    machine = Machine(time_us=valley)
    found, records = tuned(machine, blocks(16, 64, 96), triton=True)
    assert (found.best, found.pruned, found.tried) == ({"BLOCK": 64}, 1, 3)
    assert [(one.status, one.reason) for one in records if one.settings == {"BLOCK": 96}] == [
        ("unsupported", "spills")
    ]


def compiled(
    verdict: Verdict = "matrix cores", *, spills: int = 0, shared_bytes: int = 1000
) -> Report:
    return Report(
        question=Question("planted", PROBLEM, "sm_90"),
        verdict=verdict,
        declared="matrix cores",
        reason="" if verdict == "matrix cores" else "as planted",
        calls=(
            Compiled(
                function="f",
                verdict="vector",
                spills=spills,
                shared_bytes=shared_bytes,
                shared_limit=232448,
            ),
        ),
    )
