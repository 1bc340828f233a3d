"""From run files to pictures beside them."""

import warnings
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from gemmbench.analysis.explain import Wanted, explain
from gemmbench.show.style import save
from gemmkernels.errors import GemmbenchError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

EXPLAINED = ("waterfall", "roofline")
CHOOSING = ("ladder", "sweep", *EXPLAINED, "heatmap", "samples")
"""Kinds that --problem, --kernel and --precision are for."""


def draw(
    sources: Sequence[str],
    *,
    kind: str,
    out: Path | None,
    wanted: Wanted | None = None,
    roofs: Sequence[str] = (),
) -> list[Path]:
    """Draw a picture a run (`compare`: one of two); returns the paths of the PNGs and SVGs.

    `out` is a path without ending. `wanted` is of the kinds in `CHOOSING`, `roofs` of those in
    `EXPLAINED`. Raises UnknownNameError for another kind, and GemmbenchError where there is nothing
    to draw.
    """
    wanted = wanted or Wanted()
    if kind not in KINDS:
        raise UnknownNameError("kind of plot", kind, KINDS)
    if wanted and kind not in CHOOSING:
        raise GemmbenchError(
            f"--kind {kind} draws all of a run: --problem, --kernel and --precision are for "
            f"{', '.join(CHOOSING[:-1])} and {CHOOSING[-1]}"
        )
    if roofs and kind not in EXPLAINED:
        raise GemmbenchError(
            f"--kind {kind} draws no roofs: --roofs is for {' and '.join(EXPLAINED)}"
        )
    if kind == "compare":
        return save(_comparison(sources), out or Path(f"{_stem(sources[-1])}-compare"))
    made = (
        _explained(sources, kind, wanted, roofs)
        if kind in EXPLAINED
        else _of_runs(sources, kind, wanted)
    )
    written: list[Path] = []
    for index, (path, picture) in enumerate(made):
        stem = Path(f"{_stem(str(path))}-{kind}")
        if out is not None:
            stem = out if len(made) == 1 else out.with_name(f"{out.name}-{index + 1}")
        written += save(picture, stem)
    return written


def _of_runs(sources: Sequence[str], kind: str, wanted: Wanted) -> list[tuple[Path, "Figure"]]:
    from gemmbench.records.reader import paths_of, read_header

    made: list[tuple[Path, Figure]] = []
    skipped: list[str] = []
    for path in paths_of(list(sources)):
        if read_header(path).probing:
            skipped.append(f"{path.name}: it holds roofs only; see --kind roofline of a run")
            continue
        try:
            made.append((path, _DRAWN[kind](path, wanted)))
        except UnknownNameError:  # what was asked for by name is in no other file's stead
            raise
        except GemmbenchError as error:
            skipped.append(f"{path.name}: {error}")
    if not made:
        raise GemmbenchError("; ".join(skipped))
    for told in skipped:
        warnings.warn(told, stacklevel=2)
    return made


def _rows(path: Path, wanted: Wanted) -> "pd.DataFrame":
    from gemmbench.analysis.speedup import ladder
    from gemmbench.records.frame import load

    return wanted.of_rows(ladder(load(path)))


def _ladder(path: Path, wanted: Wanted) -> "Figure":
    from gemmbench.show.figures import ladder

    return ladder(_rows(path, wanted))


def _sweep(path: Path, wanted: Wanted) -> "Figure":
    from gemmbench.show.sweep import sweep

    return sweep(_rows(path, wanted))


def _heatmap(path: Path, wanted: Wanted) -> "Figure":
    from gemmbench.show.heatmap import heatmap

    return heatmap(_rows(path, wanted))


def _telemetry(path: Path, _: Wanted) -> "Figure":
    from gemmbench.records.reader import read
    from gemmbench.show.telemetry import telemetry

    return telemetry(read(path))


def _samples(path: Path, wanted: Wanted) -> "Figure":
    """Of the best of each precision, or of what is wanted."""
    from gemmbench.analysis.overview import overview
    from gemmbench.show.samples import samples

    (run,) = overview(path).runs
    if not wanted:
        return samples(run.best, [one.records for one in run.tops])
    chosen = wanted.mask(run.rows)
    return samples(run.rows[chosen], [one.records for one in compress(run.cases, chosen)])


def _explained(
    sources: Sequence[str], kind: str, wanted: Wanted, roofs: Sequence[str]
) -> list[tuple[Path, "Figure"]]:
    from gemmbench.show.roofline import roofline
    from gemmbench.show.waterfall import waterfall

    runs = explain(sources, roofs=roofs, wanted=wanted)
    if kind == "roofline":
        return [(one.path, roofline(one)) for one in runs]
    return [(one.path, waterfall(one.gaps if wanted else one.best, rows=one.rows)) for one in runs]


def _comparison(sources: Sequence[str]) -> "Figure":
    if len(sources) != 2:
        raise GemmbenchError(f"plot --kind compare takes two runs, A and B, not {len(sources)}")
    from gemmbench.analysis.compare import compare
    from gemmbench.show.compared import compare as picture

    return picture(compare(sources[0], sources[1]))


def _stem(path: str) -> str:
    """A run's path without its ending; of a folder or a pattern, a name in the current folder."""
    if path.endswith(".jsonl") and not any(c in path for c in "*?["):
        return path.removesuffix(".jsonl")
    return Path(path.strip("*?[]/")).name or "runs"


_DRAWN: dict[str, Callable[[Path, Wanted], "Figure"]] = {
    "ladder": _ladder,
    "sweep": _sweep,
    "heatmap": _heatmap,
    "telemetry": _telemetry,
    "samples": _samples,
}
KINDS = ("ladder", "sweep", "waterfall", "roofline", "compare", "heatmap", "telemetry", "samples")
