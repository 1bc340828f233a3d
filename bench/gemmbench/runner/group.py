"""One group in the worker: each case tried alone, then all in turns, then verified again."""

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gemmbench.inspect.question import Compiled, doubt
from gemmbench.inspect.reading import facts_of
from gemmbench.runner.messages import Bound, DeviceLost, Doing, Ended, FromWorker, Work
from gemmbench.runner.reason import reason_of
from gemmbench.runner.taking import (
    DeviceLostError,
    Telling,
    give_back_memory,
    see_device,
    take_turns,
)
from gemmbench.runner.turners import SLOW_LAUNCH_S, Bench, Subject, make_bench, output_of
from gemmbench.timing.method import operand_sets
from gemmbench.timing.turn import Turn
from gemmbench.verify import Execute, Verifier, WrongError
from gemmkernels.device import Device
from gemmkernels.errors import one_line
from gemmkernels.kernel import Kernel, Launch, Settings
from gemmkernels.operands import Operands, allocate, copy_inputs, poison, set_bytes
from gemmkernels.problem import Problem
from gemmkernels.tuning import nearest

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class _Sets:
    """The operand sets that all kernels of a problem share, and their verifier."""

    sets: tuple[Operands, ...]
    verifier: Verifier

    def spread(self) -> None:
        """The first set's inputs to all others, and poison into their outputs."""
        for other in self.sets[1:]:
            copy_inputs(self.sets[0], other)
            poison(other)

    def spread_to_last(self) -> None:
        if len(self.sets) > 1:
            copy_inputs(self.sets[0], self.sets[-1])
            poison(self.sets[-1])


@dataclass(kw_only=True)
class _Alive:
    """A case that has passed its trial. `switches`: it sets what it needs, and may leave it so."""

    index: int
    subject: Subject
    sets: _Sets
    slow: bool
    switches: bool
    heard: list[str] = field(default_factory=list)
    error: float = 0.0
    rows: int = 0
    checks: int = 0


class Tidy(Protocol):
    """Undoes what a kernel left behind in its process, and says it in words.

    Looks for `children` too; tells of `switches`, which a kernel with a `prepare` may set.
    """

    def __call__(self, *, children: bool, switches: bool) -> tuple[str, ...]: ...


def _no_tidying(*, children: bool, switches: bool) -> tuple[str, ...]:  # noqa: ARG001
    return ()


