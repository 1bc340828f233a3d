"""Trials of one kernel's settings in turns, kept as a run keeps its cases, and known again."""

import math
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from gemmbench.records.schema import Record
from gemmbench.runner.attempts import Attempts
from gemmbench.runner.crew import Crew
from gemmbench.runner.exchange import SpentError
from gemmbench.runner.ledger import Ledger
from gemmbench.runner.messages import Case, Hello, Settings
from gemmbench.runner.plan import group_name
from gemmbench.runner.recording import Progress, make_record
from gemmbench.runner.resume import finished
from gemmbench.timing.method import Timing
from gemmbench.timing.statistics import (
    FLOOR_BESIDE,
    SYSTEMATIC_FLOOR,
    Estimate,
    estimate,
    estimate_over_repeats,
    paired_ratio,
    ratio_over_repeats,
    with_floor,
)
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import has_neighbour, too_few, values
from gemmkernels.kernel import settings_text

Group = Mapping[str, Record]
"""What was sampled in turn, by the text of its settings."""

_NAMED = re.compile(r"(.+) (start|search|semifinal|final|confirm) (\d+)")
_Key = tuple[str, str, str, str, int]


class Trials:
    """Measures settings in groups. A group that an earlier sitting has measured stands."""

    def __init__(
        self, crew: Crew, attempts: Attempts, ledger: Ledger, hello: Hello, *, sitting: int
    ) -> None:
        self._crew = crew
        self._attempts = attempts
        self._ledger = ledger
        self._hello = hello
        self._sitting = sitting
        self._known: dict[_Key, dict[int, dict[str, Record]]] = defaultdict(dict)

    def take_up(self, records: Sequence[Record]) -> None:
        """The records of earlier sittings."""
        for record in records:
            named = _NAMED.fullmatch(record.group)
            if named is None or record.settings is None:
                continue
            key = (record.kernel, named[1], record.precision, named[2], record.repeat)
            group = self._known[key].setdefault(int(named[3]), {})
            group[settings_text(record.settings)] = record

    def known(self, case: Case, stage: str, *, repeat: int = 0) -> tuple[Group, ...]:
        """The whole groups of a stage, in the order of their measuring."""
        return tuple(group for group in self.begun(case, stage, repeat=repeat) if is_whole(group))

    def begun(self, case: Case, stage: str, *, repeat: int = 0) -> tuple[Group, ...]:
        """Those that were cut short, too."""
        return tuple(self._known[_key(case, stage, repeat)].values())

    def measure(
        self,
        case: Case,
        stage: str,
        settings: Sequence[Settings],
        how: Timing,
        *,
        until_s: float = math.inf,
        repeat: int | None = None,
        start_s: float = 0.0,
    ) -> Group:
        """All of these in turn; a `repeat` is a process of its own, which takes `start_s` to start.

        Raises SpentError at `until_s`, and as Attempts does.
        """
        afresh, repeat = repeat is not None, repeat or 0
        asked = list({settings_text(one): dict(one) for one in settings}.items())
        for known in self.known(case, stage, repeat=repeat):
            if known.keys() == dict(asked).keys():
                return known
        if time.monotonic() + start_s >= until_s:
            raise SpentError
        cases = [Case(case.kernel, case.problem, one) for _, one in asked]
        group = [Progress(case=one) for one in cases]
        reason = "stopped before its group had ended"
        try:
            if afresh:
                self._crew.stop()
            self._attempts.carry_out(group, how, until_s=until_s)
        except SpentError:
            reason = "the time budget was spent"
            raise
        finally:
            for progress in group:
                if progress.status is None:
                    progress.end("interrupted", reason)
            found = self._keep(case, stage, group, repeat)
        return found

    def rule_out(
        self, case: Case, settings: Sequence[Settings], reasons: Mapping[str, str]
    ) -> Group:
        """Keep why these are not tried at all."""
        group = [Progress(case=Case(case.kernel, case.problem, dict(one))) for one in settings]
        for progress, one in zip(group, settings, strict=True):
            progress.end("unsupported", reasons[settings_text(one)])
        return self._keep(case, "search", group, 0)

    def _keep(
        self, case: Case, stage: str, group: Sequence[Progress], repeat: int
    ) -> dict[str, Record]:
        known = self._known[_key(case, stage, repeat)]
        number = max(known, default=0) + 1
        info = next(info for info in self._hello.kernels if info.name == case.kernel)
        made = {
            settings_text(progress.case.settings or {}): make_record(
                progress,
                group=f"{group_name(case.problem)} {stage} {number}",
                repeat=repeat,
                info=info,
                telemetry=None,
                encoding=self._hello.device.encoding,
                sitting=self._sitting,
            )
            for progress in group
        }
        self._ledger.keep(list(made.values()))
        known[number] = made
        return made


def is_whole(group: Group) -> bool:
    """Was none of its cases cut short?"""
    return all(map(finished, group.values()))


def _key(case: Case, stage: str, repeat: int) -> _Key:
    return (case.kernel, group_name(case.problem), case.problem.precision, stage, repeat)


def of_group(group: Group, settings: Settings, over: Settings) -> Estimate | None:
    """How many times faster these settings are than the others, by their turns in one group.

    None where one of the two did not come through, or a neighbour took so much that nothing is
    claimed.
    """
    fast, slow = (group.get(settings_text(one)) for one in (settings, over))
    if fast is None or slow is None or fast.status != "ok" or slow.status != "ok":
        return None
    if too_few(fast.turns) or too_few(slow.turns):
        return None
    found = paired_ratio(values(slow.turns), values(fast.turns))
    if not found.n:
        return None
    beside = has_neighbour(fast.turns) or has_neighbour(slow.turns)
    return with_floor(found, FLOOR_BESIDE if beside else SYSTEMATIC_FLOOR)


def hint(group: Group, name: str, over: Settings) -> float | None:
    """About how many times faster the settings of that name are: enough to choose whom to look at.

    Samples beside a neighbour count too. None where one of the two did not come through.
    """
    fast, slow = (
        {turn.round: ns for turn in record.turns if (ns := _about_ns(turn))} if record else {}
        for record in (group.get(name), group.get(settings_text(over)))
    )
    return paired_ratio(slow, fast).value if slow.keys() & fast.keys() else None


def _about_ns(turn: Turn) -> float | None:
    return turn.median_ns or (median(turn.samples_ns) if turn.samples_ns else None)


def of_groups(groups: Sequence[Group], settings: Settings, over: Settings) -> Estimate:
    """The same of groups in processes of their own, by what differs between these; NaN if none."""
    known = [one for group in groups if (one := of_group(group, settings, over))]
    if len(known) <= 1:
        return known[0] if known else Estimate(math.nan, math.nan, math.nan, 0)
    records = [group[settings_text(one)] for group in groups for one in (settings, over)]
    beside = any(has_neighbour(record.turns) for record in records if record.turns)
    found = ratio_over_repeats([one.value for one in known])
    return with_floor(found, FLOOR_BESIDE if beside else SYSTEMATIC_FLOOR)


def time_us(groups: Sequence[Group], settings: Settings) -> Estimate:
    """The time of settings over these groups, with its interval; NaN without a clean turn."""
    name = settings_text(settings)
    records = [group[name] for group in groups if name in group]
    series = [values(record.turns) for record in records if record.status == "ok"]
    found = [estimate([ns / 1e3 for ns in one.values()]) for one in series if one]
    return found[0] if len(found) == 1 else estimate_over_repeats([one.value for one in found])


def wall_s(record: Record) -> float:
    """Seconds that the record's turns took, settling included."""
    return sum(turn.stop_s - turn.start_s for turn in record.turns)
