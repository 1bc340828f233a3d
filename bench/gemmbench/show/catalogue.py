"""Lists of what gemmbench knows: kernels, suites, devices, precisions."""

import json
from collections.abc import Callable

import msgspec

from gemmbench.show.tables import Table, in_json, listing
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


def to_json(table: Table) -> str:
    """A list of objects, one a row."""
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def devices_json(*, device: str | None = None, spec: str | None = None) -> str:
    """The datasheets in full, each figure with its sources; options as of `datasheets.devices`.

    Units are in the keys; `dense` and `sparse` are TFLOP/s, of int8 TOPS. Null is what nobody says.
    """
    from gemmbench.devices.own import own_specs
    from gemmbench.devices.spec import by_id, specs

    own = own_specs(spec)
    found = (*specs(), *own) if device is None else (by_id(device, own),)
    return json.dumps(in_json(msgspec.to_builtins(found)), indent=2, ensure_ascii=False)


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
