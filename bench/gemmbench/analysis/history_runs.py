"""The runs of a history: which files can be used, and what each run has that another has not."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gemmbench.records.outline import RecordOutline
from gemmbench.records.reader import Run, read_outline
from gemmbench.records.schema import Header, Method
from gemmkernels.errors import GemmbenchError

HOW = ("preset", "cache", "data", "launch", "threads")
"""Of the method what parts two series; the rest of it is told where it changed."""

_FIRST = ("driver", "cuda", "hip", "rocm", "torch", "triton")
_FOLLOWS = {"torch_git": "torch", "triton_package": "triton"}
"""What says no more than that the other changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """One run file: when it began, and `facts`, all by which it may differ from another one.

    `kernels` are hashes of the kernels' source.
    """

    run_id: str
    file: str
    started: datetime
    version: str
    facts: Mapping[str, str]
    kernels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Differs:
    """One thing that a run does not share with the one before; empty where it has none."""

    what: str
    before: str
    after: str


def usable(
    paths: Iterable[Path], ran: list[Ran], told: list[str]
) -> Iterator[tuple[Run, tuple[RecordOutline, ...]]]:
    """The runs that can be used; each is numbered, since names of runs may be given twice."""
    seen: dict[tuple[str, datetime], str] = {}
    for path in paths:
        try:
            run, records = read_outline(path)
            header = run.header
            started = _started(header)
        except GemmbenchError as error:
            told.append(f"{error}: left out")
            continue
        told.extend(f"{path.name}: {one}" for one in run.warnings)
        if (header.run_id, started) in seen:
            told.append(f"{path} is a copy of {seen[header.run_id, started]}: left out")
            continue
        seen[header.run_id, started] = path.name
        number = str(len(ran))
        ran.append(_ran(run, started))
        yield replace(run, header=msgspec.structs.replace(header, run_id=number)), records


def _started(header: Header) -> datetime:
    try:
        found = datetime.fromisoformat(header.started)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise GemmbenchError(
            f"run {header.run_id}: it began at {header.started!r}, which is no time"
        ) from None


def _ran(run: Run, started: datetime) -> Ran:
    header = run.header
    facts = {**header.software, "gemmbench": header.version}
    for name in Method.__struct_fields__:
        if name not in HOW:
            facts[f"method {name}"] = str(getattr(header.method, name))
    facts |= {f"host {name}": value for name, value in header.host.items()}
    facts |= {f"environment {name}": value for name, value in header.environment.items()}
    return Ran(
        run_id=header.run_id,
        file=run.path.name,
        started=started,
        version=header.version,
        facts=facts,
        kernels=header.kernels,
    )


def differs(a: Ran, b: Ran, kernel: str) -> tuple[Differs, ...]:
    """What two runs do not share, what decides speed first."""
    if a.facts == b.facts and a.kernels == b.kernels:
        return ()
    names = [name for name in {**b.facts, **a.facts} if a.facts.get(name) != b.facts.get(name)]
    found = [
        Differs(what=name, before=a.facts.get(name, ""), after=b.facts.get(name, ""))
        for name in names
        if _FOLLOWS.get(name) not in names
    ]
    one, other = (_digest(ran, kernel) for ran in (a, b))
    if one != other and one and other:
        found.append(Differs(what="kernel source", before=one[:8], after=other[:8]))
    return tuple(sorted(found, key=lambda each: _weight(each.what)))


def _digest(ran: Ran, kernel: str) -> str:
    """Of the kernel's source; what a tuner made of it has the settings behind its name."""
    return ran.kernels.get(kernel) or ran.kernels.get(kernel.partition(" ")[0], "")


def _weight(what: str) -> tuple[int, str]:
    if what.startswith(("host ", "environment ", "method ")):
        return (len(_FIRST) + 2, what)
    places = [index for index, word in enumerate(_FIRST) if word in what]
    if what == "kernel source":
        return (-1, what)
    return (min(places, default=len(_FIRST) + (what == "gemmbench")), what)
