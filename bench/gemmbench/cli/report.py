"""`report`: runs as one page."""

from pathlib import Path

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import RUNS


@app.command(epilog="Example: gemmbench report results/local -o report.html")
@RUNS
@click.option("--out", "-o", default="report.html", metavar="FILE", help="[report.html]")
def report(runs: tuple[str, ...], out: str) -> None:
    """Write one HTML page of runs: best figures, pictures, every case, what failed, and, of several
    runs, how the others compare with the first."""

    def work() -> int:
        from gemmbench.analysis.overview import overview
        from gemmbench.show.report.page import check_place, report, save
        from gemmbench.show.text import printable

        place = Path(out)
        check_place(place)
        size = save(report(overview(runs)), place)
        click.echo(f"report: {printable(place)}, {size / 1e6:.2f} MB")
        return 0

    carry_out(work)
