"""`history`."""

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import WHICH, asks, form_option
from gemmbench.quantities import parse_percent


@app.command(
    epilog="Example: gemmbench history results/local --kernel torch -p bf16 --plot torch-bf16"
)
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN…")
@asks(*WHICH[:3])
@click.option("--delta", metavar="2%", help="The least change that counts. [2%]")
@click.option("--plot", metavar="STEM", help="Also draw it: a path without ending.")
@form_option("table", "markdown", "csv", "json")
def history(
    *,
    patterns: tuple[str, ...],
    problems: tuple[str, ...],
    kernels: tuple[str, ...],
    precisions: tuple[str, ...],
    delta: str | None,
    plot: str | None,
    form: str,
) -> None:
    """Show kernels over many runs in order of time, where their speed changed for good, and what
    else changed there: driver, libraries, kernel source, host.

    A PATTERN is a file, a folder or a pattern. Runs that were measured in different ways are
    different series.
    """

    def work() -> int:
        from pathlib import Path

        from gemmbench.analysis.explain import Wanted
        from gemmbench.analysis.history import history
        from gemmbench.records.reader import without_collector
        from gemmbench.show.history import FORMATS, write
        from gemmbench.show.tables import check_format
        from gemmbench.show.text import printable

        chosen = check_format(form, FORMATS)
        least = parse_percent("--delta", delta)
        wanted = Wanted(kernels=kernels, problems=problems, precisions=precisions)
        with without_collector():
            found = history(patterns, wanted, delta=least)
            write(found, chosen)
        if plot:
            from gemmbench.show.history_figure import draw

            for path in draw(found, Path(plot)):
                click.echo(printable(path), err=chosen in ("csv", "json"))
        return 0

    carry_out(work)
