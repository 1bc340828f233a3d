"""One group on all ranks: each case tried alone, then all in turns, then verified again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from gemmbench.runner.messages import Bound, Ended
from gemmbench.runner.parallel.checks import ExactCheck
from gemmbench.runner.parallel.passing import passed
from gemmbench.runner.parallel.plan import ParallelGroup
from gemmbench.runner.parallel.possible import KERNELS, sets_of
from gemmbench.runner.parallel.ranks import Ranks
from gemmbench.runner.parallel.rounding import RoundingCheck
from gemmbench.runner.parallel.turns import (
    Clock,
    Subject,
    calibrate,
    done,
    led,
    make_clock,
    take_turn,
)
from gemmbench.runner.recording import Progress
from gemmbench.runner.taking import give_back_memory
from gemmbench.timing.method import Timing
from gemmbench.timing.rounds import rounds
from gemmbench.timing.turn import Turn
from gemmkernels.kernel import Launch
from gemmkernels.parallel.kernel import ParallelKernel
from gemmkernels.parallel.shards import Shards, allocate_shards, fill_shards
from gemmkernels.parallel.task import Task


@dataclass(kw_only=True)
class _Alive:
    """A case that has passed its trial."""

    progress: Progress
    kernel: ParallelKernel
    sets: tuple[Shards, ...]
    launches: tuple[Launch, ...]
    subject: Subject
    checks: int = 0
    error: float | None = None
    rows: int = 0

    @property
    def name(self) -> str:
        case = self.progress.case
        return f"{case.kernel}/{case.problem.precision}"

    @property
    def ends(self) -> list[int]:
        """The sets that are checked: an error that depends on the place shows in either."""
        return sorted({0, len(self.sets) - 1})


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
    _counts: dict[Task, int] = field(default_factory=dict)
    _sets: dict[Task, tuple[Shards, ...]] = field(default_factory=dict)
    _exact: ExactCheck = field(default_factory=ExactCheck)

    def run(self) -> list[Progress]:
        """What became of each case: on rank 0 with its turns."""
        every = [Progress(case=case) for case in self.group.cases]
        self._counts = sets_of(
            [self.group.task(case) for case in self.group.cases], self.ranks, self.timing
        )
        clock = make_clock(self.ranks)
        try:
            alive = [one for progress in every if (one := self._try(progress, clock))]
            alive = [one for one in alive if self._apart(one.progress, partial(self._refill, one))]
            if alive:
                self._turns(alive, clock)
            for one in alive:
                self._step(one.progress, "verified again")
                if self._verified(one, 1) and self._rounded(one):
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
                self._sets[task] = allocate_shards(
                    task,
                    self.ranks.device,
                    rank=self.ranks.rank,
                    group=self.ranks.group,
                    sets=self._counts[task],
                )
                self._fill(self._sets[task], range(self._counts[task]))
            sets = self._sets[task]
            launches = tuple(kernel.launch(shards) for shards in sets)
            subject = Subject(launches=launches)
            found.append(
                _Alive(
                    progress=progress, kernel=kernel, sets=sets, launches=launches, subject=subject
                )
            )

        self._step(progress, "allocating")
        if not self._apart(progress, bind):
            return None
        one = found[0]
        self._step(progress, "the trial")
        calibrated = partial(calibrate, one.subject, clock, self.ranks, self.timing)
        if not (
            self._verified(one, 1)
            and self._apart(progress, partial(self._refill, one))
            and passed(self.ranks, progress, calibrated)
            and self._verified(one, 2)
            and self._rounded(one)
        ):
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

    def _fill(self, sets: tuple[Shards, ...], which: Iterable[int]) -> None:
        """With what is timed."""
        for number in which:
            fill_shards(sets[number], data=self.data, seed=self.seed + number)

    def _refill(self, one: _Alive) -> None:
        """Those that were checked: there may be thousands of them, of a small layer."""
        self._fill(one.sets, one.ends)

    def _verified(self, one: _Alive, salt: int) -> bool:
        """Whole numbers, bit for bit."""
        for index in one.ends:
            shards, launch = one.sets[index], one.launches[index]
            fill = partial(self._exact.fill, shards, one.kernel, salt)
            compare = partial(self._exact.compare, shards, one.kernel, launch)
            if not self._checked(one, launch, fill, compare):
                return False
        one.checks += 1
        return True

    def _rounded(self, one: _Alive) -> bool:
        """Layers on the timed data, held against float64."""
        for index in one.ends if self.group.split else ():
            check = RoundingCheck(
                shards=one.sets[index],
                kernel=one.kernel,
                launch=one.launches[index],
                data=self.data,
                seed=self.seed + index,
            )
            if not self._checked(one, check.launch, check.fill, check.compare):
                return False
            worst = max(self.ranks.every(check.error))
            one.error, one.rows = max(one.error or 0.0, worst), check.looked_at
        return True

    def _checked(
        self, one: _Alive, launch: Launch, fill: Callable[[], None], compare: Callable[[], None]
    ) -> bool:
        """What takes memory before and after the launch is apart from it."""

        def prepare() -> None:
            fill()
            if launch.prepare:
                launch.prepare()
            self._synchronize()

        def run() -> None:
            launch.run()
            self._synchronize()

        return (
            self._apart(one.progress, prepare)
            and passed(self.ranks, one.progress, run)
            and self._apart(one.progress, compare)
        )

    def _apart(self, progress: Progress, work: Callable[[], None]) -> bool:
        return passed(self.ranks, progress, work, apart=True)

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
        one.progress.ended = Ended(
            case=0,
            status="ok",
            exact_by="product",
            checks=one.checks,
            error=one.error,
            rows=one.rows,
        )
        one.progress.end("ok", "")

    def _step(self, progress: Progress, what: str) -> None:
        self.ranks.guard.step(f"{progress.case.kernel} {self.group.name}, {what}")

    def _synchronize(self) -> None:
        if self.ranks.device.is_gpu:
            import torch

            torch.cuda.synchronize()
