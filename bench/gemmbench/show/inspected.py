"""What the compiler makes of kernels, as tables, as a page and as JSON."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gemmbench.inspect.cache import sources, triton_version
from gemmbench.inspect.examine import examine
from gemmbench.inspect.matrix import questions
from gemmbench.inspect.question import Compiled, Report
from gemmbench.show.tables import Format, Table, check_format, echo, to_markdown, without_empty
from gemmbench.suites.shapes import shape_of
from gemmkernels.problem import Problem

FORMATS: tuple[Format, ...] = ("table", "markdown", "json")
NOTHING = "–"

_HEAD = """# What the compiler makes of the kernels

Each Triton kernel, in each of its precisions, compiled for GPUs that need not be there, and read
back from the machine code. `make instructions` writes this page, and a test sees that it is
current.

- `matrix cores`: Tensor Cores, MFMA or WMMA, with inputs of the precision's own type.
- `vector`: no matrix instruction.
- `emulated`: matrix instructions of another type, to which the inputs are converted first.
- `unsupported`: the kernel refuses it there, with its reason, or the compiler does.
- `crashed`: the compiler did, or did not end.

Instructions are counted as they stand in the code, a loop's once. Registers are a lane's. Programs
a unit (SM, CU, RDNA's work group processor) are bounded by registers, shared memory and warps; the
percentage is the share of the unit's warps. A kernel that makes several launches has a row each."""


def inspect(
    kernels: Sequence[str],
    *,
    targets: Sequence[str],
    precisions: Sequence[str],
    layout: str | None,
    shape: str | None,
    form: str,
) -> int:
    """Examine and print; returns 1 where something is not what its kernel declares, else 0.

    Raises GemmbenchError for a user's mistake.
    """
    chosen = check_format(form, FORMATS)
    asked = questions(
        kernels, targets=targets, precisions=precisions, layout=layout, shape=_problem(shape)
    )
    content = sources()  # of now: they may change while it compiles
    done = 0

    def count(_report: Report) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            print(f"\r{done} of {len(asked)} compiled", end="", file=sys.stderr, flush=True)

    try:
        reports = examine(asked, on_report=count)
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
    if chosen == "json":
        document = _Document(triton=triton_version() or "", sources=content, reports=reports)
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
    elif chosen == "markdown":
        print(page(reports, content=content))
    else:
        echo(tables(reports))
    return 0 if all(report.as_declared for report in reports) else 1


@dataclass(frozen=True, kw_only=True)
class _Document:
    triton: str
    sources: str
    reports: Sequence[Report]


def _problem(shape: str | None) -> Problem | None:
    if shape is None:
        return None
    found = shape_of(shape)
    return Problem(
        m=found.m,
        n=found.n,
        k=found.k,
        batch=found.batch,
        experts=found.experts,
        precision="fp32",
    )


def page(reports: Sequence[Report], *, content: str) -> str:
    """The page in docs: what the words mean, of what it was made, all in short, all at length."""
    parts = [_HEAD, f"Triton {triton_version()}, sources {content}."]
    if len(_targets(reports)) > 1:
        parts += ["## In short", to_markdown(overview(reports))]
    parts += [to_markdown(table) for table in details(reports)]
    return "\n\n".join(parts)


def tables(reports: Sequence[Report]) -> tuple[Table, ...]:
    """All at length, target by target; of several targets then all in short."""
    found = details(reports)
    return (*found, overview(reports)) if len(found) > 1 else found


def overview(reports: Sequence[Report]) -> Table:
    """A row a kernel and precision, a column a target; those that no target has are left out."""
    targets = _targets(reports)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for report in reports:
        question = report.question
        cells = found.setdefault((question.kernel, question.problem.precision), {})
        cells[question.target] = NOTHING if report.declared == "unsupported" else _word(report)
    rows = tuple(
        (*names, *(cells.get(target, "") for target in targets))
        for names, cells in found.items()
        if set(cells.values()) != {NOTHING}
    )
    return Table(
        title="Executes on",
        columns=("kernel", "precision", *targets),
        rows=rows,
        notes=(f"{NOTHING}: the hardware, or the kernel, has it not",),
    )


def details(reports: Sequence[Report]) -> tuple[Table, ...]:
    """A table a target: what is in the code. What kernels refuse is noted below it."""
    return tuple(
        _detail(target, [one for one in reports if one.question.target == target])
        for target in _targets(reports)
    )


def _targets(reports: Sequence[Report]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(report.question.target for report in reports))


def _detail(target: str, reports: Sequence[Report]) -> Table:
    refused: dict[str, list[str]] = {}
    rows: list[tuple[str, ...]] = []
    for report in reports:
        if report.declared == "unsupported":
            refused.setdefault(report.reason, []).append(report.question.kernel)
        else:
            rows += _rows(report)
    table = Table(
        title=target,
        columns=(
            *("kernel", "precision", "shape", "tile", "matrix instructions", "registers"),
            *("spills", "shared memory", "programs a unit", "code", "with", "executes on"),
        ),
        rows=tuple(rows),
        right=frozenset(("registers", "spills", "shared memory", "programs a unit", "code")),
        notes=tuple(
            f"unsupported: {', '.join(dict.fromkeys(kernels))}: {reason}"
            for reason, kernels in refused.items()
        ),
    )
    return without_empty(table, optional=("matrix instructions", "spills", "with"))


def _rows(report: Report) -> list[tuple[str, ...]]:
    question = report.question
    problem = question.problem
    head = (
        question.kernel,
        problem.precision,
        problem.shape if problem.layout == "nn" else f"{problem.shape} {problem.layout}",
        "×".join(map(str, report.tile)) if report.tile else "",
    )
    said = _word(report) + (f": {report.reason}" if report.reason else "")
    if not report.calls:
        return [(*head, *[""] * 7, said)]
    first, *others = report.calls
    rows = [(*head, *_cells(first), said)]
    rows += [(f"… {one.function}", "", "", "", *_cells(one), one.verdict) for one in others]
    return rows


def _word(report: Report) -> str:
    over = ", over the limit" if report.is_over else ""
    return f"{report.verdict}{over}" + ("" if report.as_declared else " (!)")


def _cells(call: Compiled) -> tuple[str, ...]:
    registers = "" if call.registers is None else str(call.registers)
    if call.agprs:
        registers += f" ({call.agprs} AGPRs)"
    shared = ""
    if call.shared_bytes is not None:
        shared = f"{call.shared_bytes / 1024:.4g}"
        shared += f" of {call.shared_limit / 1024:.4g} KiB" if call.shared_limit else " KiB"
    programs = ""
    if call.programs is not None and call.occupancy is not None:
        programs = f"{call.programs} ({call.occupancy:.3g}%)"
    return (
        ", ".join(f"{name} × {count}" for name, count in call.instructions.items()),
        registers,
        str(call.spills) if call.spills else "",
        shared,
        programs,
        "" if call.code_bytes is None else f"{call.code_bytes / 1024:.3g} KiB",
        _with(call),
    )


def _with(call: Compiled) -> str:
    found = [f"{call.num_warps} warps"] if call.num_warps else []
    if (call.num_stages or 1) > 1:
        found.append(f"{call.num_stages} stages")
    for has, word in (
        (call.tma, "TMA"),
        (call.async_copies, "async copies"),
        (call.warp_specialised, "warp specialised"),
        (call.setmaxnreg, "setmaxnreg"),
        (call.tensor_columns, "tensor memory"),
    ):
        if has:
            found.append(word)
    if call.stack_bytes:
        found.append(f"{call.stack_bytes} B of stack")
    return ", ".join(found)
