"""`fleet report`: the stragglers of a fleet."""

from pathlib import Path

import click

from gemmbench.cli.app import carry_out
from gemmbench.cli.fleet import fleet
from gemmbench.cli.options import RUNS, form_option
from gemmkernels.errors import GemmbenchError

FLAGGED, NOT_JUDGED = 1, 2


@fleet.command(epilog="Example: gemmbench fleet report fleet.jsonl --html fleet.html --plot fleet")
@RUNS
@click.option("--against", metavar="RUN", help="An earlier fleet: is this one slower as a whole?")
@click.option("--racks", metavar="FILE", help="CSV with the columns node,rack.")
@click.option("--html", metavar="FILE", help="Also write it as one page.")
@click.option("--plot", metavar="STEM", help="Also draw it: a path without ending.")
@form_option("table", "markdown", "csv", "json")
def report(
    *,
    runs: tuple[str, ...],
    against: str | None,
    racks: str | None,
    html: str | None,
    plot: str | None,
    form: str,
) -> None:
    """Find the devices of a fleet that are slow, hot, throttled, wrong or missing.

    A RUN is a file with the runs of several devices, or of one: a file, a folder or a pattern. At
    least three devices of one model can be held against each other. Exit code 1 if any is flagged,
    2 if something was not judged.
    """

    def work() -> int:
        from gemmbench.analysis.fleet.report import fleet_report
        from gemmbench.show.fleet.stem import check_stem
        from gemmbench.show.fleet.tables import FORMATS, write
        from gemmbench.show.fleet.words import why_not_judged
        from gemmbench.show.tables import check_format
        from gemmbench.show.text import printable

        chosen = check_format(form, FORMATS)
        if html:
            from gemmbench.show.report.page import check_place

            check_place(Path(html))
        if plot:
            check_stem(Path(plot))
        found = fleet_report(runs, against=against, racks=Path(racks) if racks else None)
        write(found, chosen)
        quiet = chosen in ("csv", "json")
        try:
            if plot:
                from gemmbench.show.fleet.figures import draw

                for path in draw(found, Path(plot)):
                    click.echo(printable(path), err=quiet)
            if html:
                from gemmbench.show.fleet.page import page
                from gemmbench.show.report.page import save

                size = save(page(found), Path(html))
                click.echo(f"report: {printable(html)}, {size / 1e6:.2f} MB", err=quiet)
        except GemmbenchError as error:
            # What was found counts more than a disk that has become full.
            if found.exit_code != FLAGGED:
                raise
            click.echo(f"gemmbench: {printable(error, 500)}", err=True)
        if found.exit_code == NOT_JUDGED:
            click.echo(f"gemmbench: {printable(why_not_judged(found), 500)}", err=True)
        return found.exit_code

    carry_out(work)
