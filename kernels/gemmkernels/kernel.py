"""What a kernel is: a frozen description, and what binding it to operands returns."""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError, one_line
from gemmkernels.precision import precision
from gemmkernels.problem import Problem, check_layout
from gemmkernels.tuning import nearest

if TYPE_CHECKING:
    from gemmkernels.operands import Operands

Tier = Literal["naive", "tiled", "matrix-core", "library"]
TIERS: tuple[Tier, ...] = get_args(Tier)
Settings = Mapping[str, int | str | bool]
"""What a tuner may choose of a kernel, by name: BLOCK_M, num_warps."""
Kind = Literal["cpu", "gpu"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")
"""Names of kernels and backends. They stand in file names, tables and the names of cases."""

MAX_LINE = 200
MAX_SETTINGS = 10_000


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A kernel bound to one set of operands.

    `run()` writes the output and allocates nothing; one that cannot sets `returns_output` and
    returns it. `prepare()` sets the process-wide switches that `run` needs; it is called before a
    turn, a verification or a capture, never inside a timed window. `calls` are the compiled
    launches that `run` makes, for `inspect`. `capturable` is False where a CUDA graph cannot hold
    it, as it waits for the GPU or asks for memory there: such a capture spoils the process. Raises
    GemmbenchError for what a record cannot keep.
    """

    run: Callable[[], object]
    prepare: Callable[[], None] | None = None
    returns_output: bool = False
    config: Mapping[str, int | str | bool] = field(default_factory=dict)
    tile: tuple[int, int, int] | None = None
    grid: tuple[int, ...] | None = None
    splits: int | None = None
    calls: tuple[object, ...] = ()
    capturable: bool = True

    def __post_init__(self) -> None:
        _want(callable(self.run), "run", self.run, "something to call")
        _want(self.prepare is None or callable(self.prepare), "prepare", self.prepare, "a callable")
        _want(type(self.returns_output) is bool, "returns_output", self.returns_output, "a bool")
        _want(type(self.capturable) is bool, "capturable", self.capturable, "a bool")
        _want(isinstance(self.config, Mapping), "config", self.config, "a dict")
        _want(len(self.config) <= MAX_LINE, "config", self.config, f"at most {MAX_LINE} entries")
        for name, value in self.config.items():
            _want(_is_line(name), "config", name, "printable names")
            sound = type(value) is bool or _is_line(value) or _is_whole(value)
            _want(sound, f"config[{name!r}]", value, "a whole number, a bool or one printable line")
        for name, count, found in (("tile", (3,), self.tile), ("grid", (1, 2, 3), self.grid)):
            sound = isinstance(found, tuple) and len(found) in count and all(map(_is_whole, found))
            _want(found is None or sound, name, found, f"a tuple of {count[-1]} whole numbers")
        _want(self.splits is None or _is_whole(self.splits), "splits", self.splits, "a number")


def _want(sound: bool, name: str, value: object, expected: str) -> None:
    if not sound:
        raise GemmbenchError(f"{name} = {shown(value)} must be {expected}")


def shown(value: object) -> str:
    """A value of a user's in an error: its repr, cut."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, int) and abs(value) >= 2**63:  # repr() refuses thousands of digits
        return f"a number of {value.bit_length()} bits"
    try:
        return one_line(repr(value), 60)
    except Exception:
        return f"a {type(value).__name__}"


def _is_line(value: object, limit: int = MAX_LINE) -> bool:
    return type(value) is str and value.isprintable() and len(value) <= limit


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) < 2**63


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One kernel of a ladder.

    `bind` is a callable from Operands to Launch, or "module:function" to import when first bound.
    `max_flop` bounds the problems that would take too long. `needs(problem, device)` may add a
    reason of the kernel's own. `grouped` kernels do grouped products only, and no others do them.
    `modes` is what changes the numerics, (name, value) each: like is compared with like only.
    `space` is a callable, or "module:function", from a problem and a device to the settings that a
    tuner may try: a sequence of dicts, the default first; `bind` then takes one as `settings`.
    Raises GemmbenchError for a description that makes no sense.
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
    grouped: bool = False
    modes: tuple[tuple[str, str], ...] = ()
    space: str | Callable[[Problem, Device], Sequence[Settings]] | None = None
    max_flop: int | None = None
    base: bool = False
    needs: Callable[[Problem, Device], str | None] | None = None

    def __post_init__(self) -> None:
        plain = "begin with a letter or digit and go on with those and . _ + -, 60 at most"
        name: object = self.name  # what a user's file gives need not be of the type
        if type(name) is not str or not PLAIN.fullmatch(name):
            raise GemmbenchError(f"kernel name {shown(self.name)} must {plain}")
        try:
            self._check(plain)
        except GemmbenchError as error:
            raise GemmbenchError(f"kernel {self.name}: {error}") from None

    def _check(self, plain: str) -> None:
        tier: object = self.tier
        if type(tier) is not str or tier not in TIERS:
            raise UnknownNameError("tier", tier if isinstance(tier, str) else shown(tier), TIERS)
        if type(self.backend) is not str or not PLAIN.fullmatch(self.backend):
            raise GemmbenchError(f"backend = {shown(self.backend)} must {plain}")
        _want(_is_line(self.summary), "summary", self.summary, "one printable line of up to 200")
        for name, found, example in (
            ("precisions", self.precisions, '("fp32",)'),
            ("kinds", self.kinds, '("cpu",)'),
            ("layouts", self.layouts, '("nn",)'),
        ):
            names: object = found
            sound = type(names) is tuple and names and all(type(one) is str for one in names)
            _want(bool(sound), name, found, f"a tuple of names, such as {example}")
        for name in self.precisions:
            precision(name)
        for kind in self.kinds:
            if kind not in KINDS:
                raise UnknownNameError("kind of device", kind, KINDS)
        for layout in self.layouts:
            check_layout(layout)
        for name in ("batched", "grouped", "base"):
            _want(type(getattr(self, name)) is bool, name, getattr(self, name), "True or False")
        flop = self.max_flop
        _want(flop is None or (_is_whole(flop) and flop > 0), "max_flop", flop, "a whole number")
        _want(self.needs is None or callable(self.needs), "needs", self.needs, "a callable")
        path = type(self.bind) is str and re.fullmatch(r"[\w.]+:\w+", self.bind)
        _want(callable(self.bind) or bool(path), "bind", self.bind, 'a callable or "module:name"')
        modes: object = self.modes
        sound = type(modes) is tuple and all(
            type(one) is tuple and len(one) == 2 and all(map(_is_line, one)) for one in modes
        )
        _want(sound, "modes", modes, 'pairs of a name and a value, (("accumulate", "fast"),)')
        space: object = self.space
        path = type(space) is str and re.fullmatch(r"[\w.]+:\w+", space)
        sound = space is None or callable(space) or bool(path)
        _want(sound, "space", space, 'a callable or "module:name"')

    def why_not(self, problem: Problem, device: Device) -> str | None:
        """None if this kernel can do the problem there, or the reason why not."""
        if device.kind not in self.kinds:
            return f"runs on a {' or '.join(self.kinds).upper()} only"
        if problem.precision not in self.precisions:
            return f"has no {problem.precision}: {', '.join(self.precisions)}"
        if lack := device.lacks(problem.precision):
            return lack
        if reason := problem.misfit:
            return reason
        if problem.layout not in self.layouts:
            return f"has no layout {problem.layout}: {', '.join(self.layouts)}"
        if problem.experts > 1 and not self.grouped:
            return f"does no grouped products, and experts = {problem.experts}"
        if problem.experts == 1 and self.grouped:
            return (
                "does grouped products only, and experts = 1: name a shape such as 8@4096x4096x64"
            )
        if problem.batch > 1 and not self.batched:
            return f"has no batches, and batch = {problem.batch}"
        if self.max_flop is not None and problem.flop > self.max_flop:
            return (
                f"{problem.flop / 1e9:.4g} GFLOP would take too long: "
                f"its bound is {self.max_flop / 1e9:.4g} GFLOP"
            )
        why: object = self.needs(problem, device) if self.needs else None
        if why is not None and not isinstance(why, str):
            raise GemmbenchError(
                f"kernel {self.name}: needs returned {shown(why)}, expected a reason or None"
            )
        return None if why is None else one_line(why, 300) or "its needs are not met"

    def settings(self, problem: Problem, device: Device) -> tuple[Settings, ...]:
        """What a tuner may try, each once, the default first; nothing where there is no `space`."""
        if self.space is None:
            return ()
        space = _imported(self.space) if isinstance(self.space, str) else self.space
        found: object = space(problem, device)
        if not isinstance(found, Sequence) or not 1 <= len(found) <= MAX_SETTINGS:
            raise GemmbenchError(
                f"kernel {self.name}: space returned {shown(found)}, expected 1 … {MAX_SETTINGS} "
                "settings, the default first"
            )
        for one in found:
            _check_settings(one)
        return tuple({settings_text(one): one for one in found}.values())

    def launch(self, operands: "Operands", *, settings: Settings | None = None) -> Launch:
        """Bind to operands; imports what the kernel needs, and may compile.

        `settings` is one of those that `settings()` names. None is the nearest tuned entry, which
        the launch's config then names, or the kernel's default.
        """
        found: Callable[..., Launch] = (
            _imported(self.bind) if isinstance(self.bind, str) else self.bind
        )
        entry = None
        if settings is None and self.space is not None:
            entry = nearest(self.name, operands.problem, operands.device)
            settings = entry.settings if entry else None
        bound = found(operands) if settings is None else found(operands, settings=settings)
        if not isinstance(bound, Launch):
            raise GemmbenchError(
                f"kernel {self.name}: bind returned {type(bound).__name__}, expected a Launch"
            )
        return replace(bound, config={**bound.config, "tuned": entry.shape}) if entry else bound


def settings_text(settings: Settings) -> str:
    """`BLOCK_M=64 num_warps=8`: what names settings."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _check_settings(found: object) -> None:
    _want(isinstance(found, Mapping) and len(found) > 0, "settings", found, "a dict")
    assert isinstance(found, Mapping)
    for name, value in found.items():
        _want(_is_line(name, 60), "settings", name, "printable names of up to 60")
        sound = type(value) is bool or _is_line(value, 60) or _is_whole(value)
        _want(sound, f"settings[{name!r}]", value, "a whole number, a bool or a printable word")


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
