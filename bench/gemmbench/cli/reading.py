"""`show`, `plot` and `export`: what is made of runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import CASES, RUNS, WHICH, asks, form_option
from gemmbench.cli.roofs import roofs_in

if TYPE_CHECKING:
    pass


@app.command(epilog="Example: gemmbench show results/local --format markdown")
@RUNS
@form_option("table", "markdown", "csv", "json", "parquet")
@click.option("--out", "-o", metavar="FILE", help="Of csv, json, parquet. [standard output]")
@asks(*CASES)
@click.option("--unsupported", is_flag=True, help="Also what could not be done, and why.")
@click.option("--launched", is_flag=True, help="Instead, which kernels the libraries launched.")
def show(
    *,
    runs: tuple[str, ...],
    form: str,
    out: str | None,
    unsupported: bool,
    launched: bool,
    problems: tuple[str, ...],
    kernels: tuple[str, ...],
    precisions: tuple[str, ...],
) -> None:
    """Show every record of one or more runs: files, folders or patterns."""

    def work() -> int:
        from gemmbench.analysis.explain import Wanted
        from gemmbench.analysis.speedup import ladder
        from gemmbench.records.frame import load
        from gemmbench.show.columns import FORMATS, check_out, columns
        from gemmbench.show.results import results
        from gemmbench.show.tables import check_format, echo

        chosen = check_format(form, FORMATS)
        place = check_out(chosen, out)
        wanted = Wanted(kernels=kernels, problems=problems, precisions=precisions)
        df = load(runs)
        if chosen in ("csv", "json", "parquet"):
            columns(wanted.of_rows(df), chosen, place)
        elif launched:
            from gemmbench.show.launched import launched as table

            echo(table(wanted.of_rows(df)), form=chosen)
        elif df.empty and (found := roofs_in(runs)):
            from gemmbench.show import roofs

            echo(roofs.tables(found), form=chosen)
        else:
            rows = wanted.of_rows(ladder(df))  # after the speedups, which need the base
            echo(results(rows, unsupported=unsupported), form=chosen)
        return 0

    carry_out(work)


@app.command(epilog="Example: gemmbench plot results/local/*.jsonl --kind sweep")
@RUNS
@click.option(
    "--kind",
    default="ladder",
    metavar="KIND",
    help="ladder, sweep, waterfall, roofline, compare, heatmap (rate over M and N), telemetry "
    "(power and clock over time), samples (their distribution). [ladder]",
)
@click.option("--out", metavar="STEM", help="Path without ending. [beside the run]")
@asks(*WHICH)
def plot(
    runs: tuple[str, ...],
    kind: str,
    out: str | None,
    problems: tuple[str, ...],
    kernels: tuple[str, ...],
    precisions: tuple[str, ...],
    roofs: tuple[str, ...],
) -> None:
    """Draw runs as PNG and SVG, one by one; `compare` draws two of them. `waterfall` and `samples`
    show the best of each precision, the others all; `compare` and `telemetry` always do, else what
    is named is drawn."""

    def work() -> int:
        from gemmbench.analysis.explain import Wanted
        from gemmbench.show.pictures import draw
        from gemmbench.show.text import printable

        wanted = Wanted(kernels=kernels, problems=problems, precisions=precisions)
        place = Path(out) if out else None
        for path in draw(runs, kind=kind, out=place, wanted=wanted, roofs=roofs):
            click.echo(printable(path))
        return 0

    carry_out(work)


@app.command(epilog="Example: gemmbench export --format pytest-benchmark RUN.jsonl -o bench.json")
@click.argument("run", metavar="RUN")
@click.option(
    *("--format", "-f", "form"),
    default="pytest-benchmark",
    metavar="FORM",
    help="[pytest-benchmark]",
)
@click.option("--out", "-o", metavar="FILE", help="[standard output]")
def export(run: str, form: str, out: str | None) -> None:
    """Write a run as what pytest-benchmark, github-action-benchmark and Bencher read."""

    def work() -> int:
        from gemmbench.show.exported import export, save

        found = export(run, form=form)
        if out:
            save(found.text, Path(out))
        else:
            sys.stdout.write(found.text)
        if found.left_out:
            click.echo(f"gemmbench: left out: {found.left_out}", err=True)
        return 0

    carry_out(work)
