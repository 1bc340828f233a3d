"""The command line: one command a function, and no logic of its own."""

import io
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from gemmbench._version import __version__
from gemmbench.quantities import parse_duration, parse_percent
from gemmkernels.errors import MAX_MESSAGE, GemmbenchError, one_line

if TYPE_CHECKING:
    from gemmbench.runner.listener import Outcome
    from gemmbench.runner.request import Request

Command = TypeVar("Command", bound=Callable[..., object])

_PROBLEMS = (
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
_WHERE = (
    click.option("--device", "-d", default="auto", metavar="cpu|cuda:0", help="[the first GPU]"),
    click.option(
        "--data",
        default="normal",
        metavar="NAME",
        help="normal, uniform, integers, zeros, zeros50.",
    ),
    click.option("--layout", metavar="nn|nt|tn|tt", help="Of A and B. [nn; on GPUs nt for 8 bits]"),
    click.option("--threads", type=int, metavar="N", help="Threads on a CPU. [all cores]"),
)
_QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress.")
_WHAT = (
    *_PROBLEMS,
    click.option(
        *("--kernel", "-k", "kernels"),
        multiple=True,
        metavar="NAME|FILE",
        help="A kernel by its name, or a file with your own.",
    ),
    *_WHERE,
    click.option("--timeout", default="120", metavar="S", help="Silence that ends a case. [120]"),
    _QUIET,
)


def _format(*known: str) -> Callable[[Command], Command]:
    """The option --format of a command that knows these."""
    return click.option(
        *("--format", "-f", "form"),
        default="table",
        metavar="FORM",
        help=f"{', '.join(known)}. [table]",
    )


_RUNS = click.argument("runs", nargs=-1, required=True, metavar="RUN…")


def _asks(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options, shown in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gemmbench")
def app() -> None:
    """How fast a device really multiplies matrices, at each precision, and how far that is from its
    spec sheet."""


@app.command(epilog="Example: gemmbench run --suite quick --precision bf16 --budget 8m")
@_asks(*_WHAT)
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
        request = _request(
            **options,
            target=parse_percent("--target", target),
            max_time_s=parse_duration("--max-time", max_time),
            timeout_s=parse_duration("--timeout", timeout),
            budget_s=parse_duration("--budget", budget),
            repeats=repeat,
            command=tuple(sys.argv[1:]),
        )
        outcome = _carry_out(request, quiet=quiet, resume=resume)
        if outcome.path is not None:
            from gemmbench.show.finish import finish

            try:
                finish(outcome.path, timed_share=outcome.timed_share, cut_short=outcome.interrupted)
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                click.echo(f"run:  {outcome.path}")
                raise
        return outcome.exit_code

    _exit(work)


@app.command(epilog="Example: gemmbench verify --kernel torch --shape 1000x777x513 --seeds 20")
@_asks(*_WHAT)
@click.option("--seeds", type=click.IntRange(min=1), default=1, metavar="N", help="How many. [1]")
def verify(*, seeds: int, timeout: str, quiet: bool, **options: Any) -> None:
    """Check that kernels are right, without timing them. Exit code 1 when one is not."""

    def work() -> int:
        asked = ("suites", "shapes", "m", "n", "k", "shape_files")
        if not any(options[name] for name in asked):
            options["shapes"] = ("64x64x64", "129x65x97", "512x512x512")
        worst, counts = 0, Counter[str]()
        for seed in range(seeds):
            request = _request(
                **options,
                every_kernel=True,
                preset="quick",
                timeout_s=parse_duration("--timeout", timeout),
                seed=seed,
            )
            outcome = _carry_out(request, quiet=quiet, verify_only=True)
            counts.update(outcome.statuses)
            worst = max(worst, outcome.exit_code)
            if outcome.interrupted:
                break
        verified = {"verified" if name == "ok" else name: n for name, n in counts.items()}
        click.echo(", ".join(f"{n} {name}" for name, n in verified.items()) or "nothing to verify")
        return worst

    _exit(work)


@app.command("list", epilog="Example: gemmbench list kernels")
@click.argument("what", metavar="kernels|suites|devices|precisions")
@_format("table", "markdown")
def list_(what: str, form: str) -> None:
    """List what there is; devices are those with a spec sheet."""

    def work() -> int:
        from gemmbench.show.catalogue import catalogue
        from gemmbench.show.tables import check_format, echo

        echo([catalogue(what)], form=check_format(form, ("table", "markdown")))
        return 0

    _exit(work)


@app.command(epilog="Example: gemmbench show results/local --format markdown")
@_RUNS
@_format("table", "markdown", "csv", "json")
@click.option("--unsupported", is_flag=True, help="Also what could not be done, and why.")
@click.option("--launched", is_flag=True, help="Instead, which kernels the libraries launched.")
def show(runs: tuple[str, ...], form: str, unsupported: bool, launched: bool) -> None:
    """Show every record of one or more runs: files, folders or patterns."""

    def work() -> int:
        from gemmbench.analysis.speedup import ladder
        from gemmbench.records.frame import load
        from gemmbench.show.results import results
        from gemmbench.show.tables import check_format, echo, plain

        chosen = check_format(form)
        df = load(runs)
        if chosen in ("csv", "json"):
            sys.stdout.write(plain(df, chosen))
        elif launched:
            from gemmbench.show.launched import launched as table

            echo(table(df), form=chosen)
        else:
            echo(results(ladder(df), unsupported=unsupported), form=chosen)
        return 0

    _exit(work)


@app.command(epilog="Example: gemmbench plot results/local/*.jsonl --kind sweep")
@_RUNS
@click.option("--kind", default="ladder", metavar="KIND", help="ladder, sweep, compare. [ladder]")
@click.option("--out", metavar="STEM", help="Path without ending. [beside the run]")
def plot(runs: tuple[str, ...], kind: str, out: str | None) -> None:
    """Draw runs as PNG and SVG: `ladder` and `sweep` one by one, `compare` two of them."""

    def work() -> int:
        from gemmbench.show.pictures import draw
        from gemmbench.show.text import printable

        for path in draw(runs, kind=kind, out=Path(out) if out else None):
            click.echo(printable(path))
        return 0

    _exit(work)


@app.command(epilog="Example: gemmbench export --format pytest-benchmark RUN.jsonl -o bench.json")
@click.argument("run", metavar="RUN")
@click.option(
    *("--format", "-f", "form"),
    default="pytest-benchmark",
    metavar="FORM",
    help="[pytest-benchmark]",
)
@click.option("--out", "-o", metavar="FILE", help="[standard output]")
def export(run: str, form: str, out: str | None) -> None:
    """Write a run as what pytest-benchmark, github-action-benchmark and Bencher read."""

    def work() -> int:
        from gemmbench.show.exported import export, save

        found = export(run, form=form)
        if out:
            save(found.text, Path(out))
        else:
            sys.stdout.write(found.text)
        if found.left_out:
            click.echo(f"gemmbench: left out: {found.left_out}", err=True)
        return 0

    _exit(work)


@app.command(epilog="Example: gemmbench compare before.jsonl after.jsonl --by tier")
@click.argument("a")
@click.argument("b")
@click.option("--by", default="kernel", metavar="WHAT", help="kernel, or tier: its best. [kernel]")
@click.option("--delta", default="2%", metavar="2%", help="The least change that counts. [2%]")
@_format("table", "markdown")
def compare(a: str, b: str, by: str, delta: str, form: str) -> None:
    """Compare two measurements row by row: is B faster, slower, the same, or is it unsure?"""

    def work() -> int:
        from gemmbench.analysis.compare import compare
        from gemmbench.show.results import comparison
        from gemmbench.show.tables import check_format, echo

        found = compare(a, b, by=by, delta=parse_percent("--delta", delta) or 0.0)  # type: ignore[arg-type]
        if Path(a) == Path(b):
            warnings.warn(f"{a} is on both sides: name another run for B", stacklevel=1)
        echo(comparison(found), form=check_format(form, ("table", "markdown")))
        return 0

    _exit(work)


@app.command(epilog="Example: gemmbench doctor --noise --time 60s")
@click.option("--device", "-d", default="auto", metavar="cpu|cuda:0", help="[the first GPU]")
@click.option("--noise", is_flag=True, help="Also measure how far this machine can be trusted.")
@click.option("--time", "time_", metavar="T", help="For --noise. [60s]")
@_format("table", "markdown", "json")
def doctor(device: str, noise: bool, time_: str | None, form: str) -> None:
    """What spoils measurements on this machine, and how to mend each. Exit code 1 when a figure
    from it should not be published."""

    def work() -> int:
        from gemmbench.show.diagnosis import examine

        if time_ is not None and not noise:
            raise GemmbenchError(f"--time {time_} is for --noise: say --noise too")
        time_s = parse_duration("--time", time_ or "60s")
        return examine(device, noise_s=time_s if noise else None, form=form)

    _exit(work)


@app.command(epilog="Example: gemmbench inspect triton-persistent --target sm_90 -p bf16")
@click.argument("kernels", nargs=-1, metavar="KERNEL…")
@click.option(
    *("--target", "targets"),
    multiple=True,
    metavar="T",
    help="Such as sm_90 or gfx942; repeat for more. [sm_80 sm_90 sm_100 gfx942 gfx950]",
)
@click.option(
    *("--precision", "-p", "precisions"),
    multiple=True,
    metavar="P",
    help="Such as bf16; repeat for more. [all that the kernel has]",
)
@click.option("--layout", metavar="nn|nt|tn|tt", help="Of A and B. [nn; nt for 8 bits]")
@click.option("--shape", metavar="MxNxK", help="Also 8*MxNxK, 8@MxNxK. [large and aligned]")
@_format("table", "markdown", "json")
def inspect(kernels: tuple[str, ...], **options: Any) -> None:
    """What the compiler makes of Triton kernels, for GPUs that need not be there: matrix
    instructions, registers, spills, shared memory. Exit code 1 when one is not what it declares."""

    def work() -> int:
        from gemmbench.show.inspected import inspect

        return inspect(kernels, **options)

    _exit(work)


@app.command(
    epilog="Example: gemmbench tune triton-matrix-core --suite square -p bf16 --budget 20m"
)
@click.argument("kernel", required=False, metavar="KERNEL|FILE")
@_asks(*_PROBLEMS, *_WHERE)
@click.option("--budget", metavar="T", help="Time for all of it. [20m]")
@click.option(
    "--timeout", metavar="S", help="Silence that ends a candidate. [a tenth of the budget]"
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, metavar="N", help="[0]")
@click.option("--out", "-o", metavar="FILE.toml", help="Of entries. [your own tuned.toml]")
@click.option("--runs", default="results/tuning", metavar="DIR", help="[results/tuning]")
@click.option("--resume", metavar="RUN", help="Take a tuning up again, with its own options.")
@_QUIET
@_format("table", "markdown", "json")
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
        request = _request(
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

    _exit(work)


def _request(**options: Any) -> "Request":
    from gemmbench.runner.request import Request

    return Request(**options)


def _carry_out(
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


def _exit(work: Callable[[], int]) -> NoReturn:
    """Run a command: a user's mistake is one line and exit code 2, Ctrl-C is 130."""
    warnings.showwarning = _warn
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()
    except GemmbenchError as error:
        code = _complain(str(error))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more would only spoil the last words
        code = 130
    except BrokenPipeError:  # `gemmbench show | head`: whoever read has had enough
        sys.stdout = None
        code = 141
    except OSError as error:  # a full disk behind standard output
        sys.stdout = None
        code = _complain(f"cannot write the output: {error.strerror or error}")
    raise SystemExit(code)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line, without the code that gave it."""
    click.echo(f"gemmbench: warning: {one_line(message, MAX_MESSAGE)}", err=True)


def _complain(text: str) -> int:
    click.echo(f"gemmbench: {one_line(text, MAX_MESSAGE)}", err=True)
    return 2


def main() -> None:
    """The command `gemmbench`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # ± and µ must not stop an ASCII terminal
            stream.reconfigure(errors="replace")
    try:
        app(standalone_mode=False, prog_name="gemmbench")
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        raise SystemExit(2) from None
    except click.ClickException as error:
        place = error.ctx if isinstance(error, click.UsageError) else None
        help_of = f"{place.command_path if place else 'gemmbench'} --help"
        raise SystemExit(_complain(f"{error.format_message()} (see {help_of})")) from None
    except click.Abort:
        raise SystemExit(130) from None
    except OSError as error:  # --help into a full disk
        sys.stdout = None
        raise SystemExit(_complain(f"cannot write the output: {error.strerror or error}")) from None
