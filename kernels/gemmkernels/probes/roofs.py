"""The probes that find a device's own roofs, and which of them a device can be asked for."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gemmkernels.cpu.needs import refusal
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Kind, Launch
from gemmkernels.precision import PRECISIONS, SPARSE, precision

Unit = Literal["GB/s", "TFLOP/s", "us"]


def _nothing_to_check(_run: Callable[[], object]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class BoundProbe:
    """A probe that is ready: `work` is the bytes or FLOP of one launch, 0 where time is the answer.

    `check(run)` spoils what was written before, runs, and says what is wrong with what is there
    then, or nothing. `how` is graph or stream where the probe asks how a launch is made.
    """

    launch: Launch
    work: float = 0.0
    check: Callable[[Callable[[], object]], str] = _nothing_to_check
    config: Mapping[str, int | str] = field(default_factory=dict)
    how: str = ""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One kind of roof on one kind of device.

    `bind` is "module:function" from a device and a precision to a BoundProbe. `why_not(precision,
    device)` is None, or why the device has nothing to be probed.
    """

    name: str
    kind: Kind
    unit: Unit
    bind: str
    precisions: tuple[str, ...] = ("",)
    why_not: Callable[[str, Device], str | None] = lambda _precision, _device: None


@dataclass(frozen=True)
class Wanted:
    """A probe by its name; `reason` is why it cannot be measured, empty where it can."""

    name: str
    precision: str
    unit: Unit
    reason: str = ""


def _cache(_precision: str, device: Device) -> str | None:
    if device.vendor == "amd" and device.partition:
        # The Infinity Cache is the memory's: what of it is a partition's depends on the NPS mode.
        return "how much of the Infinity Cache a partition has is not known"
    return None if device.llc_bytes else "the size of the last-level cache is not known"


def _cpu_vector(name: str, device: Device) -> str | None:
    wanted = {"bf16": ("avx512_bf16",), "int8": ("avx512_vnni", "avx_vnni")}.get(name, ("avx2",))
    if any(one in device.features for one in wanted):
        return None
    return f"its vectors have no {name} products: this CPU has no {' and no '.join(wanted)}"


def _amx(name: str, device: Device) -> str | None:
    wanted = ("amx_tile", f"amx_{name}")
    missing = [one for one in wanted if one not in device.features]
    return f"needs AMX: this CPU has no {' and no '.join(missing)}" if missing else refusal()


def _gpu_vector(name: str, device: Device) -> str | None:
    return device.lacks(name)


def _gpu_matrix(name: str, device: Device) -> str | None:
    if name == "fp32" and not device.gfx.startswith("gfx9"):
        return "its matrix units have no fp32"
    if name == "fp64" and device.sm == 90:
        # 31 of 67 TFLOP/s on an H100 by DMMA.8x8x4, 53 by m16n8k4: Triton's pull request 10313.
        return "Triton makes the A100's fp64 instruction, about half of what this unit holds"
    if device.sm in (120, 121) and name.startswith("fp8"):
        return "Triton makes the half-rate instruction of this unit; see mxfp8"
    has_fp64 = device.gfx in ("gfx90a", "gfx942", "gfx950") or device.sm in (80, 100, 103)
    if name == "fp64" and not has_fp64:
        return "its matrix units have no fp64"
    return device.lacks(name)


_HERE = "gemmkernels.probes"
_GPU_MATRIX = tuple(
    row.name for row in PRECISIONS.values() if not (row.family or row.name == "bf16x3")
)

