"""`compare`."""

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import form_option
from gemmbench.quantities import parse_percent


@app.command(
    epilog="Example: gemmbench compare before.jsonl after.jsonl --by tier --fail-if-slower 5%"
)
@click.argument("a")
@click.argument("b")
@click.option("--by", default="kernel", metavar="WHAT", help="kernel, or tier: its best. [kernel]")
@click.option(
    "--delta",
    metavar="2%",
    help="The least change that counts. [2% for runs that alternated in time, else 5%]",
)
@click.option("--anyway", is_flag=True, help="Compare what was measured in different ways too.")
@click.option(
    "--fail-if-slower",
    metavar="5%",
    help="Exit code 1 if a row is slower by that much, beyond all doubt; 2 if one was not judged.",
)
@form_option("table", "markdown", "csv", "json")
def compare(
    *,
    a: str,
    b: str,
    by: str,
    delta: str | None,
    anyway: bool,
    fail_if_slower: str | None,
    form: str,
) -> None:
    """Compare two measurements row by row: is B faster, slower, the same, or is it unsure?

    A and B are files, folders or patterns; the word "published" stands for published figures.
    """

    def work() -> int:
        if "published" in (a, b):
            from gemmbench.show.published import compare_published

            refused = {"--by": by != "kernel", "--delta": delta, "--anyway": anyway}
            refused["--fail-if-slower"] = fail_if_slower
            compare_published(a, b, form=form, options=refused)
            return 0
        from gemmbench.analysis.compare import compare
        from gemmbench.records.reader import without_collector
        from gemmbench.show.comparison import FORMATS, write
        from gemmbench.show.gate import gate
        from gemmbench.show.tables import check_format

        chosen = check_format(form, FORMATS)
        limit = parse_percent("--fail-if-slower", fail_if_slower)
        least = parse_percent("--delta", delta)
        with without_collector():
            found = compare(a, b, by=by, delta=least, anyway=anyway)  # type: ignore[arg-type]
            write(found, chosen)
        return 0 if limit is None else gate(found, limit)

    carry_out(work)
