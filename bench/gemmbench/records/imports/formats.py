"""The formats that are read, in one table, and how a file is taken for one of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gemmbench.records.imports import (
    cutlass,
    hipblaslt,
    mamf,
    nvbench,
    pytest_benchmark,
    rocblas,
)
from gemmbench.records.imports.runs import Source, runs_of
from gemmbench.records.imports.text import decoded, foreign_bytes
from gemmbench.records.imports.words import Asked, Findings
from gemmbench.records.journal import Journal, now
from gemmbench.records.reader import Run
from gemmbench.records.schema import Footer
from gemmkernels.errors import GemmbenchError, UnknownNameError


@dataclass(frozen=True)
class Format:
    """One tool. A file is its where all words of one of `marks` are in it, in small letters."""

    name: str
    looked_for: str
    marks: tuple[tuple[str, ...], ...]
    read: Callable[[bytes, Asked, Path], Findings]
    names_shapes: bool = True
    """False where shapes stand under names of the user's own, for which there is --map."""


def _of_text(read: Callable[[str, Asked], Findings]) -> Callable[[bytes, Asked, Path], Findings]:
    return lambda data, asked, _: read(decoded(data), asked)


FORMATS = (
    Format(
        "nvbench",
        "JSON with benchmarks, states and devices",
        (('"benchmarks"', '"states"', '"devices"'),),
        nvbench.read,
        names_shapes=False,
    ),
    Format(
        "hipblaslt-bench",
        "a header with hipblaslt-Gflops",
        (("hipblaslt-gflops", "transa"),),
        _of_text(hipblaslt.read),
    ),
    Format(
        "rocblas-bench",
        "a header with rocblas-Gflops",
        (("rocblas-gflops", "transa"),),
        _of_text(rocblas.read),
    ),
    Format(
        "cutlass",
        "a header Problem,Provider,OperationKind or blocks of Problem ID",
        (("problem,provider,operationkind",), ("problem id:", "operationkind:")),
        _of_text(cutlass.read),
    ),
    Format(
        "mamf-finder",
        "a log of lines such as TFLOPS @ MxNxK",
        (
            ("the best outcome was ", "tflops @ "),
            ("the best outcomes were", "tflops @ "),
            ("** dtype:", "(median)", " @ "),
        ),
        _of_text(mamf.read),
    ),
    Format(
        "pytest-benchmark",
        "JSON with benchmarks, stats and machine_info",
        (('"benchmarks"', '"stats"', '"machine_info"'),),
        lambda data, asked, _: pytest_benchmark.read(data, asked),
        names_shapes=False,
    ),
)
_BY_NAME = {one.name: one for one in FORMATS}


def read_foreign(
    path: Path,
    asked: Asked | None = None,
    *,
    tool: str | None = None,
    command: tuple[str, ...] = (),
) -> tuple[Run, ...]:
    """The runs that another tool's file holds: one a device and a method, in the file's order.

    Times are nanoseconds, shapes row-major. `tool` names the format where the content does not;
    `asked` is what the file does not tell. Raises GemmbenchError, one line with the path, for a
    file that is of no known format or of several, is damaged, or holds no measurement, and
    UnknownNameError for a tool that is none.
    """
    asked = asked or Asked()
    if tool is not None and tool not in _BY_NAME:
        raise UnknownNameError("format", tool, _BY_NAME)
    data = foreign_bytes(path)
    try:
        form = _chosen(data, tool)
        if asked.map and form.names_shapes:
            raise GemmbenchError(f"{form.name} names its shapes itself: leave --map out")
        found = form.read(data, asked, path.parent)
        if not found.told and not found.left_out:
            raise GemmbenchError(f"nothing of {form.name} in it: looked for {form.looked_for}")
        source = Source(
            path=path,
            data=data,
            tool=form.name,
            asked=asked,
            command=command,
            modified=path.stat().st_mtime,
        )
        return runs_of(found, source)
    except GemmbenchError as error:
        raise GemmbenchError(f"{str(path)[:200]}: {error}") from None


def _chosen(data: bytes, tool: str | None) -> Format:
    if tool is not None:
        return _BY_NAME[tool]
    text = decoded(data).lower()
    found = [one for one in FORMATS if any(all(word in text for word in m) for m in one.marks)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and of ".join(one.name for one in found)
        raise GemmbenchError(f"it looks like a file of {names}: say which with --from")
    if '"type":"run"' in text[:40]:
        raise GemmbenchError("it is a run of gemmbench already: gemmbench show reads it")
    told = "; ".join(f"{one.name}: {one.looked_for}" for one in FORMATS)
    raise GemmbenchError(f"of no known format ({told}); say which with --from")


def keep(runs: Iterable[Run], folder: Path) -> tuple[Path, ...]:
    """Write each as a run file, named as runs are. Raises GemmbenchError where one of them is there
    already, before any is written, and where the folder cannot be written to."""
    runs = tuple(runs)
    for run in runs:
        there = next(iter(sorted(folder.glob(f"*-{run.header.run_id}.jsonl"))), None)
        if there is not None:
            raise GemmbenchError(
                f"{run.path} was imported before, as {there}: remove that, or choose another "
                "folder with --out"
            )
    paths = []
    for run in runs:
        statuses: dict[str, int] = {}
        for record in run.records:
            statuses[record.status] = statuses.get(record.status, 0) + 1
        footer = Footer(
            finished=now().isoformat(timespec="seconds"),
            wall_s=0.0,
            timed_s=0.0,
            setup_s=0.0,
            statuses=statuses,
        )
        with Journal.create(folder, run.header) as journal:
            journal.append(*run.records, footer)
            paths.append(journal.path)
    return tuple(paths)
