"""The claims and what decided each: for a terminal, as Markdown and as JSON."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gemmbench.analysis.claims.claim import Decided, Figure
from gemmbench.analysis.claims.evidence import known
from gemmbench.analysis.claims.table import decided
from gemmbench.records.evidence import Evidence, kept
from gemmbench.records.reader import Run, read_many
from gemmbench.show.tables import Format, Table, check_format, to_markdown
from gemmbench.show.text import digits, printable

FORMATS: tuple[Format, ...] = ("table", "markdown", "json")
_STYLES = {"holds": "green", "does not hold": "red", "impossible": "bold red"}
MANY = 1e12
_WIDEST, _NARROWEST = 110, 60


def show_claims(runs: Sequence[str], *, device: str | None, form: str) -> str:
    """Decide every claim and print it; with a device, ask torch, the compiler and the device anew.

    Returns a line about what the runs changed, empty without any. Raises GemmbenchError for a
    user's mistake.
    """
    chosen = check_format(form, FORMATS)
    read = read_many([Path(run) for run in runs]) if runs else ()
    asked = _ask(device) if device is not None else kept()
    found = decided(known(asked, read))
    told = _changed(read, decided(known(asked, ())), found) if read else ""
    if chosen == "json":
        print(msgspec.json.format(msgspec.json.encode([_flat(one) for one in found])).decode())
    elif chosen == "markdown":
        print(to_markdown(_table(found)))
    else:
        _print(found)
    return told


def _changed(runs: Sequence[Run], before: Sequence[Decided], after: Sequence[Decided]) -> str:
    pairs = [(one, was.decision) for one, was in zip(after, before, strict=True)]
    decides = [one.id for one, was in pairs if one.decision.verdict != was.verdict]
    if decides:
        return ""
    names = ", ".join(printable(run.path.name, 60) for run in runs[:3])
    names += f" and {len(runs) - 3} more" * (len(runs) > 3)
    beside = [one.id for one, was in pairs if one.decision != was]
    more = f"; figures of it stand beside {', '.join(beside)}" * bool(beside)
    synthetic = " (a synthetic run never does)" * all(run.header.synthetic for run in runs)
    return f"{names} decides no claim{synthetic}: each undecided one names what would{more}"


def _ask(device: str) -> Evidence:
    from gemmbench.devices.detect import detect
    from gemmbench.runner.evidence import gather

    return gather(detect(device))


def _flat(one: Decided) -> dict[str, object]:
    it = one.decision
    return {
        "id": one.id,
        "claim": one.says,
        "how": one.how,
        "verdict": it.verdict,
        "because": it.because,
        "figures": it.figures,
        "here": it.here,
        "needs": it.needs,
    }


def _table(found: Sequence[Decided]) -> Table:
    """The verdicts; what decided each follows as a paragraph, which no cell would hold."""
    notes = []
    for one in found:
        it = one.decision
        figures = "; ".join(f"{f.what}: {_value(f)} [{f.source}]" for f in it.figures)
        notes.append(
            f"{one.id}, {it.verdict}: {it.because}{f' Figures: {figures}.' * bool(figures)}"
        )
        notes += [f"{one.id}, here: {text}" for text in it.here]
        if it.needs:
            notes.append(f"{one.id}, {_needs(one)}: {it.needs}")
    return Table(
        title=_counts(found),
        columns=("id", "claim", "verdict"),
        rows=tuple((one.id, one.says, one.decision.verdict) for one in found),
        notes=(*notes, ABOUT_NOTE),
    )


def _needs(one: Decided) -> str:
    return "would decide it" if one.decision.verdict == "undecided here" else "further"


ABOUT_NOTE = '"about" is read as within a factor of 1.5'


def _value(figure: Figure) -> str:
    text = digits(figure.value)
    if figure.value >= MANY:
        text = f"{figure.value:.4g}"
    elif figure.value == round(figure.value):
        text = f"{figure.value:,.0f}"
    return f"{text} {figure.unit}"


def _counts(found: Sequence[Decided]) -> str:
    counts = Counter(str(one.decision.verdict) for one in found)
    words = {
        "holds": "hold",
        "does not hold": "do not hold",
        "impossible": "are impossible",
        "undecided here": "are undecided here",
    }
    told = (f"{counts[word]} {said}" for word, said in words.items())
    return f"{len(found)} claims: {', '.join(told)}"


def _print(found: Sequence[Decided]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))

    def say(text: str, *, indent: str = "  ", hang: str = "", style: str = "") -> None:
        lines = textwrap.wrap(
            printable(text),
            width,
            initial_indent=indent,
            subsequent_indent=indent + hang,
            break_on_hyphens=False,
            break_long_words=False,
        )
        console.print(Text("\n".join(lines), style=style))

    for one in found:
        it = one.decision
        console.print(
            Text.assemble((f"{one.id}: ", "bold"), (it.verdict, _STYLES.get(it.verdict, "yellow")))
        )
        say(f"“{one.says}”", style="italic")
        say(it.because)
        for figure in it.figures:
            say(f"· {figure.what}: {_value(figure)} [{figure.source}]", hang="  ", style="dim")
        for text in it.here:
            say(f"here: {text}", hang="    ")
        if it.needs:
            say(f"{_needs(one)}: {it.needs}")
        console.print()
    console.print(Text(_counts(found), style="bold"))
    say(ABOUT_NOTE, indent="", style="dim")
