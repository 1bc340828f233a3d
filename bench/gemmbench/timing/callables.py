"""Measure any callables against each other, from Python."""

import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gemmbench.timing.contention import LostTime
from gemmbench.timing.host import HostSubject, HostTiming, take_turn
from gemmbench.timing.rounds import rounds
from gemmbench.timing.statistics import (
    FLOOR_BESIDE,
    SYSTEMATIC_FLOOR,
    estimate,
    paired_ratio,
    with_floor,
)
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import Verdict, has_neighbour, too_few, values, verdict
from gemmkernels.errors import GemmbenchError

CLEAR = 1.2 * SYSTEMATIC_FLOOR
"""With a neighbour about, a ratio is claimed only if its half-width is hardly above the floor."""

_sessions = itertools.count()
_WORSE: tuple[Verdict, ...] = ("converged", "drifting", "noisy", "contended", "throttled")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The time of one callable. `median_us` with its 95% interval, microseconds a call.

    `samples_ns` are all samples of all turns, nanoseconds a call. `clock` is "perf_counter_ns", or
    "cuda events" (HIP events on ROCm). The interval is NaN below six rounds. `session` tells which
    were measured together.
    """

    name: str
    samples_ns: tuple[float, ...]
    median_us: float
    low_us: float
    high_us: float
    verdict: Verdict
    clock: str
    turns: tuple[Turn, ...]
    session: int


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """How many times faster one was than another, with its 95% interval.

    NaN, with the verdict `contended`, where neighbours on the cores leave it unsure by over 0.6%.
    """

    ratio: float
    low: float
    high: float
    verdict: Verdict


def measure(
    functions: Mapping[str, Callable[[], object]],
    *,
    device: str = "cpu",
    target: float = 0.01,
    max_time_s: float = 2.0,
    seed: int = 0,
) -> dict[str, Measurement]:
    """Measure callables in turns, so that what disturbs one disturbs all.

    >>> import gemmbench
    >>> found = gemmbench.measure({"sum": lambda: sum(range(999))}, max_time_s=0.6)
    >>> found["sum"].median_us > 0
    True

    `device` is cpu, or cuda:0 for functions that launch work on the current stream of that device.
    `target` is the half-width of the interval to reach, as a fraction. Looks after 10 rounds, then
    at times 1.5; ends at the target, or with the round in which `max_time_s` runs out. Raises
    GemmbenchError for no functions, a target or time that is not positive, or an unusable device;
    what a function raises is passed on.
    """
    if not functions:
        raise GemmbenchError("nothing to measure: give measure() a dict of name → callable")
    for name, function in functions.items():
        if not callable(function):
            raise GemmbenchError(f"{name} = {function!r} cannot be called")
    if not (target > 0 and max_time_s > 0):
        raise GemmbenchError(f"target = {target} and max_time_s = {max_time_s} must be positive")
    session = next(_sessions)
    if device == "cpu":
        clock, turners, close = _on_host(functions)
    else:
        from gemmbench.timing.gpu import turners_of_callables

        clock, turners, close = turners_of_callables(functions, _usable(device))
    try:
        taken = rounds(
            turners,
            min_rounds=10,
            max_rounds=10_000,
            max_time_s=max_time_s,
            target=target,
            seed=seed,
        )
    finally:
        close()
    return {
        name: _measurement(name, turns, clock, target, session) for name, turns in taken.items()
    }


def speedup(slow: Measurement, fast: Measurement) -> Speedup:
    """How many times faster `fast` is than `slow`, from the paired turns of each round.

    Never narrower than ±0.5%, beside a neighbour than ±1%. Raises GemmbenchError when the two were
    not measured together.
    """
    for side in (slow, fast):
        if not isinstance(side, Measurement):
            raise GemmbenchError(f"{side!r} is no Measurement: give two that measure() returned")
    if slow.session != fast.session:
        raise GemmbenchError(
            f"{slow.name} and {fast.name} were not measured together: give both to one measure()"
        )
    found = paired_ratio(values(slow.turns), values(fast.turns))
    beside = has_neighbour(slow.turns) or has_neighbour(fast.turns)
    if too_few(slow.turns) or too_few(fast.turns) or (beside and not found.half_width <= CLEAR):
        return Speedup(ratio=math.nan, low=math.nan, high=math.nan, verdict="contended")
    if beside:
        found = with_floor(found, FLOOR_BESIDE)
    worse = max(slow.verdict, fast.verdict, key=_WORSE.index)
    if worse == "contended":  # the times are, but the ratio could be told all the same
        worse = "noisy"
    return Speedup(ratio=found.value, low=found.low, high=found.high, verdict=worse)


def _measurement(
    name: str, turns: tuple[Turn, ...], clock: str, target: float, session: int
) -> Measurement:
    found = estimate(list(values(turns).values()))
    return Measurement(
        name=name,
        samples_ns=tuple(itertools.chain.from_iterable(t.samples_ns or () for t in turns)),
        median_us=found.value / 1e3,
        low_us=found.low / 1e3,
        high_us=found.high / 1e3,
        verdict=verdict(turns, target=target),
        clock=clock,
        turns=turns,
        session=session,
    )


def _usable(device: str) -> str:
    """The GPU's name in torch. Raises GemmbenchError where torch cannot use it."""
    name = str(device)  # torch.device("cuda:0") will do, too
    if not re.fullmatch(r"cuda(:\d{1,3})?", name):
        raise GemmbenchError(f"device {name!r} is none of cpu, cuda, cuda:0, …: give one of these")
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:  # the latter of a build for CPUs only
        count = torch.cuda.device_count()
        raise GemmbenchError(
            f"device {name!r}: torch sees {count} {'GPU' if count == 1 else 'GPUs'}, and cannot "
            f"use this one: {str(error).partition(chr(10))[0].rstrip('.')}: see gemmbench doctor, "
            "or give device='cpu'"
        ) from error
    return name


def _on_host(
    functions: Mapping[str, Callable[[], object]],
) -> tuple[str, dict[str, Callable[[int], Turn]], Callable[[], None]]:
    # Turns of 20 ms in samples of at least 0.2 ms: short samples dodge a neighbour's bursts.
    timing = HostTiming(settle_s=0.010, turn_s=0.020, sample_s=0.0005)
    subjects = {name: HostSubject([function]) for name, function in functions.items()}
    for subject in subjects.values():
        subject.calibrate(timing)
    lost = LostTime()  # opens files: only now, as a function may raise in its calibration

    def turner(subject: HostSubject) -> Callable[[int], Turn]:
        return lambda number: take_turn(subject, number=number, timing=timing, lost=lost)

    turners = {name: turner(subject) for name, subject in subjects.items()}
    return "perf_counter_ns", turners, lost.close
