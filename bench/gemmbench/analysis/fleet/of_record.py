"""What a report on a fleet takes from one header or one record."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.fleet.columns import Throttled
from gemmbench.analysis.fleet.model import Case, Model
from gemmbench.records.outline import RecordOutline
from gemmbench.records.schema import Header, Place
from gemmbench.timing.verdict import THROTTLING
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import settings_text

if TYPE_CHECKING:
    from gemmbench.devices.spec import Spec

SOFTWARE = ("driver", "cuda", "hip", "torch", "triton")
"""Of a device's software what changes speeds."""


def model_of(header: Header, place: Place) -> Model:
    device, together = header.device, place.at_once > 1
    part = device.partition or ""
    if header.device_id and header.sheet is None:
        return Model(header.device_id, device.name, device.architecture, 0, part, together)
    return Model("", device.name, device.architecture, device.units, part, together)


def case_of(model: Model, header: Header, record: RecordOutline) -> Case:
    """What of a record must be the same on two devices."""
    method, settings = header.method, record.settings
    return Case(
        model=model,
        kernel=f"{record.kernel} {settings_text(settings)}" if settings else record.kernel,
        precision=record.precision,
        m=record.m,
        n=record.n,
        k=record.k,
        batch=record.batch,
        experts=record.experts,
        layout=record.layout,
        modes="; ".join(f"{name}={value}" for name, value in sorted(record.modes.items())),
        collective=record.collective,
        ranks=record.ranks,
        message_bytes=record.message_bytes or 0,
        preset=method.preset,
        cache="hot" if method.cache == "rotated" and record.sets == 1 else method.cache,
        data=method.data,
        launch=record.launch or method.launch,
        threads=method.threads or 0,
        tool=header.tool,
    )


def facts_of(header: Header) -> tuple[tuple[str, str], ...]:
    found = [(name, header.software[name]) for name in SOFTWARE if name in header.software]
    if header.device.power_limit_w is not None:
        found.append(("power limit", f"{header.device.power_limit_w:g} W"))
    return (*found, ("gemmbench", header.version))


def name_of(place: Place, path: Path) -> str:
    """`node7/5`; without a node's name `GPU 5 (fleet.jsonl#5)`."""
    if place.cores and not place.pci_address and place.index is None:
        what, where = "CPU", place.cores
    else:
        what = "GPU"
        where = place.pci_address if place.index is None else str(place.index)
    if not where:
        return path.name
    if not place.node:
        return f"{what} {where} ({path.name})"
    return f"{place.node}/cpu:{where}" if what == "CPU" else f"{place.node}/{where}"


def limits_of(record: RecordOutline) -> dict[str, float]:
    limits = record.limits
    return {reason: ns for reason, ns in limits.items() if ns is not None} if limits else {}


def throttled_of(number: int, case: int, record: RecordOutline, span_ns: float) -> Throttled:
    limits = limits_of(record)
    reason = max(THROTTLING, key=lambda name: limits.get(name, 0.0))
    share = min(1.0, limits.get(reason, 0.0) / span_ns)
    return Throttled(device=number, case=case, reason=reason, share=share)


def temperature_of(record: RecordOutline) -> float:
    """The median of what its turns saw, °C."""
    seen = [turn.temperature_c for turn in record.turns if turn.temperature_c is not None]
    if not seen:
        return math.nan
    seen.sort()
    return (seen[(len(seen) - 1) // 2] + seen[len(seen) // 2]) / 2


def peak_of(spec: "Spec | None", precision: str) -> float:
    try:
        found: Any = spec.peak(precision) if spec else None
    except GemmbenchError:  # a precision from a newer gemmbench
        found = None
    return found.tflops if found else math.nan
