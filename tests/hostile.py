"""Malformed inputs for every reader, and what each of them must survive.

    python tests/hostile.py --inputs 20000

feeds that many, counts them by reader, and reports the peak of memory and the slowest input. An
input is either taken or refused with a GemmbenchError of one line; nothing else may be raised, by
the reader or by what goes on with what it read, and no text may hold a control character.
"""

import argparse
import itertools
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import hostile_inputs as inputs
import msgspec
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from synthetic import CPU, header

from gemmbench.quantities import parse_duration, parse_percent
from gemmbench.suites.reader import parse_suite
from gemmbench.suites.shapes import grid, shape_of
from gemmbench.suites.table import parse_table
from gemmkernels.errors import GemmbenchError
from gemmkernels.precision import precision
from gemmkernels.problem import Problem, check_layout
from gemmkernels.userfile import load_file

HANG_S = 60
MAX_GROWTH = 2**30
LONGEST_LINE = 2000


@contextmanager
def only_told() -> Iterator[None]:
    """Warnings of ours are checked; any other one is an error."""
    from gemmbench.records.reader import RunFileWarning

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    for one in heard:
        assert issubclass(one.category, RunFileWarning), f"{one.category.__name__}: {one.message}"


def check_text(text: str) -> None:
    """Nothing that a terminal would take for more than text."""
    bad = {one for one in text if not one.isprintable() and one != "\n"}
    assert not bad, f"characters {sorted(bad)!r} in {text[:200]!r}"


_drawn = itertools.count()


def feed_run(data: bytes, folder: Path) -> None:
    """All that a user can do with a run: load, show in every form, compare, draw, resume."""
    from gemmbench.analysis.compare import compare
    from gemmbench.analysis.speedup import ladder
    from gemmbench.analysis.summary import best
    from gemmbench.records.frame import load
    from gemmbench.runner.request import Request
    from gemmbench.runner.resume import of_run
    from gemmbench.show import comparison, launched, results
    from gemmbench.show.tables import plain, to_markdown, to_text

    path = folder / "run.jsonl"
    path.write_bytes(data)
    with only_told():
        df = load(path)
        rows = ladder(df)
        tables = (*results.results(rows, unsupported=True), *results.summary(best(rows)))
        for table in (*tables, *launched.launched(df)):
            check_text(to_text(table))
            check_text(to_markdown(table))
        check_text(plain(df, "json"))
        check_text(plain(df, "csv"))
        try:
            for table in comparison.comparison(compare(df, df)):
                check_text(to_text(table))
        except GemmbenchError as error:
            check_error(error)
        if next(_drawn) % 50 == 0:
            _draw(path)
        of_run(path, Request())


def _draw(path: Path) -> None:
    from gemmbench.show.pictures import draw

    for kind in ("ladder", "sweep"):
        try:
            draw([str(path)], kind=kind, out=path.with_name("picture"))
        except GemmbenchError as error:
            check_error(error)


def feed_suite(data: bytes, _: Path) -> None:
    suite = parse_suite(data, source="fuzz.toml")
    for kind in ("cpu", "gpu"):
        for shape in suite.shapes(kind):
            Problem(m=shape.m, n=shape.n, k=shape.k, batch=shape.batch, precision="fp32")
            check_text(shape.label)
        for name in (*suite.kernels(kind), *suite.precisions(kind)):
            check_text(name)
    check_text(suite.name + suite.description)


def feed_table(data: bytes, _: Path) -> None:
    for shape in parse_table(data, source="fuzz.csv"):
        Problem(m=shape.m, n=shape.n, k=shape.k, batch=shape.batch, precision="fp32")
        check_text(shape.label)


def feed_range(texts: tuple[str | None, str | None, str | None], _: Path) -> None:
    for shape in grid(*texts):
        assert min(shape.m, shape.n, shape.k) >= 1


def feed_kernel(data: bytes, folder: Path) -> None:
    """What the worker does: load, describe, ask, bind, and send what it found."""
    from gemmbench.runner.messages import Answer, Bound, FromWorker, KernelInfo

    path = folder / "mine.py"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's, of the user's own code
        kernels = load_file(path)
    problem = Problem(m=1, n=1, k=1, precision="fp32")
    for kernel in kernels[:3]:
        for text in (kernel.name, kernel.summary, kernel.backend):
            check_text(text)
        _sent(KernelInfo.of(kernel, from_file=True), None)
        try:  # what a user's function raises fails its case, in the worker
            reason = kernel.why_not(problem, CPU)
            launch = kernel.launch(None)  # type: ignore[arg-type]
        except GemmbenchError as error:
            check_error(error)
            continue
        except Exception:
            continue
        _sent(Answer(reasons=(reason,)), FromWorker)
        bound = Bound(
            case=0,
            setup_s=0.0,
            encoding="",
            launch="",
            sets=1,
            config=dict(launch.config),
            tile=launch.tile,
            grid=launch.grid,
            splits=launch.splits,
            launch_s=0.0,
        )
        _sent(bound, FromWorker)


def _sent(message: Any, kind: Any) -> None:
    data = msgspec.json.encode(message)
    if kind is not None:
        msgspec.json.decode(data, type=kind)


