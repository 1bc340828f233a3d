"""Runs as one pandas DataFrame: a row a record, with the rates that its times make."""

import math
import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from gemmbench.records.columns import Columns, Peak, columns_of
from gemmbench.records.outline import AnyRecord
from gemmbench.records.reader import (
    Run,
    RunFileWarning,
    Source,
    paths_of,
    read_outline,
    without_collector,
)
from gemmbench.records.roofs import with_roofs
from gemmbench.records.schema import Header
from gemmbench.timing.statistics import Floats
from gemmkernels.errors import GemmbenchError

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
launched roof_tflops roof_tflops_low roof_tflops_high pct_roof roof_void tool synthetic
pct_peak_at_clock partition units power_limit_w
unit node rack device_index pci_address numa_node at_once
collective ranks message_bytes algbw_gbps busbw_gbps comm_pct source
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
own units were measured to reach, with its 95% interval, and `roof_void` that a verified kernel beat
it: then it is none. `tool` is who measured an imported row, and empty for gemmbench's own;
`synthetic` ones were never measured. `pct_peak_at_clock` is percent of the dense peak at the clock
that the device held: the peak times that clock over the clock that the peak is stated at.
`partition` is the share of a GPU that ran it (CPX, MIG 3g.40gb) and empty for a whole device,
`units` are its SMs, CUs, or the cores in use, and `power_limit_w` is the limit in force as the run
began, in W. `unit` is the run's number in a file of several devices' runs, NA elsewhere;
`at_once` how many were measured at the same time. `collective` is what `ranks` processes exchange,
of `message_bytes`: `algbw_gbps` and `busbw_gbps` are its algorithm and bus bandwidth by nccl-tests'
definitions, and `comm_pct` the share of the time that communication adds to the products alone, in
percent; `tflops` is then a device's. `source` is the digest of the kernel's source, one for all
that ship with gemmbench, and empty where the run does not tell."""

_FLOATS = """
time_us time_us_low time_us_high tflops tflops_low tflops_high gbps intensity peak_tflops
pct_peak clock_mhz power_w tflops_per_w error target anchor_us anchor_us_low anchor_us_high
anchor_error sparse_tflops sparse_peak_tflops pct_sparse_peak registers spills roof_tflops
roof_tflops_low roof_tflops_high pct_roof pct_peak_at_clock power_limit_w
algbw_gbps busbw_gbps comm_pct
"""


@without_collector()
def load(source: Source | Iterable[Source]) -> "pd.DataFrame":
    """The records of a file, a glob pattern, a folder or a list of those: one row a record.

    Columns: `COLUMNS`, then `MORE_COLUMNS`. Microseconds (median of the turns and its 95%
    interval), TFLOP/s (10¹²; 10¹² operations for int8), GB/s (10⁹) and FLOP/byte of the fewest
    bytes that must move, percent of the dense peak, MHz, W. What was not measured is NaN. Warns
    (RunFileWarning) of what was damaged. Raises GemmbenchError for a file that is not a run.
    """
    runs, parts = [], []
    for path in paths_of(source):
        run, records = read_outline(path)
        parts.append(_columns(run, records))
        runs.append(run)
        for told in run.warnings:
            warnings.warn(f"{run.path}: {told}", RunFileWarning, stacklevel=3)
    return _table(runs, parts)


def frame(runs: Sequence[Run]) -> "pd.DataFrame":
    """The same for runs that were read already; their warnings are the caller's to tell."""
    return frame_of((run, run.records) for run in runs)


def frame_of(given: Iterable[tuple[Run, Sequence[AnyRecord]]]) -> "pd.DataFrame":
    """The same for runs as `read_outline` returns them, taken one by one."""
    runs, parts = [], []
    with without_collector():
        for run, records in given:
            parts.append(_columns(run, records))
            runs.append(run)
        return _table(runs, parts)


def _table(runs: Sequence[Run], parts: Sequence[Columns]) -> "pd.DataFrame":
    import pandas as pd

    columns = {name: _joined(parts, name) for name in (*COLUMNS, *MORE_COLUMNS)}
    # An empty list is one of floats to pandas.
    table = pd.DataFrame(columns, dtype=None if len(columns["run_id"]) else "object")
    table = table.astype(
        {
            **dict.fromkeys(("repeat", "batch", "experts", "m", "n", "k"), "int64"),
            **dict.fromkeys(("n_samples", "n_rounds"), "int64"),
            **dict.fromkeys(("threads", "splits", "units"), "Int64"),
            **dict.fromkeys(("unit", "device_index", "numa_node", "message_bytes"), "Int64"),
            **dict.fromkeys(("at_once", "ranks"), "int64"),
            **dict.fromkeys(_FLOATS.split(), "float64"),
            "power_limited": "boolean",
            **dict.fromkeys(("unsettled", "base", "impossible", "beside"), "bool"),
            **dict.fromkeys(("roof_void", "synthetic"), "bool"),
        }
    )
    return with_roofs(table, runs)


def _joined(parts: Sequence[Columns], name: str) -> "list[Any] | Floats":
    if len(parts) == 1:
        return parts[0][name]
    return list(chain.from_iterable(part[name] for part in parts))


def _columns(run: Run, records: Sequence[AnyRecord]) -> Columns:
    spec = spec_of(run.header)
    peaks = {name: _peak(spec, name) for name in {record.precision for record in records}}
    return columns_of(run, records, peaks=peaks)


def spec_of(header: Header) -> "Spec | None":
    """The datasheet that the run names, of a partition its share; None where that is unsure."""
    if header.device_id is None:
        return None
    from gemmbench.devices.spec import by_id, match, restore

    if header.sheet is not None:
        return restore(header.sheet, header.device)

    found = match(header.device)
    if found is not None and found.id == header.device_id:
        return found
    try:
        return None if header.device.partition else by_id(header.device_id)
    except GemmbenchError:
        return None


def _peak(spec: "Spec | None", precision: str) -> Peak:
    try:
        found = spec.peak(precision) if spec else None
    except GemmbenchError:  # a precision from a newer gemmbench
        found = None
    if spec is None or found is None:
        return Peak()
    clocks = (math.nan if one is None else one for one in (found.clock_mhz, spec.boost_clock_mhz))
    return Peak(found.tflops, found.unit, *clocks)
