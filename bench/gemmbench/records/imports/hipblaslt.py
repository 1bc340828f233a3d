"""hipblaslt-bench's console (ROCm/rocm-libraries, projects/hipblaslt/clients).

A header before every row, in at least ten forms: columns are found by name. Column-major: its m is
our N. `us` is the mean of a call, GFLOP/s are 10⁹ with the epilogue's, "GB/s" are GiB/s.
"""

import re

from gemmbench.records.imports.dtypes import Type, dtype_of, encoding_of, modes_of, type_of
from gemmbench.records.imports.table import Row, option, rows
from gemmbench.records.imports.text import lines, number, positive, whole
from gemmbench.records.imports.words import Asked, Findings, How, Place, Told
from gemmbench.records.schema import Status
from gemmkernels.errors import GemmbenchError, one_line

_DEVICE = re.compile(r"Device ID +[0-9]{1,4} *: *(.{1,120}?) *(gfx[0-9a-f]{3,6})(?:[:\s]|$)")
_VERSION = re.compile(r"hipBLASLt version: *([0-9]{1,12})")
_FNUZ = re.compile(r"\bb?f8_fnuz_r\b", re.IGNORECASE)
"""In a release that has this word f8_r is OCP's; before, on gfx942, f8_r was this one."""

_NO_ROW = "no solution found"
_WORDS = """
transa transb grouped_gemm batch_count m n k alpha lda beta ldb ldc ldd a_type b_type c_type d_type
compute_type scalea scaleb scalec scaled amaxd swizzle_a swizzle_b activation_type bias_vector
bias_type aux_type rotating_buffer flush use_gpu_timer
"""
_ARGUMENTS = tuple(_WORDS.split())
"""Columns that say what was asked for; all others were measured."""


def read(text: str, asked: Asked) -> Findings:
    """Every row, the "Winner" of several only once. Raises GemmbenchError where the type of the
    operands is neither told nor asked, as in the oldest form."""
    found = Findings()
    place, is_ocp = _place(text), _FNUZ.search(text) is not None
    if version := _VERSION.search(text):
        found.software["hipblaslt"] = version[1]
    seen: set[tuple[str, ...]] = set()
    counts: dict[tuple[str, ...], int] = {}
    for row in rows(text, rate="hipblaslt-gflops", program="hipblaslt-bench", found=found):
        key = _problem(row)
        if row.winner and (*key, row["us"]) in seen:
            found.leave("as a winner that is printed above, too")
            continue
        seen.add((*key, row["us"]))
        counts[key] = counts.get(key, 0) + 1
        told = _told(row, asked=asked, place=place, found=found, nth=counts[key], is_ocp=is_ocp)
        if told is not None:
            found.add(told)
    for line in lines(text):
        if _NO_ROW in line.lower():
            found.leave("as unsupported: no solution found")
    return found


def _place(text: str) -> Place:
    for line in lines(text):
        if device := _DEVICE.search(line):
            return Place(vendor="amd", name=device[1], architecture=device[2])
    return Place(vendor="amd")


def _problem(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in _ARGUMENTS)


def _told(
    row: Row, *, asked: Asked, place: Place, found: Findings, nth: int, is_ocp: bool
) -> Told | None:
    if row["grouped_gemm"] not in ("", "0"):
        found.leave("as a grouped product, whose FLOPs it sums over groups of unknown shapes")
        return None
    m, n, k = (whole(row[name]) for name in ("m", "n", "k"))
    if not m or not n or not k:
        found.leave("without a shape")
        return None
    name, kind = _precision(row, asked)
    if name is None:
        found.leave(f"of types that no precision here has: {kind}")
        return None
    time_us = positive(row["us"])
    status, reason = _status(row, time_us)
    verified = "norm_error" in row.cells and status == "ok"
    accumulate = dtype_of(row["compute_type"].replace("xf32", "f32"))
    output = dtype_of(row["d_type"])
    flush, timer = row["flush"] not in ("", "0"), row["use_gpu_timer"] not in ("", "0")
    rate, gibps = number(row["hipblaslt_gflops"]), number(row["hipblaslt_gb/s"])
    clock = positive(row["lowest_avg_freq"])
    solution = row["solution_index"] or row.notes.get("solution index", "")
    settings: dict[str, int | str | bool] = {}
    if solution:
        settings["solution"] = one_line(solution, 20)
    elif nth > 1:  # one of several solutions, not a repeat of the first
        settings["row"] = nth
    told_as = type_of(row["a_type"])
    return Told(
        kernel="hipblaslt",
        backend="hipblaslt",
        m=n,
        n=m,
        k=k,
        batch=whole(row["batch_count"]) or 1,
        layout=_letter(row["transb"]) + _letter(row["transa"]),
        precision=name,
        how=How(
            preset="hipblaslt-bench-gpu-timer" if timer else "hipblaslt-bench",
            cache="flushed" if flush else _cache(row),
            launch="stream",
        ),
        place=place,
        time_ns=time_us * 1e3 if time_us else None,
        told_tflops=rate / 1e3 if rate is not None else None,
        clock_mhz=clock,
        status=status,
        reason=reason,
        verified=verified,
        encoding=encoding_of(told_as, is_ocp=is_ocp) if told_as else "",
        out_dtype=output,
        accumulate=accumulate,
        modes=modes_of(name, accumulate=accumulate, output=output) | _extras(row, name),
        settings=settings,
        config={
            "told_gbps": gibps * 2**30 / 1e9 if gibps is not None else None,
            "norm_error": number(row["norm_error"]),
            "rotating_buffer_mib": whole(row["rotating_buffer"]),
            "solution_name": row.notes.get("solution name") or None,
        },
    )


