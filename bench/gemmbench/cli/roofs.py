"""`roofs`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import QUIET, SPEC, asks, form_option, make_request
from gemmbench.quantities import parse_duration, parse_percent
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.analysis.roofs import RoofsOfRun
    from gemmbench.runner.listener import Outcome
    from gemmbench.show.tables import Format

FORMS: tuple["Format", ...] = ("table", "markdown", "json")
PRESETS = ("quick", "sustained")


@app.command(epilog="Example: gemmbench roofs --preset quick")
@click.argument("runs", nargs=-1, metavar="[RUN…]")
@asks(
    click.option("--device", "-d", metavar="cpu|cuda:0", help="[the first GPU]"),
    click.option(
        *("--precision", "-p", "precisions"),
        multiple=True,
        metavar="P",
        help="Such as bf16; repeat for more. [all that the device has]",
    ),
    click.option("--threads", type=int, metavar="N", help="Threads on a CPU. [all cores]"),
    click.option("--preset", metavar="NAME", help="quick or sustained. [sustained]"),
    click.option("--repeat", type=int, metavar="N", help="Repeats, each a new process."),
    click.option("--target", metavar="1%", help="Half-width of the interval to reach."),
    click.option("--max-time", metavar="S", help="Longest time for the turns."),
    click.option("--timeout", metavar="S", help="Silence that ends a probe. [120]"),
    click.option("--out", metavar="DIR", help="[results/local]"),
    SPEC,
)
@QUIET
@form_option(*FORMS)
def roofs(runs: tuple[str, ...], *, quiet: bool, form: str, **options: Any) -> None:
    """Measure what the device itself holds: copy and cache bandwidth, the time of an empty launch,
    and arithmetic without loads. With RUNs nothing is measured: their roofs are shown, and which of
    them a kernel in these runs beats."""

    def work() -> int:
        from gemmbench.show.tables import check_format

        chosen = check_format(form, FORMS)
        if runs:
            given = [name for name, value in options.items() if value not in (None, ())]
            if given:
                name = {"precisions": "precision", "max_time": "max-time"}.get(given[0], given[0])
                raise GemmbenchError(
                    f"--{name} is for measuring, and {runs[0]} is shown: leave out one of them"
                )
            show_roofs(runs, form=chosen)
            return 0
        outcome = _measure(options, quiet=quiet)
        if outcome.path is not None:
            show_roofs((str(outcome.path),), form=chosen)
            if chosen != "json":
                from gemmbench.show.text import printable

                click.echo(f"run:  {printable(outcome.path)}")
        return outcome.exit_code

    carry_out(work)


def _measure(options: dict[str, Any], *, quiet: bool) -> "Outcome":
    from gemmbench.runner.supervisor import Supervisor
    from gemmbench.show.progress import Progress, Quiet
    from gemmkernels.errors import UnknownNameError

    given = {name: value for name, value in options.items() if value is not None}
    preset = given.get("preset", "sustained")
    if preset not in PRESETS:
        raise UnknownNameError("preset of roofs", preset, PRESETS)
    request = make_request(
        device=given.get("device", "auto"),
        precisions=given["precisions"],
        threads=given.get("threads"),
        preset=preset,
        repeats=given.get("repeat"),
        target=parse_percent("--target", given.get("target")),
        max_time_s=parse_duration("--max-time", given.get("max_time")),
        timeout_s=parse_duration("--timeout", given.get("timeout", "120")),
        out=given.get("out", "results/local"),
        spec=given.get("spec"),
        roofs=True,
        command=tuple(sys.argv[1:]),
    )
    progress = Quiet() if quiet else Progress()
    try:
        return Supervisor(request, progress, probing=True).run()
    finally:
        progress.close()


def show_roofs(runs: tuple[str, ...], *, form: "Format") -> None:
    """Print the roofs of runs; raises GemmbenchError where there are none."""
    from gemmbench.show import roofs
    from gemmbench.show.tables import echo

    found = roofs_in(runs)
    if not found:
        raise GemmbenchError(f"{runs[0]} holds no roofs: gemmbench roofs measures them")
    if form == "json":
        click.echo(roofs.to_json(found))
    else:
        echo(roofs.tables(found), form=form)


def roofs_in(runs: tuple[str, ...]) -> "tuple[RoofsOfRun, ...]":
    """The roofs that these files hold."""
    from gemmbench.analysis.roofs import roofs_of_runs
    from gemmbench.records.reader import read_many

    return roofs_of_runs(read_many(runs))
