"""Taking up a run of several ranks that was cut short, with the options that it began with."""

from dataclasses import fields, replace
from pathlib import Path

import msgspec

from gemmbench.records.reader import Run
from gemmbench.runner.parallel.request import ParallelRequest
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
    files = {Path(text).name: text for text in given.suites}
    suites = []
    for name in request.suites:
        if not name.endswith(".toml"):
            suites.append(name)
        elif name in files:
            suites.append(files[name])
        else:
            raise GemmbenchError(
                f"that run used the file {name[:80]}: give it again, --suite …/{name[:80]}"
            )
    return replace(request, suites=tuple(suites), timeout_s=given.timeout_s)
