"""A turn: one stretch of one kernel alone, and what was seen while it ran."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn. Times are nanoseconds per launch, `start_s` and `stop_s` on the monotonic clock.

    `median_ns` is over the clean samples, those with no involuntary context switch and no steal
    time; None when there was none. `disturbed` counts the others. `samples_ns` is None where the
    journal kept only the median. `others_s` is core time that other processes (and, as steal time,
    other guests) used in the turn. What could not be seen in the turn's window is None.
    """

    round: int
    start_s: float
    stop_s: float
    settle_s: float
    launches: int
    n_samples: int
    disturbed: int
    median_ns: float | None
    samples_ns: tuple[float, ...] | None = None
    others_s: float | None = None
    clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
