"""Rates over M and N: the problems of one kernel at one K, as a grid."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.rows import rows_of

if TYPE_CHECKING:
    import pandas as pd

_FAILED = ("failed", "wrong", "timeout", "interrupted")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The rows of one kernel and precision at one K, by (M, N); a `best` rate in TFLOP/s."""

    kernel: str
    precision: str
    k: int
    batch: int
    experts: int
    layout: str
    modes: str
    cells: dict[tuple[int, int], Any]
    best: float

    @property
    def is_full(self) -> bool:
        """Was every M measured with every N?"""
        return len({m for m, _ in self.cells}) * len({n for _, n in self.cells}) == len(self.cells)


def grids(rows: "pd.DataFrame") -> list[Grid]:
    """Those with two cells and a rate; the fastest of each precision first, then the next ones.

    `rows` as `analysis.speedup.ladder` returns them, their rates in `tflops`. Of two rows for one
    cell the faster counts.
    """
    parts: dict[tuple[Any, ...], dict[tuple[int, int], Any]] = {}
    for row in rows_of(rows):
        key = (row.kernel, row.precision, row.k, row.batch, row.experts, row.layout, row.modes)
        cells = parts.setdefault(key, {})
        before = cells.get((row.m, row.n))
        if before is None or _rate(row) > _rate(before):
            cells[row.m, row.n] = row
    found: dict[str, list[Grid]] = {}
    for (kernel, precision, k, batch, experts, layout, modes), cells in parts.items():
        best = max(map(_rate, cells.values()))
        if len(cells) > 1 and best > 0:
            one = Grid(
                kernel=kernel,
                precision=precision,
                k=k,
                batch=batch,
                experts=experts,
                layout=layout,
                modes=modes,
                cells=cells,
                best=best,
            )
            found.setdefault(precision, []).append(one)
    ranked = [
        (place, number, one)
        for number, some in enumerate(found.values())
        for place, one in enumerate(sorted(some, key=lambda one: -one.best))
    ]
    return [one for _, _, one in sorted(ranked, key=lambda item: item[:2])]


def state(row: Any) -> str:
    """ok, contended, failed (also wrong, cut short), impossible or unsupported."""
    if row.status in _FAILED:
        return "failed"
    if row.status != "ok":
        return "unsupported"
    if not row.tflops > 0 or row.verdict == "contended":
        return "contended"
    return "impossible" if row.impossible else "ok"


def _rate(row: Any) -> float:
    return float(row.tflops) if state(row) == "ok" else 0.0
