"""A run beside figures that others published: the ratio, and what kind of figure that is.

No verdict is made of it: software, method, data and the very board differ.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.pool import pooled
from gemmbench.analysis.published_beside import Beside, By, Placed, differs, marked
from gemmbench.analysis.rows import rows_of, values_of
from gemmbench.devices.spec import Spec, by_id, match
from gemmbench.records.frame import frame
from gemmbench.records.published import Published, published
from gemmbench.records.reader import Run, Source, read_many
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "measured": "measured",
    "measured_best_shape": "measured, best of many shapes",
    "measured_approx": "measured, rounded",
    "vendor_measured": "measured by the vendor",
    "vendor_measured_best_shape": "measured by the vendor, best of many shapes",
    "vendor_measured_harmonic_mean": "measured by the vendor, mean of many shapes",
    "vendor_acceptance_floor": "the vendor's pass mark, no result",
    "claim": "a claim, without how",
}
_ONE_SHAPE = ("measured", "vendor_measured", "measured_approx", "vendor_acceptance_floor", "claim")
_FP8 = ("fp8_e4m3", "fp8_e5m2")


def beside_published(source: Source | Iterable[Source]) -> tuple[Placed, ...]:
    """Runs beside the published figures of their devices, a table a device.

    A figure of one shape stands beside the case of that shape, or of the one with M and N swapped:
    the same product in the other storage order. A best of many shapes stands beside the run's own
    best. Raises GemmbenchError, in one line, where no figure has the device, precision and shape of
    a row.
    """
    runs = read_many(source)
    by_device: dict[str, list[Run]] = {}
    left: list[str] = []
    for run in runs:
        name, reason = _device_id(run)
        if name:
            by_device.setdefault(name, []).append(run)
        else:
            left.append(f"{run.path.name}: {reason}")
    placed = [_place(name, some) for name, some in by_device.items()]
    found = [one for one in placed if one.rows]
    if found:
        return tuple(found)
    known = sorted({row.device_id for row in published() if row.device_id})
    if not placed:
        raise GemmbenchError(
            f"nothing published to set beside: {'; '.join(left[:3]) or 'no run'}: figures are "
            f"known of {', '.join(known)}"
        )
    raise GemmbenchError("; ".join(_nothing(one, by_device[one.device_id]) for one in placed))


def percent_of_peak(row: Published) -> float:
    """Percent of the dense peak of the row's device as our spec sheet has it; NaN where unknown.

    What is of a part of a device has none.
    """
    found = _peak(row.device_id, row.precision) if not row.scope else None
    return 100 * row.tflops / found if found else float("nan")


def partition_of(run: Run) -> str | None:
    """Which part of a device the run had, such as a MIG slice; None for a whole one."""
    found = match(run.header.device)
    return found.partition if found is not None and found.scaled != 1.0 else None


def _device_id(run: Run) -> tuple[str, str]:
    """(The id of the run's device, why it has none)."""
    device = run.header.device
    if run.header.device_id is None:
        return "", f"{device.name} is not in the table of devices"
    if part := partition_of(run):
        return "", f"{device.name} is a partition, {part}: figures are of whole devices"
    return run.header.device_id, ""


def _place(device_id: str, runs: Sequence[Run]) -> Placed:
    df = pooled(frame(runs))
    sound = df["status"].eq("ok") & df["verdict"].ne("contended") & ~df["impossible"]
    sound &= df["tflops"].gt(0) & df["batch"].eq(1) & df["experts"].eq(1)
    ours = list(rows_of(df[sound].sort_values("tflops", ascending=False, kind="stable")))
    found = [
        beside
        for row in published()
        if row.device_id == device_id and not row.scope
        for beside in _beside(row, ours)
    ]
    return Placed(
        device=runs[0].header.device.name,
        device_id=device_id,
        files=tuple(run.path.name for run in runs),
        rows=tuple(sorted(marked(found), key=_order)),
        notes=_notes(df, runs),
    )


def _beside(row: Published, ours: Sequence[Any]) -> list[Beside]:
    """The fastest of our rows (they come fastest first) in each precision that the figure has."""
    names = _FP8 if row.precision == "fp8" else (row.precision,)
    found = []
    for name in names:
        for by in _ways(row):
            one = next((own for own in ours if own.precision == name and _fits(own, row, by)), None)
            if one is not None:
                found.append(_make(one, row, by))
                break
    return found


def _ways(row: Published) -> tuple[By, ...]:
    if row.kind in _ONE_SHAPE and row.shape is not None:
        return ("shape", "shape, M and N swapped")
    return ("the most of any shape",)


def _fits(own: Any, row: Published, by: By) -> bool:
    if by == "the most of any shape":
        return True
    m, n = (row.m, row.n) if by == "shape" else (row.n, row.m)
    return bool((own.m, own.n, own.k) == (m, n, row.k))


def _make(own: Any, row: Published, by: By) -> Beside:
    peak = _peak(row.device_id, own.precision)
    return Beside(
        precision=own.precision,
        shape=(own.m, own.n, own.k),
        layout=own.layout,
        kernel=own.kernel,
        tier=own.tier,
        tflops=own.tflops,
        tflops_low=own.tflops_low,
        tflops_high=own.tflops_high,
        pct_peak=own.pct_peak,
        ratio=own.tflops / row.tflops,
        by=by,
        kind=KINDS[row.kind] + ("" if row.shape else ", shape not stated"),
        published=row,
        pct_peak_published=100 * row.tflops / peak if peak else float("nan"),
        nearest=False,
        differs=differs(own, row),
    )


def _order(row: Beside) -> tuple[object, ...]:
    m, n, k = row.shape
    return (row.precision, row.by == "the most of any shape", m * n * k, not row.nearest)


def _notes(df: "pd.DataFrame", runs: Sequence[Run]) -> tuple[str, ...]:
    found = []
    if df["synthetic"].any():
        found.append("a synthetic run: it was never measured")
    tools = [str(tool) for tool in dict.fromkeys(values_of(df, "tool")) if tool]
    if tools:
        found.append(f"measured by {', '.join(tools)}, not by gemmbench")
    sheet = match(runs[0].header.device)
    limit = runs[0].header.device.power_limit_w
    if sheet and sheet.tdp_w and limit and limit < 0.99 * sheet.tdp_w:
        found.append(f"power limit here {limit:g} W, of {sheet.tdp_w:g} W on the sheet")
    return tuple(found)


def _nothing(one: Placed, runs: Sequence[Run]) -> str:
    own = sorted({f"{r.precision} {r.m}x{r.n}x{r.k}" for run in runs for r in run.records})
    theirs = sorted(
        {
            f"{r.precision} {'x'.join(map(str, r.shape))}"
            for r in published()
            if r.device_id == one.device_id and r.shape
        }
    )
    if not theirs:
        return f"nothing is published of {one.device_id}"
    return (
        f"no figure of {one.device_id} has the precision and shape of a verified row: the run has "
        f"{', '.join(own[:3]) or 'none'}, …; published are {', '.join(theirs[:6])}, …"
    )


def _peak(device_id: str, precision: str) -> float | None:
    spec = _sheet(device_id)
    try:
        name = "fp8_e4m3" if precision == "fp8" else precision
        found = spec.peak(name) if spec else None
    except GemmbenchError:  # fp6 is none of ours
        return None
    return found.tflops if found else None


def _sheet(device_id: str) -> Spec | None:
    try:
        return by_id(device_id)
    except GemmbenchError:
        return None
