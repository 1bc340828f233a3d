"""What of a run is done: kept in its file first, then known, then told."""

from collections import Counter
from collections.abc import Iterable, Sequence

from gemmbench.records.journal import Lines
from gemmbench.records.schema import Footer, Launched, Record, Roof, SelfTest, Status
from gemmbench.runner.header import case_name
from gemmbench.runner.listener import Listener
from gemmbench.runner.messages import Case
from gemmbench.runner.plan import Group
from gemmbench.runner.stopping import Stop


class Ledger:
    """The cases that have ended. `journal` is None where nothing is to be kept.

    No signal comes between a record's place in the file and the knowledge that it is there.
    """

    def __init__(self, stop: Stop, listener: Listener) -> None:
        self._stop = stop
        self._listener = listener
        self.journal: Lines | None = None
        self.statuses: Counter[str] = Counter()
        self._done: set[str] = set()
        self._ok: set[str] = set()
        self._named: set[str] = set()
        self._fallen: dict[str, tuple[Status, str]] = {}

    def leave(self, cases: Iterable[str]) -> None:
        """Cases that another unit has measured."""
        self._done.update(cases)

    def take_up(self, records: Iterable[Record]) -> None:
        """Records of an earlier sitting, which stand."""
        for record in records:
            self._know(record)

    def keep(self, records: Sequence[Record]) -> None:
        """On the disk, all at once, before anyone is told; each case once."""
        new = [record for record in records if record.case not in self._done]
        with self._stop.held():
            if self.journal and new:
                self.journal.append(*new)
            for record in new:
                self._know(record)
                self._listener.ended(record)

    def tested(self, result: SelfTest) -> None:
        """Keep a self-test, and tell."""
        if self.journal:
            with self._stop.held():
                self.journal.append(result)
        self._listener.tested(result)

    def probed(self, roofs: Sequence[Roof]) -> None:
        """Keep roofs, and tell; their statuses count as those of cases do."""
        with self._stop.held():
            if self.journal:
                self.journal.append(*roofs)
            for roof in roofs:
                self.statuses[roof.status] += 1
                self._listener.probed(roof)

    def name(self, found: Launched) -> None:
        """Keep what a case launched."""
        self._named.add(found.case)
        if self.journal:
            with self._stop.held():
                self.journal.append(found)

    def take_up_names(self, found: Iterable[Launched]) -> None:
        """Those of an earlier sitting."""
        self._named.update(one.case for one in found)

    def is_nameless(self, group: Group, case: Case) -> bool:
        """Was the case measured, with nothing known yet of what it launched?"""
        name = _name(0, group.name, case).partition("/")[2]
        return name in self._ok and name not in self._named

    def close(self, footer: Footer | None) -> None:
        """Write the footer of a run that came to its end, and let go of the file."""
        if self.journal:
            try:
                if footer:
                    self.journal.append(footer)
            finally:
                self.journal.close()

    def covers(self, plan: Iterable[str]) -> bool:
        """Is every case of a header's plan done?"""
        return self._done >= set(plan)

    def missing(self, group: Group, repeat: int) -> tuple[Case, ...]:
        """What is still to be done of a group."""
        return tuple(c for c in group.cases if _name(repeat, group.name, c) not in self._done)

    def fall(self, group: Group, case: Case) -> tuple[Status, str] | None:
        """How a case fell in an earlier repeat: it is not tried again, as each hang would cost a
        timeout."""
        return self._fallen.get(_name(0, group.name, case).partition("/")[2])

    def _know(self, record: Record) -> None:
        self._done.add(record.case)
        self.statuses[record.status] += 1
        if record.status == "ok":
            self._ok.add(record.case.partition("/")[2])
        if record.status in ("failed", "timeout", "wrong"):
            said = f"as in repeat {record.repeat + 1}, not tried again: {record.reason}"
            self._fallen.setdefault(record.case.partition("/")[2], (record.status, said))


def _name(repeat: int, group: str, case: Case) -> str:
    return case_name(repeat, group, case.kernel, case.problem.precision)
