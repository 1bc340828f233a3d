"""The words between a format's reader and the records: what a tool told, and what a user adds."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gemmbench.devices.spec import by_id
from gemmbench.records.schema import Status
from gemmkernels.device import Vendor
from gemmkernels.errors import GemmbenchError, UnknownNameError, one_line
from gemmkernels.kernel import Tier
from gemmkernels.precision import precision

MAX_ROWS = 100_000
"""Of one file, with those that are left out: as many as `compare` is made for."""

MAP_KEYS = ("m", "n", "k", "batch", "layout", "precision", "shape")
Value = int | float | str | bool | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user says of a file that does not say it itself.

    `map` is pairs of one of our words and the file's name for it, or a plain whole number. Raises
    UnknownNameError for a precision or a spec sheet that is none.
    """

    precision: str | None = None
    device_id: str | None = None
    map: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.precision is not None:
            precision(self.precision)
        if self.device_id is not None:
            by_id(self.device_id)

    @property
    def names(self) -> dict[str, str]:
        return dict(self.map)


def parse_map(text: str | None) -> tuple[tuple[str, str], ...]:
    """("m", "M"), … of "m=M,n=N,k=K"; raises GemmbenchError for anything else."""
    found: dict[str, str] = {}
    for item in (text or "").split(",") if text else ():
        key, equals, name = (part.strip() for part in item.partition("="))
        if not equals or not name:
            raise GemmbenchError(
                f"--map {item.strip()[:60]!r} is no pair: write --map m=M,n=N,k=K, ours before the "
                "equals sign and the file's behind it"
            )
        if key.lower() not in MAP_KEYS:
            raise UnknownNameError("word in --map", key, MAP_KEYS)
        if key.lower() in found:
            raise GemmbenchError(f"--map names {key.lower()} twice: name it once")
        found[key.lower()] = name[:200]
    return tuple(found.items())


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a file tells of the device, and no more: "" and 0 where it tells nothing.

    `sheet` is the id of a spec sheet, which only our own export names. `index` is the tool's number
    of the device: what tells two of one name apart.
    """

    vendor: Vendor = "other"
    name: str = ""
    architecture: str = ""
    units: int = 0
    memory_bytes: int = 0
    llc_bytes: int | None = None
    cpu: bool = False
    sheet: str = ""
    index: int | None = None


@dataclass(frozen=True, kw_only=True)
class How:
    """A tool's method, named after it; cache, launch and data are "" where it does not tell."""

    preset: str
    cache: str = ""
    launch: str = ""
    data: str = ""


@dataclass(frozen=True, kw_only=True)
class Told:
    """One measurement, row-major and in our units, as its tool told it.

    `rounds_ns` are values of several turns, `samples_ns` those of one; else `time_ns` is all there
    is. `n_samples` is 0 where it was not told. `told_tflops` is the tool's own rate, against which
    the shape is checked. `verified` is True only where the tool itself found the product right.
    """

    kernel: str
    backend: str
    m: int
    n: int
    k: int
    precision: str
    how: How
    place: Place
    tier: Tier = "library"
    batch: int = 1
    experts: int = 1
    layout: str = "nn"
    time_ns: float | None = None
    rounds_ns: tuple[float, ...] = ()
    samples_ns: tuple[float, ...] = ()
    n_samples: int = 0
    clock_mhz: float | None = None
    power_w: float | None = None
    told_tflops: float | None = None
    status: Status = "ok"
    reason: str = ""
    verified: bool = False
    label: str = ""
    encoding: str = ""
    out_dtype: str = ""
    accumulate: str = ""
    modes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, int | str | bool] = field(default_factory=dict)
    config: dict[str, Value] = field(default_factory=dict)
    tile: tuple[int, int, int] | None = None
    splits: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class Findings:
    """What a reader makes of a file: it adds to it as it goes, and counts what it leaves out."""

    told: list[Told] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    software: dict[str, str] = field(default_factory=dict)
    host: dict[str, str] = field(default_factory=dict)
    started: str | None = None
    rows: int = 0

    def add(self, told: Told) -> None:
        """Raises GemmbenchError where it is one too many."""
        self._count()
        self.told.append(told)

    def leave(self, why: str) -> None:
        """`why` stands behind a count: "3 without a shape". Only so many kinds are kept. Raises as
        `add` does."""
        self._count()
        why = one_line(why, 120)
        if why not in self.left_out and len(self.left_out) >= 40:
            why = "for other reasons"
        self.left_out[why] += 1

    def _count(self) -> None:
        self.rows += 1
        if self.rows > MAX_ROWS:
            raise GemmbenchError(f"it holds over {MAX_ROWS} rows: split it")


_UNPLAIN = re.compile(r"[^A-Za-z0-9._+-]+")


def plain(name: str, fallback: str) -> str:
    """A name as kernels bear it: letters, digits and . _ + -, at most 60; longer ones are cut, with
    a hash of the whole so that two of them stay two."""
    found = _UNPLAIN.sub("-", name[:1000]).strip("-._+")
    if not found:
        return fallback
    if len(found) > 60:
        import hashlib

        return f"{found[:51]}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return found


def named(names: Iterable[object]) -> str:
    """A few names for an error message."""
    kept = [one_line(name, 30) for name in names]
    return ", ".join(kept[:8]) + (", …" if len(kept) > 8 else "")
