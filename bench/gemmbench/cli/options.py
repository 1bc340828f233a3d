"""Options that several commands share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

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
WHERE = (
    click.option(
        "--device", "-d", default="auto", metavar="auto|cpu|cuda:0", help="[auto: the first GPU]"
    ),
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
QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress.")
WHAT = (
    *PROBLEMS,
    click.option(
        *("--kernel", "-k", "kernels"),
        multiple=True,
        metavar="NAME|FILE",
        help="A kernel by its name, or a file with your own.",
    ),
    *WHERE,
    click.option("--timeout", default="120", metavar="S", help="Silence that ends a case. [120]"),
    QUIET,
)
WHICH = (
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
