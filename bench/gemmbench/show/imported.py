"""What `gemmbench import` says of the runs that it made."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from gemmbench.records.imports.named import NO_LAYOUT
from gemmbench.records.imports.runs import INDEX, NOT_VERIFIED
from gemmbench.records.reader import Run
from gemmbench.show.text import printable

_PLAIN = (NOT_VERIFIED, NO_LAYOUT)


def imported(runs: Sequence[Run], paths: Sequence[Path]) -> Iterator[str]:
    """A few lines a run: what of it came, what did not, and where it is kept."""
    for run, path in zip(runs, paths, strict=True):
        header = run.header
        count = len(run.records)
        index = f", device {header.host[INDEX]}" if INDEX in header.host else ""
        yield printable(
            f"{run.path.name}: {count} record{'' if count == 1 else 's'} of {header.tool} "
            f"({header.method.preset}) on {header.device.name}{index}: "
            f"{_statuses(run)}"
        )
        if header.device_id is None:
            yield (
                "  no spec sheet is surely this device's (a part of one bears the same name): say "
                "which with --device-id ID, see gemmbench list devices"
            )
        yield from (f"  left out: {printable(one, 200)}" for one in header.left_out)
        yield from (f"  {printable(what, 200)} ({n})" for what, n in _warnings(run).items())
        yield f"run:  {printable(path)}"


def _statuses(run: Run) -> str:
    counts = Counter(record.status for record in run.records)
    return ", ".join(f"{count} {status}" for status, count in counts.most_common())


def _warnings(run: Run) -> dict[str, int]:
    """Of warnings with figures in them only how many there are."""
    counts: Counter[str] = Counter()
    for record in run.records:
        for warning in record.warnings:
            counts[
                warning if warning in _PLAIN else "its own rate is not what shape and time make"
            ] += 1
    return dict(counts)
