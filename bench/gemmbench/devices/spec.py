"""Datasheets: dense peaks per precision and unit, clocks, bandwidth, power, each with its source.

The figures live in `spec/*.toml`, one file a family. A device that is not in them has no peak.
"""

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gemmkernels.device import Device, Vendor
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.precision import precision

_FOLDER = Path(__file__).with_name("spec")
_OF_DEVICE = ("names", "units", "boost_clock_mhz", "memory", "bandwidth_gbps", "tdp_w")
_OF_PEAKS = ("dense", "flop_per_clock", "clock_mhz")
_AMD_MODES = {2: "DPX", 3: "TPX", 4: "QPX", 8: "CPX"}
_MIG = re.compile(r"(?P<name>.+) (?P<slice>MIG \d+g\.\d+gb.*)", re.IGNORECASE)

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e7)]
Count = Annotated[int, msgspec.Meta(gt=0, le=100_000)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Sources = tuple[Text, ...]
Unit = Literal["vector", "tensor core", "matrix core"]
Family = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8"]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a figure was read, and how near to the vendor that is."""

    title: Text
    where: Text
    kind: Text


class Peak(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One printed peak, dense; `sparse_tflops` is apart. TFLOP/s, or TOPS for int8.

    `flop_per_clock` is per SM or CU; `clock_mhz` is the clock that the printed figure is computed
    with. fp16, bf16 and fp8 sum in fp32. `sources` names who prints the dense figure.
    """

    precision: Family
    unit: Unit
    tflops: Positive = msgspec.field(name="dense")
    flop_per_clock: Positive
    clock_mhz: Positive
    sparse_tflops: Positive | None = msgspec.field(name="sparse", default=None)
    sources: Sources = ()


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device's datasheet. GB and GB/s are decimal, MiB binary; `names` is what drivers report.

    `l2_mib` is all of it, `llc_mib` a level behind it (AMD's Infinity Cache). Of a partition the
    peaks are `scaled` by its share of the units; what can't be scaled is None, and `partition`
    says which one it is.
    """

    id: Text
    name: Text
    names: tuple[Text, ...]
    vendor: Vendor
    architecture: Text
    unit_kind: Literal["SM", "CU"]
    units: Count
    boost_clock_mhz: Positive
    memory: Text
    memory_gb: Positive
    bandwidth_gbps: Positive | None
    tdp_w: Positive | None
    peaks: Annotated[tuple[Peak, ...], msgspec.Meta(min_length=1)]
    sources: dict[str, Sources]
    l2_mib: Positive | None = None
    llc_mib: Positive | None = None
    partition: str | None = None
    scaled: float = 1.0

    @property
    def llc_bytes(self) -> int | None:
        """The last-level cache: the Infinity Cache where there is one, else L2."""
        mib = self.llc_mib or self.l2_mib
        return int(mib * 2**20) if mib else None

    def peak(self, name: str) -> Peak | None:
        """The highest dense peak of a precision on any unit, or None where the sheet has none.

        Of a 2:4 sparse precision it is the sparse peak, as `tflops`; the two never mix. Raises
        UnknownNameError for what is not a precision.
        """
        row = precision(name)
        family = "fp8" if row.is_fp8 else row.arithmetic
        rows = [peak for peak in self.peaks if peak.precision == family]
        if row.sparse:
            rows = [
                msgspec.structs.replace(peak, tflops=peak.sparse_tflops)
                for peak in rows
                if peak.sparse_tflops is not None
            ]
        return max(rows, key=lambda peak: peak.tflops, default=None)


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    device: tuple[Spec, ...]


def parse(text: str, *, file: str, known: Iterable[str]) -> tuple[Spec, ...]:
    """The specs of one TOML document; `known` is the ids of the sources.

    Raises GemmbenchError, one line with the file and the key, for what is not a datasheet: wrong
    types, figures that are not positive and finite, figures without a source, the same peak twice.
    """
    try:
        document = msgspec.convert(tomllib.loads(text), _Document)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise GemmbenchError(f"{file}: {_one_line(error)}") from None
    known = set(known)
    specs = tuple(_with_sources(spec, file) for spec in document.device)
    for spec in specs:
        _check(spec, file, known)
    return specs


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _with_sources(spec: Spec, file: str) -> Spec:
    """Give each peak the sheet's source of dense figures where it names none of its own."""
    if "dense" not in spec.sources:
        raise GemmbenchError(f"{file}: {spec.id}: sources.dense is missing: name who prints it")
    peaks = (
        msgspec.structs.replace(peak, sources=peak.sources or spec.sources["dense"])
        for peak in spec.peaks
    )
    return msgspec.structs.replace(spec, peaks=tuple(peaks))


def _check(spec: Spec, file: str, known: set[str]) -> None:
    where = f"{file}: {spec.id}"
    if spec.partition is not None or spec.scaled != 1.0:
        raise GemmbenchError(f"{where}: partition and scaled: a sheet is of a whole device")
    for figure in ("bandwidth_gbps", "tdp_w"):
        if getattr(spec, figure) is None:
            raise GemmbenchError(f"{where}: {figure} is missing")
    figures = {*_OF_DEVICE, *_OF_PEAKS}
    figures |= {name for name in ("l2_mib", "llc_mib") if getattr(spec, name) is not None}
    if any(peak.sparse_tflops for peak in spec.peaks):
        figures.add("sparse")
    for figure in sorted(figures ^ spec.sources.keys()):
        fault = "is the source of no figure" if figure in spec.sources else "is missing"
        raise GemmbenchError(f"{where}: sources.{figure} {fault}")
    cited = [(f"sources.{figure}", ids) for figure, ids in spec.sources.items()]
    cited += [(f"peaks {peak.precision} {peak.unit}", peak.sources) for peak in spec.peaks]
    for key, ids in cited:
        if not ids:
            raise GemmbenchError(f"{where}: {key} is empty: name who prints it")
        for unknown in sorted(set(ids) - known):
            raise GemmbenchError(f"{where}: {key}: {unknown!r} is not in sources.toml")
    for (kind, unit), count in Counter((p.precision, p.unit) for p in spec.peaks).items():
        if count > 1:
            raise GemmbenchError(f"{where}: peaks: {kind} {unit} is there {count} times")
    for p in spec.peaks:
        if p.sparse_tflops is not None and p.sparse_tflops < p.tflops:
            raise GemmbenchError(
                f"{where}: peaks {p.precision} {p.unit}: sparse = {p.sparse_tflops:g} is below "
                f"dense = {p.tflops:g}"
            )


def restore(sheet: Mapping[str, object]) -> Spec | None:
    """The sheet that a run's header holds, of a device that a user added; None if it is damaged."""
    try:
        return msgspec.convert(sheet, Spec)
    except msgspec.ValidationError:
        return None


@lru_cache(maxsize=1)
def sources() -> Mapping[str, Source]:
    """Every source that the table cites, by its id."""
    path = _FOLDER / "sources.toml"
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, Source])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise GemmbenchError(f"{path.name}: {_one_line(error)}") from None


