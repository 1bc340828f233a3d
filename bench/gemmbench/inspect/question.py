"""What is asked of the compiler, and what it answers."""

from typing import Literal

import msgspec

from gemmkernels.kernel import Kernel
from gemmkernels.problem import Problem

Verdict = Literal["matrix cores", "vector", "emulated", "unsupported", "crashed"]

_DECLARED: dict[str, Verdict] = {
    "naive": "vector",
    "tiled": "vector",
    "matrix-core": "matrix cores",
}


class Question(msgspec.Struct, frozen=True):
    """What does this kernel become on that target? `settings` are a tuner's; None: its own."""

    kernel: str
    problem: Problem
    target: str
    settings: dict[str, int | str | bool] | None = None


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """One compiled launch. None is "not known".

    `instructions` counts those of the matrix units by mnemonic, as they stand in the code: a loop's
    count once. `spills` is instructions that touch spilled registers on NVIDIA (local loads and
    stores), spilled registers on AMD. `shared_bytes` is of one program, `shared_limit` what one may
    take. `programs` is how many of them a unit holds at once by registers, shared memory and warps,
    and `occupancy` the share of the unit's warps that they are, in percent.
    """

    function: str
    verdict: Verdict
    instructions: dict[str, int] = {}
    registers: int | None = None
    agprs: int | None = None
    spills: int | None = None
    stack_bytes: int | None = None
    shared_bytes: int | None = None
    shared_limit: int | None = None
    tensor_columns: int = 0
    programs: int | None = None
    occupancy: float | None = None
    code_bytes: int | None = None
    num_warps: int | None = None
    num_stages: int | None = None
    tma: bool = False
    async_copies: bool = False
    warp_specialised: bool = False
    setmaxnreg: bool = False

    @property
    def is_over(self) -> bool:
        """Does a program need more shared memory than the device gives one?"""
        if self.shared_bytes is None or self.shared_limit is None:
            return False
        return self.shared_bytes > self.shared_limit


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `declared` is the verdict that the kernel claims, or would where it could run.

    `reason` is whose word it is that the kernel is unsupported there, how the compiler crashed, or
    what is wrong with what it made.
    """

    question: Question
    verdict: Verdict
    declared: Verdict
    reason: str = ""
    calls: tuple[Compiled, ...] = ()
    config: dict[str, int | str | bool] = {}
    tile: tuple[int, int, int] | None = None
    triton: str = ""

    @property
    def is_over(self) -> bool:
        return any(call.is_over for call in self.calls)

    @property
    def spills(self) -> int:
        return sum(call.spills or 0 for call in self.calls)

    @property
    def as_declared(self) -> bool:
        """Does it execute on what its tier says, within the device's limits?"""
        return self.verdict == self.declared and not self.is_over


def declared(kernel: Kernel) -> Verdict:
    """What a kernel's tier says that it executes on."""
    return _DECLARED.get(kernel.tier, "matrix cores")


def doubt(kernel: Kernel, calls: tuple[Compiled, ...]) -> str:
    """What is to be told of a kernel whose tier promises matrix cores; empty where all is well."""
    if kernel.tier != "matrix-core" or not calls:
        return ""
    match together(calls):
        case "matrix cores":
            return ""
        case "vector":
            return "ran without matrix instructions"
        case _:
            names = ", ".join(dict.fromkeys(name for call in calls for name in call.instructions))
            return f"its inputs were converted to another type first: {names}"


def together(calls: tuple[Compiled, ...]) -> Verdict:
    """The verdict on all launches of a kernel: emulation spoils it, one matrix product makes it."""
    found = {call.verdict for call in calls}
    order: tuple[Verdict, ...] = ("emulated", "matrix cores")
    return next((verdict for verdict in order if verdict in found), "vector")
