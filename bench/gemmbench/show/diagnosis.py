"""What the doctor found, as a table, and its verdict in one line."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gemmbench.doctor.examination import diagnose
from gemmbench.doctor.finding import Finding, faults_of, ordered
from gemmbench.show.tables import Format, Table, check_format, echo
from gemmbench.show.text import printable
from gemmkernels.device import Device

FORMATS: tuple[Format, ...] = ("table", "markdown", "json")


@dataclass(frozen=True, kw_only=True)
class _Document:
    fit: bool
    findings: tuple[Finding, ...]


def examine(device: str, *, noise_s: float | None, form: str) -> int:
    """Examine this machine and print what was found; returns 1 where there is a fault, else 0.

    Raises GemmbenchError for a name that no device has, or another format.
    """
    chosen = check_format(form, FORMATS)
    found = diagnose(device)
    findings = found.findings
    if noise_s is not None:
        findings = ordered((*findings, *_noise(found.device, noise_s)))
    _print(findings, form=chosen)
    return 1 if faults_of(findings) else 0


def _noise(device: Device | None, time_s: float) -> tuple[Finding, ...]:
    if device is None:
        return (Finding(check="noise", grade="unknown", what="there is no device to measure"),)
    try:
        from gemmbench.doctor.noise import noise_findings, trials

        found = trials(device, time_s=time_s, say=lambda done, at_s: _say(done, at_s, time_s))
    except ImportError as error:  # Triton, on a GPU
        what = f"not measured: {error}"
        return (Finding(check="noise", grade="unknown", what=what),)
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
    return tuple(noise_findings(found, kind=device.kind))


def _say(done: int, at_s: float, time_s: float) -> None:
    """In a terminal one line that changes, elsewhere one line in all."""
    line = f"noise: {done} measurements of the planted pair, {at_s:.0f} of {time_s:.0f} s"
    if sys.stderr.isatty():
        print(f"\r{line}", end="", file=sys.stderr, flush=True)
    elif done == 1:
        print(f"noise: the planted pair is measured for {time_s:.0f} s", file=sys.stderr)


def _print(findings: Sequence[Finding], *, form: Format) -> None:
    """Findings in their order: what is fine in one line, then the verdict."""
    if form == "json":
        document = _Document(fit=not faults_of(findings), findings=tuple(findings))
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
        return
    markdown = form == "markdown"
    echo([diagnosis(findings, folded=not markdown)], form="markdown" if markdown else "table")


def diagnosis(findings: Sequence[Finding], *, folded: bool = False) -> Table:
    """One row a finding that is not fine; `folded` writes each remedy below, for narrow screens."""
    rows: list[tuple[str, ...]] = []
    for finding in findings:
        if finding.grade == "ok":
            continue
        cells = tuple(printable(cell) for cell in (finding.grade, finding.check, finding.what))
        remedy = printable(finding.remedy)
        if folded:
            rows.append(cells)
            rows += [("", "", f"→ {remedy}")] if remedy else []
        else:
            rows.append((*cells, remedy))
    columns = ("grade", "check", "found") + (() if folded else ("remedy",))
    fine = ", ".join(finding.check for finding in findings if finding.grade == "ok")
    notes = [f"checked and fine: {printable(fine)}"] if fine else []
    return Table(columns=columns, rows=tuple(rows), notes=(*notes, verdict(findings)))


def verdict(findings: Sequence[Finding]) -> str:
    count = len(faults_of(findings))
    if count == 0:
        return "fit to publish"
    return f"not fit to publish: {count} fault{'' if count == 1 else 's'}"


def unfit(faults: Sequence[str]) -> str:
    """What a run says of the faults in its header, in one line."""
    shown = "; ".join(printable(fault, 200) for fault in faults)
    return f"not fit to publish: {shown} (gemmbench doctor says how to mend it)"
