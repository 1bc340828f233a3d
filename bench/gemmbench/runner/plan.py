"""What will be measured, in which order, and about how long it takes."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from gemmbench.records.schema import Header
from gemmbench.runner.messages import Case, KernelInfo
from gemmbench.runner.named import named_shapes
from gemmbench.runner.request import Request
from gemmbench.suites.reader import Suite, load_suite
from gemmbench.suites.shapes import Shape
from gemmbench.timing.method import Timing, timing
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.operands import check_data, set_bytes
from gemmkernels.precision import PRECISIONS, precision
from gemmkernels.problem import Problem, check_layout

DEFAULT_SUITE = "quick"

GUESSED_GFLOPS = {
    "cpu": {"python": 0.015, "naive": 1.0, "tiled": 20.0, "library": 100.0},
    "gpu": {"naive": 1e3, "tiled": 1e4, "matrix-core": 2e5, "library": 3e5},
}
"""Only to guess how long a launch takes; what a run measures corrects the guess as it goes."""

COMPILE_S = {
    "numba": {"naive": 0.2, "tiled": 2.4, "matrix-core": 2.4},
    "triton": {"naive": 0.4, "tiled": 0.7, "matrix-core": 1.1},
}
"""CPU time of a kernel's first launch in a precision and layout, on one core of an EPYC. numba
compiles again in each repeat; Triton, which keeps what it compiled, mostly does not."""

VERIFY_S = 0.15
VERIFY_GFLOPS = {"cpu": 6.0, "gpu": 1e4}
MAX_VERIFY_S = 4.0
"""What verification takes besides: float64 products, until vectors stand in for one of over 2 s."""

PAIR_S = 1.0
"""To load and compile the self-test's pair."""

MAX_REPEATS = 1000
MAX_THREADS = 100_000
MAX_CASES = 500_000
"""Over all repeats. The header names each: at 60 bytes a name that is half of what a line may hold.
"""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What is sampled in turn: one shape, batch and layout, with every kernel × precision."""

    name: str
    cases: tuple[Case, ...]
    estimate_s: float

    @property
    def flop(self) -> int:
        return max(case.problem.flop for case in self.cases)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Groups in order; `unsupported` with the reason why not; `left_out` by the budget."""

    groups: tuple[Group, ...]
    unsupported: tuple[tuple[str, Case, str], ...]
    left_out: tuple[str, ...]
    repeats: int
    estimate_s: float


def chosen_suites(request: Request) -> tuple[Suite, ...]:
    """The suites asked for; `quick` where neither a suite nor a shape is named."""
    names = request.suites or (() if request.names_shapes else (DEFAULT_SUITE,))
    return tuple(load_suite(name) for name in names)


def check_request(request: Request, suites: Sequence[Suite], known: Sequence[str]) -> None:
    """What can be told before a worker starts. Raises GemmbenchError.

    `known` are the names of the kernels that ship with gemmbench; with a file of the user's the
    names in it are known only later.
    """
    for name in request.precisions:
        precision(name)
    named_shapes(request)
    for text in (*request.files, request.device):
        if not text.isprintable():  # bytes that are no UTF-8 cannot be handed to the worker
            raise GemmbenchError(f"{text[:200]!r} is no printable text: rename it")
    check_data(request.data)
    if request.repeats is not None and not 1 <= request.repeats <= MAX_REPEATS:
        raise GemmbenchError(f"--repeat {request.repeats} must lie in 1 … {MAX_REPEATS}")
    if request.threads is not None and request.threads > MAX_THREADS:
        raise GemmbenchError(f"--threads {request.threads:.3g} is over {MAX_THREADS}")
    if request.layout is not None:
        check_layout(request.layout)
    wanted = [*request.names]
    for suite in suites:
        wanted += [*suite.kernels("cpu"), *suite.kernels("gpu")]
    if not request.files:
        for name in wanted:
            if name not in known:
                raise UnknownNameError("kernel", name, known)


def group_name(problem: Problem) -> str:
    return f"{problem.shape}-{problem.layout}"


