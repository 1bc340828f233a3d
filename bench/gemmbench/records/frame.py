"""Runs as one pandas DataFrame: a row a record, with the rates that its times make."""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING

from gemmbench.records.code import code_of
from gemmbench.records.reader import Run, Source, read_many, without_collector
from gemmbench.records.roofs import with_roofs
from gemmbench.records.schema import Header, Record, SelfTest
from gemmbench.timing.statistics import Estimate, estimate, paired_ratio
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import THROTTLED_SHARE, has_neighbour, values, verdict
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import settings_text
from gemmkernels.precision import SPARSE
from gemmkernels.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

    from gemmbench.devices.spec import Spec

_COLUMNS = """
run_id device device_id vendor arch repeat group kernel tier backend precision encoding
out_dtype accumulate label layout batch m n k threads data cache launch status reason n_samples
time_us time_us_low time_us_high verdict power_limited tflops tflops_low tflops_high gbps
intensity peak_tflops pct_peak clock_mhz power_w tflops_per_w error
"""
COLUMNS = tuple(_COLUMNS.split())
"""What every DataFrame of runs has, in this order."""

_MORE = """
file started version software preset target unsettled base modes experts splits n_rounds turn_us
peak_unit impossible warnings beside anchor_us anchor_us_low anchor_us_high anchor_error
sparse_tflops sparse_peak_tflops pct_sparse_peak ran_on instructions registers spills
launched roof_tflops pct_roof roof_void tool synthetic
"""
MORE_COLUMNS = tuple(_MORE.split())
"""What follows them. `software` is "name=version; …", `modes` "name=value; …"; `turn_us` maps a
round to the median of its turn in microseconds. `anchor_us` is the time of the self-test's smaller
kernel in the same repeat, `anchor_error` how far its pair's ratio is from the true one, in percent.
`impossible` marks a rate over 102% of the peak at the measured clock, `beside` a neighbour on the
cores; `warnings` is what was noticed of the kernel, "…; …". `ran_on` is what a Triton kernel's code
multiplies with (matrix cores, vector, emulated), `instructions` its matrix instructions,
`registers` and `spills` as the compiler left them. A 2:4 sparse precision has its rate,
counted as if it were dense, and its peak in the last three columns, and none in those of dense
ones. `launched` is the kernels that a library launched, "…; …". `roof_tflops` is what the device's
own units were measured to reach, and `roof_void` that a verified kernel beat it: then it is none.
`tool` is who measured an imported row, and empty for gemmbench's own; `synthetic` ones were never
measured."""

_FLOATS = """
time_us time_us_low time_us_high tflops tflops_low tflops_high gbps intensity peak_tflops
pct_peak clock_mhz power_w tflops_per_w error target anchor_us anchor_us_low anchor_us_high
anchor_error sparse_tflops sparse_peak_tflops pct_sparse_peak registers spills roof_tflops pct_roof
"""
IMPOSSIBLE = 1.02
SITTING = 1_000_000
"""Rounds of a resumed run are numbered from a multiple of it: they pair with their own only."""

_NAN = math.nan
_NOTHING = Estimate(_NAN, _NAN, _NAN, 0)


class RunFileWarning(UserWarning):
    """Something of a run file was not loaded."""


def load(source: Source | Iterable[Source]) -> "pd.DataFrame":
    """The records of a file, a glob pattern, a folder or a list of those: one row a record.

    Columns: `COLUMNS`, then `MORE_COLUMNS`. Microseconds (median of the turns and its 95%
    interval), TFLOP/s (10¹²; 10¹² operations for int8), GB/s (10⁹) and FLOP/byte of the fewest
    bytes that must move, percent of the dense peak, MHz, W. What was not measured is NaN. Warns
    (RunFileWarning) of what was damaged. Raises GemmbenchError for a file that is not a run.
    """
    runs = read_many(source)
    for run in runs:
        for told in run.warnings:
            warnings.warn(f"{run.path}: {told}", RunFileWarning, stacklevel=2)
    return frame(runs)


def frame(runs: Sequence[Run]) -> "pd.DataFrame":
    """The same for runs that were read already; their warnings are the caller's to tell."""
    import pandas as pd

    with without_collector():
        rows = [row for run in runs for row in _rows(run)]
    table = pd.DataFrame.from_records(rows, columns=[*COLUMNS, *MORE_COLUMNS])
    table = table.astype(
        {
            **dict.fromkeys(("repeat", "batch", "experts", "m", "n", "k"), "int64"),
            **dict.fromkeys(("n_samples", "n_rounds"), "int64"),
            **dict.fromkeys(("threads", "splits"), "Int64"),
            **dict.fromkeys(_FLOATS.split(), "float64"),
            "power_limited": "boolean",
            **dict.fromkeys(("unsettled", "base", "impossible", "beside"), "bool"),
            **dict.fromkeys(("roof_void", "synthetic"), "bool"),
        }
    )
    return with_roofs(table, runs)


