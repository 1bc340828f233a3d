"""The README's results, written by the program from the runs that are kept.

    python -m gemmbench.show.readme README.md results

writes, for every run file in the folders below `results`, its picture and its tables between the
two markers. Nothing else in the file changes.
"""

import sys
from pathlib import Path

from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.records.frame import load
from gemmbench.show import figures, results
from gemmbench.show.style import save
from gemmbench.show.tables import to_markdown
from gemmkernels.errors import GemmbenchError

BEGIN = "<!-- results: begin (make report) -->"
END = "<!-- results: end -->"


def kept_runs(folder: Path) -> list[Path]:
    """The run files under results/<device>/, in order; results/local is nobody's but the user's."""
    found = (path for path in sorted(folder.glob("*/*.jsonl")))
    return [path for path in found if path.parent.name != "local"]


def section(folder: Path, *, root: Path) -> str:
    """The tables of all kept runs as Markdown; pictures are linked relative to `root`."""
    parts: list[str] = []
    for path in kept_runs(folder):
        rows = ladder(load(path))
        picture = path.with_suffix("").relative_to(root).as_posix() + "-ladder.png"
        parts += [f"![{results.caption(rows)}]({picture})"]
        parts += [to_markdown(table) for table in results.summary(best(rows))]
        parts += [
            f"<details><summary>All of {path.name}</summary>\n",
            *(to_markdown(table) for table in results.results(rows)),
            "\n</details>",
        ]
    return "\n\n".join(parts)


def updated(text: str, new: str) -> str:
    """The README with `new` between its markers. Raises GemmbenchError where they are missing."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise GemmbenchError(f"the README has no lines {BEGIN} and {END} to write between")
    return f"{head}{BEGIN}\n\n{new}\n\n{END}{tail}"


def main(readme: str, folder: str) -> None:
    path = Path(readme)
    for run in kept_runs(Path(folder)):
        save(figures.ladder(ladder(load(run))), run.with_name(f"{run.stem}-ladder"))
    root = path.parent
    path.write_text(updated(path.read_text(), section(Path(folder), root=root)))


if __name__ == "__main__":
    main(*sys.argv[1:3])
