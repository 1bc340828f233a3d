"""Lists of what gemmbench knows: kernels, suites, devices, precisions."""

from collections.abc import Callable

from gemmbench.show.tables import Table, listing
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
        "published": _published,
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
    from gemmbench.show.datasheets import devices

    return devices()[0]


def _published() -> Table:
    from gemmbench.show.published import published_list

    return published_list()


def _precisions() -> Table:
    return listing(
        ("precision", "inputs", "sums", "output", "what it is"),
        [
            (row.name, row.input, row.accumulate, row.output, row.summary)
            for row in PRECISIONS.values()
        ],
    )
