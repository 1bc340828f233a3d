"""Taking up a run on several devices: what each unit was asked, and what of it is done."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gemmbench.records import fleet as fleets
from gemmbench.records.reader import fleet_of, read
from gemmbench.records.schema import Fleet, Place
from gemmbench.runner.fleet.ground import Site
from gemmbench.runner.request import Request
from gemmbench.runner.resume import asked_again, finished


def of_fleet(path: Path, given: Request) -> tuple[Request, Fleet] | None:
    """(the request that a file with several devices' runs began with, its first line).

    None for a file of one run. Raises GemmbenchError as `of_run` does.
    """
    index = fleet_of(path)
    if index is None:
        return None
    return asked_again(path, index.fleet.request, given), index.fleet


def request_of(request: Request, site: Site, part: tuple[int, int] | None) -> Request:
    """What one device is asked."""
    return replace(request, device=site.device, bind=True, part=part)


def unit_of(place: Place, sites: Sequence[Site]) -> Site | None:
    """The device that is at that place now."""

    def key(one: Place) -> tuple[str, int | None, str]:
        return one.node, one.index, one.cores

    return next((site for site in sites if key(site.place) == key(place)), None)


def parts_of(path: Path, index: fleets.Index) -> dict[int, tuple[str, ...] | None]:
    """Of each part of shared work the cases that are done; None where nothing is left of it."""
    planned: dict[int, set[str]] = {}
    done: dict[int, set[str]] = {}
    for unit in sorted(index.spans):
        run = read(fleets.member(path, unit))
        part = run.header.request.get("part")
        if not isinstance(part, list) or not part or not isinstance(part[0], int):
            continue
        planned.setdefault(part[0], set()).update(run.header.plan)
        done.setdefault(part[0], set()).update(
            record.case for record in run.records if finished(record)
        )
    found: dict[int, tuple[str, ...] | None] = {}
    for part in range(len(index.fleet.places)):
        cases = done.get(part, set())
        is_done = part in planned and planned[part] <= cases
        found[part] = None if is_done else tuple(sorted(cases))
    return found


def new_id() -> str:
    return uuid.uuid4().hex[:8]
