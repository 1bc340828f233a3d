"""What the kernels' tests share, and the jobs that need a process of their own.

`python kernel_jobs.py interpret KERNEL` and `python kernel_jobs.py compile TARGET` print one JSON
line a case. The interpreter and the compiler cannot share a process: Triton reads its mode when it
is imported.
"""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gemmkernels import Device, Kernel, Operands, Problem
from gemmkernels.ladder import find
from gemmkernels.operands import allocate, fill, poison, product, values

ROOT = Path(__file__).resolve().parents[1]
TRITON = ("triton-naive", "triton-tiled", "triton-matrix-core")

CPU = Device(
    kind="cpu",
    vendor="intel",
    name="a CPU",
    architecture="x86-64-v4+amx",
    torch_device="cpu",
    slug="cpu",
    units=2,
    memory_bytes=2**33,
    features=("avx512_bf16", "avx512_vnni"),
)


def gpu(architecture: str, units: int, shared_bytes: int) -> Device:
    """A GPU that is not there: its kernels are compiled, or interpreted on the CPU."""
    return Device(
        kind="gpu",
        vendor="amd" if architecture.startswith("gfx") else "nvidia",
        name=architecture,
        architecture=architecture,
        torch_device="cpu",
        slug=architecture,
        units=units,
        memory_bytes=2**37,
        shared_bytes=shared_bytes,
    )


GPUS = {
    device.architecture: device
    for device in (
        gpu("sm_80", 108, 166912),
        gpu("sm_90", 132, 232448),
        gpu("sm_100", 148, 232448),
        gpu("gfx942", 304, 65536),
        gpu("gfx950", 256, 163840),
    )
}

# Unit roundoffs of sums and outputs. Matrix units truncate their fp32 sums, and the interpreter its
# bfloat16 outputs: one bit less than rounding.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
UNIT = {
    "float64": 2**-53,
    "float32": 2**-23,
    "float16": 2**-11,
    "bfloat16": 2**-7 if INTERPRETED else 2**-8,
}
SHORT_SUM = 2**-13
"""Hopper sums fp8 in about 14 bits between promotions (DeepSeek-V3, section 3.3.2)."""


def error(operands: Operands) -> float:
    """max |C − R| / bound over all elements, R in float64; above 1 is wrong, NaN is infinite.

    The bound is Higham's (Accuracy and Stability, 3.5): K roundings of Σ |a|·|b|, one of the
    output; tf32 rounds its inputs to 11 bits besides.
    """
    row = operands.problem.numerics
    a, b = values(operands)
    c = operands.out.double()
    exact, spread = product(operands, a, b), product(operands, a.abs(), b.abs())
    if row.is_integer:
        return 0.0 if torch.equal(c, exact) else float("inf")
    unit = operands.problem.k * UNIT[row.accumulate]
    unit += 2 * 2**-11 if row.name == "tf32" else 0.0
    unit += SHORT_SUM if row.is_fp8 and operands.device.sm == 90 else 0.0
    tiny = torch.finfo(getattr(torch, row.output)).tiny
    worst = ((c - exact).abs() / (unit * spread + UNIT[row.output] * exact.abs() + tiny)).max()
    return float("inf") if worst.isnan() else float(worst)


def case(
    kernel: Kernel,
    problem: Problem,
    device: Device,
    *,
    data: str = "normal",
    **keywords: object,
) -> float:
    """The error of one kernel on fresh operands with a poisoned output; `keywords` go to `run`."""
    (operands,) = allocate(problem, device)
    fill(operands, data=data, seed=problem.m)
    poison(operands)
    launch = kernel.launch(operands)
    if launch.prepare is not None:
        launch.prepare()
    run: Callable[..., object] = launch.run
    result = run(**keywords)
    if launch.returns_output:
        assert isinstance(result, torch.Tensor)
        operands.out.copy_(result)
    return error(operands)


def job(*arguments: str, **environment: str) -> list[dict[str, Any]]:
    """Run a job in a process of its own: its lines of JSON."""
    paths = os.pathsep.join(str(ROOT / name) for name in ("kernels", "bench"))
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


# Every pair of a shape's kind, a layout and a precision occurs; shapes are (M, N, K).
SHAPES = ((17, 37, 19), (32, 32, 32), (1, 13, 67), (41, 1, 1))
LAYOUTS = ("nn", "nt", "tn", "tt")


def interpret(name: str) -> None:
    kernel = find(name)
    for p, precision in enumerate(kernel.precisions):
        for s, (m, n, k) in enumerate(SHAPES):
            for shift in (0, 1) if s == 0 else (0,):
                layout = LAYOUTS[(s + p + shift) % 4]
                problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
                found = case(kernel, problem, GPUS["sm_90"])
                show(precision=precision, shape=problem.shape, layout=layout, error=found)
        wide = Problem(m=5, n=33, k=70, precision=precision, layout=LAYOUTS[p % 4])
        found = case(kernel, wide, GPUS["sm_90"], WIDE=True)
        show(precision=precision, shape=wide.shape, layout=wide.layout, error=found)
    if name == "triton-naive":
        chain()


