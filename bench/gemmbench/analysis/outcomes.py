"""Which cases failed, did not run or lost repeats, and what verification saw of the others."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.rows import rows_of
from gemmbench.records.schema import Record

if TYPE_CHECKING:
    import pandas as pd

ORDER = ("wrong", "failed", "timeout", "interrupted", "contended", "unsupported")
"""The gravest first."""

_ALL = "a neighbour took the cores: it is never ranked, and no speedup is claimed"
_MOST = (
    "a neighbour took the cores in most repeats: the time is of the others, it is never ranked, "
    "and no speedup is claimed"
)
_SOME = "a neighbour took the cores in some repeats: they are left out, the others count"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Cases that came to the same end for the same reason.

    `places` are their rows in the table of the run; `kernels` and `precisions` are theirs, each
    once.
    """

    what: str
    reason: str
    places: tuple[int, ...]
    kernels: tuple[str, ...]
    precisions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What verification saw: of how many measured records, by which exact check, and the error.

    `error` is the largest, as a fraction of its bound; NaN where no record was checked.
    """

    records: int
    of: int
    exact_by: tuple[tuple[str, int], ...]
    error: float


def outcomes(rows: "pd.DataFrame") -> tuple[Outcome, ...]:
    """Of rows as `ladder` returns them: what failed, did not run, or lost repeats to neighbours.

    The gravest come first, and then the most.
    """
    found: dict[tuple[str, str], list[tuple[int, Any]]] = {}
    for place, row in enumerate(rows_of(rows)):
        for end in _ends(row):
            found.setdefault(end, []).append((place, row))
    made = [
        Outcome(
            what=what,
            reason=reason,
            places=tuple(place for place, _ in some),
            kernels=tuple(dict.fromkeys(row.kernel for _, row in some)),
            precisions=tuple(dict.fromkeys(row.precision for _, row in some)),
        )
        for (what, reason), some in found.items()
    ]
    return tuple(sorted(made, key=lambda one: (ORDER.index(one.what), -len(one.places))))


def _ends(row: Any) -> Iterator[tuple[str, str]]:
    if row.status != "ok":
        yield row.status, row.reason
    elif row.verdict == "contended":
        yield "contended", _MOST if 0 < row.n_repeats < row.of_repeats else _ALL
    elif row.n_repeats < row.of_repeats:
        yield "contended", _SOME


def checked(records: Iterable[Record]) -> Checked:
    """What verification saw of the `ok` records."""
    fine = [one for one in records if one.status == "ok"]
    checks = [one.check for one in fine if one.check is not None]
    errors = [one.error for one in checks if one.error is not None]
    return Checked(
        records=len(checks),
        of=len(fine),
        exact_by=tuple(Counter(one.exact_by for one in checks).most_common()),
        error=max(errors, default=math.nan),
    )
