"""Options that several commands share."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gemmbench.quantities import parse_duration, parse_percent

if TYPE_CHECKING:
    from gemmbench.runner.request import Request

Command = TypeVar("Command", bound=Callable[..., object])

PROBLEMS = (
    click.option(
        "--suite",
        "-s",
        "suites",
        multiple=True,
        metavar="NAME|FILE",
        help="One suite; repeat for more. [quick]",
    ),
    click.option(
        *("--shape", "shapes"),
        multiple=True,
        metavar="MxNxK",
        help="One shape, 8*MxNxK (a batch) or 8@MxNxK (experts); repeat for more.",
    ),
    click.option("--m", metavar="VALUES", help="4096; 1024:8192:1024; 1024:8192:x2; with commas."),
    click.option("--n", metavar="VALUES", help="Likewise, or m: as M. All products are measured."),
    click.option("--k", metavar="VALUES", help="Likewise. Squares: --m 512:4096:x2 --n m --k m"),
    click.option(
        *("--shapes", "shape_files"),
        multiple=True,
        metavar="FILE.csv",
        help="Columns m, n, k; batch, experts, layout, label.",
    ),
    click.option(
        "--precision",
        "-p",
        "precisions",
        multiple=True,
        metavar="P",
        help="Such as bf16; repeat for more.",
    ),
)
DEVICE = click.option(
    "--device", "-d", default="auto", metavar="auto|cpu|cuda:0", help="[auto: the first GPU]"
)
DEVICES = click.option(
    *("--device", "-d", "devices"),
    multiple=True,
    metavar="auto|all|cpu|cuda:0|cpu:0-3",
    help="all, or repeat for more: one worker each, at once; cpu:0-3: those CPUs only. [auto]",
)
PLACE = (
    click.option(
        "--node",
        envvar="GEMMBENCH_NODE",
        metavar="NAME",
        help="What to call this machine in the run.",
    ),
    click.option(
        "--rack",
        envvar="GEMMBENCH_RACK",
        metavar="NAME",
        help="Likewise, what it stands in.",
    ),
)
WHERE = (
    click.option(
        "--data",
        default="normal",
        metavar="NAME",
        help="normal, uniform, integers, zeros, zeros50.",
    ),
    click.option("--layout", metavar="nn|nt|tn|tt", help="Of A and B. [nn; on GPUs nt for 8 bits]"),
    click.option("--threads", type=int, metavar="N", help="Threads on a CPU. [all cores]"),
)
SPEC = click.option(
    "--spec", metavar="FILE", help="Datasheets of your own: see gemmbench list devices --template."
)
MEASURING = (
    click.option(
        "--preset", metavar="NAME", help="sustained, cold or quick. [the suite's; sustained]"
    ),
    click.option("--launch", metavar="HOW", help="On a GPU: graph, stream. [graph; on AMD stream]"),
    click.option("--target", metavar="1%", help="Half-width of the interval to reach."),
    click.option("--max-time", metavar="S", help="Longest time for the turns of a group."),
    click.option("--budget", metavar="T", help="Fit the run into a time such as 90s, 8m or 2h."),
    click.option(
        "--repeat", type=int, metavar="N", help="Repeats of all of it, each a new process."
    ),
    click.option(
        *("--seed",),
        type=click.IntRange(0, 2**63 - 1),
        default=0,
        metavar="N",
        help="Of data and order of turns. [0]",
    ),
    click.option("--out", default="results/local", metavar="DIR", help="[results/local]"),
    SPEC,
    click.option("--roofs", is_flag=True, help="First measure what the device itself holds."),
)
"""How a run measures, and where it goes."""

QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress.")
_KERNELS = (
    *PROBLEMS,
    click.option(
        *("--kernel", "-k", "kernels"),
        multiple=True,
        metavar="NAME|FILE",
        help="A kernel by its name, or a file with your own.",
    ),
)
_HOW = (
    *WHERE,
    click.option("--timeout", default="120", metavar="S", help="Silence that ends a case. [120]"),
    QUIET,
)
WHAT = (*_KERNELS, DEVICE, *_HOW)
WHAT_ON_SEVERAL = (*_KERNELS, DEVICES, *_HOW)
WHAT_ON_A_FLEET = (*_KERNELS, *_HOW)
CASES = (
    click.option(
        *("--problem", "problems"),
        multiple=True,
        metavar="MxNxK",
        help="One problem of the run; repeat for more. [all]",
    ),
    click.option(
        *("--kernel", "-k", "kernels"),
        multiple=True,
        metavar="NAME",
        help="A kernel of the run; repeat for more.",
    ),
    click.option(
        "--precision",
        "-p",
        "precisions",
        multiple=True,
        metavar="P",
        help="Likewise, such as bf16.",
    ),
)
"""Which cases of a run."""

WHICH = (
    *CASES,
    click.option(
        *("--roofs", "roofs"),
        multiple=True,
        metavar="FILE",
        help="Roofs of the device. [the run's own, or the newest beside it]",
    ),
)
"""Which cases of a run, and whose roofs bound them."""


def form_option(*known: str) -> Callable[[Command], Command]:
    """The option --format of a command that knows these."""
    return click.option(
        *("--format", "-f", "form"),
        default="table",
        metavar="FORM",
        help=f"{', '.join(known)}. [table]",
    )


RUNS = click.argument("runs", nargs=-1, required=True, metavar="RUN…")


def asks(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options, shown in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def make_request(**options: Any) -> "Request":
    from gemmbench.runner.request import Request

    return Request(**options)


def make_run_request(
    *,
    target: str | None,
    max_time: str | None,
    timeout: str,
    budget: str | None,
    repeat: int | None,
    **options: Any,
) -> "Request":
    """The request of what measures: with `MEASURING`, and the command for the run's header."""
    return make_request(
        **options,
        target=parse_percent("--target", target),
        max_time_s=parse_duration("--max-time", max_time),
        timeout_s=parse_duration("--timeout", timeout),
        budget_s=parse_duration("--budget", budget),
        repeats=repeat,
        command=tuple(sys.argv[1:]),
    )
