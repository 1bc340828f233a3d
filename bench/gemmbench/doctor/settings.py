"""Switches of torch and environment variables that change what is measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gemmbench.devices.target import TelemetryTarget
from gemmbench.doctor.facts import TorchState
from gemmbench.doctor.finding import Finding

_OFF = ("", "0", "false", "off", "no")


@dataclass(frozen=True, kw_only=True)
class _Variable:
    """A variable that does harm where it is `value`; "on" is anything but an off, None anything."""

    name: str
    kind: Literal["gpu", "cpu"]
    value: str | None
    what: str


_VARIABLES = (
    _Variable(name="CUDA_LAUNCH_BLOCKING", kind="gpu", value="on", what="each launch waits"),
    _Variable(name="HIP_LAUNCH_BLOCKING", kind="gpu", value="on", what="each launch waits"),
    _Variable(name="AMD_SERIALIZE_KERNEL", kind="gpu", value="on", what="each launch waits"),
    _Variable(name="TRITON_INTERPRET", kind="gpu", value="on", what="kernels run in Python"),
    _Variable(name="NVIDIA_TF32_OVERRIDE", kind="gpu", value="1", what="fp32 becomes TF32"),
    _Variable(name="NVIDIA_TF32_OVERRIDE", kind="gpu", value="0", what="tf32 becomes fp32"),
    _Variable(name="ATEN_CPU_CAPABILITY", kind="cpu", value=None, what="limits instructions"),
    _Variable(name="ONEDNN_MAX_CPU_ISA", kind="cpu", value=None, what="limits instructions"),
    _Variable(name="DNNL_MAX_CPU_ISA", kind="cpu", value=None, what="limits instructions"),
    _Variable(name="MKL_ENABLE_INSTRUCTIONS", kind="cpu", value=None, what="limits instructions"),
)


def environment_finding(environment: Mapping[str, str], target: TelemetryTarget) -> Finding:
    """The variables that make a figure another one; the run's header keeps all that matter."""
    name = "environment"
    harmful = [v for v in _VARIABLES if v.kind == target.kind and _holds(v, environment)]
    if not harmful:
        return Finding(check=name, grade="ok", what="no variable that slows kernels is set")
    shown = "; ".join(f"{v.name}={environment[v.name][:40]}: {v.what}" for v in harmful)
    remedy = f"unset {' '.join(v.name for v in harmful)}"
    return Finding(check=name, grade="fault", what=shown, remedy=remedy)


def torch_findings(torch: TorchState, environment: Mapping[str, str]) -> Iterator[Finding]:
    """torch's defaults as they stand on a GPU; the ladder sets its own before each turn."""
    if torch.device is None or not torch.device.is_gpu:
        return
    yield _tf32(torch)
    yield _reduced(torch)
    yield _tunable(torch, environment)
    yield _blas(torch)


def _holds(variable: _Variable, environment: Mapping[str, str]) -> bool:
    found = environment.get(variable.name)
    if found is None:
        return False
    if variable.value == "on":
        return found.strip().lower() not in _OFF
    return bool(found) and variable.value in (None, found.strip())


def _tf32(torch: TorchState) -> Finding:
    name = "TF32"
    if torch.allow_tf32 is None:
        return Finding(check=name, grade="unknown", what="this torch does not show it")
    if not torch.allow_tf32:
        return Finding(check=name, grade="ok", what="off by default")
    return Finding(
        check=name,
        grade="note",
        what="on by default: the ladder turns it off for fp32, other programs here do not",
        remedy="unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    )


def _reduced(torch: TorchState) -> Finding:
    name = "reduced precision"
    if torch.fp16_accumulation:
        return Finding(
            check=name,
            grade="note",
            what="fp16 products are summed in fp16 by default",
            remedy="torch.backends.cuda.matmul.allow_fp16_accumulation = False",
        )
    what = "split-K sums in fp16 or bf16, torch's default, are forbidden by the ladder"
    return Finding(check=name, grade="ok", what=what)


def _tunable(torch: TorchState, environment: Mapping[str, str]) -> Finding:
    name = "TunableOp"
    if torch.tunable is None:
        return Finding(check=name, grade="unknown", what="this torch does not show it")
    if not torch.tunable:
        return Finding(check=name, grade="ok", what="off")
    tuning = "on, and tunes at each new shape" if torch.tuning else "on, with what was tuned before"
    by = "PYTORCH_TUNABLEOP_ENABLED"
    return Finding(
        check=name,
        grade="note",
        what=f"{tuning}: the library is not the one that users get by default",
        remedy=f"unset {by}" if by in environment else "torch.cuda.tunable.enable(False)",
    )


def _blas(torch: TorchState) -> Finding:
    name = "BLAS library"
    if torch.hip is None:
        return Finding(check=name, grade="ok", what=torch.blas or "cuBLAS")
    if torch.blas is None:
        return Finding(check=name, grade="unknown", what="this torch does not show it")
    what = f"{torch.blas}; the two differ by up to several times at some shapes"
    remedy = "TORCH_BLAS_PREFER_HIPBLASLT=1 or 0 chooses"
    return Finding(check=name, grade="note", what=what, remedy=remedy)
