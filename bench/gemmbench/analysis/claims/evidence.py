"""What is known when claims are decided: runs, published figures, and what was asked of torch and
the compiler."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.published import partition_of
from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.speedup import ladder
from gemmbench.devices.spec import Peak, Spec, by_id
from gemmbench.records.evidence import Attention, Evidence
from gemmbench.records.frame import frame
from gemmbench.records.reader import Run
from gemmbench.records.roofs import roofs_of
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

H100 = "h100-sxm5"
MI300X = "mi300x"
LIBRARIES = ("nccl", "rccl", "gloo")
"""Of collectives, by their names in a header's `software`."""


@dataclass(frozen=True)
class Known:
    """`rows` are those of `analysis.speedup.ladder`, None without a run; a part of a device has no
    `device_id` there. `collectives` are the rows of `load` that exchange something, repeat by
    repeat. `roofs`, by a device's name, are in bf16, TFLOP/s with its source; by a run's id
    `limits` are the power limit that was set, W, and `libraries` the name and version of what
    carried out its collectives."""

    asked: Evidence
    rows: "pd.DataFrame | None" = None
    collectives: "pd.DataFrame | None" = None
    roofs: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    libraries: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def sound(self) -> Iterator[Any]:
        """Rows of one device whose rate counts: quiet, dense, possible, and verified where
        gemmbench measured them; those that may decide come first."""
        if self.rows is None or self.rows.empty:
            return iter(())
        rows = self.rows
        keep = rows["status"].eq("ok") & rows["verdict"].ne("contended") & ~rows["impossible"]
        keep &= rows["ranks"].eq(1) & rows["collective"].eq("")
        found = rows_of(rows[keep & rows["tflops"].gt(0)])
        return iter(sorted(found, key=standing))

    def best(self, fits: Callable[[Any], bool], *, of: Callable[[Any], float]) -> dict[str, Any]:
        """Device → among the rows that fit, and of them those that may rather decide, the one with
        the highest `of`."""
        found: dict[str, Any] = {}

        def rank(row: Any) -> tuple[int, float]:
            return -standing(row), of(row)

        for row in self.sound():
            name = row.device_id if isinstance(row.device_id, str) else row.device
            held = found.get(name)
            if fits(row) and of(row) == of(row) and (held is None or rank(row) > rank(held)):
                found[name] = row
        return found

    def attention(self, device_id: str) -> Attention | None:
        """The claim's module at full size on that device, on 32 sequences of 1024 tokens
        (batch_first=True), with the weights that it returns by default."""
        return next(
            (
                one
                for one in self.asked.attention
                if one.device_id == device_id
                and one.scale == 1
                and one.batch_first
                and one.need_weights
                and one.time_us
                and one.verdict != "contended"
            ),
            None,
        )


def known(asked: Evidence, runs: Sequence[Run]) -> Known:
    """What runs say, beside what was asked of torch and the compiler."""
    if not runs:
        return Known(asked)
    loaded = frame(runs)
    parts = {run.header.run_id for run in runs if partition_of(run)}
    loaded.loc[loaded["run_id"].isin(parts), "device_id"] = None
    rows = ladder(loaded)
    measured = [run for run in runs if not run.header.synthetic]
    return Known(
        asked,
        rows,
        loaded[loaded["collective"].ne("")],
        roofs={
            run.header.device.name: (roof.value, f"of the roof, {roof.source}")
            for run in measured
            if (roof := roofs_of([run]).tflops("bf16")) is not None
        },
        limits={
            run.header.run_id: limit for run in runs if (limit := run.header.device.power_limit_w)
        },
        libraries={run.header.run_id: library_of(run.header.software) for run in runs},
    )


def library_of(software: Mapping[str, str]) -> tuple[str, str]:
    """The library of a run's collectives and its version; empty where the run names none."""
    return next(((name, software[name]) for name in LIBRARIES if name in software), ("", ""))


WORST = 2
"""The last `standing`."""


def standing(row: Any) -> int:
    """What a row may decide: 0 anything, as gemmbench measured and verified it; 1 nothing alone, as
    another tool measured it; 2 nothing, as it is synthetic."""
    if row.synthetic:
        return WORST
    return 1 if row.tool else 0


def decide(*rows: Any) -> bool:
    """May these rows decide?"""
    return not any(map(standing, rows))


def said(*rows: Any) -> str:
    """What a figure of these rows is: how a sentence about it begins."""
    worst = max(rows, key=standing)
    if worst.synthetic:
        return "Synthetic, never measured"
    return f"Measured by {worst.tool}, not verified" if worst.tool else "Measured"


def is_cube(row: Any, size: int) -> bool:
    return bool((row.m, row.n, row.k) == (size,) * 3 and row.batch == 1 and row.experts == 1)


def split(best: dict[str, Any], device_id: str) -> tuple[Any | None, list[Any]]:
    """(The row of the claim's device, those of the others)."""
    mine = [row for row in best.values() if row.device_id == device_id]
    return (mine[0] if mine else None), [row for row in best.values() if row not in mine]


def source_of(row: Any) -> str:
    """Where a row's figures are from, and what must be known of it."""
    shape = shape_text(row.m, row.n, row.k, row.batch, row.experts)
    parts = [f"{row.file}: {row.kernel} {row.precision} {shape} on {row.device}"]
    if row.synthetic:
        parts.append("synthetic, never measured")
    if row.tool:
        parts.append(f"measured by {row.tool}, not verified")
    if isinstance(row.data, str) and row.data not in ("", "normal"):
        parts.append(f"data {row.data}")
    if row.verdict not in ("converged", "imported"):
        parts.append(row.verdict)
    return ", ".join(parts)


def sheet(device_id: str) -> Spec:
    return by_id(device_id)


def peak(device_id: str, precision: str) -> Peak:
    """The dense peak of a sheet that ships; the claims' devices have those that are asked for."""
    found = sheet(device_id).peak(precision)
    assert found is not None, f"{device_id} has no {precision}"
    return found


def cited(device_id: str, sources: Sequence[str]) -> str:
    """A sheet's figure and who prints it: ids of `gemmbench list devices --sources`."""
    return f"spec sheet {device_id}: {', '.join(sources)}"
