"""The process that asks torch: `python -m gemmbench.doctor.torch_probe DEVICE`.

Apart from the other one, since NVML can block and AMD SMI and torch break each other.
"""

import re
import sys
from typing import Any

from gemmbench.devices.detect import detect, telemetry_target
from gemmbench.devices.sample import attempt
from gemmbench.doctor.child import answer_with
from gemmbench.doctor.facts import TorchState
from gemmkernels.errors import GemmbenchError, UnknownNameError


def ask_torch(name: str) -> TorchState:
    """The device of that name as torch has it, and torch's own state. Raises nothing."""
    try:
        import torch
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return TorchState(problem=line, imports=False)
    device, problem, mistaken = None, None, False
    try:
        device = detect(name)
    except GemmbenchError as error:
        problem = str(error)
        mistaken = isinstance(error, UnknownNameError) or bool(re.search(r"sees \d", problem))
    return TorchState(
        version=str(torch.__version__),  # a subclass of str
        cuda=torch.version.cuda,
        hip=getattr(torch.version, "hip", None),
        device=device,
        target=attempt(telemetry_target, device) if device else None,
        problem=problem,
        mistaken=mistaken,
        **_switches(torch),
    )


def _switches(torch: Any) -> dict[str, Any]:
    """Each may be missing, by version and build; none of them starts or tunes anything."""
    matmul, cuda = torch.backends.cuda.matmul, torch.cuda
    return {
        "allow_tf32": attempt(lambda: bool(matmul.allow_tf32)),
        "fp16_accumulation": attempt(lambda: bool(matmul.allow_fp16_accumulation)),
        "blas": attempt(lambda: _spelt(torch.backends.cuda.preferred_blas_library(), torch)),
        "tunable": attempt(lambda: bool(cuda.tunable.is_enabled())),
        "tuning": attempt(lambda: bool(cuda.tunable.tuning_is_enabled())),
    }


def _spelt(backend: Any, torch: Any) -> str:
    """`_BlasBackend.Cublaslt` in the vendor's own words."""
    name = str(getattr(backend, "name", backend)).rpartition(".")[2].lower()
    names = {"cublas": "cuBLAS", "cublaslt": "cuBLASLt", "ck": "Composable Kernel"}
    if getattr(torch.version, "hip", None) is not None:
        names |= {"cublas": "rocBLAS (hipBLAS)", "cublaslt": "hipBLASLt"}
    return names.get(name, name)


def main() -> None:
    answer_with(lambda: ask_torch(sys.argv[1] if len(sys.argv) > 1 else "auto"))


if __name__ == "__main__":
    main()
