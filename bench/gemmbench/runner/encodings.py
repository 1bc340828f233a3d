"""The process that compiles a tile of each fp8 encoding for AMD: a compiler that dies dies alone.

Started as `python -m gemmbench.runner.encodings`; it prints a JSON list of `Emitted`.
"""

import sys
import warnings

import msgspec

from gemmbench.inspect.instructions import of_amd, verdict
from gemmbench.records.evidence import Emitted
from gemmkernels.probes.encodings import TYPES, assembly_on_amd

TARGETS = ("gfx942", "gfx950")


def emitted() -> tuple[Emitted, ...]:
    """What Triton makes of each encoding for each target."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it converts is what is read from the code
        return tuple(_read(target, encoding) for target in TARGETS for encoding in TYPES)


def _read(target: str, encoding: str) -> Emitted:
    instructions = of_amd(assembly_on_amd(encoding, target))
    return Emitted(
        target=target,
        precision="fp8_e4m3",
        encoding=encoding,
        verdict=verdict(instructions, "fp8_e4m3"),
        instructions=instructions,
    )


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(emitted()).decode())