def feed_text(text: str, folder: Path) -> None:
    """Each option that takes a word."""
    from gemmbench.devices.detect import detect
    from gemmbench.runner.plan import check_request
    from gemmbench.runner.request import Request
    from gemmbench.runner.resume import command_of
    from gemmbench.show.catalogue import catalogue
    from gemmbench.show.pictures import draw
    from gemmbench.show.tables import check_format
    from gemmbench.suites.reader import load_suite
    from gemmbench.timing.method import timing
    from gemmkernels.operands import check_data

    command_of((text, f"--out={text}"))
    takers: tuple[Callable[[], object], ...] = (
        lambda: parse_duration("--budget", text),
        lambda: parse_percent("--target", text),
        lambda: shape_of(text),
        lambda: precision(text),
        lambda: check_layout(text),
        lambda: check_data(text),
        lambda: check_format(text),
        lambda: catalogue(text),
        lambda: timing(text, kind="cpu", vendor="other"),
        lambda: timing("quick", kind="gpu", vendor="amd", launch=text),
        lambda: load_suite(text),
        lambda: load_file(folder / "none" / (text[:200] + ".py").replace("\0", "?")),
        lambda: detect(text),
        lambda: draw([text], kind="ladder", out=folder / "picture"),
        lambda: draw([], kind=text, out=None),
        lambda: check_request(
            Request(shapes=("1x1x1",), kernels=(f"./{text}",), device=text), (), ()
        ),
    )
    for take in takers:
        try:
            take()
        except GemmbenchError as error:
            check_error(error)


def feed_environment(text: str, folder: Path) -> None:
    """A run's header keeps variables; what it keeps must be read back."""
    from gemmbench.devices.software import environment
    from gemmbench.records.journal import Journal

    os.environ["OMP_HOSTILE"] = text
    try:
        seen = environment()
    finally:
        del os.environ["OMP_HOSTILE"]
    with Journal.create(folder, header(environment=seen, command=(text,))) as journal:
        path = journal.path
    feed_run(path.read_bytes(), folder)
    path.unlink()


@dataclass(frozen=True)
class Reader:
    """`share` is how many of a hundred inputs are for it."""

    inputs: st.SearchStrategy[Any]
    feed: Callable[[Any, Path], None]
    share: int


READERS = {
    "runs": Reader(inputs.run_files(), feed_run, 30),
    "suites": Reader(inputs.suites, feed_suite, 20),
    "tables": Reader(inputs.tables, feed_table, 14),
    "ranges": Reader(inputs.ranges, feed_range, 12),
    "kernel files": Reader(inputs.kernel_files(), feed_kernel, 15),
    "texts": Reader(inputs.texts, feed_text, 7),
    "environment": Reader(inputs.environments, feed_environment, 2),
}


def check_error(error: GemmbenchError) -> None:
    """One line that a terminal can show."""
    text = str(error)
    check_text(text)
    assert "\n" not in text, f"several lines: {text[:200]!r}"
    assert len(text) <= LONGEST_LINE, f"{len(text)} characters: {text[:200]!r}"


def attempt(reader: str, given: Any, folder: Path) -> str:
    """Feed one input: `taken` or `refused`; raises for anything else."""
    try:
        READERS[reader].feed(given, folder)
    except GemmbenchError as error:
        check_error(error)
        return "refused"
    return "taken"


# The script.


class HangError(Exception):
    """An input took longer than a minute."""


def _hang(_signal: int, _frame: FrameType | None) -> None:
    raise HangError(f"over {HANG_S} s")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bombard(
    reader: str, count: int, folder: Path, failures: dict[str, str]
) -> tuple[Counter[str], float]:
    """Feed `count` inputs: how many were taken and refused, and the longest time of one."""
    counts: Counter[str] = Counter()
    slowest = 0.0

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(READERS[reader].inputs)
    def one(value: Any) -> None:
        nonlocal slowest
        if counts.total() >= count:
            return
        signal.alarm(HANG_S)
        began = time.perf_counter()
        try:
            counts[attempt(reader, value, folder)] += 1
        except Exception as error:
            counts["FAILED"] += 1
            shown = value if len(repr(value)) < 3000 else repr(value)[:3000]
            trace = "".join(traceback.format_exception(error, limit=-4, chain=False))[-1500:]
            failures.setdefault(trace.split("\n")[-2][:60], f"{reader}: {shown!r}\n{trace}")
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - began)

    while counts.total() < count:  # Hypothesis stops early where it has seen all there is
        one()
    return counts, slowest


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--reader", choices=READERS, action="append")
    parser.add_argument("--show", type=int, default=5, help="failures to print")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _hang)
    failures: dict[str, str] = {}
    chosen = options.reader or list(READERS)
    total = sum(READERS[name].share for name in chosen)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.chdir(folder)  # a text may be a pattern that matches what is here
        for name, first in (
            ("runs", b"\n".join(map(msgspec.json.encode, inputs.RUN[1:]))),
            ("texts", ""),
        ):
            attempt(name, first, folder)  # what is imported counts for nobody
        start = peak_bytes()
        for name in chosen:
            count = -(-options.inputs * READERS[name].share // total)
            began = time.perf_counter()
            counts, slowest = bombard(name, count, folder, failures)
            told = ", ".join(f"{number} {word}" for word, number in sorted(counts.items()))
            print(
                f"{name:<13} {counts.total():>6} inputs in {time.perf_counter() - began:>5.0f} s: "
                f"{told}; slowest {slowest:.2f} s, peak {(peak_bytes() - start) >> 20} MiB above "
                "the start",
                flush=True,
            )
    for failure in [*failures.values()][: options.show]:
        print("\n" + failure, file=sys.stderr)
    grown = peak_bytes() - start
    print(f"{len(failures)} kinds of failure; peak {grown >> 20} MiB above {start >> 20} MiB")
    return 1 if failures or grown > MAX_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
