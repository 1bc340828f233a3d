"""The pictures of the page: what can be drawn of each run, and why not what cannot."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from markupsafe import Markup

from gemmbench.analysis.comparison import Comparison
from gemmbench.analysis.overview import Overview, RunOverview
from gemmbench.records.reader import Run
from gemmbench.show import compared, figures, heatmap, roofline, telemetry, waterfall
from gemmbench.show.report.sections import device_of
from gemmbench.show.report.vector import themed
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURED = 3
"""The pictures of so many runs are drawn: more would take longer than a reader waits."""

PROCESSES = 2
"""So many draw at once: a picture takes most of a second."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawing and what it shows; where it cannot be drawn `svg` is None, and `why_not` says why.

    `kind` is what `gemmbench plot --kind` calls it.
    """

    kind: str
    caption: str
    svg: Markup | None = None
    why_not: str = ""


@dataclass(frozen=True)
class _Kind:
    name: str
    caption: str
    draw: Callable[[RunOverview], "Figure"]


def _telemetry(run: Run) -> "Figure":
    if run.header.tool:
        raise GemmbenchError("nothing to draw: another tool's figures have no turns over time")
    return telemetry.telemetry(run)


_KINDS = (
    _Kind(
        "ladder",
        "Ladder: how many times as fast as the base each kernel is, on the largest shapes "
        "on which the base ran. Whiskers are 95% intervals.",
        lambda one: figures.ladder(one.rows),
    ),
    _Kind(
        "sweep",
        "Sweep: rate over size, a line a kernel, under the dense peak of the spec sheet, if "
        "it is known. Bands and whiskers are 95% intervals.",
        lambda one: figures.sweep(one.rows),
    ),
    _Kind(
        "roofline",
        "Roofline: rate over arithmetic intensity, under what arithmetic and bandwidth allow, by "
        "the spec sheet and as measured.",
        lambda one: roofline.roofline(one.explained),
    ),
    _Kind(
        "waterfall",
        "Waterfall: from the peak down to the measured rate, and what each cause takes of it.",
        lambda one: waterfall.waterfall(one.explained.best, rows=one.explained.rows),
    ),
    _Kind(
        "heatmap",
        "Heatmap: rate over M and N, a panel a kernel, precision and K. A cell is a problem.",
        lambda one: heatmap.heatmap(one.rows),
    ),
    _Kind(
        "telemetry",
        "Telemetry: what the sensors saw in each turn, over the time of the run.",
        lambda one: _telemetry(one.run),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Pictured:
    """A run, by its place, and its pictures."""

    run: int
    pictures: tuple[Picture, ...]


def pictured(overview: Overview) -> tuple[int, ...]:
    """The places of the runs whose pictures are drawn: one of each side in turn."""
    sides = [one.runs for one in overview.sides]
    turns = range(max(map(len, sides)))
    every = [side[turn] for turn in turns for side in sides if turn < len(side)]
    return tuple(sorted(every[:PICTURED]))


@contextlib.contextmanager
def drawing(overview: Overview) -> Iterator[Callable[[], tuple[Pictured, ...]]]:
    """Begin to draw, elsewhere if that can be; what it gives waits for the pictures."""
    places = [(run, kind) for run in pictured(overview) for kind in range(len(_KINDS))]

    def here() -> list[Picture]:
        return [_of_run(overview, *place) for place in places]

    def whole(found: list[Picture]) -> tuple[Pictured, ...]:
        return tuple(
            Pictured(
                run=run,
                pictures=tuple(
                    one for one, (of, _) in zip(found, places, strict=True) if of == run
                ),
            )
            for run in pictured(overview)
        )

    if not _can_fork() or len(places) < 2:
        yield lambda: whole(here())
        return
    pool = ProcessPoolExecutor(
        PROCESSES,
        mp_context=multiprocessing.get_context("fork"),
        initializer=_begin,
        initargs=(overview,),
    )
    futures: list[Future[Picture]] = []

    def there() -> list[Picture]:
        try:
            return [one.result() for one in futures]
        except BrokenProcessPool:  # killed for memory, say
            return here()

    try:
        with warnings.catch_warnings():
            # From Python 3.12 on it warns of threads, also of those that only sleep in a library.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                futures += [pool.submit(_in_worker, *place) for place in places]
            except OSError:  # no process is left
                yield lambda: whole(here())
                return
        yield lambda: whole(there())
    finally:
        pool.shutdown(cancel_futures=True)


def _can_fork() -> bool:
    """A copy of this process has the runs in memory already. Threads would not be copied, and what
    torch holds of a device must not be."""
    return (
        sys.platform == "linux"
        and "torch" not in sys.modules
        and threading.active_count() == 1
        and len(os.sched_getaffinity(0)) > 1
    )


_GIVEN: list[Overview] = []
"""In a worker: what it draws."""


def _begin(overview: Overview) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the parent to end
    _GIVEN.append(overview)


def _in_worker(run: int, kind: int) -> Picture:
    return _of_run(_GIVEN[0], run, kind)


def of_comparison(found: Comparison, *, ident: str) -> Picture:
    """b over a, a row a problem and kernel."""
    caption = "Comparison: b over a with its 95% interval; right of the line b is faster."
    label = f"{caption} a is {found.a.device}, b is {found.b.device}."
    return _picture("compare", caption, lambda: compared.compare(found), ident=ident, label=label)


def _of_run(overview: Overview, run: int, kind: int) -> Picture:
    one, what = overview.runs[run], _KINDS[kind]
    return _picture(
        what.name,
        what.caption,
        partial(what.draw, one),
        ident=f"r{run + 1}{what.name[0]}",
        label=f"{what.caption} Run {run + 1}, {device_of(one)}.",
    )


def _picture(
    kind: str, caption: str, draw: Callable[[], "Figure"], *, ident: str, label: str
) -> Picture:
    try:
        svg = themed(draw(), ident=ident, label=label)
    except GemmbenchError as error:
        why = str(error).removeprefix("nothing to draw: ")
        return Picture(kind=kind, caption=caption, why_not=why)
    return Picture(kind=kind, caption=caption, svg=svg)
