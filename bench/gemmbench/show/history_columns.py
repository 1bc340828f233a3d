"""A history for other programs: as JSON, and as the rows of a CSV file."""

import json
import math
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec

from gemmbench.analysis.series import History, Point, Series
from gemmbench.show.history_text import differs_text, percent_of
from gemmbench.show.tables import in_json

if TYPE_CHECKING:
    import pandas as pd


def to_json(found: History) -> str:
    """All of it: the runs with what may differ between them, the series, their points by run."""
    series = []
    for one in found.series:
        own = {name: getattr(one, name) for name in _names(one) if name != "points"}
        own["points"] = [
            {"run_id": point.ran.run_id, "file": point.ran.file, "started": point.ran.started}
            | {name: getattr(point, name) for name in _names(point) if name != "ran"}
            for point in one.points
        ]
        series.append(own)
    whole = {"delta": found.delta, "runs": found.runs, "series": series}
    return json.dumps(in_json(msgspec.to_builtins(whole)), indent=1, ensure_ascii=False)


def frame(found: History) -> "pd.DataFrame":
    """A row a point: the series, the run, its figures; `level_tflops` is the median rate of its
    level, `change` and `change_pct` stand at the first run of a new one, `changed` is what differs
    from the run before."""
    import pandas as pd

    rows = [row for one in found.series for row in _rows(one)]
    return pd.DataFrame(rows).astype(dict.fromkeys(("units", "threads"), "Int64"))


def _rows(one: Series) -> Iterable[dict[str, Any]]:
    own = {name: getattr(one, name) for name in _names(one)}
    for name in ("points", "changes", "levels", "why_unsure"):
        del own[name]
    changes = {change.at: change for change in one.changes}
    of_level = {
        place: level.tflops for level in one.levels for place in range(level.first, level.last + 1)
    }
    for place, point in enumerate(one.points):
        ran, change = point.ran, changes.get(place)
        low, high = (change.step.ratio_low, change.step.ratio_high) if change else (math.nan,) * 2
        figures = {name: getattr(point, name) for name in _names(point)}
        del figures["ran"], figures["differs"]
        yield {
            **own,
            "run_id": ran.run_id,
            "file": ran.file,
            "started": ran.started.isoformat(),
            "version": ran.version,
            **figures,
            "level_tflops": of_level.get(place, math.nan),
            "change": change.certainty if change else "",
            "change_pct": percent_of(change.ratio) if change else math.nan,
            "change_pct_low": percent_of(low),
            "change_pct_high": percent_of(high),
            "changed": "; ".join(map(differs_text, point.differs)),
        }


def _names(one: Series | Point) -> tuple[str, ...]:
    return tuple(field.name for field in fields(type(one)))
