"""One group on all ranks: each case tried alone, then all in turns, then verified again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from gemmbench.records.schema import Status
from gemmbench.runner.messages import Bound, Ended
from gemmbench.runner.parallel.checks import ExactCheck
from gemmbench.runner.parallel.plan import ParallelGroup
from gemmbench.runner.parallel.ranks import Ranks
from gemmbench.runner.parallel.turns import (
    Clock,
    Subject,
    calibrate,
    done,
    led,
    make_clock,
    take_turn,
)
from gemmbench.runner.reason import reason_of
from gemmbench.runner.recording import Progress
from gemmbench.runner.taking import give_back_memory
from gemmbench.timing.method import Timing, operand_sets
from gemmbench.timing.rounds import rounds
from gemmbench.timing.turn import Turn
from gemmbench.verify import WrongError
from gemmkernels.kernel import Launch
from gemmkernels.parallel.kernel import ParallelKernel
from gemmkernels.parallel.ladder import PARALLEL
from gemmkernels.parallel.shards import Shards, allocate_shards, fill_shards
from gemmkernels.parallel.task import Task

KERNELS: Mapping[str, ParallelKernel] = {one.name: one for one in PARALLEL}


class BrokenError(Exception):
    """Some ranks came through a collective and others did not: they can do nothing more."""


@dataclass(kw_only=True)
class _Alive:
    """A case that has passed its trial."""

    progress: Progress
    kernel: ParallelKernel
    sets: tuple[Shards, ...]
    launches: tuple[Launch, ...]
    subject: Subject
    checks: int = 0

    @property
    def name(self) -> str:
        case = self.progress.case
        return f"{case.kernel}/{case.problem.precision}"


@dataclass(kw_only=True)
class GroupWork:
    """Carries out one group; every rank runs this with the same arguments.

    `hear` is called on rank 0 with each turn as it was taken.
    """

    ranks: Ranks
    group: ParallelGroup
    timing: Timing
    data: str
    seed: int
    hear: Callable[[Progress, Turn], None] = lambda _progress, _turn: None
    _sets: dict[Task, tuple[Shards, ...]] = field(default_factory=dict)
    _exact: ExactCheck = field(default_factory=ExactCheck)

    def run(self) -> list[Progress]:
        """What became of each case: on rank 0 with its turns."""
        every = [Progress(case=case) for case in self.group.cases]
        clock = make_clock(self.ranks)
        try:
            alive = [one for progress in every if (one := self._try(progress, clock))]
            for sets in self._sets.values():
                for number, shards in enumerate(sets):
                    fill_shards(shards, data=self.data, seed=self.seed + number)
            if alive:
                self._turns(alive, clock)
            for one in alive:
                self._step(one.progress, "verified again")
                if self._passed(one.progress, partial(self._verify, one, 1)):
                    self._end(one)
        finally:
            clock.close()
            self._sets.clear()
            self._exact.forget()
            give_back_memory(self.ranks.device)
        return every

    def _try(self, progress: Progress, clock: Clock) -> _Alive | None:
        """Allocate, bind, verify, calibrate, verify what will be timed."""
        kernel = KERNELS[progress.case.kernel]
        task = self.group.task(progress.case)
        found: list[_Alive] = []

        def bind() -> None:
            if task not in self._sets:
                self._sets[task] = self._allocate(task)
            sets = self._sets[task]
            launches = tuple(kernel.launch(shards) for shards in sets)
            subject = Subject(launches=launches)
            found.append(
                _Alive(
                    progress=progress, kernel=kernel, sets=sets, launches=launches, subject=subject
                )
            )

        self._step(progress, "allocating")
        # Nothing is exchanged here: one rank that lacks memory costs the case, and no more.
        if not self._passed(progress, bind, apart=True):
            return None
        one = found[0]

        def trial() -> None:
            self._verify(one, 1)
            for number, shards in enumerate(one.sets):
                fill_shards(shards, data=self.data, seed=self.seed + number)
            calibrate(one.subject, clock, self.ranks, self.timing)
            self._verify(one, 2)

        self._step(progress, "the trial")
        if not self._passed(progress, trial):
            return None
        first = one.launches[0]
        progress.bound = Bound(
            case=0,
            setup_s=0.0,
            encoding=self.ranks.device.encoding(task.problem.precision),
            launch=clock.mode,
            sets=len(one.sets),
            config=dict(first.config),
            tile=None,
            grid=None,
            splits=None,
            launch_s=one.subject.launch_s,
        )
        return one

    def _allocate(self, task: Task) -> tuple[Shards, ...]:
        """Layers rotate through memory; a message is sent from the same place again and again, as
        nccl-tests does."""
        device, count = self.ranks.device, 1
        if task.split:
            count = operand_sets(
                task.shard_bytes,
                cache=self.timing.cache,
                llc_bytes=device.llc_bytes,
                memory_bytes=device.memory_bytes // (1 if device.is_gpu else self.ranks.on_node),
            )
        return allocate_shards(
            task, device, rank=self.ranks.rank, group=self.ranks.group, sets=count
        )

    def _verify(self, one: _Alive, salt: int) -> None:
        """The first set and the last: an error that depends on the place shows in either."""
        for index in sorted({0, len(one.sets) - 1}):
            shards, launch = one.sets[index], one.launches[index]
            self._exact.fill(shards, one.kernel, salt)
            if launch.prepare:
                launch.prepare()
            launch.run()
            self._synchronize()
            self._exact.compare(shards, one.kernel, launch, salt)
        one.checks += 1

    def _turns(self, alive: list[_Alive], clock: Clock) -> None:
        by_name = {one.name: one for one in alive}

        def turner(one: _Alive) -> Callable[[int], Turn]:
            def turn(number: int) -> Turn:
                self._step(one.progress, f"round {number + 1}")
                return take_turn(one.subject, clock, self.ranks, number=number, timing=self.timing)

            return turn

        leading = led(self.ranks, {name: turner(one) for name, one in by_name.items()})
        if leading is None:
            return
        taken = rounds(
            leading,
            min_rounds=self.timing.min_rounds,
            max_rounds=self.timing.max_rounds,
            max_time_s=self.timing.max_time_s,
            target=self.timing.target,
            seed=self.seed,
            least_rounds=self.timing.least_rounds,
            on_turn=lambda name, turn: self.hear(by_name[name].progress, turn),
        )
        done(self.ranks)
        for name, turns in taken.items():
            by_name[name].progress.turns += turns

    def _end(self, one: _Alive) -> None:
        one.progress.ended = Ended(case=0, status="ok", exact_by="product", checks=one.checks)
        one.progress.end("ok", "")

    def _passed(self, progress: Progress, work: Callable[[], None], *, apart: bool = False) -> bool:
        """Do it on every rank; what goes wrong on any of them ends the case on all.

        Unless the ranks work `apart`, one that fails alone leaves the others in a collective.
        Raises BrokenError where that has happened.
        """
        status: Status | str = ""
        reason = ""
        try:
            work()
        except WrongError as error:
            status, reason = "wrong", str(error)
        except Exception as error:
            status, reason = "failed", reason_of(error)
            self.ranks.guard.note(f"fault {reason}")
        found = self.ranks.every((status, reason))
        failed = [(rank, why) for rank, (what, why) in enumerate(found) if what == "failed"]
        if failed:
            rank, why = failed[0]
            if not apart and len(failed) < self.ranks.ranks:
                raise BrokenError(f"rank {rank}: {why}")
            progress.end(
                "failed", why if len(failed) == self.ranks.ranks else f"rank {rank}: {why}"
            )
            self.ranks.guard.note("")
            return False
        for rank, (what, why) in enumerate(found):
            if what == "wrong":
                progress.end("wrong", f"rank {rank}: {why}")
                return False
        return True

    def _step(self, progress: Progress, what: str) -> None:
        self.ranks.guard.step(f"{progress.case.kernel} {self.group.name}, {what}")

    def _synchronize(self) -> None:
        if self.ranks.device.is_gpu:
            import torch

            torch.cuda.synchronize()


def unsupported(group: ParallelGroup, ranks: Ranks) -> list[Progress]:
    """The cases of a group that cannot be done, each with its reason."""
    found = []
    for case in group.cases:
        reason = KERNELS[case.kernel].why_not(group.task(case), ranks.device)
        if reason:
            found.append(Progress(case=case, status="unsupported", reason=reason))
    return found


def without(group: ParallelGroup, cases: list[Progress]) -> ParallelGroup:
    """The group without those."""
    gone = [one.case for one in cases]
    return replace(group, cases=tuple(case for case in group.cases if case not in gone))
