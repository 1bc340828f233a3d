"""What tuning says: a line a step while it goes on, and a row a problem at the end."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from gemmbench.records.schema import Header, Record
from gemmbench.runner.tune_finding import Finding, TuneOutcome
from gemmbench.show.diagnosis import unfit
from gemmbench.show.progress import Progress, Quiet
from gemmbench.show.tables import Format, Table, echo
from gemmbench.show.text import digits, duration, half_width, printable
from gemmbench.timing.statistics import Estimate
from gemmkernels.kernel import settings_text
from gemmkernels.problem import Problem


class QuietTuning(Quiet):
    """Says nothing but that figures from this machine should not be published."""

    def tunes(self, header: Header, problems: int, path: Path) -> None:  # noqa: ARG002
        if header.doctor:
            print(f"gemmbench: {unfit(header.doctor)}", file=sys.stderr)

    def took_up(self, kernel: str, problem: Problem, settings: int) -> None: ...

    def step(self, text: str) -> None: ...

    def found(self, finding: Finding) -> None: ...


class TuneProgress(Progress):
    """A line for what is taken up, each step of its search, who falls, and what came of it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._pruned = 0

    def tunes(self, header: Header, problems: int, path: Path) -> None:
        device = header.device
        what = "problem" if problems == 1 else "problems"
        self._say(f"{device.name} ({device.architecture}, {device.units} units)")
        self._say(f"{problems} {what} to tune; kept in {printable(path)}")
        if header.doctor:
            self._say(unfit(header.doctor))

    def took_up(self, kernel: str, problem: Problem, settings: int) -> None:
        self._pruned = 0
        self._say(
            f"{kernel} {problem.precision} {problem.shape} {problem.layout}: {settings} settings"
        )

    def step(self, text: str) -> None:
        self._say(f"  {text}")

    def ended(self, record: Record) -> None:
        if record.status in ("failed", "timeout", "wrong") and record.settings:
            self._say(f"  {settings_text(record.settings)}: {record.status}: {record.reason}")

    def found(self, finding: Finding) -> None:
        if finding.word == "faster" and finding.best:
            said = f"{finding.over.value:.3f}× {settings_text(finding.best)}"
        else:
            said = finding.reason
        self._say(f"  {finding.word}: {said}")


def show(outcome: TuneOutcome, *, form: Format) -> None:
    """Print what was found, and where it is kept."""
    if form == "json":
        sys.stdout.write(as_json(outcome.findings))
        return
    if outcome.findings:
        echo([table(outcome.findings)], form=form)
    if outcome.ended_by:
        print(f"It ended early: {printable(outcome.ended_by)}")
    if outcome.written:
        print(f"tuned: {printable(outcome.written)}")
    if outcome.path is None:
        return
    print(f"run:   {printable(outcome.path)}")
    unfinished = any(finding.word == "unfinished" for finding in outcome.findings)
    if outcome.interrupted or outcome.ended_by or unfinished:
        print(f"Go on with: gemmbench tune --resume {printable(outcome.path)}")


def table(findings: Sequence[Finding]) -> Table:
    """A row a problem; times and ratios are those measured afresh, where there are such."""
    rows = []
    for one in findings:
        changed = one.word == "faster"
        best = settings_text(one.best) if one.best else ""
        rows.append(
            (
                one.kernel,
                one.problem.precision,
                one.problem.shape,
                f"{one.tried}/{one.space}" if one.space else "",
                duration(one.default_us.value),
                duration(one.best_us.value) if changed else "",
                f"{digits(one.ratio.value, 4)}×" if changed and one.ratio.n else "",
                half_width(one.ratio.value, one.ratio.low, one.ratio.high) if changed else "",
                best if changed else _unchanged(one),
                one.word if changed or not one.reason else f"{one.word}: {one.reason}",
            )
        )
    return Table(
        columns=(
            *("kernel", "precision", "shape", "tried", "default", "best", "ratio", "±"),
            *("settings", "outcome"),
        ),
        rows=tuple(rows),
        right=frozenset(("tried", "default", "best", "ratio", "±")),
    )


def _unchanged(one: Finding) -> str:
    if one.word != "kept" or one.incumbent is None:
        return ""
    return "the default" if one.incumbent == one.default else "the tuned entry"


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects; null for what was not measured."""
    rows = [
        {
            "kernel": one.kernel,
            "precision": one.problem.precision,
            "layout": one.problem.layout,
            "batch": one.problem.batch,
            "experts": one.problem.experts,
            "m": one.problem.m,
            "n": one.problem.n,
            "k": one.problem.k,
            "outcome": one.word,
            "reason": one.reason,
            "default": one.default,
            "incumbent": one.incumbent,
            "settings": one.best,
            **_numbers("default_us", one.default_us),
            **_numbers("best_us", one.best_us),
            **_numbers("ratio", one.ratio),
            **_numbers("over_incumbent", one.over),
            "space": one.space,
            "tried": one.tried,
            "pruned": one.pruned,
            "fallen": one.fallen,
        }
        for one in findings
    ]
    return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n"


def _numbers(name: str, found: Estimate) -> dict[str, float | None]:
    ends = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: value if math.isfinite(value) else None for key, value in ends.items()}
