"""What a kernel is: a frozen description, and what binding it to operands returns."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.precision import precision
from gemmkernels.problem import Problem, check_layout

if TYPE_CHECKING:
    from gemmkernels.operands import Operands

Tier = Literal["naive", "tiled", "matrix-core", "library"]
TIERS: tuple[Tier, ...] = get_args(Tier)
Kind = Literal["cpu", "gpu"]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A kernel bound to one set of operands.

    `run()` writes the output and allocates nothing; one that cannot sets `returns_output` and
    returns it. `prepare()` sets the process-wide switches that `run` needs; it is called before a
    turn, a verification or a capture, never inside a timed window.
    """

    run: Callable[[], object]
    prepare: Callable[[], None] | None = None
    returns_output: bool = False
    config: Mapping[str, int | str | bool] = field(default_factory=dict)
    tile: tuple[int, int, int] | None = None
    grid: tuple[int, ...] | None = None
    splits: int | None = None


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One kernel of a ladder.

    `bind` is a callable from Operands to Launch, or "module:function" to import when first bound.
    `max_flop` bounds the problems that would take too long. `needs(problem, device)` may add a
    reason of the kernel's own. Raises GemmbenchError for a description that makes no sense.
    """

    name: str
    tier: Tier
    backend: str
    precisions: tuple[str, ...]
    summary: str
    bind: "str | Callable[[Operands], Launch]"
    kinds: tuple[Kind, ...] = ("cpu", "gpu")
    layouts: tuple[str, ...] = ("nn", "nt", "tn", "tt")
    batched: bool = False
    max_flop: int | None = None
    base: bool = False
    needs: Callable[[Problem, Device], str | None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise GemmbenchError(f"kernel name {self.name!r} must be printable text")
        if self.tier not in TIERS:
            raise UnknownNameError("tier", str(self.tier), TIERS)
        names: object = self.precisions
        if not isinstance(names, tuple) or not names:
            raise GemmbenchError(
                f"kernel {self.name}: precisions = {self.precisions!r} must be a tuple of names, "
                'such as ("fp32",)'
            )
        for name in self.precisions:
            precision(name)
        for layout in self.layouts:
            check_layout(layout)
        if not callable(self.bind) and not isinstance(self.bind, str):
            raise GemmbenchError(f"kernel {self.name}: bind = {self.bind!r} cannot be called")

    def why_not(self, problem: Problem, device: Device) -> str | None:
        """None if this kernel can do the problem there, or the reason why not."""
        if device.kind not in self.kinds:
            return f"runs on a {' or '.join(self.kinds).upper()} only"
        if problem.precision not in self.precisions:
            return f"has no {problem.precision}: {', '.join(self.precisions)}"
        if lack := device.lacks(problem.precision):
            return lack
        if problem.layout not in self.layouts:
            return f"has no layout {problem.layout}: {', '.join(self.layouts)}"
        if problem.batch > 1 and not self.batched:
            return f"has no batches, and batch = {problem.batch}"
        if self.max_flop is not None and problem.flop > self.max_flop:
            return (
                f"{problem.flop / 1e9:.4g} GFLOP would take too long: "
                f"its bound is {self.max_flop / 1e9:.4g} GFLOP"
            )
        return self.needs(problem, device) if self.needs else None

    def launch(self, operands: "Operands") -> Launch:
        """Bind to operands; imports what the kernel needs, and may compile."""
        if isinstance(self.bind, str):
            module, _, name = self.bind.partition(":")
            found: Callable[[Operands], Launch] = getattr(importlib.import_module(module), name)
        else:
            found = self.bind
        bound = found(operands)
        if not isinstance(bound, Launch):
            raise GemmbenchError(
                f"kernel {self.name}: bind returned {type(bound).__name__}, expected a Launch"
            )
        return bound
