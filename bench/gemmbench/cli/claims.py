"""`claims`."""

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import form_option
from gemmkernels.errors import GemmbenchError


@app.command(epilog="Example: gemmbench claims results/local/*.jsonl --measure")
@click.argument("runs", nargs=-1, metavar="[RUN…]")
@click.option(
    "--measure",
    is_flag=True,
    help="Ask torch and the compiler anew, and time attention and MLP blocks here: two minutes.",
)
@click.option("--device", "-d", metavar="cpu|cuda:0", help="For --measure. [the first GPU]")
@form_option("table", "markdown", "json")
def claims(runs: tuple[str, ...], measure: bool, device: str | None, form: str) -> None:
    """Put an article's claims about accelerators to the test: each holds, does not hold, is
    impossible, or needs a run that is named."""

    def work() -> int:
        from gemmbench.show.claims import show_claims

        if device is not None and not measure:
            raise GemmbenchError(f"--device {device} is for --measure: say --measure too")
        told = show_claims(runs, device=(device or "auto") if measure else None, form=form)
        if told:
            click.echo(f"gemmbench: {told}", err=True)
        return 0

    carry_out(work)
