"""Progress of a run on several devices, and what it ends with."""

import shlex
import sys
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gemmbench.quantities import counted
from gemmbench.runner.fleet.driver import told
from gemmbench.runner.fleet.ground import Site
from gemmbench.runner.fleet.listener import FleetOutcome
from gemmbench.runner.fleet.messages import Measured, Planned
from gemmbench.show.diagnosis import unfit
from gemmbench.show.progress import span
from gemmbench.show.text import duration, printable

MOST = 16
"""Beyond so many devices single cases are not told, but how many each hundredth of them makes."""


class DevicesQuiet:
    """Says only what the user must know: which devices were lost, and why."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._told: Counter[str] = Counter()
        self._many = False

    def begins(self, sites: Sequence[Site]) -> None:
        self._many = len(sites) > MOST

    def planned(self, unit: int, site: Site, plan: Planned) -> None:
        if plan.doctor:
            self.warned(unit, site, unfit(plan.doctor))

    def measured(self, unit: int, site: Site, case: Measured) -> None: ...

    def warned(self, unit: int, site: Site, text: str) -> None:
        self._told[text] += 1
        if self._told[text] == 1:
            self._say(f"gemmbench: {told(site.place, unit)}: {text}")

    def ended(self, unit: int, site: Site) -> None: ...

    def lost(self, unit: int, site: Site, reason: str, *, again: bool) -> None:
        then = "; it is to be tried again" if again else ""
        self._say(f"gemmbench: {told(site.place, unit)} lost: {reason}{then}")

    def finished(self, outcome: FleetOutcome) -> None:  # noqa: ARG002
        for text, times in self._told.items():
            if times > 1:
                self._say(f"gemmbench: {text} (told by {times} devices)")

    def _say(self, line: str) -> None:
        self._console.print(Text(printable(line)))


class DevicesProgress(DevicesQuiet):
    """One line a finished case, with its device; of very many devices a line now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._cases = self._done = self._ended = self._devices = self._next = 0

    def begins(self, sites: Sequence[Site]) -> None:
        super().begins(sites)
        self._devices = len(sites)
        self._say(f"{counted(len(sites), 'device')}")

    def planned(self, unit: int, site: Site, plan: Planned) -> None:
        super().planned(unit, site, plan)
        self._cases += plan.cases
        if not self._many:
            what = f"{counted(plan.cases, 'case')}, about {span(plan.estimate_s)}"
            self._say(f"  {told(site.place, unit)}: {plan.device}: {what}")

    def measured(self, unit: int, site: Site, case: Measured) -> None:
        self._done += 1
        if self._many:
            if self._done >= self._next:
                self._next = self._done + max(1, self._cases // 100)
                self._say(f"  {self._done} of {self._cases} cases, on {self._devices} devices")
            return
        if case.status in ("interrupted", "unsupported"):
            return
        what = (
            f"{told(site.place, unit):<12} {case.kernel:<20} {case.precision:<9} {case.shape:<16}"
        )
        if case.status != "ok":
            self._say(f"  {what}  {case.status}: {case.reason}")
        elif case.time_us is not None:
            self._say(f"  {what}  {duration(case.time_us):>9}")

    def ended(self, unit: int, site: Site) -> None:
        self._ended += 1
        if not self._many:
            self._say(f"  {told(site.place, unit)}: done")


def finish(outcome: FleetOutcome, *, again: str) -> None:
    """Print what a run on several devices came to, and where it is; `again` takes it up."""
    if outcome.path is None:
        print("Nothing was measured before the run was stopped.")
        return
    path = printable(shlex.quote(str(outcome.path)))
    words = ", ".join(f"{count} {word}" for word, count in sorted(outcome.statuses.items()))
    print(f"{words or 'no case ended'} in {span(outcome.wall_s)}")
    if outcome.lost:
        print(f"{counted(len(outcome.lost), 'device')} lost before the end")
    print(f"run:  {printable(outcome.path)}")
    if outcome.interrupted or outcome.lost:
        print(f"Go on with: {again} {path}")
    print(f"next: gemmbench fleet report {path}")
