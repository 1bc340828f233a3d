"""A run in the format of pytest-benchmark, which its compare command and services of CI read.

What they read of it: `pytest-benchmark compare` the names, the group and all of `stats`;
github-action-benchmark (tool: pytest) `fullname` and `stats.ops`, `mean`, `stddev`, `rounds`;
Bencher (python_pytest) `fullname` and `stats.median`, `iqr`, and that the two infos are objects.
"""

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemmbench.analysis.benchmarks import case_of, extra_info, stats, turn_medians
from gemmbench.analysis.pool import pooled
from gemmbench.analysis.rows import rows_of
from gemmbench.records.frame import frame
from gemmbench.records.reader import Run, RunFileWarning, read
from gemmbench.show.text import printable
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.problem import shape_text

FORMATS = ("pytest-benchmark",)
VERSION = "5.1.0"
"""The pytest-benchmark whose format this is."""

NAME = 200


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The JSON of a run; `left_out` says, in one line, what is not in it."""

    text: str
    left_out: str


def export(path: str, *, form: str) -> Exported:
    """A run's `ok` cases, one benchmark each, named alike in every run of the same preset and data.

    The data of a benchmark are the medians of its turns, in seconds, of all repeats that count:
    what our intervals are made of. Single samples would not do, as a record keeps only a part of
    them. Raises GemmbenchError for another format, for what is no run, and for one without any
    `ok` case.
    """
    if form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    run = read(path)
    for told in run.warnings:
        warnings.warn(f"{run.path}: {told}", RunFileWarning, stacklevel=2)
    df = frame([run])
    times = turn_medians(df)
    left: Counter[str] = Counter()
    benchmarks: list[dict[str, Any]] = []
    for row in rows_of(pooled(df)) if len(df) else ():
        found = times.get(case_of(row), ())
        if row.status == "ok" and found:
            benchmarks.append(_benchmark(row, found))
        else:
            left["without a clean turn" if row.status == "ok" else row.status] += 1
    left_out = ", ".join(f"{count} {what}" for what, count in left.items())
    if not benchmarks:
        raise GemmbenchError(f"{run.path}: no case is ok ({left_out or 'no records'})")
    document = {
        "machine_info": _machine(run),
        "commit_info": {},  # a run does not know of one
        "benchmarks": benchmarks,
        "datetime": run.header.started,
        "version": VERSION,
    }
    return Exported(text=json.dumps(document, indent=1, allow_nan=False) + "\n", left_out=left_out)


def save(text: str, path: Path) -> None:
    """Write it; raises GemmbenchError where that is not possible."""
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise GemmbenchError(
            f"cannot write {path}: {error.strerror or error}: name another file with --out"
        ) from None


def _benchmark(row: Any, times_s: Sequence[float]) -> dict[str, Any]:
    shape = shape_text(row.m, row.n, row.k, row.batch, row.experts)
    problem = f"{row.precision}-{shape}-{row.layout}"
    parts = [problem, *([row.modes] if row.modes else ())]
    parts += [row.data] if row.data != "normal" else []
    param = printable("-".join(parts), NAME)
    name = f"{printable(row.kernel, NAME)}[{param}]"
    info = extra_info(row)
    return {
        "group": printable(problem, NAME),
        "name": name,
        # With the preset, as github-action-benchmark and Bencher know nothing else by which to
        # keep figures apart that are not to be compared.
        "fullname": f"gemmbench::{printable(row.preset, NAME)}::{name}",
        "params": {"kernel": printable(row.kernel, NAME), "problem": param},
        "param": param,
        "extra_info": {
            name: printable(value) if isinstance(value, str) else value
            for name, value in info.items()
        },
        "options": {"timer": info["clock"]},
        "stats": stats(times_s),
    }


def _machine(run: Run) -> dict[str, object]:
    """Device and software. pytest-benchmark's `node`, the host's name, stays empty."""
    header = run.header
    known = {
        "processor": header.device.name,
        "machine": header.host.get("machine", ""),
        "system": header.host.get("system", ""),
        "release": header.host.get("kernel", ""),
        "python_version": header.software.get("python", ""),
        "gemmbench_version": header.version,
        "architecture": header.device.architecture,
    }
    found: dict[str, object] = {name: printable(value, NAME) for name, value in known.items()}
    software = {printable(k, NAME): printable(v, NAME) for k, v in header.software.items()}
    return {"node": "", **found, "cpu": {}, "software": software}
