"""Claims that a run decides: on the device that the claim names, and beside it on any other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gemmbench.analysis.claims.arithmetic import most_power
from gemmbench.analysis.claims.claim import Decision, Figure, Verdict, about, number
from gemmbench.analysis.claims.evidence import (
    H100,
    Known,
    cited,
    decide,
    is_cube,
    peak,
    said,
    sheet,
    source_of,
    split,
)
from gemmbench.records.published import published

FLOP = 2 * 1024**3
_CUBE = "gemmbench run --shape 1024x1024x1024 -p fp32 -p bf16"
_ON_H100 = f"on an H100: {_CUBE}, then gemmbench claims RUN"
_POWER = (
    "on an H100 SXM: gemmbench run --preset sustained --shape 8192x8192x8192 -p bf16 -p fp8_e4m3, "
    "then gemmbench claims RUN"
)
_TENSOR = ("fp16", "bf16", "tf32", "fp8_e4m3", "fp8_e5m2")


def naive_1024(known: Known) -> Decision:
    """The naive rung's fp32 time at 1024³ on an H100, against 0.5 ms."""
    floor = FLOP / peak(H100, "fp32").tflops / 1e9
    return _timed(
        known,
        claimed_ms=0.5,
        fits=lambda row: row.tier == "naive" and row.precision == "fp32",
        bound=Figure(
            what="floor: fp32 at the dense peak",
            value=floor,
            unit="ms",
            source=cited(H100, peak(H100, "fp32").sources),
        ),
    )


def tensor_1024(known: Known) -> Decision:
    """The matrix-core rung's time at 1024³ on an H100, against 0.01 ms."""
    top = peak(H100, "fp8_e4m3")
    decision = _timed(
        known,
        claimed_ms=0.01,
        fits=lambda row: row.tier == "matrix-core" and row.precision in _TENSOR,
        bound=Figure(
            what="floor: fp8 at the dense peak",
            value=FLOP / top.tflops / 1e9,
            unit="ms",
            source=cited(H100, top.sources),
        ),
        also=f"0.01 ms would be {FLOP / 1e7:.0f} TFLOPS. ",
    )
    told = [
        one
        for one in published()
        if one.device_id == H100 and one.shape == (1024, 1024, 1024) and one.kind == "measured"
    ]
    beside = tuple(
        Figure(
            what=f"published, {one.precision} by {one.software}",
            value=FLOP / one.tflops / 1e9,
            unit="ms",
            source=one.source,
        )
        for one in told
    )
    return replace(decision, figures=(*decision.figures, *beside))


def _timed(
    known: Known,
    *,
    claimed_ms: float,
    fits: Callable[[Any], bool],
    bound: Figure,
    also: str = "",
) -> Decision:
    best = known.best(lambda row: is_cube(row, 1024) and fits(row), of=lambda row: -row.time_us)
    row, others = split(best, H100)
    here = tuple(
        f"{one.device}: {_ms(one)} ({one.kernel}, {one.precision}{_unsure(one)})" for one in others
    )
    if row is None:
        return Decision(
            verdict="undecided here",
            because=f"{also}Not forbidden: the floor on an H100 is {number(bound.value)} ms.",
            figures=(bound,),
            here=here,
            needs=_ON_H100,
        )
    time = row.time_us / 1e3
    impossible = time < bound.value
    verdict: Verdict = "holds" if about(time, claimed_ms) and not impossible else "does not hold"
    return Decision(
        verdict=verdict if decide(row) else "undecided here",
        because=(
            f"{also}{said(row)}: {_ms(row)} by {row.kernel} in {row.precision}, "
            f"{time / claimed_ms:.2f} times the claim."
            + (" That is below the floor: the measurement is wrong." if impossible else "")
        ),
        figures=(Figure(what=_what(row), value=time, unit="ms", source=source_of(row)), bound),
        here=here,
        needs="" if decide(row) else _ON_H100,
    )


