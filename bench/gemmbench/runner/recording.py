"""From what a worker said of a case to the record that is kept of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from gemmbench.devices.telemetry import Telemetry
from gemmbench.inspect.question import together
from gemmbench.records.journal import keep_samples
from gemmbench.records.schema import Check, Record, Status
from gemmbench.runner.messages import Bound, Case, Ended, KernelInfo, Ready
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import stalls
from gemmbench.verify import numerics

STALLS = 0.01
"""A share of samples that is told; fewer are the machine's own."""


@dataclass(kw_only=True)
class Progress:
    """What is known so far of one case of the group under way."""

    case: Case
    bound: Bound | None = None
    turns: list[Turn] = field(default_factory=list)
    status: Status | None = None
    reason: str = ""
    ended: Ended | None = None

    @property
    def called(self) -> tuple[str, str]:
        return self.case.kernel, self.case.problem.precision

    def begin(self) -> None:
        self.bound, self.turns = None, []

    def hear(self, message: Bound | Ready | Ended) -> None:
        match message:
            case Bound():
                self.bound = message
            case Ended():
                self.ended = message

    def end(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason


def make_record(
    progress: Progress,
    *,
    group: str,
    repeat: int,
    info: KernelInfo,
    telemetry: Telemetry | None,
    encoding: Callable[[str], str],
    sitting: int,
) -> Record:
    """The record of a case that has ended; only an `ok` one keeps its turns."""
    assert progress.status is not None
    problem = progress.case.problem
    row = problem.numerics
    bound, ended = progress.bound, progress.ended
    turns = tuple(progress.turns) if progress.status == "ok" else ()
    seen = Seen.of(turns, telemetry)
    checked = ended is not None and ended.checks > 0
    record = Record(
        group=group,
        repeat=repeat,
        sitting=sitting,
        kernel=info.name,
        tier=info.tier,
        backend=info.backend,
        base=info.base,
        m=problem.m,
        n=problem.n,
        k=problem.k,
        batch=problem.batch,
        experts=problem.experts,
        settings=progress.case.settings,
        layout=problem.layout,
        precision=problem.precision,
        label=problem.label,
        status=progress.status,
        reason=progress.reason,
        encoding=bound.encoding if bound else encoding(problem.precision),
        out_dtype=row.output,
        accumulate=row.accumulate,
        launch=bound.launch if bound else "",
        sets=bound.sets if bound else None,
        turns=seen.turns,
        n_samples=sum(turn.n_samples for turn in turns),
        check=Check(
            exact_by=ended.exact_by,
            error=ended.error if ended.error is not None else float("nan"),
            rows=ended.rows,
            checks=ended.checks,
            bound=numerics(row).source,
        )
        if ended is not None and checked
        else None,
        config=dict(bound.config) if bound else {},
        tile=bound.tile if bound else None,
        grid=bound.grid if bound else None,
        splits=bound.splits if bound else None,
        modes=dict(info.modes),
        ran_on=together(bound.compiled) if bound and bound.compiled else "",
        compiled=tuple(map(msgspec.structs.asdict, bound.compiled)) if bound else (),
        energy_j=seen.energy_j,
        limits=dict(seen.limits),
        warnings=(*(ended.warnings if ended else ()), *_stalls(turns)),
    )
    return keep_samples(record)


def _stalls(turns: Sequence[Turn]) -> tuple[str, ...]:
    share = stalls(turns)
    if share < STALLS:
        return ()
    return (f"{share:.1%} of the samples took over twice the median: it stalls now and then",)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Turns with what the telemetry saw in them; the rest is of all turns together."""

    turns: tuple[Turn, ...]
    energy_j: float | None
    limits: dict[str, float]

    @classmethod
    def of(cls, turns: Sequence[Turn], telemetry: Telemetry | None) -> "Seen":
        if telemetry is None:
            return cls(turns=tuple(turns), energy_j=None, limits={})
        seen: list[Turn] = []
        limits: dict[str, float] = {}
        energy: list[float | None] = []
        for turn in turns:
            window = telemetry.window(turn.start_s + turn.settle_s, turn.stop_s)
            seen.append(
                replace(
                    turn,
                    clock_mhz=window.clock_mhz,
                    power_w=window.power_w,
                    temperature_c=window.temperature_c,
                )
            )
            energy.append(window.energy_j)
            for reason, ns in window.limits_ns.items():
                limits[reason] = limits.get(reason, 0.0) + ns
        known = [joules for joules in energy if joules is not None]
        total = sum(known) if known and len(known) == len(energy) else None
        return cls(turns=tuple(seen), energy_j=total, limits=limits)
