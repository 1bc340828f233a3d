"""`run` and `verify`: what takes a device."""

import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import (
    MEASURING,
    PLACE,
    WHAT,
    WHAT_ON_SEVERAL,
    asks,
    make_request,
    make_run_request,
)
from gemmbench.cli.roofs import show_roofs
from gemmbench.quantities import parse_duration
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.runner.fleet.driver import Order
    from gemmbench.runner.listener import Outcome
    from gemmbench.runner.request import Request


@app.command(epilog="Example: gemmbench run --suite quick --precision bf16 --budget 8m")
@asks(*WHAT_ON_SEVERAL)
@click.option("--one-by-one", is_flag=True, help="Of several devices each alone, in turn.")
@asks(*MEASURING)
@asks(*PLACE)
@click.option("--resume", metavar="RUN", help="Take a run up again, with its own options.")
def run(
    *,
    resume: str | None,
    quiet: bool,
    devices: tuple[str, ...],
    one_by_one: bool,
    **options: Any,
) -> None:
    """Measure kernels on a device, or on several at once, and keep every sample."""

    def work() -> int:
        request = make_run_request(**options, device=devices[0] if len(devices) == 1 else "auto")
        if (code := _on_several(request, devices, one_by_one, quiet=quiet, resume=resume)) >= 0:
            return code
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


def _on_several(
    request: "Request",
    devices: tuple[str, ...],
    one_by_one: bool,
    *,
    quiet: bool,
    resume: str | None,
) -> int:
    """The exit code of a run on several devices; -1 where only one is asked for."""
    from dataclasses import replace

    from gemmbench.runner.fleet.driver import Driver
    from gemmbench.runner.fleet.local import ALL, LocalGround, devices_of
    from gemmbench.runner.fleet.resume import of_fleet
    from gemmbench.show.devices import DevicesProgress, DevicesQuiet, finish

    taken_up = of_fleet(Path(resume), request) if resume is not None else None
    if taken_up is not None:
        if devices or one_by_one:
            option = "--device" if devices else "--one-by-one"
            raise GemmbenchError(f"--resume takes the run's own options: leave out {option}")
        request, fleet = taken_up
        if fleet.by == "ray":
            raise GemmbenchError(
                f"{resume} is of a Ray cluster: gemmbench fleet run --resume takes it up"
            )
        devices = devices_of(fleet)
    elif len(devices) < 2 and ALL not in devices:
        if one_by_one:
            raise GemmbenchError("--one-by-one is for several devices: say --device all")
        return -1
    elif resume is not None:
        raise GemmbenchError("--resume takes the run's own options: leave out --device")
    order: Order = "one-by-one" if one_by_one else "together"
    again = "gemmbench run --resume"
    outcome = Driver(
        replace(request, device="auto"),
        LocalGround(devices),
        DevicesQuiet() if quiet else DevicesProgress(),
        order=order,
        resume=Path(resume) if resume is not None else None,
        again=again,
    ).run()
    finish(outcome, again=again)
    return outcome.exit_code


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