def wanted_cases(
    request: Request,
    suites: Sequence[Suite],
    device: Device,
    kernels: Sequence[KernelInfo],
    *,
    repeats: int = 1,
) -> list[tuple[str, Case]]:
    """(group, case) of all that was asked for, each once, in the order of suites and ladder.

    What nobody named is not asked of a kernel that is for another kind of device or of product, or
    has not the precision at all; a precision that the device lacks, likewise. A shape that is named
    by hand gets the kernels of the suite of its kind, and all if they lack a precision asked for.
    Beside a user's own kernels the precisions are theirs. Raises GemmbenchError as soon as there
    are over MAX_CASES in all repeats.
    """
    known = {info.name: info for info in kernels}
    found: dict[tuple[str, Problem], Problem] = {}
    parts: list[tuple[Sequence[Shape], Sequence[str], Sequence[str]]] = [
        (suite.shapes(device.kind), suite.kernels(device.kind), suite.precisions(device.kind))
        for suite in suites
    ]
    usual: dict[str, Sequence[str]] = {}
    for shape in (named.shape for named in named_shapes(request)):
        kind = "moe" if shape.experts > 1 else "batched" if shape.batch > 1 else DEFAULT_SUITE
        if kind not in usual:
            usual[kind] = () if request.every_kernel else load_suite(kind).kernels(device.kind)
        parts.append(([shape], usual[kind], ()))
    own = [info.name for info in kernels if info.from_file]
    # Of shared work each device takes its shapes; which there are hangs on the request alone.
    every = dict.fromkeys(_size(shape) for shapes, _, _ in parts for shape in shapes)
    part, of = request.part or (0, 1)
    own_shapes = {size for at, size in enumerate(every) if at % of == part}
    for shapes, suite_kernels, suite_precisions in parts:
        # A file's kernels stand beside the ladder, unless kernels were chosen by name.
        names = [*request.names, *own] if request.names else [*(suite_kernels or known), *own]
        had = {row for name in names if name in known for row in known[name].precisions}
        if not request.names and not set(request.precisions) <= had:
            names = [*dict.fromkeys((*names, *known))]
        for name in names:
            if name not in known:
                raise UnknownNameError("kernel", name, known)
        theirs = tuple(row for row in PRECISIONS if any(row in known[k].precisions for k in own))
        precisions = request.precisions or suite_precisions or theirs or tuple(PRECISIONS)
        named = bool(request.names)
        for shape in shapes:
            if _size(shape) not in own_shapes:
                continue
            for row in precisions:
                if not request.precisions and device.lacks(row):
                    continue
                for name in dict.fromkeys(names):
                    info = known[name]
                    fits = device.kind in info.kinds and info.grouped == (shape.experts > 1)
                    if not named and not fits:
                        continue
                    if row not in info.precisions and not (named and request.precisions):
                        continue
                    problem = _problem(shape, row, request.layout, device)
                    # A case has one name, whatever its shape is called here and there.
                    key = name, replace(problem, label="")
                    if key not in found or not found[key].label:
                        found[key] = problem
                        _check_count(len(found), repeats)
    if not found and own_shapes:
        raise GemmbenchError(
            f"nothing to measure on this {device.kind.upper()}: no kernel asked for runs on it in "
            "a precision asked for; see gemmbench list kernels"
        )
    return [
        (group_name(problem), Case(kernel=name, problem=problem))
        for (name, _), problem in found.items()
    ]


def _size(shape: Shape) -> tuple[int, ...]:
    return shape.m, shape.n, shape.k, shape.batch, shape.experts


def _check_count(cases: int, repeats: int) -> None:
    if cases * repeats > MAX_CASES:
        raise GemmbenchError(
            f"at least {cases} cases in {repeats} repeats are over {MAX_CASES}: name fewer shapes, "
            "kernels (--kernel) or precisions (--precision)"
        )


