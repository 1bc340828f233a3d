"""Taking up a run that was cut short, with the options that it was started with."""

import re
from dataclasses import fields, replace
from pathlib import Path

import msgspec

from gemmbench.records.reader import Run, read
from gemmbench.records.schema import Record
from gemmbench.runner.request import Request, is_file
from gemmkernels.errors import GemmbenchError
from gemmkernels.smallfile import fault

_GIVEN_AGAIN = ("kernels", "suites", "shape_files", "command", "node", "rack")
_OPTIONS = {
    "shapes": "shape",
    "shape_files": "shapes",
    "precisions": "precision",
    "max_time_s": "max-time",
    "timeout_s": "timeout",
    "budget_s": "budget",
    "repeats": "repeat",
}

DEVICE_LOST = "device lost: "
"""What the reason begins with of a case that failed because the device did, not its kernel."""


def finished(record: Record) -> bool:
    """Does the record stand when its run is taken up again? Otherwise its case is done anew."""
    lost = record.status == "failed" and record.reason.startswith(DEVICE_LOST)
    return record.status != "interrupted" and not lost


def is_complete(run: Run) -> bool:
    """Did the run come to its end, with nothing left to do?"""
    done = {record.case for record in run.records if finished(record)}
    return run.footer is not None and not run.warnings and done >= set(run.header.plan)


def options_of(request: Request) -> dict[str, object]:
    """A request as a run's header keeps it: files by their names, without folders."""
    kept: dict[str, object] = msgspec.to_builtins(
        replace(
            request,
            kernels=tuple(_name(text) for text in request.kernels),
            suites=tuple(_name(text) for text in request.suites),
            shape_files=tuple(Path(text).name for text in request.shape_files),
            command=(),
            out="",
            spec=None,
        )
    )
    return kept


def command_of(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """A command line without absolute paths: the folders of a machine are nobody's business."""
    return tuple(_pathless(text) for text in arguments)


def _pathless(argument: str) -> str:
    """The same of `--out=/home/…` and `-k/home/…` as of a path alone."""
    found = re.fullmatch(r"(-[a-z]|--[a-z-]+=)?([/~].*)", argument, re.DOTALL)
    return (found[1] or "") + Path(found[2]).name if found else argument


def of_run(path: Path, given: Request, *, tuning: bool = False) -> tuple[Request, Run]:
    """(the request that the run was started with, the run).

    Files of the user's must be given again, since the run keeps no paths. Raises GemmbenchError
    for a file that is no run, an option that would change it, or a file not given.
    """
    run = read(path)
    if run.header.tuning != tuning:
        what, command = ("tuning", "tune") if run.header.tuning else ("run of kernels", "run")
        raise GemmbenchError(f"{path} is a {what}: gemmbench {command} --resume takes it up")
    if "ranks" in run.header.request:
        raise GemmbenchError(
            f"{path} is a run of several ranks: gemmbench parallel --resume takes it up"
        )
    return asked_again(path, run.header.request, given), run


def asked_again(path: Path, kept: dict[str, object], given: Request) -> Request:
    """The request that a file keeps, with the user's files as they are given again.

    Raises GemmbenchError as `of_run` does.
    """
    try:
        request = msgspec.convert(kept, Request)
    except msgspec.ValidationError as error:
        what = fault(str(error), kept)
        raise GemmbenchError(f"{path}: its options cannot be read: {what}") from None
    usual = Request()
    for item in fields(Request):
        if item.name not in _GIVEN_AGAIN and getattr(given, item.name) != getattr(usual, item.name):
            option = _OPTIONS.get(item.name, item.name)
            raise GemmbenchError(f"--resume takes the run's own options: leave out --{option}")
    return replace(
        request,
        kernels=_again("--kernel", request.kernels, given.kernels),
        suites=_again("--suite", request.suites, given.suites),
        shape_files=_again("--shapes", request.shape_files, given.shape_files),
    )


def _name(text: str) -> str:
    return Path(text).name if is_file(text) or text.endswith(".toml") or "/" in text else text


def _again(option: str, kept: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    paths = {Path(text).name: text for text in given}
    if unknown := [text for text in given if Path(text).name not in map(_name, kept)]:
        raise GemmbenchError(f"{option} {unknown[0]} was not in that run: leave it out")
    found: list[str] = []
    for name in kept:
        if option != "--shapes" and not (is_file(name) or name.endswith(".toml")):
            found.append(name)
        elif name != Path(name).name:  # a run file must not choose what is read or executed
            raise GemmbenchError(f"{option} {name[:80]!r} is no file's name: that run is damaged")
        elif name in paths:
            found.append(paths[name])
        elif Path(name).exists():
            found.append(f"./{name}")
        else:
            raise GemmbenchError(f"that run used the file {name}: give it again, {option} …/{name}")
    return tuple(found)
