"""What a run ends with: its best figures, where they are kept, and the ladder as a picture."""

from pathlib import Path

from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.records.frame import load
from gemmbench.show import figures, results
from gemmbench.show.style import save
from gemmbench.show.tables import echo
from gemmkernels.errors import GemmbenchError


def finish(path: Path, *, timed_share: float, peak_note: bool = True) -> None:
    """Print the summary of a finished run and draw its ladder beside it, as PNG and SVG."""
    df = load(path)
    rows = ladder(df)
    top = best(rows)
    print()
    if len(top):
        echo(results.summary(top))
        if peak_note and top["peak_tflops"].isna().all():
            print("No spec sheet is known for this device, so no percentage of peak is given.")
    else:
        print("No kernel has a figure that can be trusted: see gemmbench show for each reason.")
    counts = df["status"].value_counts()
    print(", ".join(f"{count} {status}" for status, count in counts.items()), end="; ")
    print(f"{100 * timed_share:.0f}% of the time, imports and compiling apart, was timed launches")
    print(f"run:  {path}")
    try:
        pictures = save(figures.ladder(rows), path.with_name(f"{path.stem}-ladder"))
    except GemmbenchError as error:
        print(f"plot: none ({error})")
        return
    print(f"plot: {pictures[0]}, {pictures[1].suffix[1:]}")
