"""Facts of a compiled kernel: what its instructions, registers and memory are.

The tools that disassemble NVIDIA's code lie in Triton's wheel; AMD's assembly says all by itself.
"""

import re
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from gemmbench.inspect.instructions import of_amd, of_nvidia, verdict
from gemmbench.inspect.question import Compiled
from gemmbench.inspect.targets import occupancy
from gemmkernels.device import Device
from gemmkernels.kernel import Launch
from gemmkernels.problem import Problem

TOOL_S = 20.0
_SPILL = re.compile(r"\b(?:LDL|STL)\b")
_ADDRESS = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/", re.MULTILINE)
_TMA = re.compile(r"\b(?:UTMALDG|UTMASTG|UBLKCP)\b")
_AMD_ASYNC = re.compile(r"\b(?:buffer_load|global_load)_\w*lds\w*\b|\bbuffer_load_\w+[^\n;]* lds\b")
_COPY = re.compile(r"\bglobal_load_async_\w+")


def facts_of(launch: Launch, problem: Problem, device: Device) -> tuple[Compiled, ...]:
    """Facts of the compiled launches that `run` makes, in order; those in Triton only.

    Compiles what was not compiled yet. Needs no GPU: Triton's active driver says for which.
    """
    if not launch.calls or "triton" not in sys.modules:
        return ()
    from gemmkernels.gpu.host import Call

    found: list[Compiled] = []
    for call in launch.calls:
        if isinstance(call, Call):
            kernel = call.function.warmup(*call.arguments, grid=call.grid, **call.named)
            found.append(facts(kernel, problem.precision, device))
    return tuple(found)


def facts(kernel: Any, precision: str, device: Device) -> Compiled:
    """Facts of one of Triton's compiled kernels."""
    read = _amd if "amdgcn" in kernel.asm else _nvidia
    told, waves = read(kernel.asm)
    metadata = kernel.metadata
    shared = int(metadata.shared or 0)
    warps = int(metadata.num_warps)
    programs, share = occupancy(
        device.architecture,
        warps=warps,
        registers=told["registers"],
        waves=waves,
        shared_bytes=shared,
    )
    return Compiled(
        function=str(metadata.name),
        verdict=verdict(told["instructions"], precision),
        shared_bytes=shared,
        shared_limit=device.shared_bytes,
        tensor_columns=int(getattr(metadata, "tmem_size", None) or 0),
        programs=programs,
        occupancy=share,
        num_warps=warps,
        num_stages=int(metadata.num_stages),
        warp_specialised="ttg.warp_specialize(" in kernel.asm.get("ttgir", ""),
        **told,
    )


def _nvidia(asm: Any) -> tuple[dict[str, Any], None]:
    listing, ptx = _disassembled(asm["cubin"]), asm.get("ptx", "")
    usage = {name: int(value) for name, value in re.findall(r"\b([A-Z]+):(\d+)", listing[:4000])}
    addresses = _ADDRESS.findall(listing)
    return {
        "instructions": of_nvidia(listing, ptx),
        "registers": usage.get("REG"),
        "spills": len(_SPILL.findall(listing)),
        "stack_bytes": usage.get("STACK"),
        "code_bytes": int(addresses[-1], 16) + 16 if addresses else None,
        "tma": bool(_TMA.search(listing)),
        "async_copies": "LDGSTS" in listing,
        "setmaxnreg": "setmaxnreg" in ptx,
    }, None


@lru_cache(maxsize=64)
def _disassembled(cubin: bytes) -> str:
    """cuobjdump's resource usage and SASS."""
    from triton import knobs

    with tempfile.TemporaryDirectory(prefix="gemmbench-") as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        done = subprocess.run(
            [knobs.nvidia.cuobjdump.path, "-res-usage", "-sass", str(path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=TOOL_S,
        )
    return done.stdout


def _amd(asm: Any) -> tuple[dict[str, Any], int | None]:
    """The facts, and how many waves a SIMD may hold by their registers."""
    listing = asm["amdgcn"]
    spills = [_number(listing, rf"\.{kind}gpr_spill_count:\s*") for kind in "vs"]
    known = [count for count in spills if count is not None]
    return {
        "instructions": of_amd(listing),
        "registers": _number(listing, r"\.vgpr_count:\s*"),
        "agprs": _number(listing, r"\.agpr_count:\s*"),
        "spills": sum(known) if known else None,
        "stack_bytes": _number(listing, r"\.private_segment_fixed_size:\s*"),
        "code_bytes": _number(listing, r"; codeLenInByte = "),
        "async_copies": bool(_AMD_ASYNC.search(listing) or _COPY.search(listing)),
    }, _number(listing, r"; Occupancy: ")


def _number(text: str, before: str) -> int | None:
    found = re.search(before + r"(\d+)", text)
    return int(found.group(1)) if found else None