def usual_layout(row: str, device: Device) -> str:
    """The layout where none is asked for.

    The libraries of GPUs take 8-bit types only with B stored as N × K, as a linear layer keeps its
    weights; block-scaled formats have no other layout.
    """
    found = precision(row)
    return "nt" if found.is_blockwise or (found.bits_in == 8 and device.is_gpu) else "nn"


def _problem(shape: Shape, row: str, layout: str | None, device: Device) -> Problem:
    return Problem(
        m=shape.m,
        n=shape.n,
        k=shape.k,
        batch=shape.batch,
        experts=shape.experts,
        layout=layout or shape.layout or usual_layout(row, device),
        precision=row,
        label=shape.label,
    )


def memory_need(problem: Problem) -> int:
    """Bytes for two operand sets, and the float64 copies of B that verification makes."""
    return 2 * set_bytes(problem) + 16 * problem.batch * problem.experts * problem.k * problem.n


def check_memory(request: Request, cases: Sequence[tuple[str, Case]], device: Device) -> None:
    """A shape named by hand that cannot fit is a mistake. Raises GemmbenchError."""
    options = {
        (s.m, s.n, s.k, s.batch, s.experts): named.option
        for named in named_shapes(request)
        for s in (named.shape,)
    }
    for _, case in cases:
        p = case.problem
        option = options.get((p.m, p.n, p.k, p.batch, p.experts))
        if option is not None and (reason := too_large(p, device)):
            raise GemmbenchError(f"{option}: {p.shape}: {reason}: take a smaller shape")


def too_large(problem: Problem, device: Device) -> str | None:
    need = memory_need(problem)
    if need <= device.memory_bytes:
        return None
    return (
        f"{problem.precision} needs {need / 2**30:.3g} GiB to measure and verify, "
        f"{device.name} has {device.memory_bytes / 2**30:.3g} GiB"
    )


def make_timing(request: Request, device: Device, preset: str) -> Timing:
    """The preset's constants on that device, with what the user asked for otherwise."""
    found = timing(preset, kind=device.kind, vendor=device.vendor, launch=request.launch)
    if request.target is not None:
        found = msgspec.structs.replace(found, target=request.target)
    if request.max_time_s is not None:
        found = msgspec.structs.replace(found, max_time_s=request.max_time_s, least_rounds=1)
    if request.repeats is not None:
        found = msgspec.structs.replace(found, repeats=request.repeats)
    return found


def within_budget(
    request: Request, how: Timing, plan: "Plan", *, before: Header | None = None
) -> Timing:
    """What a budget leaves after the least rounds of all groups is shared among them; a run that is
    taken up goes on as `before`."""
    if request.budget_s is None:
        return how
    if before is not None:
        return msgspec.structs.replace(how, max_time_s=before.method.max_time_s)
    left_s = max(0.0, request.budget_s - plan.estimate_s) / max(1, plan.repeats * len(plan.groups))
    least_s = max((group.estimate_s for group in plan.groups), default=0.0)
    return msgspec.structs.replace(how, max_time_s=min(how.max_time_s, least_s + left_s))


