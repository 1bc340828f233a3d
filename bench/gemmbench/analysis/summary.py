"""The best kernel of each precision."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SPEEDUP = ("base_kernel", "base_precision", "speedup", "speedup_low", "speedup_high")


def best(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Of rows as `ladder` returns them, the fastest (TFLOP/s) of each run, precision and modes.

    Only `ok` ranks, and never what is contended, impossible or sparse, nor the local products of
    several ranks, which are a part of their work; layers that exchange different things have each a
    best, as they leave different results. A noisy row ranks by the
    lower end of its interval, so that noise alone wins nothing; one without an interval ranks last.
    Where the ladder's base did not run beside the best, the speedup is that of the same kernel on
    the largest shape where it did, and `speedup_shape` names it.
    """
    sound = rows["status"].eq("ok") & rows["verdict"].ne("contended") & ~rows["impossible"]
    sound &= rows["ranks"].eq(1) | rows["collective"].ne("")
    can = rows[sound & rows["tflops"].notna()]
    ranked = can.assign(_rank=ranks(can))
    top = ranked[ranked["_rank"] > -math.inf].sort_values("_rank", ascending=False, kind="stable")
    chosen = top.drop_duplicates(["run_id", "precision", "modes", "collective"]).index
    found = rows.loc[sorted(chosen)].assign(speedup_shape="")
    for index in found.index:
        other = _beside_base(rows, found.loc[index])
        if other is None:
            continue
        for name in SPEEDUP:
            found.loc[index, name] = other[name]
        found.loc[index, "speedup_shape"] = f"{other['m']}x{other['n']}x{other['k']}"
    return found.sort_values(["run_id", "precision"], key=_order, kind="stable", ignore_index=True)


def ranks(rows: "pd.DataFrame") -> "pd.Series[float]":
    """By which of a row's rates it ranks (TFLOP/s): of a noisy one the lower end, 0 without one."""
    return rows["tflops"].where(rows["verdict"].ne("noisy"), rows["tflops_low"].fillna(0.0))


def _beside_base(rows: "pd.DataFrame", row: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """Where the row has no speedup over the ladder's base: the largest that has."""
    bases = set(rows.loc[rows["base"] & rows["run_id"].eq(row["run_id"]), "kernel"])
    if row["base_kernel"] in bases or row["kernel"] in bases:
        return None
    same = rows[
        rows["run_id"].eq(row["run_id"])
        & rows["kernel"].eq(row["kernel"])
        & rows["precision"].eq(row["precision"])
        & rows["base_kernel"].isin(bases)
        & rows["speedup"].notna()
    ]
    if same.empty:
        return None
    work = same["batch"].astype(float) * same["m"] * same["n"] * same["k"]
    return same.iloc[int(work.argmax())]


def _order(column: "pd.Series[str]") -> "pd.Series[int]":
    from gemmkernels.precision import PRECISIONS

    if column.name != "precision":
        return column.map({value: index for index, value in enumerate(dict.fromkeys(column))})
    known = {name: index for index, name in enumerate(PRECISIONS)}
    return column.map(lambda name: known.get(name, len(known)))