@lru_cache(maxsize=1)
def specs() -> tuple[Spec, ...]:
    """All datasheets, by file and in the file's order. Read once, on first use."""
    found: list[Spec] = []
    for path in sorted(_FOLDER.glob("*.toml")):
        if path.name != "sources.toml":
            found += parse(path.read_text("utf-8"), file=path.name, known=sources())
    for kind, names in (
        ("id", [spec.id for spec in found]),
        ("name", [name for spec in found for name in spec.names]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                raise GemmbenchError(f"spec/*.toml: the {kind} {name!r} is there {count} times")
    return tuple(found)


def by_id(name: str) -> Spec:
    """The datasheet of that id; raises UnknownNameError with the nearest ids."""
    for spec in specs():
        if spec.id == name:
            return spec
    raise UnknownNameError("datasheet", name, [spec.id for spec in specs()])


def match(device: Device) -> Spec | None:
    """The datasheet of a device, by vendor and exact name; None where that is not certain.

    A MIG slice, and an AMD partition whose units are a half, third, quarter or eighth, get the
    whole device's peaks scaled by units: each unit of them runs at full rate.
    """
    if not device.is_gpu:
        return None
    spec, part = sheet(vendor=device.vendor, name=device.name, units=device.units)
    return spec if spec is None or part is None else _slice(spec, device.units, part)


def sheet(*, vendor: str, name: str, units: int) -> tuple[Spec | None, str | None]:
    """(the whole device's datasheet, which partition of it this is): None, None if unsure."""
    slice_ = _MIG.fullmatch(name) if vendor == "nvidia" else None
    whole = slice_["name"] if slice_ else name
    for spec in specs():
        if spec.vendor != vendor or whole not in spec.names:
            continue
        if slice_:
            return (spec, slice_["slice"]) if 0 < units <= spec.units else (None, None)
        if units == spec.units:
            return spec, None
        share = spec.units / units if units > 0 else math.nan
        if vendor == "amd" and share in _AMD_MODES:
            return spec, _AMD_MODES[int(share)]
    return None, None


def _slice(spec: Spec, units: int, part: str) -> Spec:
    """Peaks by the share of the units; bandwidth and power are not shared out by units."""
    share = units / spec.units
    peaks = tuple(
        msgspec.structs.replace(
            peak,
            tflops=peak.tflops * share,
            sparse_tflops=peak.sparse_tflops and peak.sparse_tflops * share,
        )
        for peak in spec.peaks
    )
    return msgspec.structs.replace(
        spec,
        units=units,
        peaks=peaks,
        bandwidth_gbps=None,
        tdp_w=None,
        partition=part,
        scaled=share,
    )
