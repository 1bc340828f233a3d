"""Jobs of the roofs' tests that need a process of their own: `compile` and `interpret`.

`python roof_jobs.py compile` tells what the compiler makes of probes for GPUs that are not there,
one JSON line each; `interpret` runs their loops in Triton's interpreter, and checks their sums.
"""

import json
import re
import sys
from dataclasses import replace
from typing import Any

import torch
from kernel_jobs import GPUS, compile_call

COMPILED = (
    ("sm_90", "matrix", "bf16"),
    ("sm_90", "matrix", "fp8_e4m3"),
    ("sm_90", "vector", "fp32"),
    ("sm_100", "matrix", "tf32"),
    ("sm_100", "matrix", "nvfp4"),
    ("gfx942", "matrix", "fp8_e4m3"),
    ("gfx942", "matrix", "fp64"),
    ("gfx942", "vector", "fp32"),
    ("gfx950", "matrix", "bf16"),
    ("gfx950", "matrix", "mxfp4"),
    ("sm_80", "matrix", "fp16"),
    ("sm_120", "matrix", "int8"),
    ("sm_90", "cache", ""),
)
INTERPRETED = (
    ("sm_90", "matrix", "fp16"),
    ("sm_90", "matrix", "int8"),
    ("sm_90", "matrix", "fp64"),
    ("sm_90", "matrix", "fp8_e4m3"),
    ("sm_100", "matrix", "mxfp8"),
    ("sm_90", "vector", "fp32"),
    ("sm_90", "copy", ""),
    ("sm_90", "read", ""),
    ("sm_90", "cache", ""),
)
SASS = re.compile(r"/\*([0-9a-f]{4,})\*/\s+([^;/]*);")


def loops(compiled: Any) -> list[list[str]]:
    """The instructions of each loop, between a label and the branch back to it."""
    if "amdgcn" in compiled.asm:
        lines = [line.strip() for line in compiled.asm["amdgcn"].splitlines()]
        places = {line.partition(":")[0]: i for i, line in enumerate(lines) if line[:4] == ".LBB"}
        ends = [(i, re.search(r"s_c?branch\S* (\.LBB\w+)", line)) for i, line in enumerate(lines)]
        back = [(places[found[1]], i) for i, found in ends if found and found[1] in places]
        return [lines[top : end + 1] for top, end in back if top < end]
    from gemmbench.inspect.reading import _disassembled

    found = SASS.findall(_disassembled(compiled.asm["cubin"]))
    index = {int(address, 16): i for i, (address, _) in enumerate(found)}
    made = []
    for i, (address, text) in enumerate(found):
        to = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text)
        if to and int(to[1], 16) < int(address, 16):
            made.append([line.strip() for _, line in found[index[int(to[1], 16)] : i + 1]])
    return made


def compile_all() -> None:
    from gemmbench.inspect.reading import facts
    from gemmkernels.gpu.host import Call
    from gemmkernels.probes.roofs import bind

    for target, name, precision in COMPILED:
        device = replace(GPUS[target], torch_device="meta", llc_bytes=50 * 2**20)
        (call,) = bind(name, precision, device).launch.calls
        assert isinstance(call, Call)
        compiled = compile_call(call, device)
        told = facts(compiled, precision or "fp32", device)
        print(
            json.dumps(
                {
                    "case": f"{target} {name} {precision}".strip(),
                    "verdict": told.verdict,
                    "instructions": list(told.instructions),
                    "spills": told.spills,
                    "registers": told.registers,
                    "threads": 32 * call.named["num_warps"],
                    "shared": told.shared_bytes,
                    "limit": device.shared_bytes,
                    "loops": loops(compiled),
                }
            )
        )


def put(module: object, **values: object) -> None:
    """Sizes for an interpreter, which takes seconds for what a GPU does in a millisecond."""
    for name, value in values.items():
        setattr(module, name, value)


def interpret_all() -> None:
    from gemmkernels.probes import copy_gpu, loop_gpu, matrix_gpu, roofs, scaled_gpu, vector_gpu

    arithmetic = (matrix_gpu, scaled_gpu, vector_gpu)
    steps = matrix_gpu.steps_of
    for module in arithmetic:
        put(module, PROGRAMS=1, TILES=1, steps_of=lambda bits, flop: min(8, steps(bits, flop)))
    put(vector_gpu, STEPS=8)
    put(loop_gpu, TILES=1)
    put(copy_gpu, LEAST=2**16, TIMES_LLC=1, PASSES=3)
    for target, name, precision in INTERPRETED:
        device = replace(GPUS[target], units=1, llc_bytes=2**18)
        probe = roofs.bind(name, precision, device)
        said = {
            "right": probe.check(probe.launch.run),
            "nothing": probe.check(lambda: None),
            "work": probe.work,
        }
        print(json.dumps({"case": f"{target} {name} {precision}".strip(), **said}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"compile": compile_all, "interpret": interpret_all}[sys.argv[1]]()