def chain() -> None:
    from gemmkernels.probes.chain_gpu import LANES, chain_kernel

    out = torch.zeros(LANES, dtype=torch.int32)
    chain_kernel[(1,)](out, 5, LANES=LANES, num_warps=1)
    show(chain=[value & 0xFFFFFFFF for value in out.tolist()])


NVIDIA_MATRIX = re.compile(r"(?<!HFMA2\.)\b(?:[HIQOBD]G?MMA|UTC[A-Z]?MMA)[\w.]*")
AMD_MATRIX = re.compile(r"\bv_(?:mfma|smfmac|wmma|swmmac)_\w+")
TYPES = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8e4nv",
    "float8_e5m2": "fp8e5",
    "float8_e4m3fnuz": "fp8e4b8",
    "float8_e5m2fnuz": "fp8e5b16",
    "int8": "i8",
    "int32": "i32",
}


def compile_case(kernel: Kernel, problem: Problem, device: Device) -> dict[str, Any]:
    """Compile what `bind` would launch: matrix instructions, shared memory and spills."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from gemmkernels.gpu.host import Call

    assert isinstance(kernel.bind, str)
    function = importlib.import_module(kernel.bind.partition(":")[0]).matmul_kernel
    with torch.device("meta"):
        (operands,) = allocate_meta(problem, device)
    launch = kernel.launch(operands)
    (call,) = launch.calls
    assert isinstance(call, Call)
    named = dict(zip(function.arg_names, call.arguments, strict=False)) | dict(call.named)
    signature, constants, attributes = {}, {}, {}
    for place, name in enumerate(function.arg_names):
        value = named.pop(name)
        if isinstance(value, torch.Tensor):
            signature[name] = "*" + TYPES[str(value.dtype).removeprefix("torch.")]
        elif name in call.named or value is None or value == 1:
            signature[name], constants[(place,)] = "constexpr", value
            continue
        else:
            signature[name] = "i32"
        if isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0):
            attributes[(place,)] = [["tt.divisibility", 16]]
    target = GPUTarget("hip", device.gfx, 64) if device.gfx else GPUTarget("cuda", device.sm, 32)
    source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(source, target=target, options=named)
    if device.gfx:
        text = compiled.asm["amdgcn"]
        spills = sum(map(int, re.findall(r"\.[vs]gpr_spill_count:\s*(\d+)", text)))
        matrix = AMD_MATRIX.findall(text)
    else:
        text = compiled.asm["sass"]
        spills = len(re.findall(r"\b(?:LDL|STL)\b", text))
        matrix = NVIDIA_MATRIX.findall(text)
    return {
        "kernel": kernel.name,
        "precision": problem.precision,
        "layout": problem.layout,
        "shape": problem.shape,
        "matrix": sorted(set(matrix)),
        "shared": compiled.metadata.shared,
        "spills": spills,
    }


def allocate_meta(problem: Problem, device: Device) -> tuple[Operands]:
    """Operands without memory, of the strides that `allocate` gives."""

    def matrix(rows: int, columns: int, dtype: str, *, transposed: bool = False) -> torch.Tensor:
        kind = getattr(torch, dtype)
        if transposed:
            return torch.empty(columns, rows, dtype=kind).mT
        return torch.empty(rows, columns, dtype=kind)

    a_t, b_t = (letter == "t" for letter in problem.layout)
    encoding = device.encoding(problem.precision)
    scale = torch.ones(1) if problem.numerics.is_fp8 else None
    return (
        Operands(
            problem=problem,
            device=device,
            a=matrix(problem.m, problem.k, encoding, transposed=a_t),
            b=matrix(problem.k, problem.n, encoding, transposed=b_t),
            out=matrix(problem.m, problem.n, problem.numerics.output),
            scale_a=scale,
            scale_b=scale,
        ),
    )


def compile_for(architecture: str, names: tuple[str, ...]) -> None:
    device = GPUS[architecture]
    for name in names:
        kernel = find(name)
        for p, precision in enumerate(kernel.precisions):
            if device.lacks(precision):
                continue
            ragged = name == "triton-matrix-core" and precision in ("fp16", "fp8_e4m3", "int8")
            layouts = ("nn", "nt") if ragged else (LAYOUTS[(p + 2) % 4],)
            for layout in layouts:
                problem = Problem(m=8192, n=8192, k=8192, precision=precision, layout=layout)
                show(**compile_case(kernel, problem, device))
            if ragged:
                for m, n, k, layout in ((1, 4096, 4096, "nt"), (1021, 1031, 1033, "nn")):
                    problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
                    show(**compile_case(kernel, problem, device))
        wide = Problem(m=70_016, n=256, k=32_768, precision="int8")
        show(**compile_case(kernel, wide, device))


def show(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "interpret":
        interpret(sys.argv[2])
    else:
        compile_for(sys.argv[2], tuple(sys.argv[3:]) or TRITON)
