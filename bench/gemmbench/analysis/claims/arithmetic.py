"""Claims that are products: multiplied again, and carried on with what was measured."""

import math
from dataclasses import dataclass
from typing import Any

from gemmbench.analysis.claims.blocks import beside_products
from gemmbench.analysis.claims.claim import Decision, Figure, number, rounds_to
from gemmbench.analysis.claims.evidence import H100, Known, cited, decide, peak, said, source_of
from gemmbench.analysis.cost import EXA, hours_of
from gemmbench.analysis.published import KINDS
from gemmbench.records.published import published
from gemmkernels.problem import shape_text

GPUS, HOURS = 10_000, 2400
RENT, COST = 2.5, 2.15
KWH_USD = 0.07

TOKENS_A_PARAMETER = 20
"""Hoffmann et al. 2022 (arXiv 2203.15556), table 3: about 20 tokens a parameter."""

LARGE = 4096**3
"""Multiply-adds of a product from which its rate and power say what a GPU keeps up: a smaller one
doesn't fill an H100."""

_PRODUCT = "the product itself"
_NEEDS = (
    "on an H100: gemmbench run --preset sustained --shape 8192x8192x8192 -p bf16, then gemmbench "
    "claims RUN"
)


@dataclass(frozen=True, kw_only=True)
class _Rate:
    """TFLOP/s in bf16, what they are, by what they were reached, and where that stands."""

    what: str
    by: str
    tflops: float
    source: str

    @property
    def told(self) -> str:
        return f"{self.what} ({number(self.tflops)} TFLOPS{', ' if self.by else ''}{self.by})"


def ops_1024(_: Known) -> Decision:
    """1024³ multiply-adds against 10⁹."""
    ops = 1024**3
    return Decision(
        verdict="holds" if rounds_to(ops, 1e9, 1) else "does not hold",
        because=f"1024³ = {ops:,}, {100 * (ops / 1e9 - 1):.1f}% above 10⁹; {2 * ops:,} FLOP.",
        figures=(Figure(what="1024³", value=ops, unit="multiply-adds", source=_PRODUCT),),
    )


def rent(known: Known) -> Decision:
    """10,000 GPUs × 2400 h × $2.5, and what they can train."""
    gpu_hours = GPUS * HOURS
    usd = gpu_hours * RENT
    figures = [
        Figure(what="rent", value=usd, unit="$", source=_PRODUCT),
        Figure(what="GPU-hours", value=gpu_hours, unit="h", source=_PRODUCT),
    ]
    told = []
    for rate in _rates(known):
        flop = gpu_hours * 3600 * rate.tflops * 1e12
        parameters = math.sqrt(flop / 6 / TOKENS_A_PARAMETER)
        figures.append(
            Figure(what=f"FLOP at {rate.what}", value=flop, unit="FLOP", source=rate.source)
        )
        told.append(
            f"at {rate.told}, {flop:.3g} FLOP: by 6·P·T at 20 tokens a "
            f"parameter {number(parameters / 1e9)} billion parameters"
        )
    return Decision(
        verdict="holds" if usd == 60e6 else "does not hold",
        because=(
            f"10,000 × 2400 h × $2.5 = ${usd / 1e6:g} million; that this trained GPT-4 is not "
            f"decided. {gpu_hours / 1e6:g} million GPU-hours are, {'; '.join(told)}. "
            "Training keeps a part of such a rate: see gemmbench cost --utilisation."
            f"{beside_products(known)}"
        ),
        figures=tuple(figures),
        needs=_missing(known),
    )


