"""What the kernels' tests share, and the jobs that need a process of their own.

`python kernel_jobs.py interpret KERNEL` and `python kernel_jobs.py compile TARGET KERNEL…` print
one JSON line a case. The interpreter and the compiler cannot share a process: Triton reads its mode
when it is imported.
"""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gemmkernels import Device, Kernel, Operands, Problem
from gemmkernels.ladder import find
from gemmkernels.operands import allocate, fill, poison, product, values
from gemmkernels.precision import PRECISIONS

ROOT = Path(__file__).resolve().parents[1]
TRITON = (
    "triton-naive",
    "triton-tiled",
    "triton-matrix-core",
    "triton-swizzled",
    "triton-persistent",
    "triton-persistent-fast-accum",
)

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
        gpu("sm_120", 188, 101376),
        gpu("gfx90a", 104, 65536),
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


def job(*arguments: str, script: str = __file__, **environment: str) -> list[dict[str, Any]]:
    """Run a job in a process of its own: its lines of JSON."""
    paths = os.pathsep.join(str(ROOT / name) for name in ("kernels", "bench"))
    done = subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


LAYOUTS = ("nn", "nt", "tn", "tt")

# Kinds of shapes, (M, N, K): aligned but with a tail in K, ragged in each dimension, one row, one
# column of one term, and more tiles than programs.
SHAPES = ((32, 48, 80), (17, 37, 19), (1, 13, 67), (41, 1, 1), (150, 272, 48))
SMALL_SHAPES = ((16, 32, 16), (17, 37, 19), (1, 13, 33), (41, 1, 1))
"""For kernels without a dot, which the interpreter takes through term by term."""

FEW_UNITS = {
    "sm_90": replace(GPUS["sm_90"], units=3),
    "sm_100": replace(GPUS["sm_100"], units=3),
    "gfx942": replace(GPUS["gfx942"], units=76),  # two dies
}