def _letter(trans: str) -> str:
    return "n" if trans.strip().upper() == "N" else "t"


def _cache(row: Row) -> str:
    """`rotating_buffer` is MiB; with 0 every call has the same operands, which may stay cached."""
    size = whole(row["rotating_buffer"])
    return "" if size is None else "rotated" if size else "hot"


def _precision(row: Row, asked: Asked) -> tuple[str | None, str]:
    """(the precision, or None where there is none of ours; how the file spells it)."""
    a = row["a_type"] or option(row.command, "--a_type", "--precision", "-r")
    b = row["b_type"] or option(row.command, "--b_type", "--precision", "-r") or a
    compute = row["compute_type"].lower().removeprefix("c_")
    spelt = f"{a} x {b}, {compute}"
    if not a:
        if asked.precision is None:
            raise GemmbenchError(
                "this form of it does not tell the type of its operands: say --precision, such as "
                "--precision bf16"
            )
        return asked.precision, ""
    left, right = type_of(a), type_of(b)
    if a.lower().startswith("f4") and b == a and _scales(row) == ("3", "3"):
        return "mxfp4", spelt
    if left is None or right is None or left.precision != right.precision:
        return None, spelt
    return _by_compute(left, compute, _scales(row)), spelt


def _by_compute(kind: Type, compute: str, scales: tuple[str, str]) -> str | None:
    """fp32 may be computed as IEEE's, as xf32 or by way of 16 bits: only the first two are ours."""
    if kind.precision == "fp32":
        return {"f32_r": "fp32", "s": "fp32", "": "fp32", "xf32_r": "tf32", "x": "tf32"}.get(
            compute
        )
    if "_" in compute.removesuffix("_r"):
        return None
    if kind.precision.startswith("fp8"):
        if scales == ("3", "3"):
            return "mxfp8" if kind.precision == "fp8_e4m3" else None
        if scales == ("2", "2"):
            return f"{kind.precision}_rowwise"
        return kind.precision if set(scales) <= {"", "0", "1"} else None
    return kind.precision


def _scales(row: Row) -> tuple[str, str]:
    """0 none, 1 one a tensor, 2 one a row or column, 3 one a block of 32."""
    return row["scalea"], row["scaleb"]


def _extras(row: Row, name: str) -> dict[str, str]:
    """What is done beside the product: with it, it is not compared with a bare one."""
    modes: dict[str, str] = {}
    activation = row["activation_type"].lower()
    if activation not in ("", "none"):
        modes["epilogue"] = one_line(activation, 20)
    if row["bias_vector"] not in ("", "0"):
        modes["bias"] = "yes"
    if number(row["beta"]) not in (None, 0.0):
        modes["beta"] = one_line(row["beta"], 20)
    plain = ("scalec", "scaled", "amaxd", "swizzle_a", "swizzle_b")
    names = plain if name.startswith(("fp8", "mx")) else (*plain, "scalea", "scaleb")
    for column in names:
        if row[column] not in ("", "0"):
            modes[column] = one_line(row[column], 20)
    return modes


def _status(row: Row, time_us: float | None) -> tuple[Status, str]:
    if "norm_error" in row.cells:
        if number(row["norm_error"]) is None:
            return "wrong", f"its check gave {one_line(row['norm_error'], 20) or 'nothing'}"
        if "-1" in (row["atol"], row["rtol"]):
            return "wrong", "its check failed: tolerance -1"
    if time_us is None:
        return "failed", f"no time: {one_line(row['us'], 20) or 'an empty cell'}"
    return "ok", ""
