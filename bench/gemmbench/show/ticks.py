"""Ticks that can be read: of rates, and of ratios."""

import math
from typing import TYPE_CHECKING

from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)

if TYPE_CHECKING:
    from matplotlib.axis import Axis


def rates(axis: "Axis", low: float, high: float) -> None:
    """Ticks of a logarithmic axis of rates: powers of ten, and 2 and 5 where those are few."""
    axis.set_minor_formatter(NullFormatter())
    if high / low < 6:
        axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
        plain = ScalarFormatter(useOffset=False)
        plain.set_scientific(False)
        axis.set_major_formatter(plain)
        return
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high / low < 300 else LogLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(value: float) -> str:
    """A figure of few characters: 0.05, 2,000, 1e-5."""
    if 100 <= value < 1e5:
        return f"{value:,.0f}"
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def ratios(axis: "Axis", low: float, high: float) -> None:
    """Ticks of a logarithmic axis of ratios that can be read: 0.9× 1× 1.1×, 1× 2× 5×, 1× 10×."""
    if high / low > 100:
        axis.set_major_locator(LogLocator())
    elif high / low > 3:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.25, 1) if (high - low) / step <= 8)
        places = range(math.ceil(low / step), math.floor(high / step) + 1)
        axis.set_major_locator(FixedLocator([place * step for place in places]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{short(value)}×"))
    axis.set_minor_formatter(NullFormatter())
