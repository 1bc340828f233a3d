"""Datasheets that the user adds: a file named with --spec, and one that is always read."""

from collections.abc import Sequence
from pathlib import Path

from gemmbench.devices.datasheet import Spec
from gemmbench.devices.sheetfile import parse_table
from gemmbench.devices.spec import differs, match, sources, specs
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.smallfile import config_file, small_file, toml_table

TEMPLATE = Path(__file__).with_name("template.toml")
VARIABLE = "GEMMBENCH_DEVICES"
"""Names the file that is always read; set but empty there is none."""

OFF = 0.05
"""Sheets round: of the 287 such peaks in those that ship, all but B200's fp32 and fp64 (7.5%) lie
within 2.6%."""

_EXPECTED = "datasheets, *.toml as gemmbench list devices --template begins one"


def user_file() -> Path | None:
    """The file that is always read, which need not be there; None where there can be none."""
    return config_file(VARIABLE, "devices.toml")


def own_specs(named: str | None = None) -> tuple[Spec, ...]:
    """The sheets of the user's file, if there is one, and of the file that is `named`.

    Raises GemmbenchError, in one line, for a file that cannot be read or is malformed, a figure
    without a source, and an id or a device's name that another sheet has.
    """
    usual = user_file()
    paths = [usual] if usual is not None and _exists(usual) else []
    paths += [Path(named)] if named else []
    found: tuple[Spec, ...] = ()
    for path in dict.fromkeys(paths):
        data = small_file(path, expected=_EXPECTED)
        found += parse_own(data, source=str(path)[:200], others=(*specs(), *found))
    return found


def doubts(own: Sequence[Spec]) -> list[str]:
    """The peaks of a user's sheets that are over 5% off what units × clock × FLOPs per clock make.

    The clock is the one that the peak states, else the maximum clock.
    """
    told = []
    for spec, peak in ((one, peak) for one in own for peak in one.peaks):
        clock_mhz = peak.clock_mhz or spec.boost_clock_mhz
        if spec.units is None or clock_mhz is None or peak.flop_per_clock is None:
            continue
        made = spec.units * clock_mhz * peak.flop_per_clock / 1e6
        if abs(peak.tflops / made - 1) > OFF:
            told.append(
                f"{spec.id}: peaks {peak.label}: dense = {peak.tflops:g}, but {spec.units} "
                f"{spec.unit_kind}s × {clock_mhz:g} MHz × {peak.flop_per_clock:g} FLOPs per clock "
                f"make {made:.4g} TFLOP/s: check the sheet; is it the sparse figure?"
            )
    return told


def unmatched(device: Device, named: str | None) -> str | None:
    """Why no sheet of the file that is `named` is the device's; None where one is, or none is
    named."""
    if named is None:
        return None
    found = own_specs(named)
    spec = match(device, found)
    if spec is not None and any(one.id == spec.id for one in found):
        return None
    why = "; ".join(
        f"{spec.id} {differs(spec, device) or 'matches'}"
        if device.name in spec.names
        else f"{spec.id} is of {' or '.join(map(repr, spec.names))}"
        for spec in found
    )
    return f"{named}: no sheet of it is this device's, {device.name!r}: {why}"


def parse_own(data: bytes, *, source: str, others: Sequence[Spec]) -> tuple[Spec, ...]:
    """The sheets of a user's file; `source` names it in errors. Raises GemmbenchError as above."""
    found = parse_table(toml_table(data, source=source), file=source, known=sources(), own=True)
    taken = {("id", spec.id): spec.id for spec in others}
    taken |= {("name", name): spec.id for spec in others for name in spec.names}
    for spec in found:
        for kind, text in (("id", spec.id), *(("name", name) for name in spec.names)):
            if (kind, text) in taken:
                raise GemmbenchError(
                    f"{source}: {spec.id}: the {kind} {text!r} is the sheet {taken[kind, text]}'s: "
                    "give it another, or leave this sheet out"
                )
            taken[kind, text] = spec.id
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return True  # reading it says why it can't be read