def speedup_50(known: Known) -> Decision:
    """The paired ratio of the two rungs at 1024³ on an H100, against 50."""
    best = known.best(
        lambda row: is_cube(row, 1024) and row.tier == "matrix-core" and row.speedup > 1,
        of=lambda row: row.speedup,
    )
    row, others = split(best, H100)
    fast, slow = peak(H100, "bf16"), peak(H100, "fp32")
    units = Figure(
        what="dense peaks, bf16 over fp32",
        value=fast.tflops / slow.tflops,
        unit="times",
        source=cited(H100, tuple(dict.fromkeys((*fast.sources, *slow.sources)))),
    )
    here = tuple(
        f"{one.device}: {_times(one)} ({one.kernel} over {one.base_kernel}, {one.precision}"
        f"{_unsure(one)})"
        for one in others
    )
    apart = (
        f"The peaks of the units differ by {units.value:.1f} (bf16 over fp32): what is more is the "
        "naive kernel's own slowness."
    )
    if row is None:
        return Decision(
            verdict="undecided here",
            because=f"0.5 ms over 0.01 ms is 50; no run of both. {apart}",
            figures=(units,),
            here=here,
            needs=_ON_H100,
        )
    measured = Figure(what="speedup", value=row.speedup, unit="times", source=source_of(row))
    return Decision(
        verdict="undecided here"
        if not decide(row)
        else "holds"
        if about(row.speedup, 50)
        else "does not hold",
        because=(
            f"{said(row)}: {_times(row)}, {row.kernel} over {row.base_kernel} in "
            f"{row.base_precision}. {apart}"
        ),
        figures=(measured, units),
        here=here,
        needs="" if decide(row) else _ON_H100,
    )


def power_700(known: Known) -> Decision:
    """The most that a sustained run drew on an H100 SXM, against 700 W within 5%."""
    tdp = sheet(H100)
    printed = Figure(
        what="board power on the sheet",
        value=tdp.tdp_w or float("nan"),
        unit="W",
        source=cited(H100, tdp.sources.get("tdp_w", ())),
    )
    best = known.best(lambda row: row.power_w > 0, of=lambda row: row.power_w)
    here = tuple(
        f"{one.device}: {one.power_w:.0f} W ({one.kernel}, {one.precision}, preset {one.preset}"
        f"{_unsure(one)})"
        for one in best.values()
        if one.device_id != H100
    )
    row = most_power(known)
    limit = known.limits.get(row.run_id) if row is not None else None
    capped = limit is not None and limit < 0.95 * 700
    if row is None or capped:
        told = f" This H100 was limited to {limit:g} W." if capped else ""
        return Decision(
            verdict="undecided here",
            because=f"{number(printed.value)} W is the sheet's limit, not what is drawn.{told}",
            figures=(printed,),
            here=here,
            needs=_POWER,
        )
    verdict: Verdict = "holds" if abs(row.power_w / 700 - 1) <= 0.05 else "does not hold"
    return Decision(
        verdict=verdict if decide(row) else "undecided here",
        because=(
            f"{said(row)}: {row.power_w:.0f} W at most, by {row.kernel} in {row.precision}"
            f"{', at the power limit' if row.power_limited is True else ''}."
        ),
        figures=(
            Figure(what="most power drawn", value=row.power_w, unit="W", source=source_of(row)),
            printed,
        ),
        here=here,
        needs="" if decide(row) else _POWER,
    )


def _what(row: Any) -> str:
    return "measured" if decide(row) else said(row).lower()


def _unsure(row: Any) -> str:
    return "" if decide(row) else f", {said(row).lower()}"


def _ms(row: Any) -> str:
    return f"{number(row.time_us / 1e3)} ms"


def _times(row: Any) -> str:
    if row.speedup_low == row.speedup_low:
        return f"{row.speedup:.1f}× ({row.speedup_low:.1f} … {row.speedup_high:.1f})"
    return f"{row.speedup:.1f}×"
