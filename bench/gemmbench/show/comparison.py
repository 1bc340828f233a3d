"""A comparison as tables, CSV and JSON."""

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict

import msgspec

from gemmbench.analysis.comparison import Compared, Comparison, Measured, Pair
from gemmbench.records.reader import without_collector
from gemmbench.show.tables import Format, Table, echo, in_json, without_empty
from gemmbench.show.text import device_named, digits, duration, in_csv, printable, times

FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "json")
_SIDES = ("TFLOP/s", "of peak", "at clock", "TFLOP/s/W")
_NUMBERS = frozenset(
    (
        *("a", "b", "b / a", "95% interval", "rows"),
        *(f"{name} {side}" for name in _SIDES for side in ("a", "b", "b/a")),
    )
)
MOST_NAMED = 5


@without_collector()
def write(found: Comparison, form: Format) -> None:
    """Print a comparison in one of `FORMATS`."""
    for path in found.on_both:
        complain(f"warning: {path} is on both sides: name another run for B")
    if form == "json":
        print(to_json(found))
    elif form == "csv":
        print(to_csv(found), end="")
    else:
        echo(comparison(found), form=form)


def to_json(found: Comparison) -> str:
    """All of it: sides with their files and method, rows, means, what differs and is left out."""
    return json.dumps(in_json(msgspec.to_builtins(found)), indent=2, ensure_ascii=False)


def to_csv(found: Comparison) -> str:
    """A line a row, with every figure; `tflops_a`, `tflops_b`, `tflops_ratio` and so on."""
    text = io.StringIO()
    lines = [_flat(row) for row in found.rows]
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def comparison(found: Comparison) -> tuple[Table, ...]:
    """The rows, what they are of each device's own peak and per watt, the geometric means and what
    differs. What is 2:4 sparse is apart."""
    title = f"a: {_side(found.a)}, b: {_side(found.b)}; preset {found.a.preset}"
    if found.unlike:
        title = f"NOT MEASURED ALIKE ({'; '.join(found.unlike)}). {title}"
    notes = notes_of(found)
    tables = []
    for rows, head in (
        ([row for row in found.rows if not row.sparse], title),
        ([row for row in found.rows if row.sparse], f"2:4 sparse. {title}"),
    ):
        if rows:
            tables += [rows_table(found, rows, title=head, notes=notes), *normalised(found, rows)]
            notes = ()
    if found.geomeans:
        tables.append(means(found))
    if found.differs:
        tables.append(differing(found))
    return tuple(tables)


def differing(found: Comparison) -> Table:
    """What the two sides do not share."""
    cells = tuple((printable(d.what), printable(d.a), printable(d.b)) for d in found.differs)
    return Table(title="What differs", columns=("what", "a", "b"), rows=cells)


def case_text(found: Comparison, row: Compared) -> str:
    """A row's kernel, precision and shape."""
    return f"{_name(row, by=found.by)} {row.precision} {_shape(row)}"


def share_text(fraction: float) -> str:
    return f"{100 * fraction:.3g}%"


def complain(text: str) -> None:
    """A line on standard error."""
    print(f"gemmbench: {printable(text)}", file=sys.stderr)


def rows_table(
    found: Comparison, rows: Sequence[Compared], *, title: str = "", notes: tuple[str, ...] = ()
) -> Table:
    """Some of the rows, with time, rate and verdict."""
    table = Table(
        title=title,
        columns=(
            *(found.by, "precision", "shape", "a", "b", "TFLOP/s a", "TFLOP/s b"),
            *("b / a", "95% interval", "verdict"),
        ),
        rows=tuple(
            (
                *(_name(row, by=found.by), row.precision, _shape(row)),
                *(duration(row.time_a_us), duration(row.time_b_us)),
                *(digits(row.tflops.a, 3), digits(row.tflops.b, 3)),
                *(times(row.ratio), interval(row.ratio_low, row.ratio_high)),
                f"{row.verdict}: {row.why}" if row.why else row.verdict,
            )
            for row in rows
        ),
        right=_NUMBERS,
        notes=notes,
    )
    return without_empty(table, optional=("TFLOP/s a", "TFLOP/s b", "95% interval"))


