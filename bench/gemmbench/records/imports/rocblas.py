"""rocblas-bench's console (ROCm/rocBLAS, clients): a header, and one row beneath it.

Column-major: its m is our N. `us` is the mean of a call, both rates are by 10⁹. The type of the
operands stands in the command line only.
"""

from gemmbench.records.imports.dtypes import dtype_of, encoding_of, modes_of, type_of
from gemmbench.records.imports.table import Row, option, rows
from gemmbench.records.imports.text import number, positive, whole
from gemmbench.records.imports.words import Asked, Findings, How, Place, Told
from gemmbench.records.schema import Status
from gemmkernels.errors import GemmbenchError, one_line

_LETTERS = {"h": "f16", "s": "f32", "d": "f64"}


def read(text: str, asked: Asked) -> Findings:
    """Every row of a real product. Raises GemmbenchError where the type of the operands stands
    neither in a command line of the log nor in `asked`."""
    found = Findings()
    for row in rows(text, rate="rocblas-gflops", program="rocblas-bench", found=found):
        told = _told(row, asked=asked, found=found)
        if told is not None:
            found.add(told)
    return found


def _told(row: Row, *, asked: Asked, found: Findings) -> Told | None:
    m, n, k = (whole(row[name]) for name in ("m", "n", "k"))
    if not m or not n or not k:
        found.leave("without a shape")
        return None
    spelt = option(row.command, "--a_type", "-r", "--precision")
    spelt = _LETTERS.get(spelt.lower(), spelt)
    kind = type_of(spelt)
    if spelt and kind is None:
        found.leave(f"of a type that no precision here has: {spelt}")
        return None
    name = kind.precision if kind else asked.precision
    if name is None:
        raise GemmbenchError(
            "its output does not tell the type of the operands: say --precision, such as "
            "--precision fp32"
        )
    if name == "fp32" and option(row.command, "--math_mode") == "1":
        name = "tf32"  # rocBLAS's xf32
    b_type = option(row.command, "--b_type")
    if kind is not None and b_type and type_of(b_type) != kind:
        found.leave("with operands of two types")
        return None
    time_us = positive(row["us"])
    norms = [cell for column, cell in row.cells.items() if column.startswith("norm_error")]
    wrong = any(number(cell) is None for cell in norms)
    status: Status = "wrong" if wrong else "ok" if time_us else "failed"
    reason = {"wrong": "its error norm is no number", "failed": "no time", "ok": ""}[status]
    rate, gbps = number(row["rocblas_gflops"]), number(row["rocblas_gb/s"])
    accumulate = dtype_of(option(row.command, "--compute_type"))
    output = dtype_of(option(row.command, "--d_type"))
    modes = modes_of(name, accumulate=accumulate, output=output)
    if number(row["beta"]) not in (None, 0.0):
        modes["beta"] = one_line(row["beta"], 20)
    return Told(
        kernel="rocblas",
        backend="rocblas",
        m=n,
        n=m,
        k=k,
        batch=whole(row["batch_count"]) or 1,
        layout="".join("n" if row[side].upper() == "N" else "t" for side in ("transb", "transa")),
        precision=name,
        how=How(preset="rocblas-bench", launch="stream"),
        place=Place(vendor="amd"),
        time_ns=time_us * 1e3 if time_us else None,
        told_tflops=rate / 1e3 if rate is not None else None,
        status=status,
        reason=reason,
        encoding=encoding_of(kind) if kind else "",
        out_dtype=output,
        accumulate=accumulate,
        modes=modes,
        config={
            "told_gbps": gbps,
            "hot_iters": whole(row["hot_iters"]),
            "norm_error": number(norms[0]) if norms else None,
        },
    )
