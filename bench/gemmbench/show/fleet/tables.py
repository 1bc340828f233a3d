"""A report on a fleet as tables."""

from collections.abc import Iterable, Sequence

from gemmbench.analysis.fleet.model import Flag, FleetReport, Part, Spread
from gemmbench.quantities import counted
from gemmbench.show.fleet.exported import to_csv, to_json
from gemmbench.show.fleet.words import change_text, method, peak_text, verdict
from gemmbench.show.tables import Format, Table, echo, in_markdown, without_empty
from gemmbench.show.text import digits, duration, printable

FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "json")
FLAGS, CASES, PARTS, THEN = 30, 20, 10, 20
"""So many rows of each table; CSV and JSON have all."""

ON_A_PAGE = 1000
"""Rows of a table of the HTML page."""

_RIGHT = frozenset(
    (
        "n",
        "time",
        "TFLOP/s",
        "of peak",
        "spread",
        "finds",
        "slowest",
        "fastest",
        "median",
        "now/then",
    )
)


def write(found: FleetReport, form: Format) -> None:
    """Print a report in one of `FORMATS`."""
    if form == "json":
        print(to_json(found))
    elif form == "csv":
        print(to_csv(found), end="")
    else:
        said = [verdict(found), *(_told(found) if not found.cases else ())]
        for line in map(printable, said):
            print(in_markdown(line) if form == "markdown" else line, end="\n\n")
        echo(tables(found, most=True), form=form)


def tables(found: FleetReport, *, most: bool) -> tuple[Table, ...]:
    """Flags, cases, nodes and racks, the earlier fleet; those of which there is something to say.

    `most` cuts them to what a reader of a terminal takes in.
    """
    made = [
        _flags(found, found.confirmed, "Flagged", FLAGS if most else ON_A_PAGE),
        _flags(found, found.suspected, "Suspected", FLAGS if most else ON_A_PAGE),
        _then(found, THEN if most else ON_A_PAGE),
        *(_parts(found.parts, what, PARTS if most else ON_A_PAGE) for what in ("node", "rack")),
        _cases(found, CASES if most else ON_A_PAGE, told=_told(found) if most else ()),
    ]
    return tuple(one for one in made if one is not None)


def _flags(found: FleetReport, flags: Sequence[Flag], title: str, most: int) -> Table | None:
    if not flags:
        return None
    table = Table(
        title=title,
        columns=("device", "PCI", "rack", "model", "flag", "where", "why"),
        rows=tuple(
            (
                printable(found.devices[one.device].name, 80),
                printable(found.devices[one.device].pci_address, 20),
                printable(found.devices[one.device].rack, 40),
                _model(found, one.device),
                one.kind,
                printable(one.scope, 80),
                one.why,
            )
            for one in flags[:most]
        ),
        notes=_more(len(flags), most),
    )
    return without_empty(table, optional=("PCI", "rack", "model"))


def _model(found: FleetReport, device: int) -> str:
    """Its name, in a fleet of several models."""
    models = {one.model for one in found.devices if one.model is not None}
    model = found.devices[device].model
    return printable(model.text, 40) if len(models) > 1 and model is not None else ""


def _told(found: FleetReport) -> Iterable[str]:
    """What the page has in sections of its own."""
    if found.synthetic:
        yield "synthetic: never measured"
    yield from (f"not judged: {one}" for one in found.not_judged)
    yield from (*found.notes, *method(found))


def _cases(found: FleetReport, most: int, *, told: Iterable[str]) -> Table | None:
    if not found.cases:
        return None
    several = len({one.case.model for one in found.cases}) > 1
    table = Table(
        title="Each case over the devices, the one with the slowest device first",
        columns=(
            *("model", "kernel", "precision", "shape", "n", "time", "TFLOP/s", "of peak"),
            *("spread", "finds", "slowest", "device", "fastest", "noisy", "power-limited"),
        ),
        rows=tuple(_case(found, one, several=several) for one in found.cases[:most]),
        right=_RIGHT,
        notes=(*_more(len(found.cases), most), *told),
    )
    return without_empty(table, optional=("model", "TFLOP/s", "of peak", "noisy", "power-limited"))


def _case(found: FleetReport, one: Spread, *, several: bool) -> tuple[str, ...]:
    case = one.case
    modes = f" [{printable(case.modes, 40)}]" if case.modes else ""
    return (
        f"{printable(case.model.text, 40)}{_loaded(one)}" if several else "",
        printable(case.kernel, 80) + modes,
        case.precision,
        case.shape,
        f"{one.n:,}",
        duration(one.time_us),
        digits(one.tflops),
        peak_text(one.pct_peak),
        f"{one.spread_pct:.2g}%",
        f"{one.finds_pct:.1f}%",
        change_text(float(one.relative.min())),
        printable(found.devices[one.slowest].name, 40),
        change_text(float(one.relative.max())),
        f"{one.noisy:,}" if one.noisy else "",
        f"{one.power_limited:,}" if one.power_limited else "",
    )


def _loaded(one: Spread) -> str:
    return ", at once" if one.case.model.together else ", one by one"


def _parts(parts: Iterable[Part], what: str, most: int) -> Table | None:
    mine = [one for one in parts if one.what == what]
    if len(mine) < 2:
        return None
    table = Table(
        title=f"{what.capitalize()}s, the slow and the flagged first",
        columns=(what, "devices", "median", "flagged", "slow"),
        rows=tuple(
            (
                printable(one.name, 80),
                f"{one.devices:,}",
                change_text(one.relative),
                str(one.flagged or ""),
                "as a whole" if one.slow else "",
            )
            for one in mine[:most]
        ),
        right=frozenset(("devices", "median", "flagged")),
        notes=_more(len(mine), most),
    )
    return without_empty(table, optional=("flagged", "slow"))


def _then(found: FleetReport, most: int) -> Table | None:
    if not found.against:
        return None
    rows = tuple(
        (
            printable(one.case.text, 120),
            f"{one.n_now:,}",
            f"{one.n_then:,}",
            change_text(one.ratio),
            f"{change_text(one.ratio_low)} … {change_text(one.ratio_high)}"
            if one.ratio_low == one.ratio_low
            else "",
            "slower" if one.slower else "not judged" if one.is_undecided else "",
        )
        for one in found.against[:most]
    )
    return Table(
        title="The median over devices, now over then",
        columns=("case", "n now", "n then", "change", "interval", "verdict"),
        rows=rows,
        right=frozenset(("n now", "n then", "change")),
        notes=(
            *_more(len(found.against), most),
            "interval: at least 95%, of the two medians; none for fewer than 6 devices, of which "
            "only what is over 10% below is told",
        ),
    )


def _more(count: int, most: int) -> tuple[str, ...]:
    if count <= most:
        return ()
    return (f"… and {counted(count - most, 'more row')}: --format json has all",)