def make_plan(
    *,
    cases: Sequence[tuple[str, Case]],
    reasons: Sequence[str | None],
    kernels: Sequence[KernelInfo],
    device: Device,
    how: Timing,
    budget_s: float | None,
    start_s: float = 0.0,
    probes_s: float = 0.0,
) -> Plan:
    """Groups of what can be measured, in the order asked; with a budget the most telling first.

    `start_s` is what goes before the groups in each repeat, `probes_s` what roofs take in all of
    them. Raises GemmbenchError for a budget that holds no group.
    """
    _check_count(len(cases), how.repeats)
    known = {info.name: info for info in kernels}
    unsupported: list[tuple[str, Case, str]] = []
    grouped: dict[str, list[Case]] = {}
    for (name, case), why_not in zip(cases, reasons, strict=True):
        if reason := why_not or too_large(case.problem, device):
            unsupported.append((name, case, reason))
        else:
            grouped.setdefault(name, []).append(case)
    groups = []
    compiled: set[tuple[str, str, str]] = set()
    for name, members in grouped.items():
        estimate_s = 0.0
        for case in members:
            info, what = (
                known[case.kernel],
                (case.kernel, case.problem.precision, case.problem.layout),
            )
            estimate_s += _case_s(case, info, device, how)
            if what not in compiled:
                estimate_s += COMPILE_S.get(info.backend, {}).get(info.tier, 0.0)
            compiled.add(what)
        groups.append(Group(name=name, cases=tuple(members), estimate_s=estimate_s))
    left_out: Sequence[str] = ()
    before_s = start_s * how.repeats + probes_s
    if budget_s is not None and groups:
        least_s = before_s + how.repeats * min(group.estimate_s for group in groups)
        if least_s > budget_s:
            raise GemmbenchError(
                f"--budget {budget_s:g}s holds no group of kernels: the smallest takes about "
                f"{least_s:.0f} s{_of_which(before_s, how.repeats)}; say --budget "
                f"{math.ceil(1.1 * least_s)}s, or take fewer kernels, precisions or repeats"
            )
        groups, left_out = _fitting(groups, budget_s=budget_s - before_s, repeats=how.repeats)
    return Plan(
        groups=tuple(groups),
        unsupported=tuple(unsupported),
        left_out=tuple(left_out),
        repeats=how.repeats,
        estimate_s=before_s + how.repeats * sum(group.estimate_s for group in groups),
    )


def as_before(plan: Plan, before: Header) -> Plan:
    """Of a plan without a budget the groups that a run chose to fit its own, in their order.

    What a budget holds hangs on how long a worker took to start: that is no two times the same.
    """
    order = {name.split("/")[1]: at for at, name in reversed([*enumerate(before.plan)])}
    left = [group for group in plan.groups if group.name in order]
    return replace(
        plan,
        groups=tuple(sorted(left, key=lambda group: order[group.name])),
        left_out=before.left_out,
    )


def _of_which(before_s: float, repeats: int) -> str:
    times = f" in {repeats} repeats" * (repeats > 1)
    return f", of which {before_s:.0f} s before the first{times}" if before_s >= 1 else ""


def _fitting(
    groups: Sequence[Group], *, budget_s: float, repeats: int
) -> tuple[list[Group], list[str]]:
    """The most telling groups that fit together, and the names of the others."""
    alone = [group for group in groups if group.estimate_s * repeats <= budget_s]
    chosen: list[Group] = []
    spent_s = 0.0
    for group in most_telling(alone):
        cost_s = group.estimate_s * repeats
        if spent_s + cost_s <= budget_s:
            chosen.append(group)
            spent_s += cost_s
    names = {group.name for group in chosen}
    return chosen, [group.name for group in groups if group.name not in names]


def most_telling(groups: Sequence[Group]) -> list[Group]:
    """The largest first, the smallest next, then always the one in the middle of the widest gap.

    Whatever fits into a budget then spans the range; ties keep their order.
    """
    ranked = sorted(groups, key=lambda group: group.flop, reverse=True)
    if len(ranked) < 3:
        return ranked
    last = len(ranked) - 1
    order = [0, last]
    gaps = [(-last, 0)]  # (minus the width, the lower end): the first of the widest is on top
    while len(order) < len(ranked):
        width, low = heapq.heappop(gaps)
        high = low - width
        middle = (low + high) // 2
        order.append(middle)
        heapq.heappush(gaps, (low - middle, low))
        heapq.heappush(gaps, (middle - high, middle))
    return [ranked[index] for index in order]


def _case_s(case: Case, info: KernelInfo, device: Device, how: Timing) -> float:
    rates = GUESSED_GFLOPS[device.kind]
    rate = rates.get(info.backend) or rates.get(info.tier) or rates["library"]
    launch_s = case.problem.flop / 1e9 / rate
    turn_s = max(how.settle_s + how.turn_s, launch_s)
    products_s = min(MAX_VERIFY_S, case.problem.flop / 1e9 / VERIFY_GFLOPS[device.kind])
    return VERIFY_S + products_s + 4 * launch_s + how.min_rounds * turn_s
