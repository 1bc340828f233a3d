"""From run files to pictures beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gemmbench.show.style import save
from gemmkernels.errors import GemmbenchError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("ladder", "sweep", "compare")


def draw(sources: Sequence[str], *, kind: str, out: Path | None) -> list[Path]:
    """Draw a picture a run (`compare`: one of two); returns the paths of the PNGs and SVGs.

    `out` is a path without ending. Raises UnknownNameError for another kind, and GemmbenchError
    where there is nothing to draw.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of plot", kind, KINDS)
    if kind == "compare":
        return save(_comparison(sources), out or Path(f"{_stem(sources[-1])}-compare"))
    from gemmbench.records.reader import read_many

    runs = read_many(list(sources))
    written: list[Path] = []
    for index, run in enumerate(runs):
        stem = Path(f"{_stem(str(run.path))}-{kind}")
        if out is not None:
            stem = out if len(runs) == 1 else out.with_name(f"{out.name}-{index + 1}")
        written += save(_of_run(str(run.path), kind), stem)
    return written


def _of_run(path: str, kind: str) -> "Figure":
    from gemmbench.analysis.speedup import ladder
    from gemmbench.records.frame import load
    from gemmbench.show import figures

    rows = ladder(load(path))
    return figures.ladder(rows) if kind == "ladder" else figures.sweep(rows)


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