class GroupWork:
    """Carries out one Work message; every case ends in an Ended message, or with the process.

    `tidy` is called after each part of a case, where nothing is timed.
    """

    def __init__(
        self,
        message: Work,
        device: Device,
        kernels: Mapping[str, Kernel],
        send: Callable[[FromWorker], None],
        *,
        tidy: Tidy = _no_tidying,
    ) -> None:
        self.message = message
        self.device = device
        self.kernels = kernels
        self.send = Telling(send)
        self._tidy = tidy
        self._bench: Bench = make_bench(device, message.timing)
        self._sets: dict[Problem, _Sets] = {}

    def run(self) -> None:
        try:
            self._run()
        except DeviceLostError as error:
            self.send(DeviceLost(case=self.send.doing, reason=str(error)))
            raise SystemExit(0) from None
        finally:
            self._sets.clear()
            self._bench.close()
            give_back_memory(self.device)

    def _run(self) -> None:
        alive = [case for index in range(len(self.message.cases)) if (case := self._try(index))]
        if not self.message.verify_only:
            for sets in self._sets.values():
                sets.verifier.restore()
                sets.spread()
            alive = self._turns(alive)
            alive = [case for case in alive if self._verify_after(case)]
        for case in alive:
            self._end(case.index, "ok", case=case)

    def _do(self, index: int, phase: str) -> None:
        self.send(Doing(case=index, phase=phase))

    def _end(
        self, index: int, status: str, reason: str = "", *, case: _Alive | None = None
    ) -> None:
        verifier = case.sets.verifier if case else None
        self.send(
            Ended(
                case=index,
                status=status,
                reason=reason,
                exact_by=verifier.exact_by if verifier else "",
                error=case.error if case else None,
                rows=case.rows if case else 0,
                checks=case.checks if case else 0,
                warnings=tuple(dict.fromkeys(case.heard)) if case else (),
            )
        )

    def _guard(self, index: int, work: Callable[[], None]) -> bool:
        """Run a part of a case; what it raises ends the case. True if it came through."""
        try:
            work()
            if self.device.is_gpu:
                import torch

                torch.cuda.synchronize()
        except WrongError as error:
            self._end(index, "wrong", str(error))
        except BaseException as error:
            self._end(index, "failed", reason_of(error))
            see_device(self.device)
        else:
            return True
        return False

    def _shared(self, problem: Problem) -> _Sets:
        if problem not in self._sets:
            timing = self.message.timing
            count = operand_sets(
                set_bytes(problem),
                cache=timing.cache,
                llc_bytes=self.device.llc_bytes,
                memory_bytes=self.device.memory_bytes,
            )
            sets = allocate(problem, self.device, sets=1 if self.message.verify_only else count)
            verifier = Verifier(operands=sets[0], data=self.message.data, seed=self.message.seed)
            self._sets[problem] = _Sets(sets=sets, verifier=verifier)
        return self._sets[problem]

    def _try(self, index: int) -> _Alive | None:
        """Bind, verify, calibrate, verify the timed launch."""
        case = self.message.cases[index]
        kernel = self.kernels[case.kernel]
        reasons: list[str | None] = []
        found: list[_Alive] = []
        self._do(index, "bind")
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            asked = self._guard(
                index, lambda: reasons.append(kernel.why_not(case.problem, self.device))
            )
            if asked and reasons[0]:
                self._end(index, "unsupported", reasons[0])
            elif asked:
                self._guard(index, lambda: found.append(self._bind(index, kernel)))
        told = self._tidy(children=True, switches=not (found and found[0].switches))
        if not found:
            return None
        alive = found[0]
        alive.heard += told
        # A library that changes over to another one says so in a warning, and nowhere else.
        alive.heard += [one_line(w.message, 300) for w in heard if w.category is UserWarning]
        return alive

    def _bind(self, index: int, kernel: Kernel) -> _Alive:
        """As asked; where tuned settings do not work, by the kernel's default."""
        case = self.message.cases[index]
        try:
            return self._ready(index, kernel, case.settings)
        except Exception as error:
            entry = None
            if case.settings is None and kernel.space is not None:
                entry = nearest(kernel.name, case.problem, self.device)
            if entry is None:
                raise
            why = one_line(reason_of(error), 200)
            default = kernel.settings(case.problem, self.device)[0]
        alive = self._ready(index, kernel, default)
        alive.heard.append(f"settings tuned at {entry.shape} left for the default's: {why}")
        return alive

    def _ready(self, index: int, kernel: Kernel, settings: Settings | None) -> _Alive:
        problem = self.message.cases[index].problem
        shared = self._shared(problem)
        verifier = shared.verifier
        verifier.begin()
        began = time.monotonic()
        bound = [kernel.launch(operands, settings=settings) for operands in shared.sets]
        launches = [
            _prepared(launch, operands) for launch, operands in zip(bound, shared.sets, strict=True)
        ]
        setup_s = time.monotonic() - began
        self._do(index, "verify")
        began = time.monotonic()
        verifier.exact(_once(launches[0], shared.sets[0]), salt=1)
        first_s = time.monotonic() - began
        if self.device.is_gpu:
            setup_s += first_s  # the first launch compiles, and loads the library
        subject = self._bench.subject(launches, shared.sets)
        slow = not self.device.is_gpu and first_s > SLOW_LAUNCH_S and kernel.tier == "naive"
        self._do(index, "calibrate")
        subject.calibrate()
        slow = slow and subject.launch_s() > SLOW_LAUNCH_S
        self._do(index, "verify")
        spread = self._spread(shared)
        verifier.rounding(subject.run_checked, spread=spread)
        if not slow:
            verifier.exact(subject.run_checked, salt=2, spread=spread)
        alive = _Alive(
            index=index,
            subject=subject,
            sets=shared,
            slow=slow,
            switches=bound[0].prepare is not None,
        )
        self._note(alive)
        if subject.warning():
            alive.heard.append(subject.warning())
        first: Launch = launches[0]
        compiled: tuple[Compiled, ...] = ()
        with contextlib.suppress(Exception):  # what cannot be read is not known, and fails no case
            compiled = facts_of(first, problem, self.device)
        if told := doubt(kernel, compiled):
            alive.heard.append(told)
        self.send(
            Bound(
                case=index,
                setup_s=setup_s,
                encoding=self.device.encoding(problem.precision),
                launch=subject.mode(),
                sets=len(shared.sets),
                config=dict(first.config),
                tile=first.tile,
                grid=first.grid,
                splits=first.splits,
                compiled=compiled,
                launch_s=subject.launch_s(),
            )
        )
        return alive

    def _spread(self, shared: _Sets) -> Callable[[], None]:
        return shared.spread if self.device.is_gpu else shared.spread_to_last

    def _note(self, case: _Alive) -> None:
        verifier = case.sets.verifier
        case.error = max(case.error, verifier.error)
        case.rows = max(case.rows, verifier.rows)
        case.checks += verifier.checks
        verifier.begin()

    def _turns(self, alive: list[_Alive]) -> list[_Alive]:
        return take_turns(
            *(alive, self._turn),
            timing=self.message.timing,
            seed=self.message.seed,
            send=self.send,
        )

    def _turn(self, case: _Alive, number: int) -> Turn | None:
        taken: list[Turn] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            came_through = self._guard(case.index, lambda: taken.append(case.subject.turn(number)))
        told = self._tidy(children=not came_through, switches=not case.switches)
        if not came_through:
            return None
        case.heard += told
        return taken[0]

    def _verify_after(self, case: _Alive) -> bool:
        """Both checks again, on the launch that was timed."""
        shared = case.sets
        spread = self._spread(shared)

        def check() -> None:
            if not case.slow:
                shared.verifier.rounding(case.subject.run_checked, spread=spread)
            shared.verifier.exact(case.subject.run_checked, salt=2, spread=spread)

        self._do(case.index, "verify again")
        shared.verifier.begin()
        passed = self._guard(case.index, check)
        told = self._tidy(children=True, switches=not case.switches)
        if passed:
            self._note(case)
            case.heard += told
        return passed


def _prepared(launch: Launch, operands: Operands) -> Launch:
    """One that sets no switches of torch's gets those of its precision, not the last kernel's."""
    if launch.prepare or not operands.device.is_gpu:
        return launch
    from gemmkernels.library.switches import set_switches

    tf32 = operands.problem.precision == "tf32"
    return replace(launch, prepare=partial(set_switches, tf32=tf32))


def _once(launch: Launch, operands: Operands) -> Execute:
    def run() -> "tuple[torch.Tensor, ...]":
        if launch.prepare:
            launch.prepare()
        return (output_of(launch, operands),)

    return run
