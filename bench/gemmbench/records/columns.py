"""The columns that one run's records make: what they hold, and the rates that their times make."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np

from gemmbench.records.code import code_of
from gemmbench.records.fleet import split
from gemmbench.records.outline import AnyRecord
from gemmbench.records.parallel import bandwidths, communication, is_alone
from gemmbench.records.reader import Run
from gemmbench.records.schema import Header, Place, SelfTest
from gemmbench.timing.statistics import (
    Floats,
    equally_long,
    estimate,
    estimates,
    paired_ratio,
)
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import THROTTLED_SHARE, Judged, judged, values
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import settings_text
from gemmkernels.precision import SPARSE
from gemmkernels.problem import Problem

Columns: TypeAlias = "dict[str, list[Any] | Floats]"

IMPOSSIBLE = 1.02
SITTING = 1_000_000
"""Rounds of a resumed run are numbered from a multiple of it: they pair with their own only."""

_MOST_UNITS = 2**31 - 1
_NAN = math.nan
_NO_ANCHOR = (_NAN, _NAN, _NAN, _NAN)
_ANCHOR = ("anchor_us", "anchor_us_low", "anchor_us_high", "anchor_error")
_AS_THEY_ARE = """
repeat group tier backend precision encoding out_dtype accumulate label layout batch m n k status
reason n_samples base experts splits ran_on collective ranks message_bytes
"""


@dataclass(frozen=True)
class Peak:
    """The peak in TFLOP/s, its unit, and the rate at `clock_mhz` that it stands for."""

    tflops: float = _NAN
    unit: str | None = None
    clock_mhz: float = _NAN
    boost_mhz: float = _NAN


def columns_of(run: Run, records: Sequence[AnyRecord], *, peaks: Mapping[str, Peak]) -> Columns:
    """The columns of a run with these records, by name; `peaks` are those of each precision."""
    header, method, device = run.header, run.header.method, run.header.device
    found: Columns = {
        name: [value] * len(records)
        for name, value in {
            "run_id": header.run_id,
            "device": device.name,
            "device_id": header.device_id,
            "vendor": device.vendor,
            "arch": device.architecture,
            "threads": method.threads,
            "data": method.data,
            "file": run.path.name,
            "started": header.started,
            "version": header.version,
            "software": "; ".join(f"{name}={version}" for name, version in header.software.items()),
            "preset": method.preset,
            "target": method.target,
            "unsettled": method.unsettled,
            "tool": header.tool,
            "synthetic": header.synthetic,
            "partition": device.partition or "",
            "units": device.units if 0 < device.units <= _MOST_UNITS else None,
            "power_limit_w": _NAN if device.power_limit_w is None else device.power_limit_w,
            "roof_tflops": _NAN,
            "roof_tflops_low": _NAN,
            "roof_tflops_high": _NAN,
            "pct_roof": _NAN,
            "roof_void": False,
            **_place(run),
        }.items()
    }
    for name in _AS_THEY_ARE.split():
        found[name] = list(map(attrgetter(name), records))
    hot = "hot" if method.cache == "rotated" else method.cache
    launched = {one.case: "; ".join(one.names) for one in run.launched}
    codes = [code_of(record) for record in records]
    anchors = {test.repeat: _anchor(test) for test in run.selftests}
    of_anchor = [anchors.get(record.repeat, _NO_ANCHOR) for record in records]
    found |= {
        "kernel": [_named(record) for record in records],
        "cache": [hot if record.sets == 1 else method.cache for record in records],
        "launch": [record.launch or method.launch for record in records],
        "source": [_source(header, record.kernel) for record in records],
        "modes": [_modes(record) if record.modes else "" for record in records],
        "warnings": ["; ".join(record.warnings) for record in records],
        "launched": [launched.get(record.case.partition("/")[2], "") for record in records]
        if launched
        else [""] * len(records),
        "instructions": [code.instructions for code in codes],
        "registers": [code.registers for code in codes],
        "spills": [code.spills for code in codes],
        "error": [_error(record) for record in records],
        **{name: [one[index] for one in of_anchor] for index, name in enumerate(_ANCHOR)},
    }
    known = judged(
        [record.turns for record in records],
        target=method.target,
        limits_ns=[_limits(record) for record in records],
    )
    found |= _times(records, known, is_imported=bool(header.tool))
    return found | _rates(records, found, peaks) | _exchanged(records, found)


def _source(header: Header, kernel: str) -> str:
    """Of the kernel's file; what a tuner made of it has the settings behind its name."""
    return header.kernels.get(kernel) or header.kernels.get(kernel.partition(" ")[0], "")


