"""The command `gemmbench`, and how each of its commands ends."""

import io
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

import click

from gemmbench._version import __version__
from gemmkernels.errors import MAX_MESSAGE, GemmbenchError, one_line


class _Command(click.Command):
    """One that takes no empty text, as of an unset "$OUT": as a path it is the current folder."""

    def invoke(self, ctx: click.Context) -> object:
        for one in self.params:
            value = ctx.params.get(one.name or "")
            if value == "" or (isinstance(value, tuple) and "" in value):
                raise click.BadParameter("it is empty: name something", ctx, one)
        return super().invoke(ctx)


class _Group(click.Group):
    command_class = _Command
    group_class = type  # groups within it are of the same class


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gemmbench")
def app() -> None:
    """How fast a device really multiplies matrices, at each precision, and how far that is from its
    spec sheet."""


def carry_out(work: Callable[[], int]) -> NoReturn:
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
