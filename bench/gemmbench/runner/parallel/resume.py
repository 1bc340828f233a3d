"""Taking up a run of several ranks that was cut short, with the options that it began with."""

from dataclasses import fields, replace

import msgspec

from gemmbench.records.reader import Run
from gemmbench.runner.parallel.request import ParallelRequest
from gemmbench.suites.parallel.reader import names, suite_name
from gemmkernels.errors import GemmbenchError
from gemmkernels.smallfile import fault

_GIVEN_AGAIN = ("suites", "command", "timeout_s")
_OPTIONS = {"kernels": "kernel", "precisions": "precision", "max_time_s": "max-time"}


def of_run(run: Run, given: ParallelRequest) -> ParallelRequest:
    """The request that the run began with. A suite from a file must be given again.

    Raises GemmbenchError for another kind of run, or an option that would change it.
    """
    kept = run.header.request
    if "ranks" not in kept:
        raise GemmbenchError(
            f"{run.path} is no run of several ranks: gemmbench run --resume takes it up"
        )
    try:
        request = msgspec.convert({**kept, "command": ()}, ParallelRequest)
    except msgspec.ValidationError as error:
        what = fault(str(error), kept)
        raise GemmbenchError(f"{run.path}: its options cannot be read: {what}") from None
    usual = ParallelRequest()
    for item in fields(ParallelRequest):
        if item.name not in _GIVEN_AGAIN and getattr(given, item.name) != getattr(usual, item.name):
            option = _OPTIONS.get(item.name, item.name)
            raise GemmbenchError(f"--resume takes the run's own options: leave out --{option}")
    suites = _again(request.suites, given.suites)
    return replace(request, suites=suites, timeout_s=given.timeout_s)


def _again(kept: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    """The suites: those that ship with gemmbench by their names, all others as given again, since a
    run file must not choose what is read."""
    shipped = names()
    files = {suite_name(text): text for text in given}
    if unknown := [text for name, text in files.items() if name not in kept]:
        raise GemmbenchError(f"--suite {unknown[0]} was not in that run: leave it out")
    found = []
    for name in kept:
        if name in shipped:
            found.append(name)
        elif name in files:
            found.append(files[name])
        else:
            raise GemmbenchError(
                f"that run used the file {name[:80]}: give it again, --suite …/{name[:80]}"
            )
    return tuple(found)
