"""Live progress of a run: a status line in a terminal, plain lines elsewhere, or nothing."""

import sys
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gemmbench.records.roofs import rate_of
from gemmbench.records.schema import Header, Record, Roof, SelfTest
from gemmbench.runner.listener import Outcome
from gemmbench.runner.plan import Group, Plan
from gemmbench.show.diagnosis import unfit
from gemmbench.show.text import digits, duration, printable
from gemmbench.timing.statistics import estimate
from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import values, verdict
from gemmkernels.problem import shape_text


def span(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


UNSUPPORTED = 6
"""A suite of batches has hundreds of unsupported cases, known before anything runs: so many are
told."""


class Quiet:
    """Says nothing but that figures from this machine should not be published."""

    def planned(self, header: Header, plan: Plan, path: object) -> None:
        if header.doctor:
            print(f"gemmbench: {unfit(header.doctor)}", file=sys.stderr)

    def began(self, repeat: int, group: Group, left_s: float) -> None: ...

    def doing(self, kernel: str, precision: str, phase: str) -> None: ...

    def took(self, kernel: str, precision: str, turn: Turn) -> None: ...

    def ended(self, record: Record) -> None: ...

    def tested(self, result: SelfTest) -> None: ...

    def probed(self, roof: Roof) -> None: ...

    def finished(self, outcome: Outcome) -> None: ...

    def close(self) -> None: ...


class Progress(Quiet):
    """One line a finished case; in a terminal also what is under way, and the best so far."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._repeats = 1
        self._target = 0.01
        self._place = ""
        self._left_s = 0.0
        self._best: dict[str, tuple[float, str]] = {}
        self._rounds = 0
        self._unsupported = 0

    def planned(self, header: Header, plan: Plan, path: object) -> None:
        cases = sum(len(group.cases) for group in plan.groups)
        self._repeats = plan.repeats
        device, how = header.device, header.method
        self._target = how.target
        spec = f", spec {header.device_id}" if header.device_id else ", no spec sheet known"
        self._say(f"{device.name} ({device.architecture}, {device.units} units{spec})")
        times = f", {plan.repeats} repeats" if plan.repeats > 1 else ""
        size = f"{_count(cases, 'case')} in {_count(len(plan.groups), 'group')}{times}"
        if header.probing:
            self._say(f"roofs, preset {how.preset}{times}; about {span(plan.estimate_s)}")
        elif path is None:
            self._say(f"{size} to verify, data {how.data}")
        else:
            self._say(
                f"{size}, preset {how.preset}: operands {how.cache}, launched by {how.launch}, "
                f"data {how.data}; about {span(plan.estimate_s)}"
            )
        if header.doctor:
            self._say(unfit(header.doctor))
        if plan.left_out:
            self._say(f"left out to fit the budget: {', '.join(map(printable, plan.left_out))}")
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, refresh_per_second=4)
            self._live.start()

    def began(self, repeat: int, group: Group, left_s: float) -> None:
        self._tell_unsupported()
        turn = f"repeat {repeat + 1}/{self._repeats}, " if self._repeats > 1 else ""
        self._place, self._left_s, self._rounds = f"{turn}{group.name}", left_s, 0
        if self._live is None:
            self._say(f"{printable(self._place)} (about {span(left_s)} left)")

    def doing(self, kernel: str, precision: str, phase: str) -> None:
        if self._live is None:
            return
        at = f" round {self._rounds + 1}" if phase == "turn" else ""
        best = "  ".join(f"{p} {digits(rate)} ({k})" for p, (rate, k) in sorted(self._best.items()))
        line = f"{self._place}: {kernel} {precision}, {phase}{at} · {span(self._left_s)} left"
        self._live.update(Text(printable(line + (f" · best TFLOP/s: {best}" if best else ""))))

    def took(self, kernel: str, precision: str, turn: Turn) -> None:
        self._rounds = turn.round

    def ended(self, record: Record) -> None:
        where = shape_text(record.m, record.n, record.k, record.batch, record.experts)
        what = f"{record.kernel:<20} {record.precision:<9} {where:<16}"
        if record.status == "interrupted":
            return  # those that nobody came to are counted at the end
        if record.status == "unsupported":
            self._unsupported += 1
            if self._unsupported > UNSUPPORTED:
                return
        if record.status != "ok":
            self._say(f"  {what}  {record.status}: {record.reason}")
            return
        found = estimate(list(values(record.turns).values()))
        if found.n == 0:
            said = "verified" if not record.turns else "contended: no clean turn"
            self._say(f"  {what}  {said}")
            return
        rate = 2 * record.batch * record.m * record.n * record.k / found.value / 1e3
        word = verdict(record.turns, target=self._target)
        self._say(f"  {what}  {duration(found.value / 1e3):>9}  {digits(rate):>10} TFLOP/s  {word}")
        for told in record.warnings:
            self._say(f"    {told}")
        if rate > self._best.get(record.precision, (0.0, ""))[0]:
            self._best[record.precision] = (rate, record.kernel)

    def probed(self, roof: Roof) -> None:
        what = f"roof: {roof.name:<14} {roof.precision:<9}"
        if roof.status == "interrupted":
            return
        if roof.status != "ok":
            self._say(f"  {what}  {roof.status}: {roof.reason}")
            return
        found = rate_of(roof)
        word = verdict(roof.turns, target=self._target)
        unit = {"us": "µs"}.get(roof.unit, roof.unit)
        self._say(f"  {what}  {digits(found.value):>10} {unit:<7}  {word}")

    def finished(self, outcome: Outcome) -> None:
        self._tell_unsupported()
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was; also after an error."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _tell_unsupported(self) -> None:
        if self._unsupported > UNSUPPORTED:
            self._say(f"  … and {self._unsupported - UNSUPPORTED} more that are unsupported")
        self._unsupported = 0

    def _say(self, line: str) -> None:
        self._console.print(Text(printable(line)))