def pairwise(*factors: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Cases in which every pair of values of two factors occurs."""
    cases = list(itertools.product(*(range(len(factor)) for factor in factors)))
    found, left = (
        [],
        {pair for case in cases for pair in itertools.combinations(enumerate(case), 2)},
    )
    while left:
        case = max(cases, key=lambda one: len(left & {*itertools.combinations(enumerate(one), 2)}))
        left -= {*itertools.combinations(enumerate(case), 2)}
        found.append(tuple(factor[i] for factor, i in zip(factors, case, strict=True)))
    return found


def problems(kernel: Kernel) -> list[tuple[Problem, Device]]:
    """What a kernel is held against: every pair of precision, layout, shape, target, batch.

    Block-scaled and sparse formats get a K of whole blocks; what a target refuses is left out.
    """
    batches = (1, 3) if kernel.batched else (1,)
    matrix = kernel.tier == "matrix-core"
    shapes = SHAPES if matrix else SMALL_SHAPES
    targets = tuple(FEW_UNITS) if matrix else ("sm_90",)
    found = []
    for precision, layout, (m, n, k), target, batch in pairwise(
        kernel.precisions, kernel.layouts, shapes, targets, batches
    ):
        experts = 4 if kernel.grouped else 1
        row = PRECISIONS[precision]
        along = row.block * 2 or (4 if row.sparse else 1)
        problem = Problem(
            m=m,
            n=n,
            k=-(-k // along) * along,
            precision=precision,
            layout="nt" if row.is_blockwise else layout,
            batch=batch,
            experts=experts,
        )
        for name in (target, *FEW_UNITS):
            if kernel.why_not(problem, FEW_UNITS[name]) is None:
                found.append((problem, FEW_UNITS[name]))
                break
    return found


def verified(kernel: Kernel, problem: Problem, device: Device, **keywords: object) -> float:
    """The error as a multiple of the bound, after the exact check; `keywords` go to `run`."""
    from gemmbench.verify import Verifier, WrongError

    (operands,) = allocate(problem, device)
    fill(operands, seed=problem.m)
    poison(operands)
    launch = kernel.launch(operands)
    run: Callable[..., object] = launch.run

    def execute() -> tuple[torch.Tensor, ...]:
        if launch.prepare is not None:
            launch.prepare()
        run(**keywords)
        return (operands.out,)

    verifier = Verifier(operands=operands, seed=problem.m)
    try:
        verifier.exact(execute, salt=1)
        if INTERPRETED and problem.numerics.output == "bfloat16":  # cut off there, not rounded
            verifier.restore()
            poison(operands)
            execute()
            return error(operands)
        verifier.rounding(execute)
    except WrongError as wrong:
        print(wrong, file=sys.stderr)
        return float("inf")
    return verifier.error


def interpret(name: str) -> None:
    kernel = find(name)
    for problem, device in problems(kernel):
        found = verified(kernel, problem, device)
        show(**described(problem), target=device.architecture, error=found)
    if name not in TRITON:
        return
    for p, precision in enumerate(kernel.precisions):
        wide = Problem(m=5, n=33, k=20, precision=precision, layout=LAYOUTS[p % 4])
        device = next(one for one in FEW_UNITS.values() if kernel.why_not(wide, one) is None)
        found = verified(kernel, wide, device, WIDE=True)
        show(**described(wide), target=device.architecture, error=found)
    if kernel.tier == "matrix-core":
        for precision in ("fp8_e4m3", "fp8_e5m2"):
            for device in FEW_UNITS.values():
                if device.lacks(precision) is None:
                    show(
                        edges=precision,
                        target=device.architecture,
                        fault=edges(kernel, precision, device),
                    )
    if name == "triton-naive":
        chain()


def described(problem: Problem) -> dict[str, object]:
    return {
        "precision": problem.precision,
        "shape": problem.shape,
        "layout": problem.layout,
        "batch": problem.batch,
    }


def edges(kernel: Kernel, precision: str, device: Device) -> str | None:
    """±max, the least normal and subnormal numbers, infinity and NaN, each times one.

    A row of A with an infinity or a NaN is NaN in all columns: times zero it is NaN. The
    interpreter reads no NaN, and no subnormal of e5m2: there it is held to the others.
    """
    problem = Problem(m=32, n=32, k=32, precision=precision, layout="nt")
    if kernel.why_not(problem, device):
        return None
    (operands,) = allocate(problem, device)
    poison(operands)
    limits = torch.finfo(operands.a.dtype)
    least = limits.smallest_normal
    step = float(torch.tensor(1, dtype=torch.uint8).view(operands.a.dtype).double())
    special = [limits.max, -limits.max, least, -least]
    if not (INTERPRETED and precision == "fp8_e5m2"):
        special += [step, -step, 3 * step]
    if not INTERPRETED:
        special.append(float("nan"))
    if not INTERPRETED and operands.a.dtype == torch.float8_e5m2:
        special += [float("inf"), float("-inf")]
    place = torch.arange(len(special))
    operands.a.zero_()
    operands.b.copy_(torch.eye(32))
    operands.a[place, place] = torch.tensor(special).to(operands.a.dtype)
    assert operands.scale_a is not None
    assert operands.scale_b is not None
    operands.scale_a.fill_(1)
    operands.scale_b.fill_(1)
    kernel.launch(operands).run()
    expected = operands.a.double() @ operands.b.double()
    same = operands.out.double().eq(expected) | (operands.out.isnan() & expected.isnan())
    if bool(same.all()):
        return None
    row, column = (~same).nonzero()[0].tolist()
    return f"({row}, {column}) is {operands.out[row, column]}, expected {expected[row, column]}"


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
    "uint8": "u8",
    "float8_e8m0fnu": "u8",
    "int32": "i32",
}


def compile_case(kernel: Kernel, problem: Problem, device: Device) -> dict[str, Any]:
    """Compile what `bind` would launch: matrix instructions, shared memory, spills, and so on."""
    from gemmkernels.gpu.host import Call

    (operands,) = allocate(problem, replace(device, torch_device="meta"))
    launch = kernel.launch(operands)
    matrix, shared, spills, tma, special = set[str](), 0, 0, False, False
    for call in launch.calls:
        assert isinstance(call, Call)
        compiled = compile_call(call, device)
        shared = max(shared, compiled.metadata.shared)
        if device.gfx:
            text = compiled.asm["amdgcn"]
            spills += sum(map(int, re.findall(r"\.[vs]gpr_spill_count:\s*(\d+)", text)))
            matrix |= set(AMD_MATRIX.findall(text))
        else:
            text = compiled.asm["sass"]
            spills += len(re.findall(r"\b(?:LDL|STL)\b", text))
            matrix |= set(NVIDIA_MATRIX.findall(text))
            tma |= "cp.async.bulk.tensor" in compiled.asm["ptx"]
            special |= "setmaxnreg" in compiled.asm["ptx"]
    return {
        "kernel": kernel.name,
        "precision": problem.precision,
        "layout": problem.layout,
        "shape": problem.shape,
        "matrix": sorted(matrix),
        "shared": shared,
        "spills": spills,
        "tma": tma,
        "setmaxnreg": special,
    }


def compile_call(call: Any, device: Device) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = call.function
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
    return triton.compile(source, target=target, options=named)


RAGGED = ((1, 4096, 4096, "nt"), (1021, 1031, 1033, "nn"))


def compiled_cases(name: str, device: Device) -> list[Problem]:
    """What the kernel does otherwise than its neighbours; `gemmbench inspect` compiles the rest.

    The order of tiles and the scales of rows change no instruction, and persistence shows those.
    """
    kernel, found = find(name), []
    for p, precision in enumerate(kernel.precisions):
        if "persistent" not in name and precision.endswith(("e5m2", "rowwise")):
            continue
        if name == "triton-swizzled" and precision != "fp16":
            continue
        if "fast" in name and precision != "fp8_e4m3":
            continue
        layouts = [LAYOUTS[(p + 2) % 4]]
        if kernel.tier == "matrix-core" and precision in ("fp16", "fp8_e4m3", "int8"):
            layouts = ["nt", "nn"]
        elif "persistent" in name:
            layouts = ["nt"]
        size = 4096 if kernel.max_flop else 8192
        shapes = [(size, size, size, layout) for layout in layouts]
        if kernel.tier == "matrix-core" and precision in ("fp16", "fp8_e4m3"):
            shapes += RAGGED
        for m, n, k, layout in shapes:
            problem = Problem(m=m, n=n, k=k, precision=precision, layout=layout)
            if kernel.why_not(problem, device) is None:
                found.append(problem)
    if "int8" in kernel.precisions:
        found.append(Problem(m=70_016, n=256, k=32_768, precision="int8"))
    return found


def compile_for(architecture: str, names: tuple[str, ...]) -> None:
    device = GPUS[architecture]
    for name in names:
        for problem in compiled_cases(name, device):
            show(**compile_case(find(name), problem, device))


def show(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "interpret":
        interpret(sys.argv[2])
    else:
        compile_for(sys.argv[2], tuple(sys.argv[3:]) or TRITON)