def energy(known: Known) -> Decision:
    """10,000 GPUs × 700 W × 2400 h, and its price."""
    gwh = GPUS * 700 * HOURS / 1e9
    usd = gwh * 1e6 * KWH_USD
    figures = [
        Figure(what="energy", value=gwh, unit="GWh", source=_PRODUCT),
        Figure(what="its price", value=usd, unit="$", source=_PRODUCT),
    ]
    told = ""
    row = most_power(known)
    if row is not None:
        measured = GPUS * row.power_w * HOURS / 1e9
        figures.append(
            Figure(
                what=f"energy at {row.power_w:.0f} W",
                value=measured,
                unit="GWh",
                source=source_of(row),
            )
        )
        shape = shape_text(row.m, row.n, row.k, row.batch, row.experts)
        told = (
            f" {said(row)}: {row.power_w:.0f} W at most, by {row.kernel} {row.precision} {shape}; "
            f"at that power {measured:.4g} GWh, ${measured * KWH_USD:.4g} million."
        )
    exact = math.isclose(gwh, 16.8) and math.isclose(usd, 1.176e6)
    return Decision(
        verdict="holds" if exact else "does not hold",
        because=(
            f"10,000 × 700 W × 2400 h = {gwh:g} GWh, at $0.07 ${usd / 1e6:g} million: the GPUs "
            f"alone, without hosts, network and cooling.{told}"
        ),
        figures=tuple(figures),
        needs=""
        if row is not None and decide(row)
        else "a sustained run on an H100, which measures its power",
    )


def margin(known: Known) -> Decision:
    """$2.5 against $2.15 an hour, and the price of 10¹⁸ FLOP."""
    share = (RENT - COST) / RENT
    figures = [Figure(what="margin", value=100 * share, unit="%", source=_PRODUCT)]
    told = []
    for rate in _rates(known):
        hours = hours_of(EXA, rate.tflops)
        figures.append(
            Figure(
                what=f"rent of 10¹⁸ FLOP at {rate.what}",
                value=hours * RENT,
                unit="$",
                source=rate.source,
            )
        )
        told.append(f"${hours * RENT:.3f} rent and ${hours * COST:.3f} cost at {rate.told}")
    return Decision(
        verdict="holds" if rounds_to(100 * share, 14, 2) else "does not hold",
        because=(
            f"(2.5 − 2.15) / 2.5 = {100 * share:.4g}% of the price. 10¹⁸ FLOP in bf16 on an H100: "
            f"{'; '.join(told)}."
        ),
        figures=tuple(figures),
        needs=_missing(known),
    )


def most_power(known: Known) -> Any | None:
    """The row of a large product in a sustained run on an H100 SXM that drew most."""
    best = known.best(
        lambda row: (
            row.device_id == H100
            and row.preset == "sustained"
            and _is_large(row)
            and row.power_w > 0
        ),
        of=lambda row: row.power_w,
    )
    return next(iter(best.values()), None)


def _bf16(known: Known) -> Any | None:
    """The fastest bf16 row of an H100 of a large product in the sustained preset; else what another
    tool says of one."""
    best = known.best(
        lambda row: (
            row.device_id == H100
            and row.precision == "bf16"
            and row.m * row.n * row.k * row.batch >= LARGE
            and (row.preset == "sustained" or row.tool)
        ),
        of=lambda row: row.tflops,
    )
    return next(iter(best.values()), None)


def _is_large(row: Any) -> bool:
    return bool(row.m * row.n * row.k * row.batch >= LARGE)


def _missing(known: Known) -> str:
    row = _bf16(known)
    return "" if row is not None and decide(row) else _NEEDS


def _rates(known: Known) -> list[_Rate]:
    """A run's best rate, the published one, and the dense peak."""
    found = []
    row = _bf16(known)
    if row is not None:
        what = "the measured rate" if decide(row) else f"a rate {said(row).lower()}"
        found.append(
            _Rate(
                what="a synthetic rate, never measured" if row.synthetic else what,
                by=f"{row.kernel}, {shape_text(row.m, row.n, row.k, row.batch, row.experts)}",
                tflops=row.tflops,
                source=source_of(row),
            )
        )
    told = next(
        one
        for one in published()
        if one.device_id == H100
        and one.precision == "bf16"
        and one.kind == "measured_approx"
        and not one.shape
    )
    top = peak(H100, "bf16")
    return [
        *found,
        _Rate(
            what="a published rate",
            by=f"{told.software}, {KINDS[told.kind]}",
            tflops=told.tflops,
            source=f"{told.software}, {told.source}; {told.method}",
        ),
        _Rate(what="the dense peak", by="", tflops=top.tflops, source=cited(H100, top.sources)),
    ]