def _rows(run: Run) -> Iterable[tuple[object, ...]]:
    header, method, device = run.header, run.header.method, run.header.device
    spec = _spec(header)
    peaks = {name: _peak(spec, name) for name in {record.precision for record in run.records}}
    software = "; ".join(f"{name}={version}" for name, version in header.software.items())
    anchors = {test.repeat: _anchor(test) for test in run.selftests}
    no_anchor = (_NAN, _NAN, _NAN, _NAN)
    launched = {one.case: "; ".join(one.names) for one in run.launched}
    for record in run.records:
        problem = _problem(
            *(record.m, record.n, record.k, record.precision, record.batch, record.layout),
            record.experts,
        )
        peak = peaks[record.precision]
        measured = record.turns if record.status == "ok" else ()
        shift = record.sitting * SITTING
        turns = {shift + number: ns / 1e3 for number, ns in values(measured).items()}
        word = (
            verdict(measured, target=method.target, limits_ns=_limits(record)) if measured else None
        )
        time = estimate(list(turns.values())) if measured else _NOTHING
        if measured and header.tool:
            word = "imported"
        if word == "contended":
            time = Estimate(time.value, _NAN, _NAN, time.n)
        flop, least_bytes, intensity = problem or (_NAN, _NAN, _NAN)
        rate = _rate(flop, time.value, 1e6)
        sparse = record.precision in SPARSE
        tflops = _NAN if sparse else rate
        dense = _Peak() if sparse else peak
        code = code_of(record)
        clock = _middle([turn.clock_mhz for turn in measured])
        power = _middle([turn.power_w for turn in measured])
        yield (
            header.run_id,
            device.name,
            header.device_id,
            device.vendor,
            device.architecture,
            record.repeat,
            record.group,
            _named(record),
            record.tier,
            record.backend,
            record.precision,
            record.encoding,
            record.out_dtype,
            record.accumulate,
            record.label,
            record.layout,
            record.batch,
            record.m,
            record.n,
            record.k,
            method.threads,
            method.data,
            "hot" if method.cache == "rotated" and record.sets == 1 else method.cache,
            record.launch or method.launch,
            record.status,
            record.reason,
            record.n_samples,
            time.value,
            time.low,
            time.high,
            word,
            _power_limited(record),
            tflops,
            _NAN if sparse else _rate(flop, time.high, 1e6),
            _NAN if sparse else _rate(flop, time.low, 1e6),
            _rate(least_bytes, time.value, 1e3),
            intensity,
            dense.tflops,
            100 * tflops / dense.tflops,
            clock,
            power,
            tflops / power if power > 0 else _NAN,
            record.check.error if record.check and record.check.error is not None else _NAN,
            run.path.name,
            header.started,
            header.version,
            software,
            method.preset,
            method.target,
            method.unsettled,
            record.base,
            "; ".join(f"{name}={value}" for name, value in sorted(record.modes.items())),
            record.experts,
            record.splits,
            len(turns),
            turns,
            peak.unit,
            peak.is_beaten(rate, clock),
            "; ".join(record.warnings),
            has_neighbour(measured),
            *anchors.get(record.repeat, no_anchor),
            rate if sparse else _NAN,
            peak.tflops if sparse else _NAN,
            100 * rate / peak.tflops if sparse else _NAN,
            record.ran_on,
            code.instructions,
            code.registers,
            code.spills,
            launched.get(record.case.partition("/")[2], ""),
            _NAN,
            _NAN,
            False,
            header.tool,
            header.synthetic,
        )


def _named(record: Record) -> str:
    """The kernel; what a tuner made of it is one of its own."""
    return " ".join(filter(None, (record.kernel, settings_text(record.settings or {}))))


@lru_cache(maxsize=4096)
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
    return problem.flop, problem.min_bytes, problem.intensity


def _rate(amount: float, time_us: float, scale: float) -> float:
    return amount / time_us / scale if time_us > 0 else _NAN


def _middle(seen: Sequence[float | None]) -> float:
    known = [value for value in seen if value is not None]
    return median(known) if known else _NAN


def _limits(record: Record) -> dict[str, float]:
    return {reason: ns for reason, ns in record.limits.items() if ns is not None}


def _power_limited(record: Record) -> bool | None:
    """Was the power limit active for over 1% of the turns' time? None where nothing could see."""
    span_ns = sum(turn.stop_s - turn.start_s for turn in record.turns) * 1e9
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


@dataclass(frozen=True)
class _Peak:
    """The dense peak in TFLOP/s, its unit, and the rate at `clock_mhz` that it stands for."""

    tflops: float = _NAN
    unit: str | None = None
    clock_mhz: float = _NAN
    boost_mhz: float = _NAN

    def is_beaten(self, tflops: float, clock_mhz: float) -> bool:
        """Is the rate over 102% of the peak at the measured clock, or else at boost?"""
        clock = clock_mhz if clock_mhz > 0 else self.boost_mhz
        return tflops > IMPOSSIBLE * self.tflops * clock / self.clock_mhz


def _spec(header: Header) -> "Spec | None":
    """The datasheet that the run names, of a partition its share; None where that is unsure."""
    if header.device_id is None:
        return None
    from gemmbench.devices.spec import by_id, match, restore

    if header.sheet is not None:
        return restore(header.sheet)

    found = match(header.device)
    if found is not None and found.id == header.device_id:
        return found
    try:
        return None if header.device.partition else by_id(header.device_id)
    except GemmbenchError:
        return None


def _peak(spec: "Spec | None", precision: str) -> _Peak:
    try:
        found = spec.peak(precision) if spec else None
    except GemmbenchError:  # a precision from a newer gemmbench
        found = None
    if spec is None or found is None:
        return _Peak()
    return _Peak(found.tflops, found.unit, found.clock_mhz, spec.boost_clock_mhz)
