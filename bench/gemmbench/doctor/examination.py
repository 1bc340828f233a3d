"""All checks of one device: gathered by processes of their own, judged here."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gemmbench.devices.own import own_specs
from gemmbench.devices.spec import match, nearest_miss
from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor.child import Child, ChildError
from gemmbench.doctor.facts import Facts, TorchState
from gemmbench.doctor.finding import Finding, faults_of, ordered
from gemmbench.doctor.gpu import find, gpu_findings
from gemmbench.doctor.host import host_findings
from gemmbench.doctor.packages import package_findings
from gemmbench.doctor.settings import environment_finding, torch_findings
from gemmbench.doctor.visible import datasheet_finding, device_finding, signs_of, torch_finding
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError

PATIENCE_S = 20.0
"""A driver that is asked for its state answers in milliseconds, a cold one in a few seconds."""

TORCH_S = 180.0
"""On a cold disk torch takes minutes to import."""

_GRACE_S = 5.0


class Examination:
    """What a run asks while its worker starts: which faults a figure from here would have.

    No method raises; what could not be found out is no fault. The process `family`, this one unless
    it is said, and all that descend from it are no neighbours of the run.
    """

    def __init__(self, family: int | None = None) -> None:
        self._child: Child | None = None
        self._family = family

    def start(self) -> None:
        try:
            self._child = _probe(family=self._family)
        except OSError:
            self._child = None

    def faults(
        self, timeout_s: float, *, device: Device, target: TelemetryTarget | None
    ) -> tuple[Finding, ...]:
        """The faults of a device, if they are known within the time; ends the examination."""
        child, self._child = self._child, None
        if child is None:
            return ()
        try:
            facts = child.answer(timeout_s, Facts)
        except (ChildError, OSError):
            return ()
        finally:
            child.stop()
        return faults_of(judged(facts, device, target or _target(device), os.environ))

    def stop(self) -> None:
        """End it unheard; also after an error, and more than once."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All findings, and the device that they are of: None where none can be used."""

    findings: tuple[Finding, ...]
    device: Device | None


def diagnose(
    name: str, *, environment: Mapping[str, str] = os.environ, patience_s: float = PATIENCE_S
) -> Diagnosis:
    """Examine this machine for measurements on the device of that name.

    Takes as long as torch takes to import. Raises GemmbenchError for a name that no device has.
    """
    began_s = time.monotonic()
    children: list[Child] = []
    try:
        children = [_probe(patience_s), Child("gemmbench.doctor.torch_probe", name)]
        probe, asked = children
        torch = _torch(asked)
        if torch.mistaken:
            raise GemmbenchError(torch.problem or f"unknown device {name!r}")
        left_s = began_s + patience_s + _GRACE_S - time.monotonic()
        try:
            facts = probe.answer(max(1.0, left_s), Facts)
        except ChildError as error:
            lost = Finding(check="examination", grade="fault", what=f"of host and GPU: {error}")
            return Diagnosis(findings=(lost,), device=torch.device)
    except OSError as error:
        raise GemmbenchError(f"cannot start a process: {error.strerror or error}") from None
    finally:
        for child in children:
            child.stop()
    device, target = torch.device, torch.target or _expected(torch, facts, name)
    first = [
        torch_finding(torch),
        device_finding(torch, facts.signs, asked=name, environment=environment),
    ]
    rest = judged(facts, device, target, environment, torch)
    return Diagnosis(findings=ordered([*first, *rest]), device=device)


def judged(
    facts: Facts,
    device: Device | None,
    target: TelemetryTarget,
    environment: Mapping[str, str],
    torch: TorchState | None = None,
) -> Iterator[Finding]:
    """Every check that matters to the device, of what was gathered."""
    if target.kind == "gpu":
        yield from _of_gpu(facts, device, target)
    yield from host_findings(facts.host, target)
    yield from package_findings(facts.packages, target, torch)
    yield environment_finding(environment, target)
    if torch is not None:
        yield from torch_findings(torch, environment)


def _of_gpu(facts: Facts, device: Device | None, target: TelemetryTarget) -> Iterator[Finding]:
    if target.vendor in facts.hangs:
        yield Finding(
            check="driver",
            grade="fault",
            what="it does not answer: a process asking for the GPU's state hangs",
            remedy="look for Xid or amdgpu in sudo dmesg; reset the GPU, or reboot",
        )
        return
    gpu = find(facts.gpus, target)
    own = own_specs()
    spec = match(device, own) if device else None
    if device is not None:
        yield datasheet_finding(spec, nearest_miss(device, own))
    if gpu is None:
        problem = facts.signs.nvml_problem if target.vendor == "nvidia" else None
        what = f"not shown: {problem or 'the driver does not list this GPU'}"
        remedy = "in a container, NVIDIA_DRIVER_CAPABILITIES must hold utility"
        remedy = remedy if target.vendor == "nvidia" else ""
        yield Finding(check="GPU state", grade="unknown", what=what, remedy=remedy)
        return
    yield from gpu_findings(gpu, spec)


def _probe(patience_s: float = PATIENCE_S, *, family: int | None = None) -> Child:
    return Child("gemmbench.doctor.probe", str(family or os.getpid()), str(patience_s))


def _torch(child: Child) -> TorchState:
    try:
        return child.answer(TORCH_S, TorchState)
    except ChildError as error:
        late = f"no answer within {TORCH_S:g} s: the driver or the disk hangs"
        return TorchState(problem=late if error.late else str(error), imports=False)


def _target(device: Device) -> TelemetryTarget:
    return TelemetryTarget(kind=device.kind, vendor=device.vendor)


def _expected(torch: TorchState, facts: Facts, name: str) -> TelemetryTarget:
    """What is examined where torch can use no device: the GPU that is there, else the CPU."""
    if torch.device is not None:
        return _target(torch.device)
    found = signs_of(facts.signs)
    if name == "cpu" or (name == "auto" and not found):
        return TelemetryTarget(kind="cpu", vendor="other")
    is_amd = found[0] == "amd" if found else torch.hip is not None
    return TelemetryTarget(kind="gpu", vendor="amd" if is_amd else "nvidia")
