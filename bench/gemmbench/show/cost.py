"""What measured rates cost, as a table, Markdown, CSV or JSON."""

import json
import math
import sys
from collections.abc import Sequence

import msgspec

from gemmbench.analysis.cost import Cost, Origin, Prices, Training, Watts, cost
from gemmbench.records.frame import load
from gemmbench.show.tables import Table, check_format, echo, plain, without_empty
from gemmbench.show.text import digits
from gemmkernels.errors import GemmbenchError
from gemmkernels.problem import shape_text

_RATES = (
    *("TFLOP/s", "±", "device-hours", "$", "W", "kWh", "$ of energy"),
    *("FLOP", "days", "at TFLOP/s"),
)
_ORIGINS: dict[Origin, str] = {
    "verified": "verified",
    "imported": "imported, unverified",
    "synthetic": "synthetic, never measured",
}
_POWER: dict[Watts, str] = {"measured": "", "said": " (said)", "": ""}


def show_cost(
    runs: Sequence[str],
    prices: Prices,
    *,
    training: Training | None,
    precision: str | None,
    form: str,
) -> None:
    """Print what the runs' best rows cost. Raises GemmbenchError for a user's mistake."""
    chosen = check_format(form)
    found = cost(load(list(runs)), prices, training=training, precision=precision)
    if prices.usd_per_kwh and all(math.isnan(one.watts) for one in found):
        raise GemmbenchError(
            f"--usd-per-kwh {prices.usd_per_kwh:g} needs a power, and the run has none: add "
            "--watts, such as --watts 700"
        )
    if chosen == "json":
        document = {"prices": prices, "training": training, "costs": found}
        print(json.dumps(json.loads(msgspec.json.encode(document)), indent=2))
    elif chosen == "csv":
        import pandas as pd

        sys.stdout.write(plain(pd.DataFrame([_flat(one) for one in found]), "csv"))
    else:
        echo(_tables(found, prices, training), form=chosen)


def money(value: float) -> str:
    """Dollars: cents below a thousand, else four digits with thousands or millions."""
    if not math.isfinite(value):
        return ""
    for scale, unit in ((1e9, " bn"), (1e6, " M")):
        if value >= scale:
            return f"{digits(value / scale)}{unit}"
    return f"{value:,.2f}" if 0.1 <= value < 1000 else digits(value)


def _tables(found: Sequence[Cost], prices: Prices, model: Training | None) -> list[Table]:
    devices = dict.fromkeys(one.device for one in found)
    several = len(devices) > 1
    rent = f"${prices.usd_per_hour:g} an hour and device"
    if prices.usd_per_kwh:
        rent += f", ${prices.usd_per_kwh:g} a kWh"
    per = Table(
        title=f"10¹⁸ FLOP on {', '.join(devices)}, at {rent}",
        columns=(
            *("device", "precision", "kernel", "shape", "TFLOP/s", "device-hours", "$"),
            *("W", "kWh", "$ of energy"),
        ),
        rows=tuple(
            (
                one.device if several else "",
                one.precision,
                one.kernel,
                _shape(one),
                digits(one.tflops),
                digits(one.hours, 3),
                money(one.usd),
                digits(one.watts, 3) + _POWER[one.watts_from] if one.watts_from else "",
                digits(one.kwh, 3),
                money(one.usd_energy),
            )
            for one in found
        ),
        right=frozenset(_RATES),
        notes=_notes(found),
    )
    tables = [without_empty(per, optional=("device", "W", "kWh", "$ of energy"))]
    if model is not None:
        tables.append(_training(found, model, several=several))
    return tables


def _training(found: Sequence[Cost], model: Training, *, several: bool) -> Table:
    made = [(one, one.training) for one in found if one.training is not None]
    table = Table(
        title=(
            f"6·P·T = 6 × {model.parameters:.4g} parameters × {model.tokens:.4g} tokens "
            f"= {model.flop:.4g} FLOP, at {100 * model.utilisation:g}% of the rate above"
        ),
        columns=(
            *("device", "precision", "at TFLOP/s", "device-hours", "$", "kWh", "$ of energy"),
            "days",
        ),
        rows=tuple(
            (
                one.device if several else "",
                one.precision,
                digits(one.tflops * model.utilisation),
                digits(it.device_hours),
                money(it.usd),
                digits(it.kwh),
                money(it.usd_energy),
                digits(it.days, 3),
            )
            for one, it in made
        ),
        right=frozenset(_RATES),
        notes=(
            f"days on {model.devices:g} device{'s' if model.devices != 1 else ''}; "
            "6·P·T: Kaplan et al. 2020, Hoffmann et al. 2022; attention over the context is left "
            "out",
        ),
    )
    return without_empty(table, optional=("device", "kWh", "$ of energy"))


def _notes(found: Sequence[Cost]) -> tuple[str, ...]:
    origins = dict.fromkeys(one.origin for one in found)
    notes = [
        f"the best {' or '.join(map(_ORIGINS.__getitem__, origins))} row of each precision; matrix "
        "multiplies alone: what a program does besides costs time too",
    ]
    if any(one.watts_from for one in found):
        notes.append("power of the device alone, without host and cooling")
    if any(not math.isnan(one.usd_energy) for one in found):
        notes.append("a rent by the hour holds its energy already: the two are not to be added")
    notes += [f"{one.precision}: {one.verdict}" for one in found if one.verdict != "converged"]
    notes += dict.fromkeys(note for one in found for note in one.notes)
    return tuple(notes)


def _shape(one: Cost) -> str:
    text = shape_text(one.m, one.n, one.k, one.batch, one.experts)
    return text if one.layout == "nn" else f"{text} {one.layout}"


def _flat(one: Cost) -> dict[str, object]:
    """A row of CSV: the training's figures beside those of 10¹⁸ FLOP."""
    row = vars(one) | {"notes": "; ".join(one.notes)}
    del row["training"]
    trained = vars(one.training) if one.training else {}
    return row | {f"training_{name}": value for name, value in trained.items()}