def _place(run: Run) -> dict[str, object]:
    """Which device of a machine or a fleet it was, as far as the run tells."""
    place = run.header.place or Place()
    return {
        "unit": split(run.path)[1],
        "node": place.node,
        "rack": place.rack,
        "device_index": place.index,
        "pci_address": place.pci_address,
        "numa_node": place.numa_node,
        "at_once": place.at_once,
    }


def _times(records: Sequence[AnyRecord], known: Judged, *, is_imported: bool) -> Columns:
    """What `ok` records measured; of all others nothing is told but if the power was limited."""
    count = len(records)
    is_ok = [record.status == "ok" for record in records]
    ok = np.array(is_ok, dtype=bool)
    turns = [
        _turns_us(one, record.sitting * SITTING) if fine else {}
        for record, one, fine in zip(records, known.turns_ns, is_ok, strict=True)
    ]
    middle, low, high = (np.full(count, _NAN) for _ in range(3))
    for places, matrix in equally_long([list(one.values()) for one in turns]):
        middle[places], low[places], high[places] = estimates(matrix)
    words: list[str | None] = [
        ("imported" if is_imported else word) if fine and record.turns else None
        for record, word, fine in zip(records, known.verdicts, is_ok, strict=True)
    ]
    claimless = np.array([word == "contended" for word in words], dtype=bool)
    low[claimless] = high[claimless] = _NAN
    return {
        "time_us": middle,
        "time_us_low": low,
        "time_us_high": high,
        "turn_us": turns,
        "n_rounds": [len(one) for one in turns],
        "verdict": words,
        "beside": (known.beside & ok).tolist(),
        "clock_mhz": np.where(ok, known.clock_mhz, _NAN),
        "power_w": np.where(ok, known.power_w, _NAN),
        "power_limited": [
            _power_limited(record, span_ns)
            for record, span_ns in zip(records, known.span_ns.tolist(), strict=True)
        ],
    }


def _turns_us(turns_ns: Mapping[int, float], first: int) -> dict[int, float]:
    times = [ns / 1e3 for ns in turns_ns.values()]
    return dict(zip([first + one for one in turns_ns] if first else turns_ns, times, strict=True))


def _exchanged(records: Sequence[AnyRecord], times: Columns) -> Columns:
    """What collectives reach; most runs have none."""
    if not any(record.collective for record in records):
        return dict.fromkeys(("algbw_gbps", "busbw_gbps", "comm_pct"), [_NAN] * len(records))
    bands = [bandwidths(*one) for one in zip(records, times["time_us"], strict=True)]
    return {
        "algbw_gbps": [algorithm for algorithm, _ in bands],
        "busbw_gbps": [bus for _, bus in bands],
        "comm_pct": communication(records, list(times["turn_us"]), list(times["verdict"])),
    }


