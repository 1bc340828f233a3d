"""The best kernel of each precision."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def best(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Of rows as `ladder` returns them, the fastest (TFLOP/s) of each run and precision.

    Only `ok` ranks, and never what is contended or impossible. A noisy row ranks by the lower end
    of its interval, so that noise alone wins nothing; one without an interval ranks last.
    """
    can = rows[rows["status"].eq("ok") & rows["verdict"].ne("contended") & ~rows["impossible"]]
    low = can["tflops_low"].fillna(0.0)
    rank = can["tflops"].where(can["verdict"].ne("noisy"), low)
    ranked = can.assign(_rank=rank)[rank > -math.inf]
    top = ranked.sort_values("_rank", ascending=False, kind="stable")
    chosen = top.drop_duplicates(["run_id", "precision"]).index
    return rows.loc[sorted(chosen)].sort_values(
        ["run_id", "precision"], key=_order, kind="stable", ignore_index=True
    )


def _order(column: "pd.Series[str]") -> "pd.Series[int]":
    from gemmkernels.precision import PRECISIONS

    if column.name != "precision":
        return column.map({value: index for index, value in enumerate(dict.fromkeys(column))})
    known = {name: index for index, name in enumerate(PRECISIONS)}
    return column.map(lambda name: known.get(name, len(known)))
