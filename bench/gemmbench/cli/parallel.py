"""`parallel`: collectives, and products that several devices share."""

import sys
from typing import Any

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import QUIET, asks
from gemmbench.quantities import parse_duration, parse_percent
from gemmbench.show.text import printable


@app.command(epilog="Example: torchrun --nproc-per-node 8 -m gemmbench parallel")
@asks(
    click.option(
        *("--suite", "-s", "suites"),
        multiple=True,
        metavar="NAME|FILE",
        help="collectives, tensor-parallel, or a file; repeat for more. [both]",
    ),
    click.option(
        *("--kernel", "-k", "kernels"),
        multiple=True,
        metavar="NAME",
        help="Of those in --list; repeat for more. [the suite's]",
    ),
    click.option(
        *("--precision", "-p", "precisions"),
        multiple=True,
        metavar="P",
        help="fp64, fp32, tf32, fp16, bf16; repeat for more. [the suite's]",
    ),
    click.option(
        *("--device", "-d"),
        default="auto",
        metavar="auto|gpu|cpu",
        help="A GPU a rank, or an even share of the cores. [auto: GPUs, if there are any]",
    ),
    click.option("--preset", default="sustained", metavar="NAME", help="quick. [sustained]"),
    click.option(
        "--data",
        default="normal",
        metavar="NAME",
        help="normal, uniform, integers, zeros, zeros50.",
    ),
    click.option("--target", metavar="1%", help="Half-width of the interval to reach."),
    click.option("--max-time", metavar="S", help="Longest time for the turns of a group."),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**63 - 1),
        default=0,
        metavar="N",
        help="Of data and order of turns. [0]",
    ),
    click.option("--timeout", default="120", metavar="S", help="Silence that ends a case. [120]"),
    click.option("--out", default="results/local", metavar="DIR", help="[results/local]"),
    click.option("--resume", metavar="RUN", help="Take a run up again, with its own options."),
    click.option("--list", "listed", is_flag=True, help="Only name the kernels and suites."),
)
@QUIET
def parallel(
    *,
    target: str | None,
    max_time: str | None,
    timeout: str,
    resume: str | None,
    listed: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure collectives, and layers that several devices share, one rank a device.

    A launcher starts it on every rank: torchrun, or srun and mpirun with its variables."""

    def work() -> int:
        if listed:
            from gemmbench.show.parallel import catalogue
            from gemmbench.show.tables import echo

            echo(catalogue(), form="table")
            return 0
        from gemmbench.runner.parallel.launcher import launcher
        from gemmbench.runner.parallel.request import ParallelRequest

        launched = launcher()
        request = ParallelRequest(
            **options,
            target=parse_percent("--target", target),
            max_time_s=parse_duration("--max-time", max_time),
            timeout_s=parse_duration("--timeout", timeout) or 120.0,
            command=tuple(sys.argv[1:]),
        )
        return _measure(request, launched, resume=resume, quiet=quiet)

    carry_out(work)


def _measure(request: Any, launched: Any, *, resume: str | None, quiet: bool) -> int:
    """Rank 0 speaks, and has the exit code; the others are silent, and end well but for a fault of
    their own, or where they have not met."""
    from gemmbench.runner.parallel.guard import Guard

    guard = Guard(launched.rank, _last_word)
    guard.start()  # before the imports below: numpy's threads must not take the signals
    from gemmbench.runner.parallel.ranks import UnmetError
    from gemmbench.runner.parallel.run import carry_out as measure
    from gemmbench.show.parallel import Progress, Quiet, finish
    from gemmkernels.errors import GemmbenchError

    listener = Quiet() if quiet or launched.rank else Progress()
    try:
        outcome = measure(request, launched, guard, listener, resume=resume)
    except UnmetError:
        raise
    except GemmbenchError:
        if launched.rank:
            return 0
        raise
    if outcome is None:
        return 0
    if outcome.path is not None:
        finish(outcome.path)
    return outcome.exit_code


def _last_word(line: str) -> None:
    """Of a run that its guard ends."""
    click.echo(f"gemmbench: {printable(line, 2000)}", err=True)
