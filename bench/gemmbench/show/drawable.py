"""What every figure of rows asks of them before it draws."""

from typing import TYPE_CHECKING

from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd

MARKS = 300
"""More bars or lines can't be read, and take minutes to draw."""

NAME = 40
"""Longer names of kernels are cut."""

REACH = 1e15
"""A rate or a speedup beyond it, or below its inverse, is none."""

IMPOSSIBLE = "over 102% of the peak at the measured clock"

WIDE_RANGE = 30.0
"""Rates that differ by more are drawn on a logarithmic axis, or the slow ones could not be seen."""


def sound(rows: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """The rows that a figure of these values draws: what is contended or impossible says nothing
    of its kernel."""
    counts = rows[column].gt(0) & rows["verdict"].ne("contended") & ~rows["impossible"]
    found: pd.DataFrame = rows[counts]
    return found


def impossible(rows: "pd.DataFrame") -> str:
    """The part of a caption that says how many rows are not drawn because of that, or nothing."""
    count = int(rows["impossible"].sum())
    return f" · not drawn: {count} impossible, {IMPOSSIBLE}" if count else ""


def contended(rows: "pd.DataFrame") -> str:
    """How many of the measured rows a neighbour spoilt, and what to do; or nothing."""
    count = int(rows["verdict"].eq("contended").sum())
    if not count:
        return ""
    cases = f"{count} of {int(rows['verdict'].notna().sum())} measured cases"
    return f"{cases} {'is' if count == 1 else 'are'} contended: end what else uses the cores"


def one_run(rows: "pd.DataFrame", what: str, *, of: "pd.DataFrame | None" = None) -> None:
    """Raises GemmbenchError where there is no row, or rows of several runs; `of` are all, before
    what does not count was left out."""
    if rows.empty:
        why = contended(rows if of is None else of) or "see `gemmbench show`"
        raise GemmbenchError(f"nothing to draw: no case has a {what} that counts; {why}")
    if rows["run_id"].nunique() > 1:
        raise GemmbenchError(
            f"a figure is of one run, these are {rows['run_id'].nunique()}: name one"
        )


def within_reach(rows: "pd.DataFrame", column: str) -> None:
    """Of a damaged file a value may be 1e300: no axis can be made for it."""
    for name in (column, f"{column}_low", f"{column}_high"):
        known = rows[name].dropna()
        beyond = known[~known.between(1 / REACH, REACH)]
        if not beyond.empty:
            raise GemmbenchError(
                f"{name} {beyond.iloc[0]:.3g} can't be drawn: no device does that; is the file "
                "damaged?"
            )


def readable(count: int, what: str) -> None:
    if count > MARKS:
        raise GemmbenchError(
            f"{count} {what} are too many to draw, {MARKS} at most: choose some with --kernel, "
            "--problem or --precision"
        )
