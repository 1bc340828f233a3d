"""`run` and `verify`: what takes a device."""

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import (
    SPEC,
    WHAT,
    asks,
    make_request,
)
from gemmbench.cli.roofs import show_roofs
from gemmbench.quantities import parse_duration, parse_percent

if TYPE_CHECKING:
    from gemmbench.runner.listener import Outcome
    from gemmbench.runner.request import Request


@app.command(epilog="Example: gemmbench run --suite quick --precision bf16 --budget 8m")
@asks(*WHAT)
@click.option("--preset", metavar="NAME", help="sustained, cold or quick. [the suite's; sustained]")
@click.option("--launch", metavar="HOW", help="On a GPU: graph, stream. [graph; on AMD stream]")
@click.option("--target", metavar="1%", help="Half-width of the interval to reach.")
@click.option("--max-time", metavar="S", help="Longest time for the turns of a group.")
@click.option("--budget", metavar="T", help="Fit the run into a time such as 90s, 8m or 2h.")
@click.option("--repeat", type=int, metavar="N", help="Repeats of all of it, each a new process.")
@click.option(
    *("--seed",),
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    metavar="N",
    help="Of data and order of turns. [0]",
)
@click.option("--out", default="results/local", metavar="DIR", help="[results/local]")
@SPEC
@click.option("--roofs", is_flag=True, help="First measure what the device itself holds.")
@click.option("--resume", metavar="RUN", help="Take a run up again, with its own options.")
def run(
    *,
    target: str | None,
    max_time: str | None,
    timeout: str,
    budget: str | None,
    repeat: int | None,
    resume: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure kernels on a device, and keep every sample."""

    def work() -> int:
        request = make_request(
            **options,
            target=parse_percent("--target", target),
            max_time_s=parse_duration("--max-time", max_time),
            timeout_s=parse_duration("--timeout", timeout),
            budget_s=parse_duration("--budget", budget),
            repeats=repeat,
            command=tuple(sys.argv[1:]),
        )
        outcome = _supervise(request, quiet=quiet, resume=resume)
        if outcome.path is not None:
            from gemmbench.show.finish import finish

            if request.roofs:
                click.echo()
                show_roofs((str(outcome.path),), form="table")
            try:
                finish(outcome.path, timed_share=outcome.timed_share, cut_short=outcome.interrupted)
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                click.echo(f"run:  {outcome.path}")
                raise
        return outcome.exit_code

    carry_out(work)


@app.command(epilog="Example: gemmbench verify --kernel torch --shape 1000x777x513 --seeds 20")
@asks(*WHAT)
@click.option("--seeds", type=click.IntRange(min=1), default=1, metavar="N", help="How many. [1]")
def verify(*, seeds: int, timeout: str, quiet: bool, **options: Any) -> None:
    """Check that kernels are right, without timing them. Exit code 1 when one is not."""

    def work() -> int:
        asked = ("suites", "shapes", "m", "n", "k", "shape_files")
        if not any(options[name] for name in asked):
            options["shapes"] = ("64x64x64", "129x65x97", "512x512x512")
        worst, counts = 0, Counter[str]()
        for seed in range(seeds):
            request = make_request(
                **options,
                every_kernel=True,
                preset="quick",
                timeout_s=parse_duration("--timeout", timeout),
                seed=seed,
            )
            outcome = _supervise(request, quiet=quiet, verify_only=True)
            counts.update(outcome.statuses)
            worst = max(worst, outcome.exit_code)
            if outcome.interrupted:
                break
        verified = {"verified" if name == "ok" else name: n for name, n in counts.items()}
        click.echo(", ".join(f"{n} {name}" for name, n in verified.items()) or "nothing to verify")
        return worst

    carry_out(work)


def _supervise(
    request: "Request", *, quiet: bool, resume: str | None = None, verify_only: bool = False
) -> "Outcome":
    from gemmbench.runner.resume import of_run
    from gemmbench.runner.supervisor import Supervisor
    from gemmbench.show.progress import Progress, Quiet

    progress = Quiet() if quiet else Progress()
    previous = None
    if resume is not None:
        request, previous = of_run(Path(resume), request)
    try:
        return Supervisor(request, progress, verify_only=verify_only, resume=previous).run()
    finally:
        progress.close()
