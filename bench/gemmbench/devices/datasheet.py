"""What one device's datasheet says, in typed records. Nothing here reads a file."""

from typing import Annotated, Literal

import msgspec

from gemmkernels.device import Vendor
from gemmkernels.precision import precision

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e7)]
Count = Annotated[int, msgspec.Meta(gt=0, le=100_000)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
Id = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9.+-]*\Z", max_length=60)]
PciId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{4}:[0-9a-f]{4}\Z")]
Sources = tuple[Text, ...]
Unit = Literal["vector", "tensor core", "matrix core", "matrix unit"]
UnitKind = Literal["SM", "CU", "core", "Xe-core", "MME", "chip"]
Family = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8"]
BlockScaled = Literal["mxfp8", "mxfp4", "nvfp4"]

FAMILIES: dict[str, Family] = {"mxfp8": "fp8", "mxfp4": "fp4", "nvfp4": "fp4"}
"""The row of a sheet that a block-scaled format is multiplied at, where the device has it at all:
sheets print one rate a width. AMD's CDNA3 and CDNA4 article lists MXFP8 at the rate of FP8 and
MXFP4 as the FP4 of the sheet; NVIDIA prints FP4, which its units have with block scales only."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a figure was read, and how near to the vendor that is."""

    title: Text
    where: Text
    kind: Text


class Peak(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One printed peak, dense; `sparse_tflops` is apart. TFLOP/s, or TOPS for int8.

    `flop_per_clock` is per unit, such as an SM; `clock_mhz` is the clock that the printed figure is
    computed with. Either is None where nobody says it. fp16, bf16 and fp8 sum in fp32, and what is
    printed for anything else names it in `variant`: such a row is shown, and never a peak of ours.
    `sources` names who prints its dense and sparse figures.
    """

    precision: Family
    unit: Unit
    tflops: Positive = msgspec.field(name="dense")
    flop_per_clock: Positive | None = None
    clock_mhz: Positive | None = None
    sparse_tflops: Positive | None = msgspec.field(name="sparse", default=None)
    variant: Text | None = None
    sources: Sources = ()

    @property
    def label(self) -> str:
        """`fp16 tensor core, fp16 sums`: what tells it from the other rows of its sheet."""
        return f"{self.precision} {self.unit}" + (f", {self.variant}" if self.variant else "")


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device's datasheet. GB and GB/s are decimal, MiB binary; what nobody says is None.

    `names` is what drivers report, and a sheet without any is never matched. `shown_units` is what
    drivers count where they count something else. `pci_ids` are vendor:device; several products may
    share one. `partitions` gives the units of AMD's modes. `block_scaled` is which such formats the
    device multiplies. `l2_mib` is all of it, `llc_mib` a level behind it (AMD's Infinity Cache).
    `notes` says where sources differ, and what was decided. `verified` is false where no peak
    stands in a text of the vendor's. `references` are the sources of a sheet that a user added.

    Of a partition the peaks are `scaled` by its share of the units; what can't be scaled is None,
    and `partition` says which one it is.
    """

    id: Id
    name: Text
    names: tuple[Text, ...] = ()
    vendor: Vendor
    architecture: Text
    unit_kind: UnitKind
    units: Count | None = None
    shown_units: Count | None = None
    boost_clock_mhz: Positive | None = None
    memory: Text | None = None
    memory_gb: Positive | None = None
    bandwidth_gbps: Positive | None = None
    l2_mib: Positive | None = None
    llc_mib: Positive | None = None
    tdp_w: Positive | None = None
    pci_ids: tuple[PciId, ...] = ()
    partitions: dict[Text, Count] = {}
    block_scaled: tuple[BlockScaled, ...] = ()
    peaks: Annotated[tuple[Peak, ...], msgspec.Meta(min_length=1)]
    sources: dict[str, Sources]
    notes: tuple[Text, ...] = ()
    verified: bool = True
    references: dict[str, Source] = {}
    partition: str | None = None
    scaled: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0

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
        if row.is_blockwise and row.name not in self.block_scaled:
            return None
        family = "fp8" if row.is_fp8 else FAMILIES.get(row.name, row.arithmetic)
        rows = [one for one in self.peaks if one.precision == family and one.variant is None]
        if row.sparse:
            rows = [
                msgspec.structs.replace(peak, tflops=peak.sparse_tflops)
                for peak in rows
                if peak.sparse_tflops is not None
            ]
        return max(rows, key=lambda peak: peak.tflops, default=None)
