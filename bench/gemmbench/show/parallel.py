"""What several ranks measured: bandwidths of collectives, and communication's share of layers."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.rows import rows_of
from gemmbench.quantities import counted, size_text
from gemmbench.records.parallel import bandwidths, is_alone
from gemmbench.records.schema import Header, Record
from gemmbench.runner.parallel.plan import ParallelGroup
from gemmbench.runner.recording import Progress as Case
from gemmbench.show.diagnosis import unfit
from gemmbench.show.tables import Table, echo, listing, without_empty
from gemmbench.show.text import digits, duration, half_width, percent, printable, times
from gemmbench.timing.statistics import estimate
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import values, verdict
from gemmkernels.parallel.ladder import COLLECTIVES
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = frozenset(
    ("time", "±", "algbw GB/s", "busbw GB/s", "TFLOP/s a device", "of peak", "comm", "speedup")
)
REASON = 70
_LIBRARIES = ("nccl", "rccl", "gloo")


def tables(
    rows: "pd.DataFrame", caption: Callable[["pd.DataFrame"], str], *, hidden: int = 0
) -> tuple[Table, ...]:
    """Of one run's rows of several ranks, as `analysis.speedup.ladder` returns them; `caption` is
    what the figures of some rows hold for."""
    alone = rows["collective"].ne("") & rows["collective"].eq(rows["kernel"])
    found = [
        make(some, caption(some))
        for make, some in ((_messages, rows[alone]), (_layers, rows[~alone]))
        if len(some)
    ]
    if hidden:
        told = counted(hidden, "unsupported case is not shown", "unsupported cases are not shown")
        found[-1] = replace(found[-1], notes=(*found[-1].notes, told))
    return tuple(found)


def connected(rows: "pd.DataFrame") -> str:
    """How many ranks, and what connects them: `8 ranks, 4 a node, by nccl 2.27.5`."""
    one = next(rows_of(rows.head(1), ("software", "ranks", "at_once")))
    known = dict(part.split("=", 1) for part in one.software.split("; ") if "=" in part)
    by = next((f" by {name} {known[name]}" for name in _LIBRARIES if name in known), "")
    on_node = f", {one.at_once} a node," if one.at_once != one.ranks else ""
    return printable(f"{counted(one.ranks, 'rank')}{on_node}{by}", 120)


def _messages(rows: "pd.DataFrame", title: str) -> Table:
    def cells(row: Any) -> tuple[str, ...]:
        return (
            printable(row.kernel),
            row.precision,
            _size(row),
            duration(row.time_us),
            half_width(row.time_us, row.time_us_low, row.time_us_high),
            digits(row.algbw_gbps),
            digits(row.busbw_gbps),
            _said(row),
        )

    places = {name: place for place, name in enumerate(COLLECTIVES)}
    order = rows.assign(_place=rows["kernel"].map(places)).sort_values(
        ["_place", "precision", "message_bytes"], kind="stable"
    )
    return Table(
        title=f"Collectives: {title}",
        columns=(
            *("collective", "precision", "size", "time", "±"),
            *("algbw GB/s", "busbw GB/s", "verdict"),
        ),
        rows=tuple(cells(row) for row in rows_of(order.drop(columns="_place"))),
        right=_NUMBERS | {"size"},
        notes=("size, algbw and busbw as nccl-tests defines them; a time is the slowest rank's",),
    )


def _layers(rows: "pd.DataFrame", title: str) -> Table:
    def cells(row: Any) -> tuple[str, ...]:
        is_base = row.kernel == row.base_kernel and row.precision == row.base_precision
        shape = shape_text(row.m, row.n, row.k)
        return (
            printable(row.kernel),
            row.precision,
            f"{shape} ({printable(row.label, 40)})" if row.label else shape,
            duration(row.time_us),
            half_width(row.time_us, row.time_us_low, row.time_us_high),
            digits(row.tflops),
            percent(row.pct_peak),
            percent(row.comm_pct),
            "base" if is_base else times(row.speedup),
            _said(row),
        )

    notes = (
        "comm: what communication adds to the local products, as a share of the time, paired within"
        " each round",
        *_warned(rows),
    )
    table = Table(
        title=f"Layers: {title}",
        columns=(
            *("kernel", "precision", "shape", "time", "±"),
            *("TFLOP/s a device", "of peak", "comm", "speedup", "verdict"),
        ),
        rows=tuple(cells(row) for row in rows_of(rows)),
        right=_NUMBERS,
        notes=notes,
    )
    return without_empty(table, optional=("of peak", "comm", "speedup"))


def _warned(rows: "pd.DataFrame") -> list[str]:
    told = rows.loc[rows["warnings"].ne(""), "warnings"].value_counts()
    return [f"{counted(int(count), 'row')}: {printable(text, 200)}" for text, count in told.items()]


def _size(row: Any) -> str:
    known = row.message_bytes
    return size_text(known) if isinstance(known, int) else ""


def _said(row: Any) -> str:
    if row.status != "ok":
        return f"{row.status}: {printable(row.reason, REASON)}" if row.reason else row.status
    return row.verdict if isinstance(row.verdict, str) else "not measured"


def finish(path: Path) -> None:
    """Print what a run measured, how its cases ended, and where they are kept."""
    from gemmbench.analysis.speedup import ladder
    from gemmbench.records.frame import load
    from gemmbench.show.results import results

    df = load(path)
    print()
    echo(results(ladder(df)))
    words = df["status"].mask(df["verdict"].eq("contended"), "contended")
    print(", ".join(f"{count} {word}" for word, count in words.value_counts().items()))
    print(f"run:  {printable(path)}")


def catalogue() -> tuple[Table, ...]:
    """The kernels of several ranks, and the suites of them."""
    from gemmbench.suites.parallel.reader import load_parallel, names
    from gemmkernels.parallel.ladder import PARALLEL

    suites = [load_parallel(name) for name in names()]
    return (
        listing(
            ("kernel", "of", "exchanges", "what it does"),
            [
                (
                    one.name,
                    " and ".join(filter(None, one.splits)) or "messages",
                    one.collective or "nothing",
                    one.summary,
                )
                for one in PARALLEL
            ],
            title="Kernels of several ranks",
        ),
        listing(
            ("suite", "messages on GPUs", "layers on GPUs", "what it asks"),
            [
                (
                    one.name,
                    len(one.gpu.sizes),
                    sum(len(layer.m) for layer in one.gpu.layers),
                    one.description,
                )
                for one in suites
            ],
            title="Suites",
        ),
    )


class Quiet:
    """Says nothing but that figures from this machine should not be published."""

    def planned(
        self,
        header: Header,
        groups: Sequence[ParallelGroup],  # noqa: ARG002
        estimate_s: float,  # noqa: ARG002
    ) -> None:
        if header.doctor:
            _say(unfit(header.doctor))

    def began(self, group: ParallelGroup) -> None: ...

    def took(self, progress: Case, turn: Turn) -> None: ...

    def ended(self, record: Record) -> None: ...


class Progress(Quiet):
    """One line a finished case, on standard error."""

    def __init__(self) -> None:
        self._target = 0.01

    def planned(self, header: Header, groups: Sequence[ParallelGroup], estimate_s: float) -> None:
        from gemmbench.show.progress import span

        self._target = header.method.target
        cases = sum(len(group.cases) for group in groups)
        ranks = header.request["ranks"]
        assert isinstance(ranks, int)
        _tell(f"{counted(ranks, 'rank')} of {header.device.name} ({header.device.architecture})")
        _tell(
            f"{counted(cases, 'case')} in {counted(len(groups), 'group')}, preset "
            f"{header.method.preset}, data {header.method.data}; about {span(estimate_s)}"
        )
        super().planned(header, groups, estimate_s)

    def ended(self, record: Record) -> None:
        alone = is_alone(record)
        size = record.message_bytes
        what = size_text(size) if alone and size else shape_text(record.m, record.n, record.k)
        line = f"  {record.kernel:<28} {record.precision:<5} {what:<18}"
        if record.status == "interrupted":
            return
        if record.status != "ok":
            _tell(f"{line} {record.status}: {record.reason}")
            return
        found = estimate(list(values(record.turns).values()))
        if found.n == 0:
            _tell(f"{line} contended: no clean turn")
            return
        time_us = found.value / 1e3
        if alone:
            rate = f"{digits(bandwidths(record, time_us)[1]):>10} GB/s bus"
        else:
            tflops = 2 * record.m * record.n * record.k / record.ranks / time_us / 1e6
            rate = f"{digits(tflops):>10} TFLOP/s a device"
        word = verdict(record.turns, target=self._target)
        _tell(f"{line} {duration(time_us):>9} {rate}  {word}")


def _say(line: str) -> None:
    print(f"gemmbench: {printable(line, 2000)}", file=sys.stderr, flush=True)


def _tell(line: str) -> None:
    print(printable(line, 2000), file=sys.stderr, flush=True)
