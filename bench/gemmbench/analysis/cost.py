"""What a measured rate costs: money and energy of 10¹⁸ FLOP, and of training a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gemmbench.analysis.pool import pooled
from gemmbench.analysis.rows import rows_of, values_of
from gemmbench.analysis.summary import ranks
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.precision import precision as named

if TYPE_CHECKING:
    import pandas as pd

EXA = 1e18
HOUR_S = 3600.0

Watts = Literal["measured", "said", ""]
Origin = Literal["verified", "imported", "synthetic"]


@dataclass(frozen=True, kw_only=True)
class Prices:
    """US dollars for an hour of one device and for a kWh; the power to take where none was
    measured. Raises GemmbenchError for what is not positive and finite."""

    usd_per_hour: float
    usd_per_kwh: float | None = None
    watts: float | None = None

    def __post_init__(self) -> None:
        for name in ("usd_per_hour", "usd_per_kwh", "watts"):
            _check(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Training:
    """A model to be trained: parameters, tokens, the share of the row's rate that training
    keeps (0 … 1), and on how many devices. Raises GemmbenchError for what is not positive."""

    parameters: float
    tokens: float
    utilisation: float
    devices: float = 1.0

    def __post_init__(self) -> None:
        for name in ("parameters", "tokens", "utilisation", "devices"):
            _check(name, getattr(self, name))
        if self.utilisation > 1:
            raise GemmbenchError(f"utilisation = {self.utilisation:g} is over 1: write 0.4 or 40%")

    @property
    def flop(self) -> float:
        return training_flop(self.parameters, self.tokens)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training takes at a rate. `kwh` and `usd_energy` are NaN where the power is unknown."""

    flop: float
    device_hours: float
    days: float
    usd: float
    kwh: float
    usd_energy: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The best row of a precision on a device, and what its rate costs.

    `origin` says what the row is: verified (gemmbench measured it), imported (another tool did, and
    nobody here verified it) or synthetic (never measured).
    TFLOP/s with its interval, W, hours, $ and kWh for 10¹⁸ FLOP; `usd_energy` is what that energy
    costs, which a rent may hold already. NaN where the power or its price is unknown.
    """

    device: str
    device_id: str
    precision: str
    kernel: str
    m: int
    n: int
    k: int
    batch: int
    experts: int
    layout: str
    file: str
    verdict: str
    origin: Origin
    tflops: float
    tflops_low: float
    tflops_high: float
    watts: float
    watts_from: Watts
    hours: float
    usd: float
    kwh: float
    usd_energy: float
    training: Trained | None
    notes: tuple[str, ...]


def training_flop(parameters: float, tokens: float) -> float:
    """6·P·T: 2 FLOP forward and 4 backward for each parameter and token.

    Kaplan et al. 2020 (arXiv 2001.08361), section 2.1; Hoffmann et al. 2022 (arXiv 2203.15556),
    appendix F. Attention over the context is left out.
    """
    return 6 * parameters * tokens


def hours_of(flop: float, tflops: float) -> float:
    """Device-hours of so many FLOP at TFLOP/s."""
    return flop / (tflops * 1e12) / HOUR_S


def cost(
    df: "pd.DataFrame",
    prices: Prices,
    *,
    training: Training | None = None,
    precision: str | None = None,
) -> tuple[Cost, ...]:
    """What the best row of each device and precision costs; rows as `load` returns them.

    Best is what the summary of a run ranks first: a noisy row ranks by the lower end of its rate.
    Rows that failed verification, were contended or are impossible do not count; those that
    another tool measured only where gemmbench has none of that precision, and synthetic ones only
    where nothing was measured. Power is the row's own
    measured one, else `prices.watts`. Raises GemmbenchError where no row has a rate, and
    UnknownNameError for a precision that there is none of.
    """
    rows = pooled(df)
    sound = rows["status"].eq("ok") & rows["verdict"].ne("contended") & ~rows["impossible"]
    rows = rows[sound & rows["tflops"].gt(0)]
    if precision is not None:
        named(precision)
        found = sorted(map(str, dict.fromkeys(values_of(rows, "precision"))))
        if found and precision not in found:
            raise UnknownNameError("precision of this run", precision, found)
    if precision is not None:
        rows = rows[rows["precision"].eq(precision)]
    if rows.empty:
        raise GemmbenchError(
            "no row has a rate to reckon with: the file holds none that is verified, quiet and "
            "dense (roofs are none); see gemmbench show"
        )
    best: dict[tuple[str, str], Any] = {}
    for row in rows_of(rows.assign(rank=ranks(rows))):
        key = (row.device, row.precision)
        if key not in best or _rank(row) > _rank(best[key]):
            best[key] = row
    return tuple(_cost(row, prices, training) for row in best.values())


def _rank(row: Any) -> tuple[bool, bool, float]:
    return not row.synthetic, not row.tool, row.rank


def _origin(row: Any) -> Origin:
    if row.synthetic:
        return "synthetic"
    return "imported" if row.tool else "verified"


def _cost(row: Any, prices: Prices, training: Training | None) -> Cost:
    watts, source = _watts(row.power_w, prices.watts)
    hours = hours_of(EXA, row.tflops)
    kwh = hours * watts / 1e3
    return Cost(
        device=row.device,
        device_id=row.device_id if isinstance(row.device_id, str) else "",
        precision=row.precision,
        kernel=row.kernel,
        m=row.m,
        n=row.n,
        k=row.k,
        batch=row.batch,
        experts=row.experts,
        layout=row.layout,
        file=row.file,
        verdict=row.verdict,
        origin=_origin(row),
        tflops=row.tflops,
        tflops_low=row.tflops_low,
        tflops_high=row.tflops_high,
        watts=watts,
        watts_from=source,
        hours=hours,
        usd=hours * prices.usd_per_hour,
        kwh=kwh,
        usd_energy=kwh * (prices.usd_per_kwh or math.nan),
        training=_train(row.tflops, watts, prices, training) if training else None,
        notes=tuple(_notes(row, prices)),
    )


def _watts(measured: float, said: float | None) -> tuple[float, Watts]:
    if measured > 0:
        return measured, "measured"
    return (said, "said") if said else (math.nan, "")


def _train(tflops: float, watts: float, prices: Prices, model: Training) -> Trained:
    device_hours = hours_of(model.flop, tflops * model.utilisation)
    kwh = device_hours * watts / 1e3
    return Trained(
        flop=model.flop,
        device_hours=device_hours,
        days=device_hours / model.devices / 24,
        usd=device_hours * prices.usd_per_hour,
        kwh=kwh,
        usd_energy=kwh * (prices.usd_per_kwh or math.nan),
    )


def _notes(row: Any, prices: Prices) -> Sequence[str]:
    found = []
    if row.synthetic:
        found.append(f"{row.precision}: {row.file} is synthetic, it was never measured")
    if row.tool:
        found.append(f"{row.precision} was measured by {row.tool}, and not verified by gemmbench")
    if prices.watts and row.power_w > 0:
        found.append(f"{row.precision}: the power was measured, so {prices.watts:g} W is not used")
    return found


def _check(name: str, value: float | None) -> None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise GemmbenchError(f"{name} = {value:g} must be a number above zero")
