"""Figures that others published of matrix multiplies, each with its source and its kind.

They lie in `published.csv`. None was measured by gemmbench, nor checked on hardware.
"""

import csv
import io
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gemmkernels.errors import GemmbenchError
from gemmkernels.precision import PRECISIONS

Kind = Literal[
    "measured",
    "measured_best_shape",
    "measured_approx",
    "vendor_measured",
    "vendor_measured_best_shape",
    "vendor_measured_harmonic_mean",
    "vendor_acceptance_floor",
    "claim",
]
"""A floor is a pass mark and no result; best of shapes is the most of many; a harmonic mean is over
many shapes; a claim was printed without how."""

FOREIGN = ("fp6", "fp8")
"""Precisions in the file that are none of ours: fp6, and fp8 whose encoding is not stated."""

_FILE = Path(__file__).with_name("published.csv")

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Size = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1e7)]


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure: TFLOP/s, or TOPS for int8. M, N, K as the source orders them, or all None.

    `device_id` is a spec sheet's, and empty where there is none; `device` is what the source calls
    it, `scope` which part of that device. Types are torch dtype names, empty where they are not
    stated. `confidence` is datasheet (a vendor prints it) or secondary. `caution` is why the figure
    should not be a target.
    """

    device_id: str
    device: Text
    precision: Text
    encoding: str
    accumulate: str
    out_dtype: str
    m: Size | None
    n: Size | None
    k: Size | None
    tflops: Rate
    kind: Kind
    software: str
    method: str
    date: str
    scope: str
    source: Text
    confidence: Literal["datasheet", "secondary"]
    caution: str
    note: str

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """(M, N, K); None where the figure is of several shapes, or of one that is not stated."""
        if self.m is None or self.n is None or self.k is None:
            return None
        return self.m, self.n, self.k


COLUMNS = tuple(field.name for field in msgspec.structs.fields(Published))
_NUMBERS = ("m", "n", "k", "tflops")


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """Every figure, in the file's order. Read once, on first use."""
    return parse(_FILE.read_text("utf-8"), file=_FILE.name)


def parse(text: str, *, file: str) -> tuple[Published, ...]:
    """The figures of a CSV with the columns `COLUMNS`.

    Raises GemmbenchError, one line with the file, the row and the column, for anything else.
    """
    try:
        lines = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise GemmbenchError(f"{file} is no CSV: {error}") from None
    if not lines or tuple(lines[0]) != COLUMNS:
        raise GemmbenchError(f"{file}: the first row must name the columns {', '.join(COLUMNS)}")
    found = []
    for number, cells in enumerate(lines[1:], start=2):
        where = f"{file}: row {number}"
        if len(cells) != len(COLUMNS):
            raise GemmbenchError(f"{where} has {len(cells)} cells, and not {len(COLUMNS)}")
        found.append(_row(dict(zip(COLUMNS, cells, strict=True)), where))
    return tuple(found)


def _row(cells: dict[str, str], where: str) -> Published:
    values: dict[str, object] = {
        name: (cell or None) if name in _NUMBERS else cell for name, cell in cells.items()
    }
    try:
        row = msgspec.convert(values, Published, strict=False)
    except msgspec.ValidationError as error:
        raise GemmbenchError(f"{where}: {error}") from None
    if row.precision not in (*PRECISIONS, *FOREIGN):
        known = ", ".join((*PRECISIONS, *FOREIGN))
        raise GemmbenchError(f"{where}: precision {row.precision!r} is none of {known}")
    if len({size is None for size in (row.m, row.n, row.k)}) > 1:
        raise GemmbenchError(f"{where}: m, n and k belong together: give all three or none")
    return row
