"""`tune`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import DEVICE, PROBLEMS, QUIET, WHERE, asks, form_option, make_request
from gemmbench.quantities import parse_duration

if TYPE_CHECKING:
    pass


@app.command(
    epilog="Example: gemmbench tune triton-matrix-core --suite square -p bf16 --budget 20m"
)
@click.argument("kernel", required=False, metavar="KERNEL|FILE")
@asks(*PROBLEMS, DEVICE, *WHERE)
@click.option("--budget", metavar="T", help="Time for all of it. [20m]")
@click.option(
    "--timeout", metavar="S", help="Silence that ends a candidate. [a tenth of the budget]"
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, metavar="N", help="[0]")
@click.option("--out", "-o", metavar="FILE.toml", help="Of entries. [your own tuned.toml]")
@click.option("--runs", default="results/tuning", metavar="DIR", help="[results/tuning]")
@click.option("--resume", metavar="RUN", help="Take a tuning up again, with its own options.")
@QUIET
@form_option("table", "markdown", "json")
def tune(
    *,
    kernel: str | None,
    budget: str | None,
    timeout: str | None,
    out: str | None,
    runs: str,
    resume: str | None,
    quiet: bool,
    form: str,
    **options: Any,
) -> None:
    """Find a kernel's best settings on this device, and keep those that are proven faster."""

    def work() -> int:
        from gemmbench.runner.tune_request import tuner_of
        from gemmbench.show.tables import check_format
        from gemmbench.show.tuning import QuietTuning, TuneProgress, show

        chosen = check_format(form, ("table", "markdown", "json"))
        if timeout is not None:
            options["timeout_s"] = parse_duration("--timeout", timeout)
        request = make_request(
            **options,
            kernels=(kernel,) if kernel else (),
            budget_s=parse_duration("--budget", budget),
            out=runs,
            command=tuple(sys.argv[1:]),
        )
        progress = QuietTuning() if quiet else TuneProgress()
        try:
            outcome = tuner_of(request, progress, out=out, resume=resume).run()
        finally:
            progress.close()
        show(outcome, form=chosen)
        return outcome.exit_code

    carry_out(work)
