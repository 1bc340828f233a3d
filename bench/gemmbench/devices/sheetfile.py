"""Files of datasheets: TOML in, checked sheets out."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from gemmbench.devices.datasheet import Source, Spec
from gemmkernels.errors import GemmbenchError
from gemmkernels.smallfile import plainly

_PLAIN = (
    *("names", "units", "shown_units", "boost_clock_mhz", "memory", "bandwidth_gbps", "l2_mib"),
    *("llc_mib", "tdp_w", "pci_ids", "partitions", "block_scaled"),
)
"""Figures of a device that name their source under their own key."""

_OF_PEAKS = {
    "dense": "tflops",
    "sparse": "sparse_tflops",
    "flop_per_clock": "flop_per_clock",
    "clock_mhz": "clock_mhz",
}
_OWN = ("id", "name", "names", "pci_ids", "notes", "verified")
"""What `like` never hands on: each device is known by its own."""


T = TypeVar("T")


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    device: tuple[dict[str, Any], ...]
    sources: dict[str, dict[str, Any]] = {}


def parse(text: str, *, file: str, known: Iterable[str], own: bool = False) -> tuple[Spec, ...]:
    """The sheets of one TOML document; `known` is the ids of the sources that it may cite.

    A sheet may be `like` one before it, and then says only what differs. A user's `own` file
    holds sources, too: its sheets carry those that they cite. Raises GemmbenchError, one line with
    the file and the key, for what is not a datasheet: wrong types, figures that are not positive
    and finite, figures without a source, the same peak twice.
    """
    try:
        return parse_table(tomllib.loads(text), file=file, known=known, own=own)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise GemmbenchError(f"{file}: {_one_line(error)}") from None


def parse_table(
    table: Mapping[str, object], *, file: str, known: Iterable[str], own: bool = False
) -> tuple[Spec, ...]:
    """The same of what a TOML document holds."""
    document = _converted(table, _Document, file)
    if document.sources and not own:
        raise GemmbenchError(f"{file}: sources belong into sources.toml")
    references = {
        name: _converted(source, Source, f"{file}: sources.{name}")
        for name, source in document.sources.items()
    }
    tables: dict[str, dict[str, Any]] = {}
    specs = []
    for index, stated in enumerate(document.device):
        where = f"{file}: device[{index}]"
        whole = _completed(stated, tables, where)
        spec = _converted(whole, Spec, where)
        tables[spec.id] = whole
        spec = _with_sources(spec, file, references)
        check(spec, where=f"{file}: {spec.id}", known={*known, *references})
        specs.append(spec)
    return tuple(specs)


def _converted(stated: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(stated, kind)
    except msgspec.ValidationError as error:
        raise GemmbenchError(f"{where}: {plainly(str(error), stated)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _completed(
    stated: dict[str, Any], earlier: Mapping[str, dict[str, Any]], where: str
) -> dict[str, Any]:
    """The sheet as stated, with what it leaves to the one that it is `like`."""
    if "like" not in stated:
        return stated
    name = stated["like"]
    base = earlier.get(name) if isinstance(name, str) else None
    if base is None:
        raise GemmbenchError(f"{where}: like = {name!r}: no device of that id stands before it")
    whole = {key: value for key, value in base.items() if key not in _OWN}
    whole |= {key: value for key, value in stated.items() if key != "like"}
    sources, given = base["sources"], stated.get("sources", {})
    if not isinstance(given, dict):
        raise GemmbenchError(f"{where}: sources: Expected `table`")
    handed_on = {key: ids for key, ids in sources.items() if key not in _OWN}
    return {**whole, "sources": handed_on | given}


def _with_sources(spec: Spec, file: str, references: Mapping[str, Source]) -> Spec:
    """Give each peak the sheet's source of dense figures where it names none of its own."""
    if "dense" not in spec.sources:
        raise GemmbenchError(f"{file}: {spec.id}: sources.dense is missing: name who prints it")
    peaks = tuple(
        msgspec.structs.replace(peak, sources=peak.sources or spec.sources["dense"])
        for peak in spec.peaks
    )
    cited = {name for _, ids in citations(spec) for name in ids}
    kept = {name: source for name, source in references.items() if name in cited}
    return msgspec.structs.replace(spec, peaks=peaks, references=kept)


def citations(spec: Spec) -> list[tuple[str, tuple[str, ...]]]:
    """(what is cited for, the ids of its sources), of the whole sheet."""
    found = [(f"sources.{figure}", ids) for figure, ids in spec.sources.items()]
    return found + [(f"peaks {peak.label}", peak.sources) for peak in spec.peaks]


def check(spec: Spec, *, where: str, known: Iterable[str]) -> None:
    """Raise GemmbenchError for a whole device's sheet that does not hold together."""
    if spec.partition is not None or spec.scaled != 1.0:
        raise GemmbenchError(f"{where}: partition and scaled: a sheet is of a whole device")
    figures = {name for name in _PLAIN if getattr(spec, name)}
    if spec.memory_gb is not None:
        figures.add("memory")
    figures |= {
        figure
        for figure, name in _OF_PEAKS.items()
        if any(getattr(peak, name) is not None for peak in spec.peaks)
    }
    for figure in sorted(figures ^ spec.sources.keys()):
        fault = "is the source of no figure" if figure in spec.sources else "is missing"
        raise GemmbenchError(f"{where}: sources.{figure} {fault}")
    known = set(known)
    for key, ids in citations(spec):
        if not ids:
            raise GemmbenchError(f"{where}: {key} is empty: name who prints it")
        for unknown in sorted(set(ids) - known):
            raise GemmbenchError(f"{where}: {key}: {unknown!r} is not among the sources")
    for label, count in Counter(peak.label for peak in spec.peaks).items():
        if count > 1:
            raise GemmbenchError(f"{where}: peaks: {label} is there {count} times")
    for peak in spec.peaks:
        if peak.sparse_tflops is not None and peak.sparse_tflops < peak.tflops:
            raise GemmbenchError(
                f"{where}: peaks {peak.label}: sparse = {peak.sparse_tflops:g} is below "
                f"dense = {peak.tflops:g}"
            )
    for mode, units in spec.partitions.items():
        if spec.units is None or units >= spec.units:
            raise GemmbenchError(
                f"{where}: partitions.{mode} = {units}: a part has fewer units than the whole"
            )