def normalised(found: Comparison, rows: Sequence[Compared]) -> tuple[Table, ...]:
    """Nothing where no peak and no power is known on either side."""
    rows = [
        row
        for row in rows
        if any(one.a > 0 or one.b > 0 for one in (row.pct_peak, row.tflops_per_w))
    ]
    if not rows:
        return ()

    def cells(one: Pair, unit: str = "") -> tuple[str, ...]:
        a, b = (digits(value, 3) + unit if math.isfinite(value) else "" for value in (one.a, one.b))
        return a, b, times(one.ratio)

    columns = [f"{name} {side}" for name in _SIDES[1:] for side in ("a", "b", "b/a")]
    table = Table(
        title="Of each device's own sparse peak"
        if rows[0].sparse
        else "Of each device's own dense peak, of that at the clock it held, and per watt",
        columns=(found.by, "precision", "shape", *columns),
        rows=tuple(
            (
                *(_name(row, by=found.by), row.precision, _shape(row)),
                *cells(row.pct_peak, "%"),
                *cells(row.pct_peak_at_clock, "%"),
                *cells(row.tflops_per_w),
            )
            for row in rows
        ),
        right=_NUMBERS,
    )
    return (without_empty(table, optional=columns),)


def means(found: Comparison) -> Table:
    """The geometric means."""
    table = Table(
        title="Geometric mean",
        columns=("precision", "rows", "b / a", "95% interval", "verdict"),
        rows=tuple(
            (
                *(one.precision, str(one.rows), times(one.ratio)),
                interval(one.ratio_low, one.ratio_high),
                f"{one.verdict}: {one.why}" if one.why else one.verdict,
            )
            for one in found.geomeans
        ),
        right=_NUMBERS,
    )
    return without_empty(table, optional=("95% interval",))


def _side(one: Measured) -> str:
    first = printable(one.files[0], 60)
    files = first if len(one.files) == 1 else f"{first} and {len(one.files) - 1} more"
    told = [files]
    if one.tool:
        told.append(f"measured by {printable(one.tool, 40)}")
    if one.synthetic:
        told.append("synthetic: never measured")
    return f"{printable(device_named(one.device, one.partition))} ({'; '.join(told)})"


def _name(row: Compared, *, by: str) -> str:
    name = printable(row.name)
    if by == "tier" and row.kernel_a != row.kernel_b:
        name += f" ({printable(row.kernel_a)} → {printable(row.kernel_b)})"
    return name + (f" [{printable(row.modes)}]" if row.modes else "")


def _shape(row: Compared) -> str:
    return row.shape if row.layout == "nn" else f"{row.shape} {row.layout}"


def interval(low: float, high: float) -> str:
    return f"{digits(low)} … {digits(high)}" if math.isfinite(low) else ""


def notes_of(found: Comparison) -> tuple[str, ...]:
    """What must be known to read the rows: counts, shift, machine, what is left out."""
    counts = {word: found.count(word) for word in ("faster", "slower", "same", "unsure")}
    why = "" if found.alternated else " (the runs did not alternate in time)"
    notes = [
        ", ".join(f"{count} {word}" for word, count in counts.items())
        + f"; a change below {share_text(found.delta)} is the same{why}"
    ]
    if found.shift.rows:
        notes.append(
            f"median of all {found.shift.rows} rows: b / a {digits(found.shift.ratio)}×"
            + (f"; {found.shift.why}" if found.shift.why else "")
        )
    if found.machine == "moved":
        notes.append(f"the machine changed: its self-test reads {times(found.anchor.value)} in b")
    if found.machine == "unknown":
        notes.append("no self-test on both sides: whether the machine changed is not known")
    notes += [f"not compared: {printable(one)}" for one in found.left_out[:MOST_NAMED]]
    if len(found.left_out) > MOST_NAMED:
        notes.append(f"not compared: {len(found.left_out) - MOST_NAMED} more")
    return tuple(notes)


def _flat(row: Compared) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in asdict(row).items():
        if name == "repeats":
            flat |= {"repeats_a": value[0], "repeats_b": value[1]}
        elif isinstance(value, dict):
            flat |= {f"{name}_{part}": _known(one) for part, one in value.items()}
        else:
            flat[name] = in_csv(value) if isinstance(value, str) else _known(value)
    return flat


def _known(value: object) -> object:
    return "" if isinstance(value, float) and not math.isfinite(value) else value
