"""`compare`."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import form_option
from gemmbench.quantities import parse_percent

if TYPE_CHECKING:
    pass


@app.command(epilog="Example: gemmbench compare before.jsonl after.jsonl --by tier")
@click.argument("a")
@click.argument("b")
@click.option("--by", default="kernel", metavar="WHAT", help="kernel, or tier: its best. [kernel]")
@click.option("--delta", default="2%", metavar="2%", help="The least change that counts. [2%]")
@form_option("table", "markdown")
def compare(a: str, b: str, by: str, delta: str, form: str) -> None:
    """Compare two measurements row by row: is B faster, slower, the same, or is it unsure?"""

    def work() -> int:
        from gemmbench.analysis.compare import compare
        from gemmbench.show.results import comparison
        from gemmbench.show.tables import check_format, echo

        found = compare(a, b, by=by, delta=parse_percent("--delta", delta) or 0.0)  # type: ignore[arg-type]
        if Path(a) == Path(b):
            warnings.warn(f"{a} is on both sides: name another run for B", stacklevel=1)
        echo(comparison(found), form=check_format(form, ("table", "markdown")))
        return 0

    carry_out(work)
