"""Lists of what gemmbench knows: kernels, suites, devices, precisions."""

from collections.abc import Callable

from gemmbench.show.tables import Table, listing
from gemmbench.show.text import digits
from gemmkernels.errors import UnknownNameError
from gemmkernels.ladder import LADDER
from gemmkernels.precision import PRECISIONS


def catalogue(what: str) -> Table:
    """One of the lists. Raises UnknownNameError for any other word. Imports no torch."""
    lists: dict[str, Callable[[], Table]] = {
        "kernels": _kernels,
        "suites": _suites,
        "devices": _devices,
        "precisions": _precisions,
    }
    if what not in lists:
        raise UnknownNameError("list", what, lists)
    return lists[what]()


def _kernels() -> Table:
    return listing(
        ("kernel", "tier", "on", "precisions", "what it is"),
        [
            (
                kernel.name + (" (base)" if kernel.base else ""),
                kernel.tier,
                "/".join(kind.upper() for kind in kernel.kinds),
                " ".join(kernel.precisions),
                kernel.summary,
            )
            for kernel in LADDER
        ],
    )


def _suites() -> Table:
    from gemmbench.suites.reader import load_suite, names

    suites = [load_suite(name) for name in names()]
    return listing(
        ("suite", "shapes on a CPU", "on a GPU", "preset", "what it is"),
        [
            (
                suite.name,
                len(suite.shapes("cpu")),
                len(suite.shapes("gpu")),
                suite.preset or "",
                suite.description,
            )
            for suite in suites
        ],
    )


def _devices() -> Table:
    from gemmbench.devices.spec import specs

    columns = ("fp64", "fp32", "tf32", "bf16", "fp8_e4m3", "int8")

    def peak(spec: object, precision: str) -> str:
        found = spec.peak(precision)  # type: ignore[attr-defined]
        return digits(found.tflops) if found else ""

    return listing(
        ("device", "name", "architecture", *columns, "GB/s", "W"),
        [
            (
                spec.id,
                spec.name,
                spec.architecture,
                *(peak(spec, name) for name in columns),
                digits(spec.bandwidth_gbps) if spec.bandwidth_gbps else "",
                digits(spec.tdp_w) if spec.tdp_w else "",
            )
            for spec in specs()
        ],
        title="Dense peaks, TFLOP/s, from the vendors' spec sheets",
    )


def _precisions() -> Table:
    return listing(
        ("precision", "inputs", "sums", "output", "what it is"),
        [
            (row.name, row.input, row.accumulate, row.output, row.summary)
            for row in PRECISIONS.values()
        ],
    )
