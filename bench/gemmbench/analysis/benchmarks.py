"""Cases in the terms of pytest-benchmark: data in seconds, its statistics, its `extra_info`."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.pool import CASE
from gemmbench.analysis.rows import rows_of
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = """
device device_id arch kernel tier backend precision encoding label layout batch experts m n k
threads data cache launch preset unsettled modes verdict power_limited time_us time_us_low
time_us_high tflops tflops_low tflops_high gbps peak_tflops pct_peak peak_unit impossible
roof_tflops pct_roof clock_mhz power_w n_samples error
"""
COLUMNS = tuple(_COLUMNS.split())

POSSIBLE_S = (1e-15, 1e9)
"""A damaged file can hold any number; from within this range all statistics are finite."""

Case = tuple[object, ...]


def extra_info(row: Any) -> dict[str, str | int | float | bool]:
    """The columns of a row of `load` or `pooled` by their names, with its `shape` and its `clock`.

    What was not measured is not in it: JSON has no NaN. Any, as no type checker knows what a
    column holds.
    """
    found: dict[str, str | int | float | bool] = {
        "shape": shape_text(row.m, row.n, row.k, row.batch, row.experts),
        "clock": "perf_counter_ns" if row.launch == "loop" else "cuda events",
    }
    for name in COLUMNS:
        value = getattr(row, name)
        known = isinstance(value, bool | int) or (isinstance(value, str) and bool(value))
        if known or (isinstance(value, float) and math.isfinite(value)):
            found[name] = value
    return found


def case_of(row: Any) -> Case:
    """What a row of `load` or `pooled` shares with the other repeats of its case."""
    return tuple(getattr(row, name) for name in CASE)


def turn_medians(df: "pd.DataFrame") -> Mapping[Case, Sequence[float]]:
    """Seconds a launch, one a turn, of each case in rows of `load`: of the repeats that count.

    As in `pooled`, contended repeats count only where there are no others.
    """
    calm: dict[Case, list[float]] = {}
    contended: dict[Case, list[float]] = {}
    low, high = POSSIBLE_S
    for row in rows_of(df):
        times = [us / 1e6 for us in row.turn_us.values() if low <= us / 1e6 <= high]
        if row.status == "ok" and times:
            kind = contended if row.verdict == "contended" else calm
            kind.setdefault(case_of(row), []).extend(times)
    return contended | calm


def stats(times_s: Sequence[float]) -> dict[str, float | int | str | list[float]]:
    """The fields of pytest-benchmark's Stats, by its definitions: its quartiles are Hazen's."""
    import numpy as np

    q1, median, q3 = np.quantile(times_s, (0.25, 0.5, 0.75), method="hazen").tolist()
    mean = statistics.mean(times_s)
    stddev = statistics.stdev(times_s) if len(times_s) > 1 else 0.0
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    within = [one for one in times_s if low <= one <= high]
    far = sum(not mean - stddev <= one <= mean + stddev for one in times_s)
    return {
        "min": min(times_s),
        "max": max(times_s),
        "mean": mean,
        "stddev": stddev,
        "rounds": len(times_s),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": len(times_s) - len(within),
        "stddev_outliers": far,
        "outliers": f"{far};{len(times_s) - len(within)}",
        "ld15iqr": min(within),
        "hd15iqr": max(within),
        "ops": len(times_s) / sum(times_s),
        "total": sum(times_s),
        "data": list(times_s),
        "iterations": 1,
    }
