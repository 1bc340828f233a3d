"""Who provides the Python modules that can be provided by two: triton and pynvml."""

import importlib.metadata
import importlib.util
from collections.abc import Iterator

from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor.facts import Packages, TorchState
from gemmbench.doctor.finding import Finding


def read_packages() -> Packages:
    providers = importlib.metadata.packages_distributions()
    return Packages(
        has_triton=importlib.util.find_spec("triton") is not None,
        triton=tuple(sorted(set(providers.get("triton", ())))),
        pynvml=tuple(sorted(set(providers.get("pynvml", ())))),
    )


def package_findings(
    packages: Packages, target: TelemetryTarget, torch: TorchState | None = None
) -> Iterator[Finding]:
    yield _triton(packages, target, torch)
    if target.kind == "gpu" and target.vendor == "nvidia":
        yield _pynvml(packages)


def _triton(packages: Packages, target: TelemetryTarget, torch: TorchState | None) -> Finding:
    name = "Triton"
    if len(packages.triton) > 1:
        return Finding(
            check=name,
            grade="fault" if target.kind == "gpu" else "note",
            what=f"{' and '.join(packages.triton)} both provide it, one over the other",
            remedy=f"pip uninstall {' '.join(packages.triton)}; then reinstall that of your torch",
        )
    if packages.has_triton:
        return Finding(check=name, grade="ok", what=" ".join(packages.triton) or "found")
    if target.kind == "cpu":
        what = "missing: its kernels need a GPU, so nothing is lost here"
        return Finding(check=name, grade="note", what=what, remedy="pip install 'gemmbench[cpu]'")
    own = "triton-rocm" if target.vendor == "amd" else "triton"
    version = f" {torch.version}" if torch and torch.version else ""
    return Finding(
        check=name,
        grade="note",
        what="missing: no naive, tiled or matrix-core rung can run",
        remedy=f"pip install {own}, in the version that torch{version} names",
    )


def _pynvml(packages: Packages) -> Finding:
    name = "nvidia-ml-py"
    if "nvidia-ml-py" in packages.pynvml and len(packages.pynvml) == 1:
        return Finding(check=name, grade="ok", what="provides pynvml")
    if not packages.pynvml:
        what = "missing: no clock, power or limit reason is seen"
        return Finding(check=name, grade="note", what=what, remedy="pip install nvidia-ml-py")
    return Finding(
        check=name,
        grade="note",
        what="the old package pynvml hides it: no clock, power or limit reason is seen",
        remedy="pip uninstall pynvml; pip install --force-reinstall nvidia-ml-py",
    )
