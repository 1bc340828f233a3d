"""What can be said of a series of turns: can its figures be trusted, and if not, why not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from operator import attrgetter
from typing import Literal, TypeAlias

import numpy as np

from gemmbench.timing.drift import drifting
from gemmbench.timing.statistics import LEAST_ROUNDS, Floats, equally_long, estimates
from gemmbench.timing.turn import AnyTurn, Turn

Verdict = Literal["converged", "noisy", "drifting", "throttled", "contended", "imported"]
"""`imported` is said of what another tool measured: nothing here judged it."""

Flags: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"

THROTTLING = ("thermal", "hw_slowdown", "power_brake")
"""Limit reasons that are faults. `power` is not one: a large GPU lives at its power limit."""

THROTTLED_SHARE = 0.01
USABLE_SHARE = 0.5

LOST_SAMPLES = 0.2
OTHERS = 0.15

AT_ONCE = 2_000
"""Series that are judged together: the turns of more don't fit into a cache."""

HOPELESS = 5.0
"""Times the target: with a neighbour about, a wider interval holds nothing worth claiming."""


def usable(turn: AnyTurn) -> bool:
    """Has the turn a value: are at least half of its samples, and one, clean?"""
    clean, taken = turn.n_samples - turn.disturbed, turn.n_samples
    return turn.median_ns is not None and clean >= 1 and clean >= USABLE_SHARE * taken


def values(turns: Sequence[AnyTurn]) -> dict[int, float]:
    """Round → median nanoseconds per launch, of the usable turns in time order."""
    return {t.round: t.median_ns for t in turns if t.median_ns is not None and usable(t)}


def has_neighbour(turns: Sequence[AnyTurn]) -> bool:
    """Did others use the cores while the turns ran: 15% of a core, or a fifth of the samples?

    Less than that is the machine's own housekeeping: a kernel thread now and then, and ticks of
    10 ms by which core time is counted.
    """
    return bool(judged([turns], target=math.inf).beside[0])


def stalls(turns: Sequence[Turn]) -> float:
    """Share of the samples that took over twice their turn's median; 0 beside a neighbour.

    The median hides them, and whoever waits for every launch does not.
    """
    if has_neighbour(turns):
        return 0.0
    slow = samples = 0
    for turn in turns:
        if turn.median_ns is not None:
            slow += sum(sample > 2 * turn.median_ns for sample in turn.clean_ns)
            samples += len(turn.clean_ns)
    return slow / samples if samples else 0.0


def too_few(turns: Sequence[AnyTurn]) -> bool:
    """Were so many turns lost to a neighbour that the rest says nothing?

    Fewer than six have a value, or fewer than half of them.
    """
    return _too_few(len(values(turns)), len(turns))


def _too_few(kept: int, taken: int) -> bool:
    return kept < taken and (kept < LEAST_ROUNDS or kept < taken / 2)


def verdict(
    turns: Sequence[AnyTurn], *, target: float, limits_ns: Mapping[str, float] | None = None
) -> Verdict:
    """One word for a series of turns, as `judged` finds it."""
    return judged([turns], target=target, limits_ns=[limits_ns or {}]).verdicts[0]


@dataclass(frozen=True)
class Judged:
    """What is known of many series of turns, an item a series.

    `turns_ns` maps the rounds of the usable turns to their medians; `time_ns` is the median of
    those, with its interval; NaN where there is none. `clock_mhz` and `power_w` are the medians of
    all turns that saw one, `span_ns` is the time of all turns.
    """

    turns_ns: list[dict[int, float]]
    time_ns: tuple[Floats, Floats, Floats]
    verdicts: list[Verdict]
    beside: Flags
    span_ns: Floats
    clock_mhz: Floats
    power_w: Floats


def judged(
    series: Sequence[Sequence[AnyTurn]],
    *,
    target: float,
    limits_ns: Sequence[Mapping[str, float]] | None = None,
) -> Judged:
    """Judge many series of turns at once: far faster than one by one.

    The verdict is, in this order: `throttled`, a fault reason was active; `contended`, others used
    the cores so that too few turns are left, or the half-width is over 5 times the target;
    `drifting`; `converged`, the half-width is within `target` (a fraction); `noisy`. `limits_ns` is
    the time that each limit reason was active while the turns of a series ran.
    """
    limits_ns = limits_ns or [{}] * len(series)
    parts = [
        _judged(series[start : start + AT_ONCE], target, limits_ns[start : start + AT_ONCE])
        for start in range(0, max(1, len(series)), AT_ONCE)
    ]
    if len(parts) == 1:
        return parts[0]
    middle, low, high = map(np.concatenate, zip(*(one.time_ns for one in parts), strict=True))
    return Judged(
        turns_ns=[turns for one in parts for turns in one.turns_ns],
        time_ns=(middle, low, high),
        verdicts=[word for one in parts for word in one.verdicts],
        beside=np.concatenate([one.beside for one in parts]),
        span_ns=np.concatenate([one.span_ns for one in parts]),
        clock_mhz=np.concatenate([one.clock_mhz for one in parts]),
        power_w=np.concatenate([one.power_w for one in parts]),
    )


