"""Which kernels' source differs between measurements, by the digests that runs keep.

One digest stands for all kernels that ship with gemmbench; a user's file has its own, and so has
a shipped kernel with settings that a tuner chose.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gemmbench.analysis.comparison import Differs
from gemmbench.analysis.rows import distinct
from gemmkernels.ladder import LADDER

if TYPE_CHECKING:
    import pandas as pd

SHIPPED = "gemmbench's kernels"
_NAMES = frozenset(kernel.name for kernel in LADDER)


def sources(df: "pd.DataFrame") -> dict[str, str]:
    """The digest of each kernel's source, shortened; those of several runs with commas."""
    found: dict[str, dict[str, None]] = {}
    for kernel, digest in sorted(distinct(df, "kernel", "source")):
        if digest:
            found.setdefault(kernel, {})[digest[:8]] = None
    return {kernel: ", ".join(digests) for kernel, digests in found.items()}


def together(kernels: Mapping[str, str]) -> dict[str, str]:
    """Name to digest, with what ships with gemmbench under one name."""
    shipped = _shipped(kernels)
    others = {name: one for name, one in kernels.items() if not _is_of(name, one, shipped)}
    return ({SHIPPED: shipped} if shipped else {}) | others


def changed(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Differs, ...]:
    """What of two sides' `sources` differs; only of kernels that both measured and tell of."""
    one, other = _shipped(a), _shipped(b)
    found: dict[str, Differs] = {}
    for name in a.keys() & b.keys():
        both = _is_of(name, a[name], one) and _is_of(name, b[name], other)
        what = SHIPPED if both else f"{name} or its settings" if name in _NAMES else name
        if a[name] != b[name]:
            found[what] = Differs(what=f"source of {what}", a=a[name], b=b[name])
    return tuple(found[what] for what in sorted(found, key=lambda one: (one != SHIPPED, one)))


def _shipped(kernels: Mapping[str, str]) -> str:
    """The digest that most of the shipped kernels have; "" where there is none."""
    counts = Counter(one for name, one in kernels.items() if name in _NAMES)
    return counts.most_common(1)[0][0] if counts else ""


def _is_of(name: str, digest: str, shipped: str) -> bool:
    return name in _NAMES and digest == shipped