def _rates(records: Sequence[AnyRecord], times: Columns, peaks: Mapping[str, Peak]) -> Columns:
    time, low, high, clock, power = (
        np.asarray(times[name], dtype=float)
        for name in ("time_us", "time_us_low", "time_us_high", "clock_mhz", "power_w")
    )
    known = [_problem_of(record) or (_NAN, _NAN, _NAN) for record in records]
    flop, least_bytes, intensity = (
        np.array([one[index] for one in known], dtype=float) for index in range(3)
    )
    of_records = [peaks[record.precision] for record in records]
    peak, peak_clock, boost = (
        np.array([getattr(one, name) for one in of_records], dtype=float)
        for name in ("tflops", "clock_mhz", "boost_mhz")
    )
    sparse = np.array([record.precision in SPARSE for record in records], dtype=bool)
    rate = _rate(flop, time, 1e6)
    tflops, dense = np.where(sparse, _NAN, rate), np.where(sparse, _NAN, peak)
    seen = np.where(clock > 0, clock, _NAN)
    with np.errstate(all="ignore"):  # a damaged file may hold 1e308
        return {
            "tflops": tflops,
            "tflops_low": np.where(sparse, _NAN, _rate(flop, high, 1e6)),
            "tflops_high": np.where(sparse, _NAN, _rate(flop, low, 1e6)),
            "gbps": _rate(least_bytes, time, 1e3),
            "intensity": intensity,
            "peak_tflops": dense,
            "peak_unit": [one.unit for one in of_records],
            "pct_peak": 100 * tflops / dense,
            "pct_peak_at_clock": 100 * tflops / (dense * seen / peak_clock),
            "tflops_per_w": tflops / np.where(power > 0, power, _NAN),
            # At the measured clock, or else at boost.
            "impossible": (
                rate > IMPOSSIBLE * peak * np.where(clock > 0, clock, boost) / peak_clock
            ).tolist(),
            "sparse_tflops": np.where(sparse, rate, _NAN),
            "sparse_peak_tflops": np.where(sparse, peak, _NAN),
            "pct_sparse_peak": np.where(sparse, 100 * rate / peak, _NAN),
        }


def _rate(amount: Floats, time_us: Floats, scale: float) -> Floats:
    return amount / np.where(time_us > 0, time_us, _NAN) / scale


def _problem_of(record: AnyRecord) -> tuple[float, float, float] | None:
    """As `_problem`; of several ranks the FLOPs of one, of a collective alone none."""
    if is_alone(record):
        return None
    found = _problem(
        *(record.m, record.n, record.k, record.precision, record.batch, record.layout),
        record.experts,
    )
    if found is None or record.ranks == 1:
        return found
    return found[0] / record.ranks, _NAN, _NAN  # what a rank must move, its split decides


@lru_cache(maxsize=2**16)
def _problem(
    m: int, n: int, k: int, precision: str, batch: int, layout: str, experts: int
) -> tuple[int, int, float] | None:
    """(FLOPs, least bytes, FLOP/byte); None for a precision or layout from a newer gemmbench."""
    try:
        problem = Problem(
            m=m, n=n, k=k, precision=precision, batch=batch, layout=layout, experts=experts
        )
    except GemmbenchError:
        return None
    flop, least_bytes = problem.flop, problem.min_bytes
    return flop, least_bytes, flop / least_bytes


def _named(record: AnyRecord) -> str:
    """The kernel; what a tuner made of it is one of its own."""
    if not record.settings:
        return record.kernel
    return " ".join(filter(None, (record.kernel, settings_text(record.settings))))


def _modes(record: AnyRecord) -> str:
    return "; ".join(f"{name}={value}" for name, value in sorted(record.modes.items()))


def _error(record: AnyRecord) -> float:
    check = record.check
    return _NAN if check is None or check.error is None else check.error


def _limits(record: AnyRecord) -> dict[str, float]:
    limits = record.limits
    return {reason: ns for reason, ns in limits.items() if ns is not None} if limits else {}


def _power_limited(record: AnyRecord, span_ns: float) -> bool | None:
    """Was the power limit active for over 1% of the turns' time? None where nothing could see."""
    if not record.limits or span_ns <= 0:
        return None
    return _limits(record).get("power", 0.0) > THROTTLED_SHARE * span_ns


def _anchor(test: SelfTest) -> tuple[float, float, float, float]:
    """Time of the smaller kernel with its interval (µs), error of the pair's ratio (percent)."""
    less, more = _positive(test.less), _positive(test.more)
    time, ratio = estimate(list(less.values())), paired_ratio(more, less)
    error = 100 * (ratio.value / test.work - 1) if test.work > 0 else _NAN
    return time.value / 1e3, time.low / 1e3, time.high / 1e3, error


def _positive(turns: Sequence[Turn]) -> dict[int, float]:
    return {number: ns for number, ns in values(turns).items() if ns > 0}
