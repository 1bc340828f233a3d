"""Repeats of a case pooled into one row: what differs between processes decides the interval."""

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from gemmbench.timing.statistics import Estimate, estimate_over_repeats

if TYPE_CHECKING:
    import pandas as pd

CASE = ("run_id", "group", "kernel", "precision", "modes")
"""What a case is, apart from its repeat."""

_WORST_STATUS = ("wrong", "failed", "timeout", "ok", "interrupted", "unsupported")
_WORST_VERDICT = ("throttled", "contended", "drifting", "noisy", "imported", "converged")
_PER_REPEAT = ("repeat", "turn_us", "anchor_us", "anchor_us_low", "anchor_us_high", "anchor_error")


def pooled(df: "pd.DataFrame") -> "pd.DataFrame":
    """One row a case, over its repeats; columns of `load`, less those of a single repeat, plus
    `n_repeats`, those that count, of `of_repeats`, and `spread_pct`, the standard deviation between
    them in percent.

    Over several repeats times are geometric means with Student's interval, and `converged` or
    `noisy` is said of that interval. A case is as bad as its worst repeat, but contended repeats
    are left out; it is contended where they are more than half.
    """
    kept = df.drop(columns=list(_PER_REPEAT))
    numbers = df.groupby(list(CASE), sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(numbers, return_index=True)[1]
    out = kept.iloc[first].reset_index(drop=True)
    out["n_repeats"] = out["status"].eq("ok").astype("int64")
    out["of_repeats"] = out["n_repeats"]
    out["spread_pct"] = math.nan
    if len(first) < len(df):
        _overwrite(out, df, numbers)
    return out


def _overwrite(out: "pd.DataFrame", df: "pd.DataFrame", numbers: "np.ndarray") -> None:
    """Give the cases of several rows the figures of all of them."""
    order = np.argsort(numbers, kind="stable")
    bounds = np.flatnonzero(np.diff(numbers[order])) + 1
    columns = {name: out[name].tolist() for name in _POOLED}
    source = {name: df[name].tolist() for name in (*_SOURCE, *_POOLED) if name in df.columns}
    for rows in np.split(order, bounds):
        if len(rows) > 1:
            one = _pool({name: [values[row] for row in rows] for name, values in source.items()})
            for name, value in one.items():
                columns[name][numbers[rows[0]]] = value
    for name, values in columns.items():
        out[name] = type(out[name])(values, dtype=out[name].dtype)


_NAMES = """
status reason n_samples n_rounds time_us time_us_low time_us_high verdict power_limited tflops
tflops_low tflops_high gbps pct_peak clock_mhz power_w tflops_per_w error impossible n_repeats
of_repeats spread_pct warnings sparse_tflops pct_sparse_peak pct_roof pct_peak_at_clock
"""
_POOLED = tuple(_NAMES.split())
_SOURCE = ("target", "intensity", "peak_tflops", "sparse_peak_tflops", "roof_tflops")


def _pool(rows: dict[str, list[object]]) -> dict[str, object]:
    """The pooled figures of one case's rows, as lists by column."""
    statuses = [str(status) for status in rows["status"]]
    status = min(statuses, key=_WORST_STATUS.index)
    named = statuses.index(status)
    found: dict[str, object] = {
        "status": status,
        "reason": rows["reason"][named],
        "n_samples": sum(_numbers(rows["n_samples"])),
        "n_rounds": sum(_numbers(rows["n_rounds"])),
        "error": max(_known(rows["error"]), default=math.nan),
        "impossible": any(rows["impossible"]),
        "warnings": "; ".join(dict.fromkeys(filter(None, map(str, rows["warnings"])))),
    }
    if status != "ok":
        gone = {name: math.nan for name in _POOLED if name not in found}
        return {
            **found,
            **gone,
            "verdict": None,
            "power_limited": None,
            "n_repeats": 0,
            "of_repeats": 0,
        }
    ok = [index for index, one in enumerate(statuses) if one == "ok"]
    of_repeats = len(ok)
    words = [rows["verdict"][index] for index in ok]
    contended = 2 * words.count("contended") > len(ok)
    ok = [index for index, one in zip(ok, counting(words), strict=True) if one]

    def of(name: str) -> list[float]:
        return _known([rows[name][index] for index in ok])

    times = of("time_us")
    verdicts = [str(word) for index in ok if isinstance(word := rows["verdict"][index], str)]
    verdict = min(verdicts, key=_WORST_VERDICT.index, default=None)
    verdict = "contended" if contended else verdict
    time = estimate_over_repeats(times)
    if len(times) == 1:
        low, high = (_numbers(rows[f"time_us_{end}"])[ok[0]] for end in ("low", "high"))
        time = Estimate(times[0], low, high, 1)
    elif verdict in ("noisy", "converged"):
        target = float(_numbers(rows["target"])[0])
        verdict = "converged" if time.half_width <= target else "noisy"
    if verdict == "contended":
        time = Estimate(time.value, math.nan, math.nan, time.n)
    work, sparse_work = (
        of(name)[0] * times[0] if times and of(name) else math.nan
        for name in ("tflops", "sparse_tflops")
    )
    tflops, sparse = work / time.value, sparse_work / time.value
    peak = _numbers(rows["peak_tflops"])[0]
    intensity = _numbers(rows["intensity"])[0]
    power = _middle(of("power_w"))
    limited = [rows["power_limited"][index] for index in ok]
    return {
        **found,
        "time_us": time.value,
        "time_us_low": time.low,
        "time_us_high": time.high,
        "verdict": verdict,
        "power_limited": True if any(one is True for one in limited) else limited[0],
        "tflops": tflops,
        "tflops_low": work / time.high,
        "tflops_high": work / time.low,
        "gbps": 1e3 * (sparse if math.isnan(tflops) else tflops) / intensity,
        "pct_peak": 100 * tflops / peak,
        "sparse_tflops": sparse,
        "pct_sparse_peak": 100 * sparse / _numbers(rows["sparse_peak_tflops"])[0],
        "pct_roof": 100 * tflops / _numbers(rows["roof_tflops"])[0],
        "clock_mhz": _middle(of("clock_mhz")),
        "pct_peak_at_clock": _middle(of("pct_peak_at_clock")),
        "power_w": power,
        "tflops_per_w": tflops / power if power > 0 else math.nan,
        "n_repeats": len(times),
        "of_repeats": of_repeats,
        "spread_pct": 100 * float(np.log(times).std(ddof=1)) if len(times) > 1 else math.nan,
    }


def counting(verdicts: Sequence[object]) -> tuple[bool, ...]:
    """Which of a case's measured repeats its figures are of: contended ones are left out, unless
    all are."""
    clean = tuple(one != "contended" for one in verdicts)
    return clean if any(clean) else (True,) * len(clean)


def _numbers(values: Sequence[object]) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float)]


def _known(values: Sequence[object]) -> list[float]:
    return [value for value in _numbers(values) if not math.isnan(value)]


def _middle(values: Sequence[float]) -> float:
    return median(values) if values else math.nan
