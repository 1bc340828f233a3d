"""Shape, layout and precision that a file gives under names of its own: axes, parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gemmbench.records.imports.dtypes import Type, type_of
from gemmbench.records.imports.text import whole
from gemmbench.records.imports.words import Asked
from gemmkernels.errors import GemmbenchError
from gemmkernels.precision import PRECISIONS
from gemmkernels.problem import LAYOUTS

_USUAL = {
    "m": ("m",),
    "n": ("n",),
    "k": ("k",),
    "batch": ("batch", "batch_count", "batch_size"),
    "layout": ("layout",),
    "precision": ("precision", "dtype", "type", "t", "a_type", "in"),
    "shape": ("shape", "mnk", "problem", "size"),
}
NO_LAYOUT = "its layout is not told, nn is assumed"
_SHAPE = re.compile(r"\s*([0-9]{1,10})[xX×]([0-9]{1,10})[xX×]([0-9]{1,10})\s*")


@dataclass(frozen=True, kw_only=True)
class Case:
    """`used` are the file's names that went into it; `kind` is the type that it names, if any.

    A layout that is not told is taken for nn, and `warnings` says so.
    """

    m: int
    n: int
    k: int
    batch: int
    layout: str
    precision: str | None
    kind: Type | None
    used: frozenset[str]
    warnings: tuple[str, ...]


def case_of(values: Mapping[str, str], asked: Asked) -> Case | None:
    """The case of some named values, by `asked.map` and else by the usual names; None without a
    shape. Raises GemmbenchError for a layout or a precision of the map's that is none."""
    by_name = {name.lower(): name for name in values}
    used: set[str] = set()

    def find(key: str) -> str | None:
        wanted = asked.names.get(key)
        if wanted is not None and whole(wanted) is not None:
            return wanted
        for name in (wanted,) if wanted is not None else _USUAL[key]:
            if (own := name if name in values else by_name.get(name.lower())) is not None:
                used.add(own)
                return values[own]
        return None

    sizes = [whole(find(axis)) for axis in ("m", "n", "k")]
    if not all(sizes) and (shape := _SHAPE.fullmatch((find("shape") or "")[:60])):
        sizes = [int(part) for part in shape.groups()]
    if not all(sizes):
        return None
    m, n, k = (size or 0 for size in sizes)
    used |= {name for name, value in values.items() if _is_shape(value, (m, n, k))}
    spelt, kind, name = find("precision"), None, None
    if spelt is not None:
        kind = type_of(spelt)
        name = spelt if spelt in PRECISIONS else kind.precision if kind else None
    if name is None and "precision" in asked.names:
        raise GemmbenchError(
            f"--map precision={asked.names['precision']} leads to {str(spelt)[:40]!r}, which is "
            "none: say --precision, such as --precision bf16"
        )
    layout = find("layout")
    if layout is not None and layout.lower() not in LAYOUTS:
        layout = None
    return Case(
        m=m,
        n=n,
        k=k,
        batch=whole(find("batch")) or 1,
        layout=(layout or "nn").lower(),
        precision=name,
        kind=kind,
        used=frozenset(used),
        warnings=() if layout else (NO_LAYOUT,),
    )


def _is_shape(value: str, sizes: tuple[int, int, int]) -> bool:
    found = _SHAPE.fullmatch(value[:60])
    return found is not None and tuple(map(int, found.groups())) == sizes