@np.errstate(over="ignore")  # a damaged file may hold 1e308
def _judged(
    series: Sequence[Sequence[AnyTurn]], target: float, limits_ns: Sequence[Mapping[str, float]]
) -> Judged:
    count = len(series)
    turns = list(chain.from_iterable(series))
    sizes = [len(one) for one in series]
    owner = np.repeat(np.arange(count), sizes)

    def of_turns(name: str) -> Floats:
        found = list(map(attrgetter(name), turns))
        unseen = found.count(None) == len(found)
        return np.full(len(found), math.nan) if unseen else np.array(found, dtype=float)

    def total(amount: Floats) -> Floats:
        return np.bincount(owner, weights=amount, minlength=count).astype(float)

    median, samples, disturbed = map(of_turns, ("median_ns", "n_samples", "disturbed"))
    clean, lasted, others = (
        samples - disturbed,
        of_turns("stop_s") - of_turns("start_s"),
        of_turns("others_s"),
    )
    kept = ~np.isnan(median) & (clean >= 1) & (clean >= USABLE_SHARE * samples)
    of_others = total(np.nan_to_num(others))
    watched = total(np.where(np.isnan(others), 0.0, lasted))
    beside = (total(disturbed) > LOST_SAMPLES * total(samples)) | (
        (of_others > OTHERS * watched) & (watched > 0)
    )
    span_ns = total(lasted) * 1e9
    turns_ns = _by_round(turns, median, kept, sizes)
    time_ns = tuple(np.full(count, math.nan) for _ in range(3))
    drifted = np.zeros(count, dtype=bool)
    for places, matrix in equally_long([list(one.values()) for one in turns_ns]):
        for ends, found in zip(time_ns, estimates(matrix), strict=True):
            ends[places] = found
        drifted[places] = drifting(matrix, target)
    middle, low, high = time_ns
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.where(middle > 0, (high - low) / (2 * middle), math.nan)
    held = [_held(one) for one in limits_ns]
    throttled = (span_ns > 0) & (np.array(held, dtype=float) > THROTTLED_SHARE * span_ns)
    few = [_too_few(len(one), size) for one, size in zip(turns_ns, sizes, strict=True)]
    words = np.select(
        [
            throttled,
            np.array(few, dtype=bool),
            ~drifted & (width <= target),
            beside & ~(width <= HOPELESS * target),
            drifted,
        ],
        ["throttled", "contended", "converged", "contended", "drifting"],
        default="noisy",
    )
    return Judged(
        turns_ns=turns_ns,
        time_ns=(middle, low, high),
        verdicts=words.tolist(),
        beside=beside,
        span_ns=span_ns,
        clock_mhz=_middles(of_turns("clock_mhz"), owner, count),
        power_w=_middles(of_turns("power_w"), owner, count),
    )


def _held(limits_ns: Mapping[str, float]) -> float:
    return max(limits_ns.get(reason, 0.0) for reason in THROTTLING) if limits_ns else 0.0


def _by_round(
    turns: Sequence[AnyTurn], median: Floats, kept: Flags, sizes: Sequence[int]
) -> list[dict[int, float]]:
    rounds, medians, all_kept = [turn.round for turn in turns], median.tolist(), bool(kept.all())
    flags = kept.tolist()
    found, start = [], 0
    for size in sizes:
        stop = start + size
        one = zip(rounds[start:stop], medians[start:stop], strict=True)
        if all_kept:
            found.append(dict(one))
        else:
            found.append(dict(compress(one, flags[start:stop])))
        start = stop
    return found


def _middles(
    seen: Floats, owner: "np.ndarray[tuple[int], np.dtype[np.intp]]", count: int
) -> Floats:
    """The median of what each series saw; NaN where it saw nothing."""
    found = np.full(count, math.nan)
    known = ~np.isnan(seen)
    if known.any():
        series: list[list[float]] = [[] for _ in range(count)]
        for index, value in zip(owner[known].tolist(), seen[known].tolist(), strict=True):
            series[index].append(value)
        for places, matrix in equally_long(series):
            found[places] = np.median(matrix, axis=1)
    return found
