"""What can be said of a series of turns: can its figures be trusted, and if not, why not."""

from collections.abc import Mapping, Sequence
from typing import Literal

from gemmbench.timing.statistics import LEAST_ROUNDS, drifts, estimate
from gemmbench.timing.turn import Turn

Verdict = Literal["converged", "noisy", "drifting", "throttled", "contended", "imported"]
"""`imported` is said of what another tool measured: nothing here judged it."""

THROTTLING = ("thermal", "hw_slowdown", "power_brake")
"""Limit reasons that are faults. `power` is not one: a large GPU lives at its power limit."""

THROTTLED_SHARE = 0.01
USABLE_SHARE = 0.5

LOST_SAMPLES = 0.2
OTHERS = 0.15

HOPELESS = 5.0
"""Times the target: with a neighbour about, a wider interval holds nothing worth claiming."""


def usable(turn: Turn) -> bool:
    """Has the turn a value: are at least half of its samples, and one, clean?"""
    clean, taken = turn.n_samples - turn.disturbed, turn.n_samples
    return turn.median_ns is not None and clean >= 1 and clean >= USABLE_SHARE * taken


def values(turns: Sequence[Turn]) -> dict[int, float]:
    """Round → median nanoseconds per launch, of the usable turns in time order."""
    return {t.round: t.median_ns for t in turns if t.median_ns is not None and usable(t)}


def has_neighbour(turns: Sequence[Turn]) -> bool:
    """Did others use the cores while the turns ran: 15% of a core, or a fifth of the samples?

    Less than that is the machine's own housekeeping: a kernel thread now and then, and ticks of
    10 ms by which core time is counted.
    """
    samples = sum(t.n_samples for t in turns)
    span = sum(t.stop_s - t.start_s for t in turns if t.others_s is not None)
    others = sum(t.others_s for t in turns if t.others_s is not None)
    return sum(t.disturbed for t in turns) > LOST_SAMPLES * samples or others > OTHERS * span > 0


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


def too_few(turns: Sequence[Turn]) -> bool:
    """Were so many turns lost to a neighbour that the rest says nothing?

    Fewer than six have a value, or fewer than half of them.
    """
    return _too_few(len(values(turns)), len(turns))


def _too_few(kept: int, taken: int) -> bool:
    return kept < taken and (kept < LEAST_ROUNDS or kept < taken / 2)


def verdict(
    turns: Sequence[Turn], *, target: float, limits_ns: Mapping[str, float] | None = None
) -> Verdict:
    """One word for a series of turns.

    In this order: `throttled`, a fault reason was active; `contended`, others used the cores so
    that too few turns are left, or the half-width is over 5 times the target; `drifting`;
    `converged`, the half-width is within `target` (a fraction); `noisy`. `limits_ns` is the time
    that each limit reason was active while the turns ran.
    """
    span_ns = sum(t.stop_s - t.start_s for t in turns) * 1e9
    held = max(limits_ns.get(reason, 0.0) for reason in THROTTLING) if limits_ns else 0.0
    if span_ns > 0 and held > THROTTLED_SHARE * span_ns:
        return "throttled"
    series = list(values(turns).values())
    if _too_few(len(series), len(turns)):
        return "contended"
    drifting = drifts(series, target)
    found = estimate(series)
    if not drifting and found.half_width <= target:
        return "converged"
    if has_neighbour(turns) and not found.half_width <= HOPELESS * target:
        return "contended"
    return "drifting" if drifting else "noisy"
