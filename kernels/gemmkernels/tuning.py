"""Settings that were found by measuring: files of entries, and the nearest entry to a problem.

`gemmbench tune` writes them. A user's own file comes first, then `tuned/<architecture>.toml` here.
"""

import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.precision import precision
from gemmkernels.problem import MAX_DIMENSION, Problem, check_layout, shape_text
from gemmkernels.smallfile import config_file, plainly, small_file, toml_table

VARIABLE = "GEMMBENCH_TUNED"
"""Names the user's file; set but empty there is none."""

STEP = 1.0
"""An entry serves sizes within a factor of two in each direction; beyond, the default does."""

ROWS = 16
"""No matrix instruction takes fewer: up to there a size makes no other tile."""

_FOLDER = Path(__file__).with_name("tuned")
_EXPECTED = "tuned settings, *.toml as gemmbench tune writes them"
_Size = Annotated[int, msgspec.Meta(ge=1, le=MAX_DIMENSION)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a kernel for a problem on an architecture, then the evidence for them.

    `units` are the SMs, CUs or threads it was found on. `time_us` has its 95% interval; `ratio` is
    how many times faster it was than `default`, paired and measured afresh, with its interval.
    """

    kernel: str
    architecture: str
    precision: str
    m: _Size
    n: _Size
    k: _Size
    settings: dict[str, int | str | bool]
    layout: str = "nn"
    batch: _Size = 1
    experts: _Size = 1
    units: _Size | None = None
    time_us: float | None = None
    time_us_low: float | None = None
    time_us_high: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    default: dict[str, int | str | bool] = {}
    device: str = ""
    software: dict[str, str] = {}
    date: str = ""
    run: str = ""

    @property
    def shape(self) -> str:
        return shape_text(self.m, self.n, self.k, self.batch, self.experts)

    @property
    def key(self) -> tuple[object, ...]:
        """What a file holds one entry of."""
        found = (self.kernel, self.architecture, self.units, self.precision, self.layout)
        return (*found, self.batch, self.experts, self.m, self.n, self.k)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    entry: list[Entry] = []


def user_file() -> Path | None:
    """The user's own file, which need not be there; None where there can be none."""
    return config_file(VARIABLE, "tuned.toml")


def shipped_file(architecture: str) -> Path:
    """The file of an architecture that comes with the kernels."""
    return _FOLDER / f"{re.sub(r'[^A-Za-z0-9._+-]', '-', architecture)}.toml"


def parse_entries(data: bytes, *, source: str) -> tuple[Entry, ...]:
    """The entries of a file's bytes; raises GemmbenchError, in one line, for anything else."""
    remedy = "mend it, or remove it"
    try:
        table = toml_table(data, source=source)
        entries = msgspec.convert(table, _File).entry
    except msgspec.ValidationError as error:
        raise GemmbenchError(f"{source}: {plainly(str(error), table)}: {remedy}") from None
    except GemmbenchError as error:
        raise GemmbenchError(f"{error}: {remedy}") from None
    for index, entry in enumerate(entries):
        try:
            _check(entry)
        except GemmbenchError as error:
            raise GemmbenchError(f"{source}: entry[{index}]: {error}: {remedy}") from None
    return tuple(entries)


def read_entries(path: Path) -> tuple[Entry, ...]:
    """The entries of a file; none where there is no file. Raises GemmbenchError as above."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GemmbenchError(f"cannot read {str(path)[:200]!r}: {reason}") from None
    return _read(path, found.st_ino, found.st_mtime_ns, found.st_size)


def nearest(kernel: str, problem: Problem, device: Device) -> Entry | None:
    """The nearest entry of the kernel on that architecture, precision and layout; None if none is.

    By distance in log2 of the sizes, each within a factor of two; the user's file first.
    Raises GemmbenchError for a file that is damaged.
    """
    for path in (user_file(), shipped_file(device.architecture)):
        if path is None:
            continue
        ranked = [
            (away, -index, entry)
            for index, entry in enumerate(read_entries(path))
            if entry.kernel == kernel and (away := _distance(entry, problem, device)) is not None
        ]
        if ranked:
            return min(ranked, key=lambda found: found[:2])[2]  # of equals the last one
    return None


@lru_cache(maxsize=8)
def _read(path: Path, _inode: int, _changed_ns: int, _size: int) -> tuple[Entry, ...]:
    """Kept until the file changes: a kernel asks for each set of operands."""
    return parse_entries(small_file(path, expected=_EXPECTED), source=str(path)[:200])


def _distance(entry: Entry, problem: Problem, device: Device) -> float | None:
    """How far the entry is from the problem there; None where it says nothing of it."""
    same = (entry.architecture, entry.precision, entry.layout)
    if same != (device.architecture, problem.precision, problem.layout):
        return None
    if device.is_gpu and _aligned(entry) != _aligned(problem):
        return None  # loads go element by element: what is best for whole rows would spill
    pairs = [(max(getattr(entry, s), ROWS), max(getattr(problem, s), ROWS)) for s in "mnk"]
    pairs += [(entry.batch, problem.batch), (entry.experts, problem.experts)]
    pairs.append((entry.units or device.units, device.units))
    steps = [abs(math.log2(a / b)) for a, b in pairs]
    return math.hypot(*steps) if max(steps) <= STEP else None


def _aligned(found: Problem | Entry) -> bool:
    """Have the rows of A and B, as stored, multiples of 16 elements?"""
    row_a = found.k if found.layout[0] == "n" else found.m
    row_b = found.n if found.layout[1] == "n" else found.k
    return row_a % 16 == 0 and row_b % 16 == 0


def _check(entry: Entry) -> None:
    precision(entry.precision)
    check_layout(entry.layout)
    texts = [entry.kernel, entry.architecture, entry.device, entry.date, entry.run]
    for table in (entry.settings, entry.default, entry.software):
        texts += [*table, *(value for value in table.values() if isinstance(value, str))]
    for text in texts:
        if not text.isprintable() or len(text) > 200:
            raise GemmbenchError(f"{text[:60]!r} must be one printable line of up to 200")
    if not entry.settings:
        raise GemmbenchError("settings is empty: expected such as { BLOCK_M = 128 }")
    for name in ("time_us", "time_us_low", "time_us_high", "ratio", "ratio_low", "ratio_high"):
        value = getattr(entry, name)
        if value is not None and not 0 < value < math.inf:
            raise GemmbenchError(f"{name} = {value} must be a positive number")
