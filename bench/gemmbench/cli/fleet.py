"""`fleet`: many devices at once, on a Ray cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import MEASURING, WHAT_ON_A_FLEET, asks, make_run_request
from gemmbench.quantities import parse_duration
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.runner.request import Request

AGAIN = "gemmbench fleet run --resume"
WAIT_S = 60.0


@app.group()
def fleet() -> None:
    """Measure every device of a cluster; find the slow ones."""


@fleet.command(epilog="Example: gemmbench fleet run --suite quick --address 10.0.0.1:6379")
@asks(*WHAT_ON_A_FLEET)
@click.option(
    "--address",
    default="auto",
    metavar="auto|HOST:PORT|ray://HOST:PORT",
    help="Of the Ray cluster. [auto: the one that this machine belongs to]",
)
@click.option(
    *("--device", "-d", "kind"),
    type=click.Choice(["gpu", "cpu"]),
    help="Every GPU; or every CPU, one worker a node, or of --threads CPUs each. [gpu]",
)
@click.option("--share", is_flag=True, help="Each case once, on any device, not on each of them.")
@click.option("--wait", metavar="T", help="How long for devices that other jobs hold. [60s]")
@asks(*MEASURING)
@click.option("--resume", metavar="RUN", help="Take a run up again, with its own options.")
def run(
    *,
    address: str,
    kind: Literal["gpu", "cpu"] | None,
    share: bool,
    wait: str | None,
    resume: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure kernels on every device of a Ray cluster, into one run file."""

    def work() -> int:
        from gemmbench.runner.fleet.driver import Driver
        from gemmbench.runner.fleet.ray_ground import RayGround
        from gemmbench.show.devices import DevicesProgress, DevicesQuiet, finish

        request = make_run_request(**options)
        wait_s = parse_duration("--wait", wait)
        if resume is not None:
            request, shared = _taken_up(resume, request, kind=kind, share=share)
        else:
            request, shared = replaced(request, kind or "gpu"), share
        ground = RayGround(
            address,
            kind="cpu" if request.device == "cpu" else "gpu",
            threads=request.threads,
            wait_s=WAIT_S if wait_s is None else wait_s,
            comes_back_s=0.0 if shared else WAIT_S,
        )
        outcome = Driver(
            request,
            ground,
            DevicesQuiet() if quiet else DevicesProgress(),
            order="shared" if shared else "together",
            by="ray",
            resume=Path(resume) if resume is not None else None,
            again=AGAIN,
        ).run()
        finish(outcome, again=AGAIN)
        return outcome.exit_code

    carry_out(work)


def replaced(request: "Request", kind: str) -> "Request":
    """The request, for devices of that kind."""
    from dataclasses import replace

    return replace(request, device="cpu" if kind == "cpu" else "auto")


def _taken_up(
    resume: str, request: "Request", *, kind: str | None, share: bool
) -> tuple["Request", bool]:
    """What the run that goes on was asked, and whether its devices share the work."""
    from gemmbench.runner.fleet.resume import of_fleet

    if kind or share:
        option = "--device" if kind else "--share"
        raise GemmbenchError(f"--resume takes the run's own options: leave out {option}")
    found = of_fleet(Path(resume), request)
    if found is None:
        raise GemmbenchError(f"{resume} is the run of one device: gemmbench run --resume {resume}")
    request, first = found
    if first.by != "ray":
        raise GemmbenchError(
            f"{resume} is of one machine's devices: gemmbench run --resume takes it up"
        )
    return request, first.order == "shared"
