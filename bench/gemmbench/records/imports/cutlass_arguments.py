"""What the CUTLASS profiler's arguments make of one kernel: cases of their own, not repeats.

Defaults are those of gemm_operation_profiler.cu; a default one is not told, as older versions do
not have all of them.
"""

from collections.abc import Mapping

from gemmbench.records.imports.text import number, whole
from gemmkernels.errors import one_line

_DEFAULTS = {
    "split_k_mode": ("serial",),
    "raster_order": ("heuristic",),
    "swizzle_size": ("1",),
    "use_pdl": ("false", "0"),
    "enable_sm90_mixed_dtype_shuffle_test": ("false", "0"),
}
_ANY = {"f8": ("e4m3", "e5m2"), "f6": (), "f4": ()}
"""Operands of a kernel that takes all types of a width, and the runtime types that are ours."""


def settings_of(cells: Mapping[str, str]) -> dict[str, int | str | bool]:
    """The arguments beside shape and types that are not the default, in the profiler's words."""
    found: dict[str, int | str | bool] = {}
    if (slices := whole(cells.get("split_k_slices"))) and slices > 1:
        found["split_k"] = slices
    for name, default in _DEFAULTS.items():
        value = one_line(cells.get(name, "").lower(), 60)
        if value and value not in default:
            size = whole(value)
            found[name] = value if size is None else size
    if number(cells.get("alpha")) not in (None, 1.0):
        found["alpha"] = one_line(cells["alpha"], 60)
    return found | _clusters(cells)


def _clusters(cells: Mapping[str, str]) -> dict[str, str]:
    """Arguments of a kernel whose name leaves the cluster open; of others they are in the name."""
    operation = cells.get("operation", "")
    sizes, second = _sizes(cells, ""), _sizes(cells, "_fallback")
    if sizes is None or f"_{_text(sizes)}_" in operation:
        return {}
    found: dict[str, str] = {}
    if sizes != (2 if "_2sm" in operation else 1, 1, 1):
        found["cluster"] = _text(sizes)
    if second is not None and second != (1 if sizes[0] % 2 else 2, 1, 1):
        found["cluster_fallback"] = _text(second)
    return found


def _sizes(cells: Mapping[str, str], suffix: str) -> tuple[int, int, int] | None:
    m, n, k = (whole(cells.get(f"cluster_{axis}{suffix}")) for axis in "mnk")
    return (m, n, k) if m and n and k else None


def _text(sizes: tuple[int, int, int]) -> str:
    return "x".join(map(str, sizes))


def operand(cell: str, *, runtime: str) -> tuple[str, str]:
    """("f16", "row") of "f16:row". `runtime` is the type that a kernel of several was run with."""
    kind, _, layout = (part.strip().lower() for part in cell.partition(":"))
    if kind in _ANY:
        kind = f"f{runtime}" if runtime in _ANY[kind] else f"{kind} as {runtime or 'any'}"
    return kind, layout
