"""Which device it was: what the file says, or the user; never a guess."""

from dataclasses import replace

from gemmbench.devices.cpu import slugify
from gemmbench.devices.spec import Spec, by_id, match, specs
from gemmbench.records.imports.words import Place, Told
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, one_line
from gemmkernels.precision import precision

_NAME = 120


def device_of(place: Place, *, tool: str, device_id: str | None) -> tuple[Device, str | None]:
    """(the device, the id of its spec sheet or None).

    A name in the file is matched by the exact rules of the sheets. Raises GemmbenchError where
    `device_id` is unknown, or is not the device that the file names.
    """
    device_id = device_id or _exported(place)
    if device_id is None:
        device = _told(place, tool=tool)
        spec = match(device) if place.name else None
        return device, spec.id if spec else None
    spec = by_id(device_id)
    _check(place, spec, tool=tool)
    name = one_line(place.name, _NAME) or next(iter(spec.names), spec.name)
    device = Device(
        kind="cpu" if spec.unit_kind == "core" else "gpu",
        vendor=spec.vendor,
        name=name,
        architecture=spec.architecture,
        torch_device="",
        slug=spec.id,
        units=place.units or spec.units or 0,
        memory_bytes=place.memory_bytes or int((spec.memory_gb or 0) * 1e9),
        llc_bytes=place.llc_bytes or spec.llc_bytes,
    )
    return device, spec.id


def _own_encoding(device: Device, name: str) -> str:
    """The encoding that the device takes for a precision; "" where it is not known which it is.

    Two of fp8 are in use: AMD's of gfx942, and OCP's everywhere else.
    """
    told = device.architecture or device.vendor == "nvidia"
    is_open = precision(name).input.startswith("float8") and not told
    return "" if is_open else device.encoding(name)


def encoded(told: Told, device: Device) -> Told:
    """With its encoding; one that is not the device's own makes it a case of its own."""
    own = _own_encoding(device, told.precision)
    if told.encoding in ("", own):
        return replace(told, encoding=own)
    return replace(told, settings={**told.settings, "encoding": one_line(told.encoding, 60)})


def _exported(place: Place) -> str | None:
    """The sheet that our own export names, where it is a sheet of the device that it names."""
    found = (spec.id for spec in specs() if spec.id == place.sheet and place.name in spec.names)
    return next(found, None)


def _told(place: Place, *, tool: str) -> Device:
    name = one_line(place.name, _NAME)
    architecture = one_line(place.architecture, 40)
    device = Device(
        kind="cpu" if place.cpu else "gpu",
        vendor=place.vendor,
        name=name or f"unknown ({tool})",
        architecture=architecture,
        torch_device="",
        slug=slugify(place.vendor, f"{name or 'unknown'} {architecture}".strip())[:60],
        units=place.units,
        memory_bytes=place.memory_bytes,
        llc_bytes=place.llc_bytes,
    )
    spec = match(device) if name else None
    if spec is None:
        return device
    slug = f"{spec.id}-{slugify('other', spec.partition)}" if spec.partition else spec.id
    return replace(device, slug=slug, partition=spec.partition)


def _check(place: Place, spec: Spec, *, tool: str) -> None:
    """What the file does tell must not speak against the user's word."""
    found = match(_told(place, tool=tool)) if place.name else None
    for what, told, meant in (
        ("vendor", place.vendor if place.vendor != "other" else "", spec.vendor),
        ("architecture", place.architecture, spec.architecture),
        ("device", found.id if found else "", spec.id),
        ("kind", "CPU" if place.cpu else "", "CPU" if spec.unit_kind == "core" else "GPU"),
    ):
        if told and told != meant:
            raise GemmbenchError(
                f"--device-id {spec.id} is not what the file names: {what} {told}"
                f"{f' ({one_line(place.name, 60)})' if place.name else ''}, not {meant}; leave "
                "--device-id out"
            )