PROBES = (
    Probe(name="copy", kind="cpu", unit="GB/s", bind=f"{_HERE}.copy_cpu:bind_copy"),
    Probe(name="read", kind="cpu", unit="GB/s", bind=f"{_HERE}.read_cpu:bind"),
    Probe(
        name="cache",
        kind="cpu",
        unit="GB/s",
        bind=f"{_HERE}.copy_cpu:bind_cache",
        why_not=_cache,
    ),
    Probe(name="launch-loop", kind="cpu", unit="us", bind=f"{_HERE}.launch:bind_loop"),
    Probe(
        name="vector",
        kind="cpu",
        unit="TFLOP/s",
        precisions=("fp64", "fp32", "bf16", "int8"),
        bind=f"{_HERE}.vector_cpu:bind",
        why_not=_cpu_vector,
    ),
    Probe(
        name="matrix",
        kind="cpu",
        unit="TFLOP/s",
        precisions=("fp16", "bf16", "int8"),
        bind=f"{_HERE}.matrix_cpu:bind",
        why_not=_amx,
    ),
    Probe(name="copy", kind="gpu", unit="GB/s", bind=f"{_HERE}.copy_gpu:bind_copy"),
    Probe(name="read", kind="gpu", unit="GB/s", bind=f"{_HERE}.read_gpu:bind"),
    Probe(
        name="cache",
        kind="gpu",
        unit="GB/s",
        bind=f"{_HERE}.copy_gpu:bind_cache",
        why_not=_cache,
    ),
    Probe(name="launch-stream", kind="gpu", unit="us", bind=f"{_HERE}.launch:bind_stream"),
    Probe(name="launch-graph", kind="gpu", unit="us", bind=f"{_HERE}.launch:bind_graph"),
    Probe(
        name="vector",
        kind="gpu",
        unit="TFLOP/s",
        precisions=("fp64", "fp32"),
        bind=f"{_HERE}.vector_gpu:bind",
        why_not=_gpu_vector,
    ),
    Probe(
        name="matrix",
        kind="gpu",
        unit="TFLOP/s",
        precisions=_GPU_MATRIX,
        bind=f"{_HERE}.matrix_gpu:bind",
        why_not=_gpu_matrix,
    ),
)


def check_precisions(names: Sequence[str]) -> None:
    """Raises GemmbenchError for what is no precision, and for a sparse one, which has no roof."""
    for name in names:
        precision(name)
        if name in SPARSE:
            raise GemmbenchError(
                f"precision {name!r} has no roof: no probe multiplies 2:4 sparse matrices; "
                f"take {PRECISIONS[name].arithmetic}"
            )


def arithmetic_of(name: str) -> str:
    """The precision whose probe answers for this one: bf16 for bf16x3, which is made of it."""
    return "bf16" if name == "bf16x3" else precision(name).arithmetic


def wanted(
    device: Device, precisions: Sequence[str] = (), *, graphs: bool = True
) -> tuple[Wanted, ...]:
    """What to measure of a device: memory and launches, then each precision that it has.

    Of the precisions named those that it lacks come with their reason; sparse ones have no roof,
    and are left out. Without `graphs` no launch from a graph is asked for.
    """
    asked = {arithmetic_of(name) for name in precisions if name not in SPARSE}
    found: list[Wanted] = []
    lacking: dict[str, Wanted] = {}
    for probe in PROBES:
        if probe.kind != device.kind or (probe.name == "launch-graph" and not graphs):
            continue
        for name in probe.precisions:
            if name and precisions and name not in asked:
                continue
            reason = probe.why_not(name, device) or ""
            one = Wanted(probe.name, name, probe.unit, reason)
            if name and reason:
                lacking[name] = one
            else:
                found.append(one)
    had = {one.precision for one in found}
    for name in sorted(asked - had):
        reason = device.lacks(name) or "no probe has it"
        found.append(lacking.get(name, Wanted("matrix", name, "TFLOP/s", reason)))
    return tuple(found)


def bind(name: str, precision: str, device: Device) -> BoundProbe:
    """The probe, ready on that device; imports what it needs, and compiles."""
    probe = next(one for one in PROBES if (one.name, one.kind) == (name, device.kind))
    module, _, function = probe.bind.partition(":")
    found = getattr(importlib.import_module(module), function)(device, precision)
    assert isinstance(found, BoundProbe)
    return found
