"""The datasheets as tables: all in short, or each figure with who prints it."""

import warnings
from collections.abc import Iterable

from gemmbench.devices.datasheet import Peak, Source, Spec
from gemmbench.devices.own import TEMPLATE, doubts, own_specs
from gemmbench.devices.spec import by_id, source_of, specs
from gemmbench.show.tables import Table

_FAMILIES = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8_e4m3", "fp4", "int8")
_FP4 = ("nvfp4", "mxfp4")
_UNVERIFIED = "? no peak of it stands in a text of the vendor's"
_OWN = "+ from a file of your own"


def devices(
    *, sources: bool = False, device: str | None = None, spec: str | None = None
) -> list[Table]:
    """All sheets, or the `device` of that id; `spec` is a file with sheets of the user's.

    With `sources` each has tables of its own, and the last one says what their sources are. Raises
    GemmbenchError for an unknown id, and for a file that holds no sheets.
    """
    own = own_specs(spec)
    for told in doubts(own):
        warnings.warn(told, stacklevel=2)
    found = (*specs(), *own) if device is None else (by_id(device, own),)
    return sheets(found) if sources else [_short(found, own)]


def sheets(found: Iterable[Spec]) -> list[Table]:
    """Each figure of these sheets, and who prints it."""
    every = tuple(found)
    return [*(table for one in every for table in _full(one)), _cited(every)]


def template() -> str:
    """A file to fill in, for a device that has no sheet."""
    return TEMPLATE.read_text("utf-8")


def _short(found: Iterable[Spec], own: Iterable[Spec]) -> Table:
    mine = {spec.id for spec in own}
    rows, notes = [], set()
    for spec in found:
        marks = [("?", _UNVERIFIED)] if not spec.verified else []
        marks += [("+", _OWN)] if spec.id in mine else []
        notes |= {note for _, note in marks}
        rows.append(
            (
                " ".join([spec.id, *(mark for mark, _ in marks)]),
                *(_peak(spec, family) for family in _FAMILIES),
                _rounded(spec.bandwidth_gbps),
                _rounded(spec.tdp_w),
            )
        )
    columns = tuple("fp8" if name == "fp8_e4m3" else name for name in _FAMILIES)
    return Table(
        title="Highest dense peaks on any unit, TFLOP/s (int8: TOPS); bandwidth; power",
        columns=("device", *columns, "GB/s", "W"),
        rows=tuple(rows),
        right=frozenset((*columns, "GB/s", "W")),
        notes=(*sorted(notes), "Sparse peaks, sources, what was decided: --sources --device ID"),
    )


def _peak(spec: Spec, family: str) -> str:
    names = _FP4 if family == "fp4" else (family,)
    found = next((peak for name in names if (peak := spec.peak(name))), None)
    return _rounded(found.tflops) if found else ""


def _full(spec: Spec) -> list[Table]:
    """Two tables: what the device is, and what it reaches."""
    unit = spec.unit_kind
    told = (
        ("names", "names", ", ".join(spec.names)),
        ("pci_ids", "PCI ids", " ".join(spec.pci_ids)),
        ("units", "units", f"{_figure(spec.units)} {unit}s" if spec.units else ""),
        ("shown_units", "units that drivers show", _figure(spec.shown_units)),
        ("partitions", "partitions", _partitions(spec)),
        ("boost_clock_mhz", "maximum clock", _figure(spec.boost_clock_mhz, "MHz")),
        ("memory", "memory", f"{_figure(spec.memory_gb, 'GB')} {spec.memory or ''}".strip()),
        ("bandwidth_gbps", "bandwidth", _figure(spec.bandwidth_gbps, "GB/s")),
        ("l2_mib", "L2", _figure(spec.l2_mib, "MiB")),
        ("llc_mib", "cache behind it", _figure(spec.llc_mib, "MiB")),
        ("tdp_w", "power", _figure(spec.tdp_w, "W")),
        ("block_scaled", "block-scaled formats", " ".join(spec.block_scaled)),
    )
    about = "" if spec.verified else " (not verified: no peak stands in a text of the vendor's)"
    return [
        Table(
            title=f"{spec.id}: {spec.name}, {spec.architecture}{about}",
            columns=("figure", "value", "sources"),
            rows=tuple(
                (label, value, _ids(spec.sources.get(key, ())))
                for key, label, value in told
                if value
            ),
        ),
        Table(
            title=f"{spec.id}: peaks",
            columns=(
                "precision",
                "unit",
                "dense",
                "sparse",
                f"FLOP/clock/{unit}",
                "MHz",
                "sources",
            ),
            rows=tuple(_row(peak) for peak in spec.peaks),
            right=frozenset(("dense", "sparse", f"FLOP/clock/{unit}", "MHz")),
            notes=(
                *(
                    f"{label}: {_ids(spec.sources[key])}"
                    for key, label in (
                        ("sparse", "sparse"),
                        ("flop_per_clock", "FLOP/clock"),
                        ("clock_mhz", "MHz"),
                    )
                    if key in spec.sources
                ),
                *spec.notes,
            ),
        ),
    ]


def _row(peak: Peak) -> tuple[str, ...]:
    return (
        peak.precision + (f" ({peak.variant}: no peak of ours)" if peak.variant else ""),
        peak.unit,
        _figure(peak.tflops),
        _figure(peak.sparse_tflops),
        _figure(peak.flop_per_clock),
        _figure(peak.clock_mhz),
        _ids(peak.sources),
    )


def _cited(found: Iterable[Spec]) -> Table:
    cited: dict[tuple[str, Source], None] = {}
    for spec in found:
        ids = [name for names in spec.sources.values() for name in names]
        ids += [name for peak in spec.peaks for name in peak.sources]
        for name in ids:
            if (source := source_of(spec, name)) is not None:
                cited[name, source] = None
    return Table(
        title="Sources",
        columns=("id", "kind", "title", "where"),
        rows=tuple((name, one.kind, one.title, one.where) for name, one in cited),
    )


def _partitions(spec: Spec) -> str:
    return ", ".join(f"{mode} {units}" for mode, units in spec.partitions.items())


def _rounded(value: float | None) -> str:
    """To four digits, and never less than whole numbers."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _figure(value: float | None, unit: str = "") -> str:
    """As it is printed, to its last digit."""
    return "" if value is None else f"{value:,.6g} {unit}".strip()


def _ids(names: Iterable[str]) -> str:
    return " ".join(names)
