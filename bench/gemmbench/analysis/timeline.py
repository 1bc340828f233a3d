"""The turns of a run in order of time, and when its device was held back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from gemmbench.records.reader import Run
from gemmbench.records.schema import Record
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import THROTTLED_SHARE, THROTTLING

REST = 0.02
"""Between two sittings, as a share of the one before: how long it was, no clock tells."""


MOST_S = 1e8
"""Three years: what lasted longer is of a damaged file."""


@dataclass(frozen=True)
class Moment:
    """One turn, from `start_s` to `stop_s` of the run, in seconds. `throttled` names the faults
    that held the clock in the turns of its record."""

    kernel: str
    repeat: int
    start_s: float
    stop_s: float
    turn: Turn
    throttled: tuple[str, ...]

    @property
    def middle_s(self) -> float:
        return (self.start_s + self.stop_s) / 2


def timeline(run: Run) -> list[Moment]:
    """All turns in order. Each sitting of a resumed run has a clock of its own, so it follows the
    one before."""
    by_sitting: dict[int, list[tuple[Record, Turn]]] = {}
    for record in run.records:
        sound = [(record, turn) for turn in record.turns if _is_sound(turn)]
        if sound:
            by_sitting.setdefault(record.sitting, []).extend(sound)
    held = {record.case: throttling(record) for record in run.records if record.limits}
    found: list[Moment] = []
    begins_s = 0.0
    for _, turns in sorted(by_sitting.items()):
        first_s = min(turn.start_s for _, turn in turns)
        last_s = max(turn.stop_s for _, turn in turns)
        shift_s = begins_s - first_s
        found += [
            Moment(
                *(record.kernel, record.repeat, turn.start_s + shift_s, turn.stop_s + shift_s),
                *(turn, held.get(record.case, ()) if held else ()),
            )
            for record, turn in turns
        ]
        begins_s += (last_s - first_s) * (1 + REST)
    return sorted(found, key=lambda one: one.start_s)


def _is_sound(turn: Turn) -> bool:
    return abs(turn.start_s) < MOST_S and 0 <= turn.stop_s - turn.start_s < MOST_S


def throttling(record: Record) -> tuple[str, ...]:
    """The faults that held the clock for a share of the record's turns that counts."""
    return _held(record, THROTTLING)


def is_power_limited(record: Record) -> bool:
    """Was the power limit active for as much of them, as in the column `power_limited`?"""
    return bool(_held(record, ("power",)))


def _held(record: Record, reasons: Sequence[str]) -> tuple[str, ...]:
    span_ns = 1e9 * sum(turn.stop_s - turn.start_s for turn in record.turns)
    return tuple(
        reason
        for reason in reasons
        if span_ns > 0 and (record.limits.get(reason) or 0.0) > THROTTLED_SHARE * span_ns
    )


def repeats(moments: Sequence[Moment]) -> list[tuple[int, float, float]]:
    """(repeat, from, to) in seconds, one after the other."""
    found = []
    for repeat, some in groupby(moments, key=lambda one: one.repeat):
        mine = list(some)
        found.append((repeat, mine[0].start_s, max(one.stop_s for one in mine)))
    return found


def throttled(moments: Sequence[Moment], *, apart_s: float) -> list[tuple[float, float]]:
    """From when to when, in seconds; spans that are nearer together than `apart_s` are one."""
    spans: list[tuple[float, float]] = []
    for one in moments:
        if not one.throttled:
            continue
        if spans and one.start_s - spans[-1][1] < apart_s:
            spans[-1] = spans[-1][0], max(spans[-1][1], one.stop_s)
        else:
            spans.append((one.start_s, one.stop_s))
    return spans
