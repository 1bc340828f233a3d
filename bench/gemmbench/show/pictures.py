"""From run files to pictures beside them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gemmbench.analysis.explain import Wanted, explain
from gemmbench.show.style import save
from gemmkernels.errors import GemmbenchError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("ladder", "sweep", "waterfall", "roofline", "compare")
EXPLAINED = ("waterfall", "roofline")


def draw(
    sources: Sequence[str],
    *,
    kind: str,
    out: Path | None,
    wanted: Wanted | None = None,
    roofs: Sequence[str] = (),
) -> list[Path]:
    """Draw a picture a run (`compare`: one of two); returns the paths of the PNGs and SVGs.

    `out` is a path without ending. `wanted` and `roofs` are of a waterfall and a roofline. Raises
    UnknownNameError for another kind, and GemmbenchError where there is nothing to draw.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of plot", kind, KINDS)
    if (wanted or roofs) and kind not in EXPLAINED:
        raise GemmbenchError(
            f"--kind {kind} draws all of a run: --problem, --kernel, --precision and --roofs are "
            f"for {' and '.join(EXPLAINED)}"
        )
    if kind == "compare":
        return save(_comparison(sources), out or Path(f"{_stem(sources[-1])}-compare"))
    made = (
        _explained(sources, kind, wanted or Wanted(), roofs)
        if kind in EXPLAINED
        else _of_runs(sources, kind)
    )
    written: list[Path] = []
    for index, (path, picture) in enumerate(made):
        stem = Path(f"{_stem(str(path))}-{kind}")
        if out is not None:
            stem = out if len(made) == 1 else out.with_name(f"{out.name}-{index + 1}")
        written += save(picture, stem)
    return written


def _of_runs(sources: Sequence[str], kind: str) -> list[tuple[Path, "Figure"]]:
    from gemmbench.analysis.speedup import ladder
    from gemmbench.records.frame import load
    from gemmbench.records.reader import paths_of, read_header
    from gemmbench.show import figures

    draw = figures.ladder if kind == "ladder" else figures.sweep
    made: list[tuple[Path, Figure]] = []
    skipped: list[str] = []
    for path in paths_of(list(sources)):
        rows = ladder(load(path))
        try:
            made.append((path, draw(rows)))
        except GemmbenchError as error:
            only_roofs = "it holds roofs only; see --kind roofline of a run"
            why = only_roofs if read_header(path).probing else str(error)
            skipped.append(f"{path.name}: {why}")
    if not made:
        raise GemmbenchError("; ".join(skipped))
    for told in skipped:
        warnings.warn(told, stacklevel=2)
    return made


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
