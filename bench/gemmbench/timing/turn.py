"""A turn: one stretch of one kernel alone, and what was seen while it ran."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""What a DataFrame's integers hold, also when thousands of them are added up."""


class TurnOutline(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a table of runs needs of a `Turn`: a third of the time to read, a fifth of the memory.

    Fields as in `Turn`.
    """

    round: Count
    start_s: float
    stop_s: float
    n_samples: Count
    disturbed: Count
    median_ns: float | None
    others_s: float | None = None
    clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn. Times are nanoseconds per launch, `start_s` and `stop_s` on the monotonic clock.

    `median_ns` is over the clean samples, those with no involuntary context switch and no steal
    time; None when there was none. `disturbed` counts the others, and `disturbed_at` are their
    places in `samples_ns`, which is None where the journal kept only the median. `others_s` is core
    time that other processes (and, as steal time, other guests) used in the turn. What could not be
    seen in the turn's window is None.
    """

    round: Count
    start_s: float
    stop_s: float
    settle_s: float
    launches: Count
    n_samples: Count
    disturbed: Count
    median_ns: float | None
    samples_ns: tuple[float, ...] | None = None
    disturbed_at: tuple[Count, ...] = ()
    others_s: float | None = None
    clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None

    @property
    def clean_ns(self) -> tuple[float, ...]:
        """The undisturbed ones of `samples_ns`; old files do not tell them apart."""
        spoilt = set(self.disturbed_at)
        return tuple(one for i, one in enumerate(self.samples_ns or ()) if i not in spoilt)


AnyTurn: TypeAlias = Turn | TurnOutline
