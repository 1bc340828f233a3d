"""Where pictures are to go: looked at before the work, without loading what draws them."""

import os
from pathlib import Path

from gemmkernels.errors import GemmbenchError


def check_stem(stem: Path) -> None:
    """Raises GemmbenchError for a stem where nothing can be written."""
    what = ""
    try:
        folder = next(one for one in (stem.parent, *stem.parent.parents) if one.exists())
        if not stem.name:
            what = "it has no name"
        elif not folder.is_dir():
            what = f"{folder} is no folder"
        elif not os.access(folder, os.W_OK | os.X_OK):
            what = f"{folder} cannot be written to"
        else:
            what = _taken(stem)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
    if what:
        raise GemmbenchError(
            f"cannot write {str(stem)[:200]!r}: {what}: name another path with --plot"
        )


def _taken(stem: Path) -> str:
    for end in (".png", ".svg", "-cases.png", "-cases.svg"):
        path = stem.with_name(f"{stem.name}{end}")
        if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
            return f"{path.name} is there, and cannot be replaced"
    return ""
