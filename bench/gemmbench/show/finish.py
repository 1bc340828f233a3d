"""What a run ends with: its best figures, where they are kept, and the ladder as a picture."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.records.frame import load
from gemmbench.show import figures, results
from gemmbench.show.style import save
from gemmbench.show.tables import echo
from gemmbench.show.text import printable
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd


def finish(path: Path, *, timed_share: float, cut_short: bool = False) -> None:
    """Print the summary of a finished run and draw its ladder beside it, as PNG and SVG."""
    df = load(path)
    rows = ladder(df)
    top = best(rows)
    print()
    if len(top):
        echo(results.summary(top))
        if top["peak_tflops"].isna().all():
            print("No spec sheet is known for this device, so no percentage of peak is given:")
            print("gemmbench list devices --template begins one of your own, for run --spec.")
    elif df["status"].isin(("interrupted", "unsupported")).all():
        print("Nothing was measured before the run was stopped, or its time budget was spent.")
    else:
        print("No kernel has a figure that can be trusted: gemmbench show has each case's verdict.")
        print("Where that is contended, end what else uses the cores, and run it again.")
    _unranked(rows, top)
    words = df["status"].mask(df["verdict"].eq("contended"), "contended")
    print(", ".join(f"{count} {word}" for word, count in words.value_counts().items()), end="; ")
    print(f"{100 * timed_share:.0f}% of the time, imports and compiling apart, was timed launches")
    print(f"run:  {printable(path)}")
    if cut_short and df["status"].eq("interrupted").any():
        print(f"It was cut short. Go on with: gemmbench run --resume {printable(path)}")
        return
    try:
        pictures = save(figures.ladder(rows), path.with_name(f"{path.stem}-ladder"))
    except GemmbenchError as error:
        print(f"plot: none ({error})")
    else:
        print(f"plot: {printable(pictures[0])}, {pictures[1].suffix[1:]}")
    print(f"next: gemmbench report {printable(shlex.quote(str(path)))}")


def _unranked(rows: "pd.DataFrame", top: "pd.DataFrame") -> None:
    """What is contended does not rank: the best of the rest may be far from the best."""
    contended = rows[rows["verdict"].eq("contended")]
    if contended.empty or top.empty:
        return
    ranked = set(top["precision"])
    none = [name for name in dict.fromkeys(contended["precision"]) if name not in ranked]
    told = f", all of {', '.join(map(printable, none))} among them" if none else ""
    count = rows["verdict"].notna().sum()
    print(f"{len(contended)} of {count} cases are contended{told}, and do not rank:")
    print("this is the best of the rest. End what else uses the cores, and run it again.")
