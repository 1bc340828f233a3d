"""How names and figures are written: escaped, with units, to the digits that mean something."""

import math

from gemmkernels.errors import escaped

MANY = 10_000
_FORMULAS = (*"=+-@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""And their full-width forms."""


def printable(text: object, limit: int = MANY) -> str:
    """Text with control, bidirectional and unassigned characters escaped, cut at `limit`."""
    text = str(text)
    if len(text) <= limit and text.isprintable():
        return text
    found = escaped(text[: limit + 1])
    return found if len(found) <= limit else found[: limit - 1] + "…"


def in_csv(text: object) -> str:
    """Text for a cell of a CSV file: `printable`, and after a ' where a spreadsheet would take it
    for a formula (=, +, - or @ first; https://owasp.org/www-community/attacks/CSV_Injection).
    """
    found = printable(text)
    return f"'{found}" if found.startswith(_FORMULAS) else found


def digits(value: float, count: int = 4) -> str:
    """A number to `count` significant digits, without an exponent; empty where it is not one."""
    if not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    text = f"{value:#,.{count}g}"
    if "e" not in text:  # all but the very small and large
        return text.removesuffix(".")
    rounded = float(f"{value:.{count - 1}e}")
    places = count - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, places)}f}"


def device_named(name: str, partition: str) -> str:
    """A device, and which part of it; the name of a MIG slice says that itself."""
    return name if not partition or partition in name else f"{name} {partition}"


def duration(time_us: float) -> str:
    """Microseconds as µs, ms or s."""
    if not math.isfinite(time_us):
        return ""
    for scale, unit in ((1e6, "s"), (1e3, "ms")):
        if time_us >= scale:
            return f"{digits(time_us / scale)} {unit}"
    return f"{digits(time_us)} µs"


def half_width(value: float, low: float, high: float) -> str:
    """Half of an interval as percent of its value: ±0.3%."""
    if not (math.isfinite(low) and math.isfinite(high) and value > 0):
        return ""
    return f"±{digits(100 * (high - low) / (2 * value), 2)}%"


def times(value: float) -> str:
    """A speedup: 4.02×."""
    return f"{digits(value, 3)}×" if math.isfinite(value) else ""


def percent(value: float) -> str:
    return f"{digits(value, 3)}%" if math.isfinite(value) else ""


def rate_unit(precision: str) -> str:
    """Of a rate: integers are no floating-point operations."""
    return "TOP/s" if precision.startswith("int") else "TFLOP/s"
